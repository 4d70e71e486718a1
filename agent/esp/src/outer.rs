//! The outer header of tunnel mode: what it takes from the inner one, and what it gives back (RFC 4301 §5.1.2).

mod ecn;

use std::net::IpAddr;

use espalier_model::profile;

use crate::flow::BadPacket;
use crate::ip::{self, Difference, V4_HEADER_LEN, V6_HEADER_LEN};

pub use ecn::Ecn;

/// How the fields of an outer header are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OuterRules {
    /// The DSCP.
    pub dscp: Dscp,
    /// Whether routers may fragment it; means nothing with IPv6, where none does.
    pub dont_fragment: DontFragment,
    /// TTL or hop limit.
    pub ttl: u8,
}

/// Where the DSCP of an outer header comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dscp {
    /// The inner header: the network may tell classes of traffic apart, and so may who listens.
    Copy,
    /// Always this one, of 6 bits.
    Fixed(u8),
}

/// Where the DF bit of an outer header comes from (RFC 4301 §8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DontFragment {
    /// The inner header; an inner IPv6 packet counts as one that has it.
    Copy,
    /// It is set: what does not fit is known by its size before it is sent.
    Set,
    /// It is not set: routers fragment what does not fit.
    Clear,
}

/// The fields of one outer header that its inner packet decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OuterFields {
    /// TOS or traffic class: DSCP and ECN.
    pub class: u8,
    /// Whether routers may fragment it.
    pub dont_fragment: bool,
    /// TTL or hop limit.
    pub ttl: u8,
}

impl Default for OuterRules {
    fn default() -> Self {
        Self { dscp: Dscp::Copy, dont_fragment: DontFragment::Set, ttl: 64 }
    }
}

impl From<profile::Dscp> for Dscp {
    fn from(dscp: profile::Dscp) -> Self {
        match dscp {
            profile::Dscp::Copy => Self::Copy,
            profile::Dscp::Fixed(dscp) => Self::Fixed(dscp),
        }
    }
}

impl OuterFields {
    /// Reads the fields of a packet that keeps its header, in transport mode.
    pub(crate) fn of(packet: &[u8]) -> Result<Self, BadPacket> {
        let ttl_at = if ip::version(packet) == Some(4) { 8 } else { 7 };
        let ttl = *packet.get(ttl_at).ok_or(BadPacket::Short)?;
        Ok(Self { class: traffic_class(packet)?, dont_fragment: dont_fragment(packet), ttl })
    }
}

impl OuterRules {
    /// Returns the fields of the header around an inner packet.
    ///
    /// # Errors
    /// `BadPacket` when it is not IP.
    pub fn fields(&self, inner: &[u8]) -> Result<OuterFields, BadPacket> {
        let class = traffic_class(inner)?;
        let dscp = match self.dscp {
            Dscp::Copy => class & !Ecn::MASK,
            Dscp::Fixed(dscp) => dscp << 2,
        };
        let dont_fragment = match self.dont_fragment {
            //= RFC 4301 §8.1: the bit is copied, set or cleared, as configured
            DontFragment::Copy => dont_fragment(inner),
            DontFragment::Set => true,
            DontFragment::Clear => false,
        };
        //= RFC 6040 §4.1: in normal mode the outer field is a copy of the inner one
        Ok(OuterFields { class: dscp | Ecn::of(class).bits(), dont_fragment, ttl: self.ttl })
    }
}

/// Combines the ECN field of an outer header with that of the inner packet it came around, in place.
///
/// # Errors
/// `CongestionLost` for a packet that met congestion, and whose sender would not understand it: it is dropped.
pub fn give_back(inner: &mut [u8], outer_class: u8) -> Result<(), CongestionLost> {
    let Ok(class) = traffic_class(inner) else { return Ok(()) };
    let ecn = Ecn::of(class).decapsulated(Ecn::of(outer_class)).ok_or(CongestionLost)?;
    set_traffic_class(inner, (class & !Ecn::MASK) | ecn.bits());
    Ok(())
}

/// Congestion that cannot be told to the sender but by a loss (RFC 6040 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("congestion was met by a packet that cannot carry the mark")]
pub struct CongestionLost;

