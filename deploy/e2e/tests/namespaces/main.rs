//! Agents among themselves: IPv4 and IPv6 inside and outside, nothing in the clear in any fault, and answers to what is wrong.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

mod forms;
mod gateways;
mod leaks;
mod load;
mod mtu;
mod offloads;
mod on_demand;
mod selectors;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use espalier_e2e::agent::{self, Agent, leave, shared_key_plan, with_lifetimes};
use espalier_e2e::flow::Flow;
use espalier_e2e::lab::{Host, Lab, UPLINK};
use espalier_e2e::ping::ping;
use espalier_e2e::throughput::measure;
use espalier_e2e::wire::{Capture, Seen};

const FAST: Duration = Duration::from_millis(2);

/// Starts an agent on each of two hosts and waits for the tunnel.
fn pair(lab: &Lab, underlay_ipv4: bool, change: impl Fn(&str) -> String) -> [Agent; 2] {
    let [one, other] = &lab.hosts[..] else { panic!("two hosts") };
    let start = |host: &Host, peer: &Host| {
        let plan = change(&shared_key_plan(host, &[peer], underlay_ipv4).unwrap());
        Agent::start(host, &plan, &[]).unwrap()
    };
    let mut agents = [start(one, other), start(other, one)];
    agents.iter_mut().for_each(|agent| agent.await_children(1).unwrap());
    agents
}

fn capture(host: &Host) -> Capture {
    Capture::start(&host.namespace, UPLINK, None).unwrap()
}

fn assert_protected(seen: Seen, at_least: u64) {
    assert!(seen.esp >= at_least, "the tunnel was used: {seen:?}");
    assert_eq!(seen.canaries, 0, "nothing passed in the clear: {seen:?}");
}

#[test]
fn both_families_pass_over_both_families_up_to_the_mtu() {
    for (underlay_ipv4, mtu) in [(true, 1438), (false, 1418)] {
        let lab = Lab::new(2).unwrap();
        let capture = capture(&lab.hosts[0]);
        let mut agents = pair(&lab, underlay_ipv4, str::to_owned);
        for (ipv4, headers) in [(true, 28), (false, 48)] {
            for (size, passes) in [(56, true), (mtu - headers, true), (mtu - headers + 1, false)] {
                let pings = ping(&lab.hosts[0], lab.hosts[1].inner(ipv4), 5, size).unwrap();
                let expected = if passes { 0 } else { 5 };
                assert_eq!(pings.lost(), expected, "{size} bytes, IPv4 underlay {underlay_ipv4}, inside {ipv4}");
            }
        }
        agents.iter_mut().for_each(|agent| assert!(agent.program.terminate().unwrap().success()));
        assert_protected(capture.stop().unwrap(), 40);
    }
}

#[test]
fn rekeys_of_everything_every_few_seconds_lose_nothing() {
    let lab = Lab::new(2).unwrap();
    let mut agents = pair(&lab, true, |plan| with_lifetimes(plan, 5, 2));
    let [one, other] = &lab.hosts[..] else { panic!("two hosts") };
    let flows = [true, false].map(|v4| [(one, other), (other, one)].map(|(a, b)| Flow::start(a, b, v4, FAST).unwrap()));
    agents[0].await_log("IKE SA replaced", 3).unwrap();
    agents[0].await_children(6).unwrap();
    for flow in flows.into_iter().flatten() {
        let delivery = flow.stop().unwrap();
        assert!(delivery.sent > 1_000 && delivery.lost == 0, "{delivery:?}");
    }
}

#[test]
fn a_killed_agent_leaves_nothing_in_the_clear_until_leave() {
    let lab = Lab::new(2).unwrap();
    let [one, other] = &lab.hosts[..] else { panic!("two hosts") };
    let capture_all = capture(one);
    let mut agents = pair(&lab, true, str::to_owned);
    let flows = [true, false].map(|v4| Flow::start(one, other, v4, FAST).unwrap());
    std::thread::sleep(Duration::from_millis(300));
    agents[0].program.kill().unwrap();
    std::thread::sleep(Duration::from_millis(700));
    for flow in flows {
        let delivery = flow.stop().unwrap();
        assert!(delivery.lost > 100 && delivery.lost < delivery.sent, "the kill fell into the traffic: {delivery:?}");
    }
    for v4 in [true, false] {
        assert_eq!(try_to_leak(one, other, v4), 0, "what is protected does not leave by any address");
    }
    assert_protected(capture_all.stop().unwrap(), 100);

    // The agent comes back to what the killed one has left behind.
    let plan = shared_key_plan(one, &[other], true).unwrap();
    let mut again = Agent::start(one, &plan, &[]).unwrap();
    again.await_children(1).unwrap();
    assert_eq!(ping(one, other.inner(true), 5, 56).unwrap().lost(), 0);
    again.program.terminate().unwrap();

    // After leave the canary is seen: the capture would have shown a leak.
    let capture = capture(one);
    leave(one).unwrap();
    assert!([true, false].iter().all(|v4| try_to_leak(one, other, *v4) > 0), "leave takes the guard down");
    assert!(capture.stop().unwrap().canaries > 0);
}

