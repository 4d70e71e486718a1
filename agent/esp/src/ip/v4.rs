//! IPv4 headers (RFC 791).

use std::net::{IpAddr, Ipv4Addr};

use super::{Fragment, Layout, Link, V4_HEADER_LEN, protocol};
use crate::flow::BadPacket;

/// Where the header names what follows it.
pub(super) const PROTOCOL_AT: usize = 9;

pub(super) fn layout(packet: &[u8]) -> Result<Layout, BadPacket> {
    let header: &[u8; V4_HEADER_LEN] = packet.first_chunk().ok_or(BadPacket::Short)?;
    let [first, _, length_high, length_low, _, _, fragment_high, fragment_low, _, upper, _, _, addresses @ ..] =
        *header;
    let at = usize::from(first & 0x0f) * 4;
    let length = usize::from(u16::from_be_bytes([length_high, length_low]));
    if at < V4_HEADER_LEN || length < at || length > packet.len() {
        return Err(BadPacket::Short);
    }
    let [a, b, c, d, e, f, g, h] = addresses;
    let place = Link { protocol: upper, at, named_at: PROTOCOL_AT };
    Ok(Layout {
        length,
        ends: (IpAddr::V4(Ipv4Addr::new(a, b, c, d)), IpAddr::V4(Ipv4Addr::new(e, f, g, h))),
        fragment: fragment(u16::from_be_bytes([fragment_high, fragment_low]), upper)?,
        upper: place,
        place,
    })
}

fn fragment(field: u16, upper: u8) -> Result<Fragment, BadPacket> {
    match (field & 0x1fff, field & 0x2000) {
        (0, 0) => Ok(Fragment::Whole),
        (0, _) => Ok(Fragment::First),
        //= RFC 4301 §7.1, RFC 3128 §4: a later fragment cannot lie over the header that was looked at in the first
        (1, _) if upper == protocol::TCP => Err(BadPacket::Overlap),
        _ => Ok(Fragment::Later),
    }
}
