//! A router between the ends that translates addresses and ports, and changes its mind under traffic.

use std::net::IpAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use espalier_e2e::agent::with_profile;
use espalier_e2e::lab::{Host, Lab};
use espalier_e2e::ping::ping;

use crate::scene::{By, Files, Scene, run};

#[test]
fn an_agent_behind_a_router_reaches_the_gateway() {
    let scene = agent_behind();
    scene.assert_tunnel(By::Agent, &["remote-host=10.9.0.3", "nat-remote=yes", "encap=yes"]);
}

#[test]
fn a_gateway_behind_a_router_reaches_the_agent() {
    let scene = gateway_behind();
    scene.assert_tunnel(By::Gateway, &["local-host=192.168.77.2", "nat-local=yes", "encap=yes"]);
}

#[test]
fn rekeys_through_a_router_lose_nothing() {
    let mut scene = agent_behind();
    scene.plan = espalier_e2e::agent::with_lifetimes(&scene.plan, 5, 2);
    let mut agent = scene.tunnel(By::Agent);
    let flows = scene.flows();
    scene.swan.control(&["--rekey", "--child", "gateway"]).unwrap();
    agent.await_log("IKE SA replaced", 1).unwrap();
    agent.await_children(3).unwrap();
    crate::scene::assert_nothing_lost(flows);
}

#[test]
fn the_agent_follows_a_gateway_whose_mapping_changes_under_traffic() {
    let scene = gateway_behind();
    let mut agent = scene.tunnel(By::Gateway);
    let capture = scene.capture();
    let flows = scene.flows();
    change_mapping(&scene.lab.hosts[2]);
    agent.await_log("path moved", 1).unwrap();
    drop(flows);
    await_passage(&scene);
    scene.assert_passes();
    assert_eq!(capture.stop().unwrap().canaries, 0, "nothing passed in the clear");
}

#[test]
fn the_gateway_follows_an_agent_whose_mapping_changes_under_traffic() {
    let mut scene = agent_behind();
    scene.plan = with_profile(&scene.plan, "liveness-seconds: 1");
    let _agent = scene.tunnel(By::Agent);
    let capture = scene.capture();
    change_mapping(&scene.lab.hosts[2]);
    await_passage(&scene);
    scene.assert_passes();
    scene.assert_shown(&["remote-host=10.9.0.4"]);
    assert_eq!(capture.stop().unwrap().canaries, 0, "nothing passed in the clear");
}

fn agent_behind() -> Scene {
    let lab = Lab::new(3).unwrap();
    put_behind(&lab.hosts[0], &lab.hosts[2]);
    Files::psk().plan("[10.9.0.1]", "[192.168.77.2]").gateway("= 10.9.0.1\n", "= %any\n").scene_in(lab)
}

fn gateway_behind() -> Scene {
    let lab = Lab::new(3).unwrap();
    put_behind(&lab.hosts[1], &lab.hosts[2]);
    Files::psk().plan("[10.9.0.2]", "[10.9.0.3]").gateway("= 10.9.0.2\n", "= 192.168.77.2\n").scene_in(lab)
}

/// Moves a host to a private network, from which it reaches the others only through the router.
fn put_behind(host: &Host, router: &Host) {
    run(host, &["ip", "address", "flush", "dev", "eth0", "scope", "global"]);
    run(host, &["ip", "address", "add", "192.168.77.2/24", "dev", "eth0"]);
    run(host, &["ip", "route", "add", "default", "via", "192.168.77.1"]);
    run(router, &["ip", "address", "add", "192.168.77.1/24", "dev", "eth0"]);
    for setting in
        ["ip_forward=1", "conf.all.send_redirects=0", "conf.eth0.send_redirects=0", "conf.eth0.promote_secondaries=1"]
    {
        run(router, &["sysctl", "-q", "-w", &format!("net.ipv4.{setting}")]);
    }
    let rules = "add table ip nat; add chain ip nat out { type nat hook postrouting priority 100; }; \
                 add rule ip nat out ip saddr 192.168.77.0/24 meta l4proto udp masquerade to :20000-30000";
    run(router, &["nft", rules]);
}

/// Gives the router another address: Linux forgets the mappings to the one that goes.
fn change_mapping(router: &Host) {
    run(router, &["ip", "address", "add", "10.9.0.4/24", "dev", "eth0"]);
    run(router, &["ip", "address", "delete", "10.9.0.3/24", "dev", "eth0"]);
}

/// Waits until packets pass again: those under way while nobody knew the new address are lost.
fn await_passage(scene: &Scene) {
    let to: IpAddr = scene.gateway().inner(true);
    let deadline = Instant::now() + Duration::from_secs(20);
    while ping(scene.node(), to, 3, 56).unwrap().lost() > 0 {
        assert!(Instant::now() < deadline, "nothing passes:\n{}", scene.swan.log());
        sleep(Duration::from_millis(50));
    }
}
