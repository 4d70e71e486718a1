//! Underlays of other widths, and paths that change theirs: what is too long is told its sender, and nothing vanishes.

use espalier_e2e::program::output;
use espalier_sys::netlink::Netlink;

use super::*;

/// Around a packet: IP, UDP, ESP with AES-GCM, and the step of its padding.
const AROUND: u16 = 62;
/// Around the payload of a ping over IPv4.
const PING: u16 = 28;

fn set_mtu(host: &Host, mtu: u32) {
    host.namespace
        .enter(|| {
            let mut netlink = Netlink::open().unwrap();
            let index = netlink.link_index(UPLINK).unwrap();
            netlink.set_mtu(index, mtu).unwrap();
        })
        .unwrap();
}

/// Returns a network whose every wire has this MTU.
pub(super) fn lab(mtu: u32) -> Lab {
    let lab = Lab::new(2).unwrap();
    lab.hosts.iter().for_each(|host| set_mtu(host, mtu));
    lab.switch
        .enter(|| {
            let mut netlink = Netlink::open().unwrap();
            for name in ["port1", "port2", "switch"] {
                let index = netlink.link_index(name).unwrap();
                netlink.set_mtu(index, mtu).unwrap();
            }
        })
        .unwrap();
    lab
}

/// Checks that a tunnel carries packets of the length that fits into a path of this MTU, refuses longer ones, and carries connections.
fn assert_fits(lab: &Lab, path: u16) {
    let [one, other] = &lab.hosts[..] else { panic!("two hosts") };
    let longest = path - AROUND - PING;
    for (size, lost) in [(longest, 0), (longest + 1, 3)] {
        let pings = ping(one, other.inner(true), 3, size).unwrap();
        assert_eq!(pings.lost(), lost, "{size} bytes on a path of {path}");
    }
    for (from, to) in [(one, other), (other, one)] {
        for ipv4 in [true, false] {
            let carried = measure(from, (to, to.inner(ipv4)), Duration::from_millis(300)).unwrap();
            assert!(carried > 1.0, "{carried} Mbit/s, inside IPv4 {ipv4}, on a path of {path}");
        }
    }
}

#[test]
fn narrow_and_wide_underlays_are_filled_and_never_exceeded() {
    for path in [1_400, 4_000] {
        let lab = lab(path.into());
        let capture = capture(&lab.hosts[0]);
        let mut agents = pair(&lab, true, str::to_owned);
        agents.iter_mut().for_each(|agent| agent.await_log("path has another MTU", 1).unwrap());
        assert_fits(&lab, path);
        let seen = capture.stop().unwrap();
        assert_eq!(seen.ip_fragments, 0, "{seen:?}");
        assert_protected(seen, 100);
    }
}

#[test]
fn a_path_that_becomes_narrow_under_a_connection_is_followed() {
    let lab = Lab::new(2).unwrap();
    let [one, other] = &lab.hosts[..] else { panic!("two hosts") };
    let mut agents = pair(&lab, true, str::to_owned);
    assert_fits(&lab, 1_500);
    for (host, peer) in [(one, other), (other, one)] {
        let mut command = host.namespace.command("ip");
        command.args(["route", "replace", &peer.outer(true).to_string(), "dev", UPLINK, "mtu", "1380"]);
        output(command).unwrap();
    }
    // A connection meets the narrow place and goes on; a packet that is not sent again has its sender told with the next one.
    assert!(measure(one, (other, other.inner(true)), Duration::from_secs(2)).unwrap() > 1.0);
    assert_eq!(ping(other, one.inner(true), 1, 1_500 - AROUND - PING).unwrap().lost(), 1);
    agents.iter_mut().for_each(|agent| agent.await_log("path has another MTU", 1).unwrap());
    assert_fits(&lab, 1_380);
}

#[test]
fn what_a_narrow_path_cannot_take_whole_leaves_in_fragments() {
    let (usual, raw, both) = ("encap: always", "encap: never", "encap: never, protection: ah+esp");
    for (underlay_ipv4, form) in [(true, usual), (false, usual), (false, raw), (true, both), (false, both)] {
        let lab = lab(1_280);
        let [one, other] = &lab.hosts[..] else { panic!("two hosts") };
        let capture = capture(one);
        let mut agents = pair(&lab, underlay_ipv4, |plan| agent::with_profile(plan, form));
        agents.iter_mut().for_each(|agent| agent.await_log("path has another MTU", 1).unwrap());
        // IPv6 has 1,280 bytes whatever is underneath.
        for (from, to) in [(one, other), (other, one)] {
            let pings = ping(from, to.inner(false), 5, 1_280 - 48).unwrap();
            assert_eq!(pings.lost(), 0, "1,280 bytes of IPv6, outside IPv4 {underlay_ipv4}, {form}");
            for ipv4 in [true, false] {
                let carried = measure(from, (to, to.inner(ipv4)), Duration::from_millis(300)).unwrap();
                assert!(carried > 1.0, "{carried} Mbit/s, inside IPv4 {ipv4}, outside {underlay_ipv4}, {form}");
            }
        }
        let seen = capture.stop().unwrap();
        assert!(seen.ip_fragments >= 10, "{seen:?}");
        assert_protected(seen, 100);
        agents.iter_mut().for_each(|agent| assert!(!agent.program.log().contains("refused in use")));
    }
}
