//! Child SAs that are replaced while packets flow.

use std::thread::sleep;
use std::time::Duration;

use espalier_e2e::ping::CANARY_HEX;
use espalier_e2e::program::Program;

use crate::scene::Scene;

const SOON: Duration = Duration::from_secs(40);
/// A packet each way every 10 ms.
const PINGS: u32 = 1200;

pub(crate) fn by_the_gateway(scene: &mut Scene<'_>) {
    under_traffic(scene, |scene| {
        for round in 1..=3 {
            scene.control("--rekey");
            scene.agent.await_children(1 + round).unwrap();
            sleep(Duration::from_millis(800));
        }
    });
}

pub(crate) fn by_the_agent(scene: &mut Scene<'_>) {
    under_traffic(scene, |scene| scene.agent.program.await_log("child SA in use", 4, SOON).unwrap());
}

pub(crate) fn by_both(scene: &mut Scene<'_>) {
    under_traffic(scene, |scene| {
        for _ in 0..4 {
            // The agent's turn comes after 1.8 to 2 seconds. A refusal for the time being is an answer too.
            let _ = scene.try_control("--rekey");
            sleep(Duration::from_millis(1850));
        }
        scene.agent.await_children(5).unwrap();
    });
}

/// Sets the SAs up and checks that nothing is lost meanwhile.
fn under_traffic(scene: &mut Scene<'_>, meanwhile: impl FnOnce(&mut Scene<'_>)) {
    let capture = scene.capture();
    scene.connect();
    let (node, gateway) = (scene.node(), scene.judge.gateway());
    let [near, far] = [node, gateway].map(|host| scene.case.ends(host).first().copied().unwrap().to_string());
    let mut ping = node.namespace.command("ping");
    ping.args(["-n", "-q", "-p", CANARY_HEX, "-i", "0.01", "-W", "2", "-c", &PINGS.to_string(), "-I", &near, &far]);
    let mut ping = Program::start(ping, &node.folder().join("ping.log")).unwrap();
    meanwhile(scene);
    assert!(!ping.has_ended(), "packets flow all the time");
    ping.wait_within(SOON).unwrap();
    let summary = ping.log();
    assert!(summary.contains(&format!("{PINGS} packets transmitted, {PINGS} received")), "{summary}");
    scene.assert_protected(capture.stop().unwrap());
}
