//! Virtual addresses (RFC 7296 §2.19): asked of charon's pools, and given to charon out of ours.

use std::net::IpAddr;
use std::thread::sleep;
use std::time::Duration;

use espalier_e2e::agent::{Agent, with_lifetimes};
use espalier_e2e::lab::{Host, Lab};
use espalier_e2e::ping::ping_from;
use espalier_e2e::pki::write_secret;

use crate::scene::{By, Files, Scene, assert_answered, assert_protected, replaced};

const ASKS: &str = "The node asks";
const GIVES: &str = "The node gives";

/// Returns the addresses that the agent has noted last.
fn noted(agent: &Agent) -> Vec<IpAddr> {
    let log = agent.program.log();
    let line = log.lines().rfind(|line| line.contains("virtual addresses") && line.contains("addresses=[")).unwrap();
    let (_, list) = line.split_once("addresses=[").unwrap();
    let (list, _) = list.split_once(']').unwrap();
    list.split(", ").filter_map(|text| text.parse().ok()).collect()
}

/// Pings both ways between an address and the one of its family at the other end.
fn assert_passes(one: &Host, addresses: &[IpAddr], other: &Host) {
    for address in addresses {
        let inner = other.inner(address.is_ipv4());
        for size in [56, 1200] {
            assert_answered(one, *address, inner, size);
            assert_answered(other, inner, *address, size);
        }
    }
}

#[test]
fn an_agent_is_given_addresses_by_the_gateway() {
    let mut scene = Files::virtual_addresses(ASKS).scene();
    scene.plan = with_lifetimes(&scene.plan, 8, 4);
    let capture = scene.capture();
    let mut agent = scene.tunnel(By::Agent);
    let addresses = noted(&agent);
    assert_eq!(addresses, ["10.3.0.1".parse::<IpAddr>().unwrap(), "fd00:3::1".parse().unwrap()]);
    assert_passes(scene.node(), &addresses, scene.gateway());
    scene.assert_shown(&["remote-vips=[10.3.0.1 fd00:3::1]", "remote-ts=[10.3.0.1/32 fd00:3::1/128]"]);
    scene.assert_status(&["virtual addresses 10.3.0.1, fd00:3::1", "name servers 10.10.2.1"]);
    agent.await_log("IKE SA replaced", 1).unwrap();
    agent.await_children(3).unwrap();
    assert_passes(scene.node(), &addresses, scene.gateway());
    assert_protected(capture.stop().unwrap());
    assert!(agent.program.terminate().unwrap().success());
    assert!(noted(&agent).is_empty(), "the address is given back");
}

#[test]
fn an_agent_that_comes_again_has_its_addresses_again() {
    let scene = Files::virtual_addresses(ASKS).scene();
    let mut agent = scene.tunnel(By::Agent);
    let before = noted(&agent);
    scene.swan.control(&["--terminate", "--ike", "espalier"]).unwrap();
    agent.await_log("IKE SA up", 2).unwrap();
    agent.await_children(2).unwrap();
    assert_eq!(noted(&agent), before);
    assert_passes(scene.node(), &before, scene.gateway());
}

#[test]
fn an_agent_that_is_given_no_address_has_no_tunnel_and_says_why() {
    let scene = Files::virtual_addresses(ASKS).gateway("    pools = road4, road6\n", "").scene();
    let mut agent = scene.agent(By::Agent);
    agent.await_log("the peer gives no address (INTERNAL_ADDRESS_FAILURE", 1).unwrap();
    sleep(Duration::from_secs(1));
    assert!(!agent.program.log().contains("child SA in use"), "{}", agent.program.log());
    let sas = scene.swan.sas().unwrap();
    assert!(!sas.contains("INSTALLED"), "{sas}");
}

/// Starts the agent that gives addresses, and has charon call it.
fn called(scene: &Scene) -> Agent {
    let mut agent = Agent::start(scene.node(), &scene.plan, &[]).unwrap();
    agent.await_log("running", 1).unwrap();
    scene.swan.control(&["--initiate", "--child", "home"]).unwrap();
    agent.await_children(1).unwrap();
    agent
}

