//! Every offload switched off, one by one and all together: what passes is the same, byte for byte.

use std::net::IpAddr;
use std::thread;

use espalier_e2e::transfer::{datagrams, stream};

use super::*;

const NAMES: [&str; 4] = ["tun-segmentation", "tun-coalescing", "udp-segmentation", "udp-coalescing"];
/// The longest packet inside over an underlay of IPv4.
const MTU: u16 = 1_438;
const BYTES: usize = 4 << 20;

/// Returns the arguments of an agent without these offloads.
fn without(names: &[&str]) -> Vec<String> {
    names.iter().flat_map(|name| [format!("--{name}"), "false".to_owned()]).collect()
}

/// Sends by ICMP, TCP and UDP both ways, small and large, inside IPv4 and IPv6.
fn assert_all_passes(one: &Host, other: &Host, what: &str) {
    let headers = |to: IpAddr| if to.is_ipv4() { 28 } else { 48 };
    thread::scope(|scope| {
        for (from, to) in [(one, other.inner(true)), (one, other.inner(false)), (other, one.inner(true))] {
            for size in [16, MTU - headers(to)] {
                scope.spawn(move || assert_eq!(ping(from, to, 3, size).unwrap().lost(), 0, "{what}: {size} to {to}"));
            }
        }
    });
    for (from, to) in [(one, other), (other, one)] {
        for address in [to.inner(true), to.inner(false)] {
            let (from, to) = (&from.namespace, (&to.namespace, address));
            stream(from, to, BYTES).expect(what);
            for length in [1, 700, usize::from(MTU - headers(address)), 5_000] {
                datagrams(from, to, 40, length).expect(what);
            }
        }
    }
}

#[test]
fn everything_passes_without_each_offload_and_without_any() {
    let one_by_one = NAMES.iter().map(std::slice::from_ref);
    for off in one_by_one.chain([&NAMES[..]]) {
        let lab = Lab::new(2).unwrap();
        let [one, other] = &lab.hosts[..] else { panic!("two hosts") };
        let capture = capture(one);
        let arguments = without(off);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut agents = [(one, other), (other, one)].map(|(host, peer)| {
            Agent::start(host, &shared_key_plan(host, &[peer], true).unwrap(), &arguments).unwrap()
        });
        agents.iter_mut().for_each(|agent| agent.await_children(1).unwrap());
        assert_all_passes(one, other, &format!("without {off:?}"));
        let mut status = agent::command(one).unwrap();
        let shown = String::from_utf8(status.arg("status").output().unwrap().stdout).unwrap();
        for name in NAMES {
            let state = if off.contains(&name) { "off" } else { "on" };
            assert!(shown.contains(&format!("{name} {state}")), "{shown}");
        }
        assert_protected(capture.stop().unwrap(), 5_000);
    }
}
