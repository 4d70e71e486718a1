//! Child SAs that the agent makes for the first packet.

use std::thread::sleep;
use std::time::Duration;

use crate::scene::{By, Files, assert_answered, assert_protected};

#[test]
fn the_first_ping_brings_the_tunnel_up_and_again_once_the_gateway_has_deleted_it() {
    let scene = Files::psk().profile("activation: on-demand").scene();
    let capture = scene.capture();
    let _agent = scene.agent(By::Agent);
    let waits = "on demand, waits for a packet";
    sleep(Duration::from_secs(3));
    assert!(!scene.swan.sas().unwrap().contains("state="), "{}", scene.swan.sas().unwrap());
    scene.assert_status(&[waits]);
    let (near, far) = (scene.node().inner(true), scene.gateway().inner(true));
    for what in [["--child", "gateway"], ["--ike", "espalier"]] {
        assert_answered(scene.node(), near, far, 56);
        scene.assert_passes();
        scene.assert_one_ike_sa(1);
        scene.swan.control(&[&["--terminate"], &what[..]].concat()).unwrap();
        sleep(Duration::from_secs(2));
        assert!(!scene.swan.sas().unwrap().contains("state=INSTALLED"), "nobody asks for it");
        scene.assert_status(&[waits]);
    }
    assert_answered(scene.node(), near, far, 56);
    assert_protected(capture.stop().unwrap());
}
