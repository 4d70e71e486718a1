//! Which packets: protocols, port ranges, address ranges, flows.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU8;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use icmp::IcmpTypes;

mod icmp;

/// An IP protocol, or any. Text form: `any`, `tcp`, `udp`, `icmp`, `icmpv6`, `sctp` or a number from 1 to 255.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Text", into = "String")]
pub enum Protocol {
    /// Every protocol.
    Any,
    /// One protocol by its IANA number.
    Number(NonZeroU8),
}

/// An inclusive range of ports. Text form: `any`, `443` or `8000-8100`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Text", into = "String")]
pub struct PortRange {
    start: u16,
    end: u16,
}

/// A range of addresses of one family with a protocol and a range of ports, as IKE carries it (RFC 7296 §3.13.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrafficSelector {
    protocol: Protocol,
    ports: PortRange,
    first: IpAddr,
    last: IpAddr,
}

/// What a packet is, for the lookup in a policy database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// IP protocol number of the upper layer.
    pub protocol: u8,
    /// Source and destination ports, where the packet shows them. A fragment but the first does not.
    pub ports: Option<(u16, u16)>,
}

/// A selector that is not one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SelectorError {
    /// Not a protocol.
    #[error("\"{0}\" is not a protocol: use any, tcp, udp, icmp, icmpv6, sctp or a number from 1 to 255")]
    Protocol(String),
    /// Not a port range.
    #[error("\"{0}\" is not a range of ports: use any, 443 or 8000-8100")]
    Ports(String),
    /// Not types of ICMP.
    #[error("\"{0}\" is not a type of ICMP: use any, 8, 128-129, or type and code such as 3/4")]
    Icmp(String),
    /// Two families, or the end before the start.
    #[error("{0} to {1} is not a range of addresses")]
    Addresses(IpAddr, IpAddr),
    /// Ports given for a protocol that has none.
    #[error("protocol {0} has no ports")]
    PortsWithoutProtocol(Protocol),
}

/// A number or a text, as YAML and JSON write ports and protocols.
#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Number(u64),
    String(String),
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(n) => n.fmt(f),
            Self::String(s) => f.write_str(s),
        }
    }
}

const NAMED: [(&str, u8); 5] = [("icmp", 1), ("tcp", 6), ("udp", 17), ("icmpv6", 58), ("sctp", 132)];

impl Protocol {
    /// TCP.
    pub const TCP: Self = Self::Number(NonZeroU8::new(6).expect("6 is not 0"));
    /// UDP.
    pub const UDP: Self = Self::Number(NonZeroU8::new(17).expect("17 is not 0"));

    /// Builds a protocol from its number on the wire, where 0 means any (RFC 7296 §3.13.1).
    #[must_use]
    pub fn from_wire(number: u8) -> Self {
        NonZeroU8::new(number).map_or(Self::Any, Self::Number)
    }

    /// Returns the number on the wire, 0 for any.
    #[must_use]
    pub fn to_wire(self) -> u8 {
        match self {
            Self::Any => 0,
            Self::Number(n) => n.get(),
        }
    }

    /// Tells whether a packet of this protocol number matches.
    #[must_use]
    pub fn contains(self, number: u8) -> bool {
        self == Self::Any || self.to_wire() == number
    }

    /// Tells whether the protocol has ports.
    #[must_use]
    pub fn has_ports(self) -> bool {
        matches!(self.to_wire(), 6 | 17 | 33 | 132 | 136)
    }

    /// Tells whether the protocol has types and codes in place of ports.
    #[must_use]
    pub fn is_icmp(self) -> bool {
        matches!(self.to_wire(), 1 | 58)
    }
}

impl PortRange {
    /// Every port.
    pub const ANY: Self = Self { start: 0, end: u16::MAX };

    /// Builds a range.
    ///
    /// # Errors
    /// `SelectorError::Ports` when the end lies before the start.
    pub fn new(start: u16, end: u16) -> Result<Self, SelectorError> {
        if start <= end { Ok(Self { start, end }) } else { Err(SelectorError::Ports(format!("{start}-{end}"))) }
    }

    /// Returns the lowest port.
    #[must_use]
    pub const fn start(self) -> u16 {
        self.start
    }

    /// Returns the highest port.
    #[must_use]
    pub const fn end(self) -> u16 {
        self.end
    }

    /// Tells whether the port lies in the range.
    #[must_use]
    pub const fn contains(self, port: u16) -> bool {
        self.start <= port && port <= self.end
    }

    /// Returns the ports that lie in both ranges.
    #[must_use]
    pub fn intersection(self, other: Self) -> Option<Self> {
        Self::new(self.start.max(other.start), self.end.min(other.end)).ok()
    }
}

impl TrafficSelector {
    /// Builds a selector.
    ///
    /// # Errors
    /// `SelectorError::Addresses` for two families, or an end before the start.
    pub fn new(protocol: Protocol, ports: PortRange, first: IpAddr, last: IpAddr) -> Result<Self, SelectorError> {
        if first.is_ipv4() != last.is_ipv4() || first > last {
            return Err(SelectorError::Addresses(first, last));
        }
        Ok(Self { protocol, ports, first, last })
    }

    /// Builds the selector of a prefix.
    #[must_use]
    pub fn from_net(protocol: Protocol, ports: PortRange, net: IpNet) -> Self {
        let net = net.trunc();
        Self { protocol, ports, first: net.network(), last: net.broadcast() }
    }

    /// Returns the protocol.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Returns the ports.
    #[must_use]
    pub const fn ports(&self) -> PortRange {
        self.ports
    }

