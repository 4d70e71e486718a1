//! IKE SAs that are set up without a child SA (RFC 6023).

use crate::scene::{By, Files, Scene, both_roles};

both_roles! {
    a_gateway_that_forces_it_gets_the_child_afterwards => |by| {
        let scene = gateway("force", true);
        let _agent = scene.assert_tunnel(by, &["state=INSTALLED"]);
        let log = scene.swan.log();
        let auth = log.lines().find(|line| line.contains("IKE_AUTH request 1 [")).unwrap();
        assert!(!auth.contains(" TSi ") && log.contains("CREATE_CHILD_SA request 2 ["), "{log}");
        scene.assert_one_ike_sa(1);
    };
}

fn gateway(childless: &str, node: bool) -> Scene {
    let setting = format!("dpd_delay = 10s\n    childless = {childless}");
    let files = Files::psk().gateway("dpd_delay = 10s", &setting);
    files.profile(&format!("childless: {node}")).scene()
}

/// It does not announce that it would do without a child, so it is not asked to.
#[test]
fn a_gateway_that_never_does_so_gets_the_child_at_once() {
    let scene = gateway("never", true);
    scene.assert_tunnel(By::Agent, &["state=INSTALLED"]);
    let log = scene.swan.log();
    assert!(!log.contains("CREATE_CHILD_SA"), "{log}");
}

#[test]
fn an_agent_that_does_not_say_so_is_turned_away_by_a_gateway_that_forces_it() {
    let scene = gateway("force", false);
    let mut agent = scene.agent(By::Agent);
    agent.await_log("peer answers INVALID_SYNTAX", 1).unwrap();
    assert!(scene.swan.log().contains("peer did not initiate a childless IKE_SA"), "{}", scene.swan.log());
}
