//! Finds the first rule for a flow without looking at the others.
//!
//! Rules whose selectors have the same shape (so many bits of either address; a protocol or any; a port, a range, or any) stand in
//! one hash table by what they name. A lookup asks one table after the other, the one with the first rule first, and stops once no
//! later table can hold a rule that comes before the one found. A policy has few shapes, however many rules it has.

use std::collections::HashMap;
use std::net::IpAddr;

use espalier_model::plan::Rule;
use espalier_model::selector::{Flow, PortRange, Protocol};
use foldhash::fast::FixedState;
use ipnet::IpNet;

/// The rules by shape, for IPv4 and IPv6.
#[derive(Clone, Debug, Default)]
pub(super) struct Index([Vec<Table>; 2]);

/// The rules of one shape.
#[derive(Clone, Debug)]
struct Table {
    shape: Shape,
    /// The place of the first.
    first: usize,
    rules: HashMap<Key, Vec<Candidate>, FixedState>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    local_bits: u32,
    remote_bits: u32,
    protocol: bool,
    local_port: Ports,
    remote_port: Ports,
}

/// What a rule says of the ports of one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ports {
    Any,
    One,
    Range,
}

/// What a rule names: zero where its shape names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    local: u128,
    remote: u128,
    local_port: u16,
    remote_port: u16,
    protocol: u8,
}

/// A rule that matches a flow with its key, if the flow's ports lie in the ranges.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    place: usize,
    local_ports: PortRange,
    remote_ports: PortRange,
}

impl Index {
    /// Takes the rules in their order.
    pub(super) fn of(rules: &[&Rule]) -> Self {
        let mut index = Self::default();
        for (place, rule) in rules.iter().enumerate() {
            for local in &rule.local {
                for remote in rule.remote.iter().filter(|remote| remote.addr().is_ipv4() == local.addr().is_ipv4()) {
                    index.add(place, rule, local, remote);
                }
            }
        }
        index.0.iter_mut().for_each(|tables| tables.sort_by_key(|table| table.first));
        index
    }

    fn add(&mut self, place: usize, rule: &Rule, local: &IpNet, remote: &IpNet) {
        let shape = Shape {
            local_bits: local.prefix_len().into(),
            remote_bits: remote.prefix_len().into(),
            protocol: rule.protocol != Protocol::Any,
            local_port: Ports::of(rule.local_ports),
            remote_port: Ports::of(rule.remote_ports),
        };
        let [v4, v6] = &mut self.0;
        let tables = if local.addr().is_ipv4() { v4 } else { v6 };
        let at = tables.iter().position(|table| table.shape == shape).unwrap_or_else(|| {
            tables.push(Table { shape, first: place, rules: HashMap::default() });
            tables.len() - 1
        });
        let Some(table) = tables.get_mut(at) else { return };
        let ports = (rule.local_ports.start(), rule.remote_ports.start());
        let key = shape.key((local.addr(), remote.addr()), rule.protocol.to_wire(), ports);
        let candidate = Candidate { place, local_ports: rule.local_ports, remote_ports: rule.remote_ports };
        table.rules.entry(key).or_default().push(candidate);
    }

    /// Returns the place of the first rule for a packet that leaves: its source is our side.
    pub(super) fn find(&self, flow: &Flow) -> Option<usize> {
        let [v4, v6] = &self.0;
        let tables = match (flow.source, flow.destination) {
            (IpAddr::V4(_), IpAddr::V4(_)) => v4,
            (IpAddr::V6(_), IpAddr::V6(_)) => v6,
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return None,
        };
        let mut found = None;
        for table in tables {
            if found.is_some_and(|found| found < table.first) {
                break;
            }
            found = table.find(flow).into_iter().chain(found).min();
        }
        found
    }
}

impl Table {
    fn find(&self, flow: &Flow) -> Option<usize> {
        //= RFC 4301 §4.4.1.1: a packet that hides its ports matches only a rule for all of them
        let (local, remote) = match flow.ports {
            Some(ports) => ports,
            None if self.shape.shows_no_port() => (0, 0),
            None => return None,
        };
        let key = self.shape.key((flow.source, flow.destination), flow.protocol, (local, remote));
        let ranges = |rule: &&Candidate| rule.local_ports.contains(local) && rule.remote_ports.contains(remote);
        self.rules.get(&key)?.iter().find(ranges).map(|rule| rule.place)
    }
}

impl Shape {
    fn shows_no_port(&self) -> bool {
        (self.local_port, self.remote_port) == (Ports::Any, Ports::Any)
    }

    /// Leaves of a flow, or of a rule, what rules of this shape name.
    fn key(&self, ends: (IpAddr, IpAddr), protocol: u8, ports: (u16, u16)) -> Key {
        Key {
            local: prefix(ends.0, self.local_bits),
            remote: prefix(ends.1, self.remote_bits),
            local_port: if self.local_port == Ports::One { ports.0 } else { 0 },
            remote_port: if self.remote_port == Ports::One { ports.1 } else { 0 },
            protocol: if self.protocol { protocol } else { 0 },
        }
    }
}

impl Ports {
    fn of(range: PortRange) -> Self {
        match range {
            PortRange::ANY => Self::Any,
            one if one.start() == one.end() => Self::One,
            _ => Self::Range,
        }
    }
}

/// Returns the first bits of an address; the others are zero.
fn prefix(address: IpAddr, bits: u32) -> u128 {
    match address {
        IpAddr::V4(address) => (address.to_bits() & u32::MAX.checked_shl(32 - bits).unwrap_or(0)).into(),
        IpAddr::V6(address) => address.to_bits() & u128::MAX.checked_shl(128 - bits).unwrap_or(0),
    }
}