/// Sends canaries to a protected address past the routes of the agent: from the underlay address, with a route of its own.
/// Returns how many the kernel let go.
fn try_to_leak(from: &Host, to: &Host, ipv4: bool) -> usize {
    let (inner, next) = (to.inner(ipv4), to.outer(ipv4));
    let mut route = from.namespace.command("ip");
    route.args(["route", "replace", &inner.to_string(), "via", &next.to_string(), "dev", UPLINK]);
    assert!(route.status().unwrap().success());
    let source = std::net::SocketAddr::new(from.outer(ipv4), 0);
    from.namespace
        .enter(|| {
            let socket = std::net::UdpSocket::bind(source).unwrap();
            (0..20).filter(|_| socket.send_to(espalier_e2e::ping::CANARY, (inner, 9)).is_ok()).count()
        })
        .unwrap()
}

#[test]
fn what_is_wrong_is_named_with_its_place_and_its_remedy() {
    let lab = Lab::new(2).unwrap();
    let [host, peer] = &lab.hosts[..] else { panic!("two hosts") };
    let plan = shared_key_plan(host, &[peer], true).unwrap();
    let typo = plan.replace("action: protect", "action: protekt");
    let fails = |plan: &str, expected: &[&str]| {
        let mut agent = Agent::start(host, plan, &[]).unwrap();
        assert!(!agent.program.wait().unwrap().success());
        let log = agent.program.log();
        expected.iter().for_each(|text| assert!(log.contains(text), "{text:?} in {log}"));
    };
    fails(&typo, &["plan.yaml", "protekt", "protect"]);
    fails(&plan.replace("mesh.psk", "missing.psk"), &["missing.psk", "No such file"]);
    fails(&plan.replace("peer: host2.example", "peer: host3.example"), &["pair-1-2", "host3.example"]);

    let key = host.folder().join("mesh.psk");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    fails(&plan, &["mesh.psk", "chmod 600"]);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();

    let taken = host.namespace.enter(|| std::net::UdpSocket::bind("0.0.0.0:500").unwrap()).unwrap();
    fails(&plan, &["500", "in use"]);
    drop(taken);

    let mut command = agent::command(host).unwrap();
    command.args(["run", "--plan", "/nowhere/plan.yaml"]);
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && text.contains("/nowhere/plan.yaml"), "{text}");
}

#[test]
fn an_agent_without_privileges_or_tun_says_what_it_needs() {
    let lab = Lab::new(2).unwrap();
    let [host, peer] = &lab.hosts[..] else { panic!("two hosts") };
    let plan = shared_key_plan(host, &[peer], true).unwrap();
    fs::write(host.folder().join("plan.yaml"), plan).unwrap();
    let program = espalier_e2e::program::ours("espalier-agent").unwrap();
    let no_capability = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "--securebits", "+noroot"];
    let no_tun = ["unshare", "-m", "sh", "-c", "mount -t tmpfs none /dev/net && exec \"$0\" \"$@\""];
    for (without, expected) in [(&no_capability[..], "CAP_NET"), (&no_tun[..], "/dev/net/tun")] {
        let mut command = host.namespace.command(without[0]);
        command.args(&without[1..]).arg(&program).arg("run").arg("--plan").arg(host.folder().join("plan.yaml"));
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && text.contains(expected), "{text}");
    }
}

#[test]
fn everything_passes_with_one_end_or_both_without_offloads() {
    let off: Vec<String> = ["tun-segmentation", "tun-coalescing", "udp-segmentation", "udp-coalescing"]
        .iter()
        .flat_map(|name| [format!("--{name}"), "false".to_owned()])
        .collect();
    let off: Vec<&str> = off.iter().map(String::as_str).collect();
    for far in [&off[..], &[]] {
        let lab = Lab::new(2).unwrap();
        let [one, other] = &lab.hosts[..] else { panic!("two hosts") };
        let capture = capture(one);
        let start = |host: &Host, peer: &Host, arguments: &[&str]| {
            Agent::start(host, &shared_key_plan(host, &[peer], true).unwrap(), arguments).unwrap()
        };
        let mut agents = [start(one, other, &off), start(other, one, far)];
        agents.iter_mut().for_each(|agent| agent.await_children(1).unwrap());
        for (from, to) in [(one, other), (other, one)] {
            let inner = |ipv4| (to, to.inner(ipv4));
            assert!(
                [true, false].iter().all(|v4| measure(from, inner(*v4), Duration::from_millis(500)).unwrap() > 1.0)
            );
        }
        let mut status = agent::command(one).unwrap();
        let shown = String::from_utf8(status.arg("status").output().unwrap().stdout).unwrap();
        assert!(shown.contains("tun-segmentation off, udp-coalescing off, udp-segmentation off"), "{shown}");
        assert_protected(capture.stop().unwrap(), 1_000);
    }
}

#[test]
fn the_agent_that_ships_has_no_build_without_cryptography_in_it() {
    let program = fs::read(espalier_e2e::program::ours("espalier-agent").unwrap()).unwrap();
    let holds = |text: &str| program.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("keys are written out"), "what an agent says can be found in it");
    assert!(!holds("NULL CRYPTO"), "built with --cfg espalier_null_crypto");
}
