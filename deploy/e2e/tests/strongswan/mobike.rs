//! Ends whose addresses change while packets flow (RFC 4555), in both roles of both.

use std::thread::sleep;
use std::time::{Duration, Instant};

use espalier_e2e::agent::Agent;
use espalier_e2e::flow::Flow;
use espalier_e2e::lab::Host;

use crate::scene::{By, Files, Scene, both_roles, run};

both_roles! {
    an_agent_that_gets_another_address_keeps_its_tunnel => agent_moves;
    an_agent_that_gets_its_new_address_first_loses_no_packet => agent_moves_softly;
    a_gateway_that_gets_another_address_keeps_its_tunnel => gateway_moves;
    a_gateway_that_does_not_move_is_followed_or_found_anew => gateway_refuses;
    an_agent_that_does_not_move_says_so => agent_refuses;
}

/// What is lost is what left, or was under way, while the path carried nothing.
const OUTAGE: Duration = Duration::from_secs(4);

fn anywhere() -> Files {
    Files::psk().gateway("= 10.9.0.1\n", "= 10.9.0.1, 10.9.0.11\n")
}

fn agent_moves(by: By) {
    let scene = anywhere().scene();
    let mut agent = scene.tunnel(by);
    let capture = scene.capture();
    let flows = scene.flows();
    sleep(Duration::from_millis(500));
    exchange(scene.node(), "10.9.0.11/24", "10.9.0.1/24");
    agent.await_log("path moved", 1).unwrap();
    sleep(Duration::from_secs(2));
    assert_moved(&scene, &agent, flows);
    scene.assert_shown(&["remote-host=10.9.0.11"]);
    assert_eq!(capture.stop().unwrap().canaries, 0, "nothing passed in the clear");
    scene.assert_passes();
}

fn agent_moves_softly(by: By) {
    let scene = anywhere().plan("endpoints: [10.9.0.1]", "endpoints: [10.9.0.11, 10.9.0.1]").scene();
    let mut agent = scene.tunnel(by);
    let flows = scene.flows();
    sleep(Duration::from_millis(500));
    run(scene.node(), &["ip", "address", "add", "10.9.0.11/24", "dev", "eth0"]);
    let led = agent.await_log("path moved", 1).is_ok();
    assert!(led || by == By::Gateway, "who leads takes the better address:\n{}", agent.program.log());
    sleep(Duration::from_millis(500));
    crate::scene::assert_nothing_lost(flows);
    scene.assert_one_ike_sa(1);
}

fn gateway_moves(by: By) {
    let scene = Files::psk()
        .gateway("local_addrs = 10.9.0.2", "local_addrs = 10.9.0.2, 10.9.0.12")
        .plan("[10.9.0.2]", "[10.9.0.2, 10.9.0.12]")
        .scene();
    // Charon takes an IPv6 address as gladly, where it finds one first.
    run(scene.gateway(), &["ip", "-6", "address", "flush", "dev", "eth0", "scope", "global"]);
    let mut agent = scene.tunnel(by);
    let capture = scene.capture();
    let flows = scene.flows();
    sleep(Duration::from_millis(500));
    exchange(scene.gateway(), "10.9.0.12/24", "10.9.0.2/24");
    agent.await_log("path moved", 1).unwrap();
    sleep(Duration::from_secs(2));
    assert_moved(&scene, &agent, flows);
    scene.assert_shown(&["local-host=10.9.0.12"]);
    assert_eq!(capture.stop().unwrap().canaries, 0, "nothing passed in the clear");
    scene.assert_passes();
}

fn gateway_refuses(by: By) {
    let scene = anywhere()
        .gateway("  version = 2\n", "  version = 2\n    mobike = no\n")
        .profile("liveness-seconds: 1")
        .scene();
    let _agent = scene.tunnel(by);
    exchange(scene.node(), "10.9.0.11/24", "10.9.0.1/24");
    await_passage(&scene);
    scene.assert_passes();
}

fn agent_refuses(by: By) {
    let scene = anywhere().profile("mobike: off, liveness-seconds: 1").scene();
    let agent = scene.tunnel(by);
    assert!(status(&scene).contains("\"mobike\": false"), "{}", agent.program.log());
    exchange(scene.node(), "10.9.0.11/24", "10.9.0.1/24");
    await_passage(&scene);
    scene.assert_passes();
}

/// Gives a host an address in place of another, as a cable does that is put into another socket.
fn exchange(host: &Host, new: &str, old: &str) {
    run(host, &["ip", "address", "add", new, "dev", "eth0"]);
    run(host, &["ip", "address", "delete", old, "dev", "eth0"]);
    // What Linux takes away with the first address of a network.
    let _ = host.namespace.command("ip").args(["address", "replace", new, "dev", "eth0"]).status();
}

/// The tunnel has moved and was never set up anew; packets were lost only while nobody could know the new address.
fn assert_moved(scene: &Scene, agent: &Agent, flows: [Flow; 2]) {
    let log = agent.program.log();
    assert_eq!((log.matches("IKE SA up").count(), log.matches("IKE SA down").count()), (1, 0), "{log}");
    for delivery in Flow::stop_all(flows.into()).unwrap() {
        assert!(delivery.sent > 500 && delivery.lost * 4 < delivery.sent, "{delivery:?}");
        assert!(u128::from(delivery.longest_gap_ms) < OUTAGE.as_millis(), "{delivery:?}");
    }
    let shown = status(scene);
    assert!(shown.contains("\"mobike\": true"), "{shown}");
}

fn status(scene: &Scene) -> String {
    let mut command = espalier_e2e::agent::command(scene.node()).unwrap();
    let socket = scene.node().folder().join("agent.sock");
    let output = command.args(["status", "--json", "--socket"]).arg(socket).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn await_passage(scene: &Scene) {
    let to = scene.gateway().inner(true);
    let deadline = Instant::now() + Duration::from_secs(40);
    while espalier_e2e::ping::ping(scene.node(), to, 3, 56).unwrap().lost() > 0 {
        assert!(Instant::now() < deadline, "nothing passes:\n{}", scene.swan.log());
        sleep(Duration::from_millis(50));
    }
}
