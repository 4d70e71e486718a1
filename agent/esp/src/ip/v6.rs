//! IPv6 headers and their extension headers (RFC 8200 §4).

use std::net::{IpAddr, Ipv6Addr};

use super::{Fragment, Layout, Link, V6_HEADER_LEN, protocol};
use crate::flow::BadPacket;

/// Extension headers walked before a packet is refused.
const MOST_EXTENSIONS: usize = 8;
/// Where the header names what follows it.
const NEXT_HEADER_AT: usize = 6;

pub(super) fn layout(packet: &[u8]) -> Result<Layout, BadPacket> {
    let header: &[u8; V6_HEADER_LEN] = packet.first_chunk().ok_or(BadPacket::Short)?;
    let [_, _, _, _, length_high, length_low, next, _, addresses @ ..] = *header;
    let length = V6_HEADER_LEN + usize::from(u16::from_be_bytes([length_high, length_low]));
    let packet = packet.get(..length).ok_or(BadPacket::Short)?;
    let (source, destination) = addresses.split_at(16);
    let address = |bytes: &[u8]| bytes.try_into().map(|b: [u8; 16]| IpAddr::V6(Ipv6Addr::from(b)));
    let start = Link { protocol: next, at: V6_HEADER_LEN, named_at: NEXT_HEADER_AT };
    let mut layout = Layout {
        length,
        ends: (address(source).map_err(|_| BadPacket::Short)?, address(destination).map_err(|_| BadPacket::Short)?),
        fragment: Fragment::Whole,
        upper: start,
        place: start,
    };
    walk(packet, &mut layout)?;
    Ok(layout)
}

/// Walks the extension headers as far as they can be read.
fn walk(packet: &[u8], layout: &mut Layout) -> Result<(), BadPacket> {
    for _ in 0..MOST_EXTENSIONS {
        let here = layout.upper;
        let rest = packet.get(here.at..).ok_or(BadPacket::Short)?;
        //= RFC 4301 §4.4.1.1: these are skipped; AH and ESP are upper layers for a lookup
        let length = match here.protocol {
            protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION => {
                8 + usize::from(*rest.get(1).ok_or(BadPacket::Short)?) * 8
            }
            protocol::FRAGMENT => 8,
            _ => return Ok(()),
        };
        let (header, _) = rest.split_at_checked(length).ok_or(BadPacket::Short)?;
        let next = *header.first().ok_or(BadPacket::Short)?;
        layout.upper = Link { protocol: next, at: here.at + length, named_at: here.at };
        //= RFC 4302 §3.1.1, RFC 4303 §3.1.1: after the headers that routers or reassembly look at
        if here.protocol != protocol::DESTINATION {
            layout.place = layout.upper;
        }
        if here.protocol == protocol::FRAGMENT {
            layout.fragment = fragment(header);
            if layout.fragment == Fragment::Later {
                return Ok(());
            }
        }
    }
    Err(BadPacket::Extensions)
}

fn fragment(header: &[u8]) -> Fragment {
    match header {
        [_, _, high, low, ..] if u16::from_be_bytes([*high, *low]) >> 3 != 0 => Fragment::Later,
        [_, _, _, low, ..] if low & 1 != 0 => Fragment::First,
        _ => Fragment::Whole,
    }
}
