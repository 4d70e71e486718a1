//! Ends that prove themselves anew while packets flow, the new SA before the old one goes (RFC 4478, RFC 7296 §2.8.3).

use std::time::Duration;

use crate::scene::{By, Files, Papers, assert_nothing_lost};

/// The gateway itself starts anew.
#[test]
fn a_gateway_that_proves_itself_anew_before_it_breaks_loses_nothing() {
    let files = Files::certificates(Papers::usual()).charon("make_before_break = yes");
    let scene = files.gateway("  version = 2\n", "  version = 2\n    reauth_time = 6s\n    over_time = 20s\n").scene();
    let mut agent = scene.tunnel(By::Gateway);
    let flows = scene.flows();
    agent.program.await_log("IKE SA replaced", 2, Duration::from_secs(60)).unwrap();
    assert_nothing_lost(flows);
    scene.assert_one_ike_sa(1);
    assert!(!agent.program.log().contains("IKE SA down"));
}