/// Returns TOS or traffic class of a packet.
///
/// # Errors
/// `BadPacket` when it is not IP.
pub fn traffic_class(packet: &[u8]) -> Result<u8, BadPacket> {
    match (ip::version(packet), packet) {
        (Some(4), [_, class, ..]) => Ok(*class),
        (Some(6), [first, second, ..]) => Ok((first << 4) | (second >> 4)),
        (Some(4 | 6) | None, _) => Err(BadPacket::Short),
        _ => Err(BadPacket::Version),
    }
}

fn set_traffic_class(packet: &mut [u8], class: u8) {
    if let (Some(4), Some(header)) = (ip::version(packet), packet.first_chunk_mut::<V4_HEADER_LEN>()) {
        let [first, old, _, _, _, _, _, _, _, _, high, low, ..] = header;
        let sum = Difference::default().bytes(&[*first, *old], &[*first, class]).apply([*high, *low]);
        if *old != class {
            [*old, *high, *low] = [class, sum[0], sum[1]];
        }
    } else if let (Some(6), [first, second, ..]) = (ip::version(packet), packet) {
        *first = 0x60 | (class >> 4);
        *second = (class << 4) | (*second & 0x0f);
    }
}

fn dont_fragment(inner: &[u8]) -> bool {
    !matches!((ip::version(inner), inner), (Some(4), [_, _, _, _, _, _, flags, ..]) if flags & 0x40 == 0)
}

/// Returns the length of a header that [`restore_header`] writes.
#[must_use]
pub const fn restored_len(ipv6: bool) -> usize {
    header_len(ipv6)
}

/// Writes an IP header to the head of a packet from which the system has taken it, so that [`Inbound::open_packet`] can read it: in
/// front of ESP (`protocol` 50) that came inside UDP, and of whatever came over IPv6.
///
/// # Errors
/// `BadPacket` for two families, or a packet too short or too long for it.
///
/// [`Inbound::open_packet`]: crate::Inbound::open_packet
pub fn restore_header(
    packet: &mut [u8],
    ends: (IpAddr, IpAddr),
    class: u8,
    ttl: u8,
    protocol: u8,
) -> Result<(), BadPacket> {
    write(packet, ends, OuterFields { class, dont_fragment: true, ttl }, protocol, 0)
}

/// Length of an outer header.
pub(crate) const fn header_len(v6: bool) -> usize {
    if v6 { V6_HEADER_LEN } else { V4_HEADER_LEN }
}

/// Writes an outer header to the head of a packet of its whole length, without extensions. `id` is the identification of IPv4.
///
/// # Errors
/// `BadPacket` for two families, or a packet too short or too long for it.
pub(crate) fn write(
    packet: &mut [u8],
    (source, destination): (IpAddr, IpAddr),
    fields: OuterFields,
    protocol: u8,
    id: u16,
) -> Result<(), BadPacket> {
    let OuterFields { class, dont_fragment, ttl } = fields;
    let length = packet.len();
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let header = packet.first_chunk_mut::<V4_HEADER_LEN>().ok_or(BadPacket::Short)?;
            let ([id_high, id_low], flags) = (id.to_be_bytes(), if dont_fragment { 0x40 } else { 0 });
            let ([a, b, c, d], [e, f, g, h]) = (source.octets(), destination.octets());
            *header = [0x45, class, 0, 0, id_high, id_low, flags, 0, ttl, protocol, 0, 0, a, b, c, d, e, f, g, h];
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let header = packet.first_chunk_mut::<V6_HEADER_LEN>().ok_or(BadPacket::Short)?;
            let (fixed, ends) = header.split_at_mut(8);
            fixed.copy_from_slice(&[0x60 | (class >> 4), class << 4, 0, 0, 0, 0, protocol, ttl]);
            let (from, to) = ends.split_at_mut(16);
            from.copy_from_slice(&source.octets());
            to.copy_from_slice(&destination.octets());
        }
        _ => return Err(BadPacket::Version),
    }
    ip::set_length(packet, length)
}

#[cfg(test)]
mod tests;
