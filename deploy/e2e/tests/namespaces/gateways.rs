//! Hosts behind gateways that hear nothing of packets that are too long.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;

use espalier_e2e::program::output;
use espalier_e2e::transfer::stream;
use espalier_sys::netlink::{Netlink, Route, Target, VethEnd};
use espalier_sys::netns::NetNs;
use ipnet::IpNet;

use super::*;

/// The interface of a gateway to the host behind it.
const INSIDE: &str = "lan";
const MAIN: u32 = 254;
/// Some hundred packets.
const BYTES: usize = 500_000;

/// Returns an address behind a gateway: 1 is its own, 2 that of the host.
fn behind(gateway: &Host, place: u8, ipv4: bool) -> IpAddr {
    if ipv4 {
        Ipv4Addr::new(10, 20, gateway.number, place).into()
    } else {
        Ipv6Addr::new(0xfd00, 0x20, 0, gateway.number.into(), 0, 0, 0, place.into()).into()
    }
}

fn net(gateway: &Host, place: u8, ipv4: bool) -> IpNet {
    IpNet::new(behind(gateway, place, ipv4), if ipv4 { 24 } else { 64 }).unwrap()
}

/// Puts a host behind a gateway. Whatever the gateway would tell it of packets that are too long is dropped.
fn put_behind(gateway: &Host) -> NetNs {
    let host = NetNs::create(&format!("behind-{}-{}", std::process::id(), gateway.number)).unwrap();
    let give = |end: &NetNs, name: &str, place: u8| {
        end.enter(|| {
            let mut netlink = Netlink::open().unwrap();
            let index = netlink.link_index(name).unwrap();
            netlink.set_up(index).unwrap();
            for ipv4 in [true, false] {
                netlink.add_address(index, net(gateway, place, ipv4)).unwrap();
                if place == 2 {
                    let target = Target::Gateway(behind(gateway, 1, ipv4));
                    let destination = IpNet::new(if ipv4 { "0.0.0.0" } else { "::" }.parse().unwrap(), 0).unwrap();
                    let route = Route { destination, table: MAIN, metric: 10, target, source: None, mtu: None };
                    netlink.add_route(&route).unwrap();
                }
            }
        })
        .unwrap();
    };
    let near = VethEnd { name: INSIDE, namespace: Some(gateway.namespace.as_fd()) };
    let far = VethEnd { name: UPLINK, namespace: Some(host.as_fd()) };
    gateway.namespace.enter(|| Netlink::open().unwrap().create_veth(near, far).unwrap()).unwrap();
    give(&gateway.namespace, INSIDE, 1);
    give(&host, UPLINK, 2);
    let filter = "add table inet filter; add chain inet filter out { type filter hook output priority 0; }; \
                  add rule inet filter out icmp type destination-unreachable drop; \
                  add rule inet filter out icmpv6 type packet-too-big drop";
    for words in [
        &["nft", filter][..],
        &["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"],
        &["sysctl", "-q", "-w", "net.ipv6.conf.all.forwarding=1"],
    ] {
        let (program, arguments) = words.split_first().unwrap();
        let mut command = gateway.namespace.command(program);
        command.args(arguments);
        output(command).unwrap();
    }
    host
}

/// Makes the rules of a plan mean what is behind the gateways.
fn for_hosts_behind(plan: &str, hosts: &[Host]) -> String {
    let (before, rules) = plan.split_once("rules:").unwrap();
    let mut rules = rules.to_owned();
    for gateway in hosts {
        for (ipv4, length) in [(true, 32), (false, 128)] {
            let (from, to) = (format!("{}/{length}", gateway.inner(ipv4)), net(gateway, 1, ipv4).trunc().to_string());
            rules = rules.replace(&from, &to);
        }
    }
    format!("{before}rules:{rules}")
}

#[test]
fn connections_fit_the_tunnel_where_nobody_hears_that_a_packet_is_too_long() {
    let lab = mtu::lab(1_400);
    let [one, other] = &lab.hosts[..] else { panic!("two hosts") };
    let [far, near] = [other, one].map(put_behind);
    let capture = capture(one);
    let mut agents = pair(&lab, true, |plan| for_hosts_behind(plan, &lab.hosts));
    agents.iter_mut().for_each(|agent| agent.await_log("path has another MTU", 1).unwrap());
    for ipv4 in [true, false] {
        stream(&near, (&far, behind(other, 2, ipv4)), BYTES).unwrap();
        stream(&far, (&near, behind(one, 2, ipv4)), BYTES).unwrap();
    }
    assert_protected(capture.stop().unwrap(), 1_000);
}