    /// Returns the lowest address.
    #[must_use]
    pub const fn first(&self) -> IpAddr {
        self.first
    }

    /// Returns the highest address.
    #[must_use]
    pub const fn last(&self) -> IpAddr {
        self.last
    }

    /// Tells whether one end of a packet matches. A packet that hides its ports matches only a selector of all ports.
    #[must_use]
    pub fn contains(&self, address: IpAddr, protocol: u8, port: Option<u16>) -> bool {
        let ports = port.map_or(self.ports == PortRange::ANY, |p| self.ports.contains(p));
        self.first <= address
            && address <= self.last
            && self.first.is_ipv4() == address.is_ipv4()
            && self.protocol.contains(protocol)
            && ports
    }

    /// Returns what both selectors hold, or `None` when they share nothing.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        if self.first.is_ipv4() != other.first.is_ipv4() {
            return None;
        }
        let protocol = match (self.protocol, other.protocol) {
            (Protocol::Any, p) | (p, Protocol::Any) => p,
            (p, q) if p == q => p,
            _ => return None,
        };
        let ports = self.ports.intersection(other.ports)?;
        Self::new(protocol, ports, self.first.max(other.first), self.last.min(other.last)).ok()
    }

    /// Tells whether everything that `other` holds lies in this selector.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.intersection(other).as_ref() == Some(other)
    }
}

impl Flow {
    /// Returns the flow of the answers: both ends exchanged.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            protocol: self.protocol,
            ports: self.ports.map(|(s, d)| (d, s)),
        }
    }
}

impl FromStr for Protocol {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        if text == "any" {
            return Ok(Self::Any);
        }
        let number = NAMED.iter().find(|(name, _)| *name == text).map(|(_, n)| *n);
        number
            .or_else(|| text.parse().ok())
            .and_then(NonZeroU8::new)
            .map(Self::Number)
            .ok_or_else(|| SelectorError::Protocol(text.to_owned()))
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, NAMED.iter().find(|(_, n)| *n == self.to_wire())) {
            (Self::Any, _) => f.write_str("any"),
            (_, Some((name, _))) => f.write_str(name),
            (Self::Number(n), None) => n.fmt(f),
        }
    }
}

impl FromStr for PortRange {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        if text == "any" {
            return Ok(Self::ANY);
        }
        let bad = |_| SelectorError::Ports(text.to_owned());
        let (start, end) = text.split_once('-').unwrap_or((text, text));
        Self::new(start.parse().map_err(bad)?, end.parse().map_err(bad)?)
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ANY => f.write_str("any"),
            Self { start, end } if start == end => start.fmt(f),
            Self { start, end } => write!(f, "{start}-{end}"),
        }
    }
}

impl fmt::Display for TrafficSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{} {} {}", self.first, self.last, self.protocol, self.ports)
    }
}

impl TryFrom<Text> for Protocol {
    type Error = SelectorError;

    fn try_from(text: Text) -> Result<Self, SelectorError> {
        text.to_string().parse()
    }
}

impl TryFrom<Text> for PortRange {
    type Error = SelectorError;

    fn try_from(text: Text) -> Result<Self, SelectorError> {
        text.to_string().parse()
    }
}

impl From<Protocol> for String {
    fn from(protocol: Protocol) -> Self {
        protocol.to_string()
    }
}

impl From<PortRange> for String {
    fn from(ports: PortRange) -> Self {
        ports.to_string()
    }
}

/// Returns the prefix that holds every address of a family.
#[must_use]
pub fn everything(ipv4: bool) -> IpNet {
    if ipv4 {
        IpNet::new_assert(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0)
    } else {
        IpNet::new_assert(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_forms_are_read_back() {
        for text in ["any", "tcp", "icmpv6", "47"] {
            assert_eq!(text.parse::<Protocol>().unwrap().to_string(), text);
        }
        for text in ["any", "443", "8000-8100"] {
            assert_eq!(text.parse::<PortRange>().unwrap().to_string(), text);
        }
        for bad in ["", "0", "256", "TCP", "ip"] {
            assert!(bad.parse::<Protocol>().is_err(), "{bad}");
        }
        for bad in ["", "2-1", "65536", "a", "-1", "1-"] {
            assert!(bad.parse::<PortRange>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_packet_without_ports_matches_only_all_ports() {
        let net = "10.0.0.0/24".parse().unwrap();
        let all = TrafficSelector::from_net(Protocol::TCP, PortRange::ANY, net);
        let one = TrafficSelector::from_net(Protocol::TCP, "443".parse().unwrap(), net);
        let address = "10.0.0.9".parse().unwrap();
        assert!(all.contains(address, 6, None) && all.contains(address, 6, Some(1)));
        assert!(!one.contains(address, 6, None) && one.contains(address, 6, Some(443)));
        assert!(!one.contains("10.0.1.0".parse().unwrap(), 6, Some(443)));
        assert!(!one.contains(address, 17, Some(443)));
    }

    #[test]
    fn an_intersection_never_holds_more_than_either() {
        let wide = TrafficSelector::from_net(Protocol::Any, PortRange::ANY, "10.0.0.0/8".parse().unwrap());
        let narrow = TrafficSelector::from_net(Protocol::TCP, "443".parse().unwrap(), "10.1.0.0/16".parse().unwrap());
        assert_eq!(wide.intersection(&narrow), Some(narrow));
        assert!(wide.covers(&narrow) && !narrow.covers(&wide));
        let v6 = TrafficSelector::from_net(Protocol::Any, PortRange::ANY, everything(false));
        assert_eq!(wide.intersection(&v6), None);
    }
}