#[test]
fn a_gateway_on_the_road_is_given_addresses_by_the_agent_and_has_them_again() {
    let scene = Files::virtual_addresses(GIVES).scene();
    let capture = scene.capture();
    let mut agent = called(&scene);
    let addresses = noted(&agent);
    assert_eq!(addresses.len(), 2, "{addresses:?}");
    assert_passes(scene.gateway(), &addresses, scene.node());
    let [v4, v6] = [addresses[0].to_string(), addresses[1].to_string()];
    scene.assert_shown(&[&format!("local-vips=[{v4} {v6}]"), &format!("local-ts=[{v4}/32 {v6}/128]")]);
    scene.assert_status(&[&format!("virtual addresses {v4}, {v6}")]);
    // What nobody has been given goes nowhere, though it lies in the pool.
    let unused = if v4 == "10.3.0.77" { "10.3.0.78" } else { "10.3.0.77" };
    let pings = ping_from(scene.node(), scene.node().inner(true), unused.parse().unwrap(), 2, 56).unwrap();
    assert_eq!(pings.received, 0);
    assert_protected(capture.stop().unwrap());
    scene.swan.control(&["--terminate", "--ike", "espalier"]).unwrap();
    agent.await_log("IKE SA down", 1).unwrap();
    assert!(noted(&agent).is_empty(), "the address is returned");
    scene.swan.control(&["--initiate", "--child", "home"]).unwrap();
    agent.await_children(2).unwrap();
    assert_eq!(noted(&agent), addresses);
    assert_passes(scene.gateway(), &addresses, scene.node());
}

/// The third host is an agent that asks; both have addresses of one pool.
#[test]
fn peers_of_one_pool_have_each_their_own_address_and_their_own_packets() {
    let peer = "peers:\n  - { id: third.example, endpoints: [10.9.0.3], initiate: false, auth: { psk-file: road.psk }, \
                virtual-addresses: { pool: { prefixes: [10.3.0.0/24] } } }\n";
    let rule = "rules:\n  - { name: third, action: protect, local: [10.10.1.1/32], remote: [10.3.0.0/24], peer: third.example }\n";
    let scene =
        Files::virtual_addresses(GIVES).plan("peers:\n", peer).plan("rules:\n", rule).scene_in(Lab::new(3).unwrap());
    let third = &scene.lab.hosts[2];
    let asks = Files::virtual_addresses(ASKS);
    write_secret(&third.folder().join("gateway.psk"), &asks.key).unwrap();
    let plan = replaced(&asks.plan, "node.example", "third.example").replace("10.9.0.1", "10.9.0.3");
    let plan = plan.replace("10.9.0.2", "10.9.0.1").replace("gateway.example", "node.example");
    let plan = plan.replace("10.10.2.1/32", "10.10.1.1/32").replace("request: [ipv4, ipv6]", "request: [ipv4]");
    let agent = called(&scene);
    let first = noted(&agent)[0];
    let mut other = Agent::start(third, &plan, &[]).unwrap();
    other.await_children(1).unwrap();
    let second = noted(&other)[0];
    assert_ne!(first, second);
    for (host, address) in [(scene.gateway(), first), (third, second)] {
        assert_answered(host, address, scene.node().inner(true), 56);
        assert_answered(scene.node(), scene.node().inner(true), address, 56);
    }
}

#[test]
fn a_pool_with_nothing_left_refuses_by_name() {
    let files = Files::virtual_addresses(GIVES)
        .plan("prefixes: [10.3.0.0/24, \"fd00:3::/64\"]", "prefixes: [10.3.0.7/32]\n        except: [10.3.0.7]");
    assert_told(files, "INTERNAL_ADDRESS_FAILURE");
}

#[test]
fn a_gateway_that_does_not_ask_is_told_that_it_must() {
    let files = Files::virtual_addresses(GIVES).gateway("    vips = 0.0.0.0, ::\n", "");
    assert_told(files.gateway("remote_ts =", "local_ts = 10.3.0.9/32\n        remote_ts ="), "FAILED_CP_REQUIRED");
}

/// charon gets no child SA, and the reason by its name.
fn assert_told(files: Files, name: &str) {
    let scene = files.scene();
    let mut agent = Agent::start(scene.node(), &scene.plan, &[]).unwrap();
    agent.await_log("running", 1).unwrap();
    assert!(scene.swan.control(&["--initiate", "--child", "home", "--timeout", "8"]).is_err());
    let log = scene.swan.log();
    assert!(log.contains(&format!("received {name} notify")), "{log}");
    assert!(!agent.program.log().contains("child SA in use"), "{}", agent.program.log());
}
