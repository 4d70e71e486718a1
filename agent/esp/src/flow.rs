//! What an inner packet is, read from its headers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use espalier_model::selector::{Flow, Protocol};
use thiserror::Error;

/// A packet whose headers cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadPacket {
    /// Neither IPv4 nor IPv6.
    #[error("not an IP packet")]
    Version,
    /// Shorter than its headers say.
    #[error("packet is cut short")]
    Short,
    /// More IPv6 extension headers than anyone needs.
    #[error("too many extension headers")]
    Extensions,
}

/// IPv6 extension headers walked before a packet is refused.
const MOST_EXTENSIONS: usize = 8;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

/// Reads the flow of an IPv4 or IPv6 packet. Fragments but the first show no ports.
///
/// # Errors
/// `BadPacket` when the packet is not IP, or shorter than its headers say.
pub fn flow_of(packet: &[u8]) -> Result<Flow, BadPacket> {
    whole(packet).map(|(flow, _)| flow)
}

/// Reads the flow and the packet's own length, which padding may exceed.
pub(crate) fn whole(packet: &[u8]) -> Result<(Flow, usize), BadPacket> {
    match packet.first().map(|b| b >> 4) {
        Some(4) => ipv4(packet),
        Some(6) => ipv6(packet),
        Some(_) => Err(BadPacket::Version),
        None => Err(BadPacket::Short),
    }
}

fn ipv4(packet: &[u8]) -> Result<(Flow, usize), BadPacket> {
    let header: &[u8; 20] = packet.first_chunk().ok_or(BadPacket::Short)?;
    let [first, _, length_high, length_low, _, _, fragment_high, fragment_low, _, protocol, _, _, addresses @ ..] =
        *header;
    let header_length = usize::from(first & 0x0f) * 4;
    let length = usize::from(u16::from_be_bytes([length_high, length_low]));
    if header_length < 20 || length < header_length || length > packet.len() {
        return Err(BadPacket::Short);
    }
    let [a, b, c, d, e, f, g, h] = addresses;
    let offset = u16::from_be_bytes([fragment_high, fragment_low]) & 0x1fff;
    let payload = packet.get(header_length..length).ok_or(BadPacket::Short)?;
    let flow = Flow {
        source: IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        destination: IpAddr::V4(Ipv4Addr::new(e, f, g, h)),
        protocol,
        ports: ports(protocol, offset == 0, payload)?,
    };
    Ok((flow, length))
}

fn ipv6(packet: &[u8]) -> Result<(Flow, usize), BadPacket> {
    let header: &[u8; 40] = packet.first_chunk().ok_or(BadPacket::Short)?;
    let [_, _, _, _, length_high, length_low, next, _, addresses @ ..] = *header;
    let length = 40 + usize::from(u16::from_be_bytes([length_high, length_low]));
    let payload = packet.get(40..length).ok_or(BadPacket::Short)?;
    let (source, destination) = addresses.split_at(16);
    let address = |bytes: &[u8]| bytes.try_into().map(|b: [u8; 16]| IpAddr::V6(Ipv6Addr::from(b)));
    let (protocol, first, upper) = upper_layer(next, payload)?;
    let flow = Flow {
        source: address(source).map_err(|_| BadPacket::Short)?,
        destination: address(destination).map_err(|_| BadPacket::Short)?,
        protocol,
        ports: ports(protocol, first, upper)?,
    };
    Ok((flow, length))
}

/// Walks the extension headers. Returns the upper protocol, whether its header is in this packet, and what follows.
fn upper_layer(mut next: u8, mut rest: &[u8]) -> Result<(u8, bool, &[u8]), BadPacket> {
    for _ in 0..MOST_EXTENSIONS {
        let length = match next {
            HOP_BY_HOP | ROUTING | DESTINATION => 8 + usize::from(*rest.get(1).ok_or(BadPacket::Short)?) * 8,
            AUTHENTICATION => 8 + usize::from(*rest.get(1).ok_or(BadPacket::Short)?) * 4,
            FRAGMENT => 8,
            _ => return Ok((next, true, rest)),
        };
        let (header, after) = rest.split_at_checked(length).ok_or(BadPacket::Short)?;
        if let (FRAGMENT, [upper, _, high, low, ..]) = (next, header)
            && u16::from_be_bytes([*high, *low]) >> 3 != 0
        {
            return Ok((*upper, false, after));
        }
        next = *header.first().ok_or(BadPacket::Short)?;
        rest = after;
    }
    Err(BadPacket::Extensions)
}

fn ports(protocol: u8, first_fragment: bool, payload: &[u8]) -> Result<Option<(u16, u16)>, BadPacket> {
    if !first_fragment || !Protocol::from_wire(protocol).has_ports() {
        return Ok(None);
    }
    let [a, b, c, d] = payload.first_chunk().ok_or(BadPacket::Short)?;
    Ok(Some((u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]))))
}

#[cfg(test)]
mod tests;
