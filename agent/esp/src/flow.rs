//! What a packet is for a lookup, read from its headers (RFC 4301 §4.4.1.1).

use espalier_model::selector::{Flow, Protocol};
use thiserror::Error;

use crate::ip::{self, Fragment, Layout, protocol};

/// A packet whose headers cannot be read, or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadPacket {
    /// Neither IPv4 nor IPv6.
    #[error("not an IP packet")]
    Version,
    /// Shorter than its headers say.
    #[error("packet is cut short")]
    Short,
    /// Longer than its header can say.
    #[error("packet is too long")]
    Long,
    /// More IPv6 extension headers than anyone needs.
    #[error("too many extension headers")]
    Extensions,
    /// A fragment that lies over the header of the upper layer.
    #[error("fragment overlaps a header")]
    Overlap,
    /// A header before AH that AH cannot cover.
    #[error("a header cannot be authenticated")]
    Uncovered,
}

/// Reads the flow of an IPv4 or IPv6 packet. A packet of ICMP shows type and code as one number, the type above, in place of both
/// ports. Fragments but the first show nothing: they match only what holds every port.
///
/// # Errors
/// `BadPacket` when the packet is not IP, or shorter than its headers say.
pub fn flow_of(packet: &[u8]) -> Result<Flow, BadPacket> {
    whole(packet).map(|(flow, _)| flow)
}

/// Reads the flow and the packet's own length, which padding may exceed.
pub(crate) fn whole(packet: &[u8]) -> Result<(Flow, usize), BadPacket> {
    let layout = ip::layout(packet)?;
    Ok((flow(packet, &layout)?, layout.length))
}

fn flow(packet: &[u8], layout: &Layout) -> Result<Flow, BadPacket> {
    let (source, destination) = layout.ends;
    let upper = packet.get(layout.upper.at..layout.length).ok_or(BadPacket::Short)?;
    //= RFC 4301 §4.4.1.1, §7.2: what a later fragment does not show is opaque
    let ports = if layout.fragment == Fragment::Later { None } else { ports(layout.upper.protocol, upper)? };
    Ok(Flow { source, destination, protocol: layout.upper.protocol, ports })
}

fn ports(upper: u8, bytes: &[u8]) -> Result<Option<(u16, u16)>, BadPacket> {
    let twice = |number: u16| Some((number, number));
    match upper {
        protocol::ICMP | protocol::ICMPV6 => {
            Ok(twice(u16::from_be_bytes(*bytes.first_chunk().ok_or(BadPacket::Short)?)))
        }
        protocol::MOBILITY => Ok(twice(u16::from(*bytes.get(2).ok_or(BadPacket::Short)?) << 8)),
        _ if Protocol::from_wire(upper).has_ports() => {
            let [a, b, c, d] = *bytes.first_chunk().ok_or(BadPacket::Short)?;
            Ok(Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests;
