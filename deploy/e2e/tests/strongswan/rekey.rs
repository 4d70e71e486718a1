//! SAs that are replaced, deleted or lost while packets flow.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use espalier_e2e::agent::with_lifetimes;
use espalier_e2e::ping::ping;
use espalier_e2e::strongswan::StrongSwan;

use crate::scene::{By, Files, Papers, Scene, assert_nothing_lost, both_roles};

both_roles! {
    rekeys_by_the_gateway_lose_nothing => gateway_rekeys;
    rekeys_by_the_agent_lose_nothing => agent_rekeys;
}

fn gateway_rekeys(by: By) {
    let scene = Files::certificates(Papers::usual()).scene();
    let mut agent = scene.tunnel(by);
    let flows = scene.flows();
    for round in 1..=3 {
        scene.swan.control(&["--rekey", "--child", "gateway"]).unwrap();
        agent.await_children(1 + round).unwrap();
        scene.swan.control(&["--rekey", "--ike", "espalier"]).unwrap();
        agent.await_log("IKE SA replaced", round).unwrap();
        sleep(Duration::from_millis(300));
    }
    assert_nothing_lost(flows);
    scene.assert_one_ike_sa(1);
}

fn agent_rekeys(by: By) {
    let mut scene = Files::psk().scene();
    scene.plan = with_lifetimes(&scene.plan, 5, 2);
    let mut agent = scene.tunnel(by);
    let flows = scene.flows();
    agent.await_log("IKE SA replaced", 2).unwrap();
    agent.await_children(5).unwrap();
    assert_nothing_lost(flows);
    assert!(agent.program.terminate().unwrap().success());
}

#[test]
fn rekeys_of_both_ends_at_once_lose_nothing() {
    let mut scene = Files::psk().scene();
    scene.plan = with_lifetimes(&scene.plan, 7, 3);
    let mut agent = scene.tunnel(By::Gateway);
    let flows = scene.flows();
    for _ in 0..10 {
        // A refusal for the time being is an answer too.
        let _ = scene.swan.control(&["--rekey", "--child", "gateway"]);
        let _ = scene.swan.control(&["--rekey", "--ike", "espalier"]);
        sleep(Duration::from_millis(900));
    }
    agent.await_children(5).unwrap();
    assert_nothing_lost(flows);
}

#[test]
fn a_gateway_that_vanishes_is_noticed_and_called_again() {
    let scene = Files::psk().profile("liveness-seconds: 1").scene();
    let mut agent = scene.tunnel(By::Agent);
    scene.assert_passes();
    let Scene { lab, swan, .. } = scene;
    drop(swan);
    agent.program.await_log("IKE SA down", 1, Duration::from_secs(60)).unwrap();
    let _ = fs::remove_file(lab.hosts[1].folder().join("vici"));
    let swan = StrongSwan::start(&lab.hosts[1]).unwrap();
    agent.program.await_log("IKE SA up", 2, Duration::from_secs(60)).unwrap();
    let pings = ping(&lab.hosts[0], lab.hosts[1].inner(true), 10, 56).unwrap();
    assert_eq!(pings.lost(), 0, "{}", swan.log());
}

#[test]
fn a_child_that_the_gateway_deletes_is_set_up_again() {
    let scene = Files::psk().scene();
    let mut agent = scene.tunnel(By::Agent);
    scene.swan.control(&["--terminate", "--child", "gateway"]).unwrap();
    agent.await_children(2).unwrap();
    scene.assert_passes();
    scene.assert_one_ike_sa(1);
}

#[test]
fn an_ike_sa_that_the_gateway_deletes_is_set_up_again() {
    let scene = Files::psk().scene();
    let mut agent = scene.tunnel(By::Agent);
    scene.swan.control(&["--terminate", "--ike", "espalier"]).unwrap();
    agent.await_log("reason=peer deleted the SA", 1).unwrap();
    agent.await_children(2).unwrap();
    scene.assert_passes();
    scene.assert_one_ike_sa(1);
}

#[test]
fn an_agent_that_was_killed_replaces_the_sas_it_has_lost() {
    let scene = Files::psk().scene();
    let mut agent = scene.tunnel(By::Agent);
    agent.program.kill().unwrap();
    let _agent = scene.tunnel(By::Agent);
    scene.assert_passes();
    scene.assert_one_ike_sa(1);
}
