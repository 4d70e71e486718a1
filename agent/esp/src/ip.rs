//! IP headers as values: where the upper layer starts, where a security header goes, and what may change on the way.

mod checksum;
mod mutable;
mod rewrite;
mod v4;
mod v6;

use std::net::IpAddr;

use crate::flow::BadPacket;

pub(crate) use checksum::{Difference, upper_checksum};
pub(crate) use mutable::zero_mutable;
pub(crate) use rewrite::{identify, set_length, set_protocol};

/// Protocol numbers that are treated by name (IANA).
pub(crate) mod protocol {
    pub(crate) const HOP_BY_HOP: u8 = 0;
    pub(crate) const ICMP: u8 = 1;
    /// IPv4 in tunnel mode.
    pub(crate) const IPV4: u8 = 4;
    pub(crate) const TCP: u8 = 6;
    pub(crate) const UDP: u8 = 17;
    pub(crate) const DCCP: u8 = 33;
    /// IPv6 in tunnel mode.
    pub(crate) const IPV6: u8 = 41;
    pub(crate) const ROUTING: u8 = 43;
    pub(crate) const FRAGMENT: u8 = 44;
    pub(crate) const ESP: u8 = 50;
    pub(crate) const AH: u8 = 51;
    pub(crate) const ICMPV6: u8 = 58;
    /// Nothing follows; in ESP a dummy packet (RFC 4303 §2.6).
    pub(crate) const NONE: u8 = 59;
    pub(crate) const DESTINATION: u8 = 60;
    pub(crate) const MOBILITY: u8 = 135;
    pub(crate) const UDP_LITE: u8 = 136;
}

/// Length of an IPv4 header without options.
pub(crate) const V4_HEADER_LEN: usize = 20;
/// Length of an IPv6 header without extension headers.
pub(crate) const V6_HEADER_LEN: usize = 40;

/// Where the parts of a packet lie, in bytes from its start. All of them lie within the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// The packet's own length, which padding may exceed.
    pub(crate) length: usize,
    /// Source and destination.
    pub(crate) ends: (IpAddr, IpAddr),
    /// Which part of a datagram it is.
    pub(crate) fragment: Fragment,
    /// What follows the headers.
    pub(crate) upper: Link,
    /// Where AH or ESP goes in transport mode.
    pub(crate) place: Link,
}

/// A place in a packet where one header ends and another starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// The header that starts here.
    pub(crate) protocol: u8,
    /// Where it starts.
    pub(crate) at: usize,
    /// Where the byte stands that names it.
    pub(crate) named_at: usize,
}

/// Which part of a datagram a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fragment {
    /// All of it.
    Whole,
    /// Its beginning, with the header of the upper layer.
    First,
    /// Something after that.
    Later,
}

/// Reads the headers of an IPv4 or IPv6 packet.
///
/// # Errors
/// `BadPacket` when the packet is not IP, or shorter than its headers say.
pub(crate) fn layout(packet: &[u8]) -> Result<Layout, BadPacket> {
    match version(packet) {
        Some(4) => v4::layout(packet),
        Some(6) => v6::layout(packet),
        Some(_) => Err(BadPacket::Version),
        None => Err(BadPacket::Short),
    }
}

/// Returns the version that a packet claims.
pub(crate) fn version(packet: &[u8]) -> Option<u8> {
    packet.first().map(|byte| byte >> 4)
}

#[cfg(test)]
mod tests;
