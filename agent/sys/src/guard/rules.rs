//! The guard's rules.

use std::net::IpAddr;

use ipnet::IpNet;

use super::attribute::{Expressions, Header, Meta, Outcome};
use super::batch::{Batch, Hook, Version};
use super::{Exemption, GuardSpec, Side, Transport};

/// Writes the sets of one edition of the guard.
pub(super) fn write_sets(batch: &mut Batch, spec: &GuardSpec, edition: u32) {
    for (name, nets) in [("local", &spec.local), ("protected", &spec.protected)] {
        for version in [Version::V4, Version::V6] {
            batch.set(&set_name(name, version, edition), version, &ranges(nets, version));
        }
    }
}

/// Returns the lowest edition of which no set exists.
pub(super) fn free_edition(sets: &[String]) -> u32 {
    let taken = |edition: u32| sets.iter().any(|name| name.ends_with(&format!("-{edition}")));
    (0..).find(|edition| !taken(*edition)).expect("a table has few sets")
}

fn set_name(name: &str, version: Version, edition: u32) -> String {
    match version {
        Version::V4 => format!("{name}4-{edition}"),
        Version::V6 => format!("{name}6-{edition}"),
    }
}

/// Writes chains and rules of the guard over the sets of one edition.
pub(super) fn write_rules(batch: &mut Batch, spec: &GuardSpec, edition: u32) {
    batch.chain("arriving", Hook::Input, FIRST);
    batch.chain("passing", Hook::Forward, FIRST);
    batch.chain("leaving", Hook::Postrouting, LAST);
    for (chain, way) in [("arriving", Way::In), ("passing", Way::In), ("leaving", Way::Out)] {
        write_chain(batch, chain, way, spec, edition);
    }
}

/// Before and after whatever else a machine has: address translation must not hide a packet from the guard.
const FIRST: i32 = -300;
const LAST: i32 = 300;

/// Which way the packets of a chain go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    In,
    Out,
}

fn write_chain(batch: &mut Batch, chain: &str, way: Way, spec: &GuardSpec, edition: u32) {
    let mut accept = |expressions: Expressions| batch.rule(chain, &expressions.then(Outcome::Accept));
    let interface = match way {
        Way::In => Meta::ArrivingInterface,
        Way::Out => Meta::LeavingInterface,
    };
    for name in ["lo", &spec.tunnel_interface] {
        accept(Expressions::default().interface(interface, name));
    }
    if way == Way::Out {
        accept(Expressions::default().meta(Meta::Mark, &spec.mark.to_ne_bytes()));
    }
    for protocol in [ESP, AH] {
        accept(Expressions::default().meta(Meta::TransportProtocol, &[protocol]));
    }
    // A neighbour that cannot be found cannot be sent ESP either (RFC 4861 §4; a hop limit of 255 proves it is on the link).
    for kind in NEIGHBOUR_DISCOVERY {
        let on_link = Expressions::default()
            .meta(Meta::NetworkProtocol, &[IPV6])
            .bytes(Header::Network, HOP_LIMIT, &[255])
            .meta(Meta::TransportProtocol, &[ICMPV6]);
        accept(on_link.bytes(Header::Transport, 0, &[kind]));
    }
    // Fragments of IKE messages: without its first one, which is judged by its ports, a datagram is never put together.
    if chain == "arriving" {
        accept(Expressions::default().meta(Meta::NetworkProtocol, &[IPV6]).later_fragment());
    }
    let ike = [500, 4500].map(|port| Exemption {
        transport: Transport::Udp,
        ports: port..=port,
        side: Side::Local,
        own: None,
        other: None,
    });
    for exemption in ike.iter().chain(&spec.exempt) {
        accept(exempted(exemption, way));
    }
    for (name, outcome) in [("local", Outcome::Accept), ("protected", Outcome::Drop)] {
        for version in [Version::V4, Version::V6] {
            let set = set_name(name, version, edition);
            batch.rule(chain, &in_set(&set, version, way).count().then(outcome));
        }
    }
}

fn exempted(exemption: &Exemption, way: Way) -> Expressions {
    let protocol = match exemption.transport {
        Transport::Tcp => TCP,
        Transport::Udp => UDP,
    };
    let offset = match (exemption.side, way) {
        (Side::Local, Way::Out) | (Side::Remote, Way::In) => SOURCE_PORT,
        (Side::Local, Way::In) | (Side::Remote, Way::Out) => DESTINATION_PORT,
    };
    let mut expressions = Expressions::default();
    let back = if way == Way::In { Way::Out } else { Way::In };
    for (address, way) in [(exemption.other, way), (exemption.own, back)] {
        let Some(address) = address else { continue };
        let (version, bytes) = match address {
            IpAddr::V4(v4) => (Version::V4, v4.octets().to_vec()),
            IpAddr::V6(v6) => (Version::V6, v6.octets().to_vec()),
        };
        let (network, _, field) = other_address(version, way);
        expressions = expressions.meta(Meta::NetworkProtocol, &[network]).bytes(Header::Network, field, &bytes);
    }
    expressions.meta(Meta::TransportProtocol, &[protocol]).port(offset, &exemption.ports)
}

/// The address of the other side is in a set: the source of what comes in, the destination of what goes out.
fn in_set(set: &str, version: Version, way: Way) -> Expressions {
    let (protocol, length, offset) = other_address(version, way);
    let of_version = Expressions::default().meta(Meta::NetworkProtocol, &[protocol]);
    of_version.in_set(Header::Network, offset, length, set)
}

/// Returns the number of a version, and the length and place of the other side's address in its header; the way back has our own.
const fn other_address(version: Version, way: Way) -> (u8, u32, u32) {
    let (protocol, length, source) = match version {
        Version::V4 => (IPV4, 4, 12),
        Version::V6 => (IPV6, 16, 8),
    };
    match way {
        Way::In => (protocol, length, source),
        Way::Out => (protocol, length, source + length),
    }
}

/// Returns the ranges of one version's prefixes, ordered and joined where they overlap or touch.
fn ranges(nets: &[IpNet], version: Version) -> Vec<(u128, u128)> {
    let wanted = nets.iter().filter(|net| net.addr().is_ipv4() == (version == Version::V4));
    let mut ranges: Vec<_> = wanted.map(|net| (number(net.network()), number(net.broadcast()))).collect();
    ranges.sort_unstable();
    let mut joined: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match joined.last_mut() {
            Some(open) if first <= open.1.saturating_add(1) => open.1 = open.1.max(last),
            _ => joined.push((first, last)),
        }
    }
    joined
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => u32::from(v4).into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

const IPV4: u8 = 2;
const IPV6: u8 = 10;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ESP: u8 = 50;
const AH: u8 = 51;
const ICMPV6: u8 = 58;
const SOURCE_PORT: u32 = 0;
const DESTINATION_PORT: u32 = 2;
const HOP_LIMIT: u32 = 7;
/// Router and neighbour solicitations and advertisements.
const NEIGHBOUR_DISCOVERY: [u8; 4] = [133, 134, 135, 136];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_become_ordered_ranges_that_do_not_touch() {
        let nets = ["10.0.2.0/24", "10.0.0.0/24", "10.0.1.0/24", "10.0.0.7/32", "255.255.255.0/24", "::/0"];
        let nets: Vec<IpNet> = nets.iter().map(|net| net.parse().unwrap()).collect();
        assert_eq!(ranges(&nets, Version::V4), [(0x0a00_0000, 0x0a00_02ff), (0xffff_ff00, 0xffff_ffff)]);
        assert_eq!(ranges(&nets, Version::V6), [(0, u128::MAX)]);
    }
}
