//! The headers of a packet that arrived, as far as coalescing asks for them, and small edits of headers.

use super::checksum::Checksum;

pub(super) const IPV4_HEADER_LEN: usize = 20;
pub(super) const IPV6_HEADER_LEN: usize = 40;
pub(super) const TCP_HEADER_LEN: usize = 20;
pub(super) const UDP_HEADER_LEN: usize = 8;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;

/// Writes a word at an offset; `None` when it is not there.
pub(super) fn put(bytes: &mut [u8], at: usize, word: u16) -> Option<()> {
    let slot: &mut [u8; 2] = bytes.get_mut(at..)?.first_chunk_mut()?;
    *slot = word.to_be_bytes();
    Some(())
}

/// Reads a word at an offset.
pub(super) fn word(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

/// Adds to a word at an offset, modulo 2^16.
pub(super) fn add_to_word(bytes: &mut [u8], at: usize, more: usize) -> Option<()> {
    let more = u16::try_from(more & 0xffff).ok()?;
    put(bytes, at, word(bytes, at)?.wrapping_add(more))
}

/// What a packet is to coalescing.
#[derive(Debug)]
pub(super) enum Class<'p> {
    /// A TCP segment or UDP datagram with plain headers.
    Plain(Plain<'p>),
    /// May belong to any TCP or UDP flow: a fragment, or behind options or extension headers.
    Unclear,
    /// Of no TCP or UDP flow.
    Other,
}

/// A TCP segment or UDP datagram with plain headers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plain<'p> {
    pub(super) ipv4: bool,
    pub(super) tcp: bool,
    /// Where the transport header starts.
    pub(super) transport: usize,
    /// The headers, IP and transport, with TCP options.
    pub(super) headers: &'p [u8],
    pub(super) payload: &'p [u8],
}

/// The most that the headers of a plain packet take: IPv6, and TCP with all options.
pub(super) const LONGEST_HEADERS: usize = IPV6_HEADER_LEN + 60;

const FRAGMENT: u16 = 0x3fff;

impl<'p> Class<'p> {
    /// Looks at a packet that is as long as its IP header says.
    pub(super) fn of(packet: &'p [u8]) -> Self {
        match packet.first() {
            Some(0x45) => Self::of_ipv4(packet).unwrap_or(Self::Unclear),
            Some(first) if first >> 4 == 6 => Self::of_ipv6(packet).unwrap_or(Self::Unclear),
            _ => Self::Unclear,
        }
    }

    fn of_ipv4(packet: &'p [u8]) -> Option<Self> {
        let protocol = *packet.get(9)?;
        if protocol != TCP && protocol != UDP {
            return Some(Self::Other);
        }
        if word(packet, 6)? & FRAGMENT != 0 || usize::from(word(packet, 2)?) != packet.len() {
            return None;
        }
        Plain::new(packet, true, protocol == TCP, IPV4_HEADER_LEN).map(Self::Plain)
    }

    fn of_ipv6(packet: &'p [u8]) -> Option<Self> {
        let protocol = *packet.get(6)?;
        if protocol != TCP && protocol != UDP {
            // Behind an extension header there may be either.
            return (protocol == ICMPV6).then_some(Self::Other);
        }
        if IPV6_HEADER_LEN + usize::from(word(packet, 4)?) != packet.len() {
            return None;
        }
        Plain::new(packet, false, protocol == TCP, IPV6_HEADER_LEN).map(Self::Plain)
    }
}

const ICMPV6: u8 = 58;

impl<'p> Plain<'p> {
    fn new(packet: &'p [u8], ipv4: bool, tcp: bool, transport: usize) -> Option<Self> {
        let upper = packet.get(transport..)?;
        let upper_len = if tcp { usize::from(*upper.get(12)? >> 4) * 4 } else { UDP_HEADER_LEN };
        let least = if tcp { TCP_HEADER_LEN } else { UDP_HEADER_LEN };
        let (headers, payload) = packet.split_at_checked(transport + upper_len)?;
        let whole = tcp || usize::from(word(upper, 4)?) == upper.len();
        (upper_len >= least && whole).then_some(Self { ipv4, tcp, transport, headers, payload })
    }

    /// Returns addresses and ports, which stand side by side.
    fn flow(&self) -> &'p [u8] {
        let start = if self.ipv4 { 12 } else { 8 };
        self.headers.get(start..self.transport + 4).unwrap_or_default()
    }

    /// Returns a number that is the same for all packets of a flow.
    pub(super) fn hash(&self) -> u64 {
        let start = if self.tcp { 1 } else { 2 };
        let words = self.flow().as_chunks::<4>().0;
        // Multiplication spreads the low bits upwards; addresses differ there.
        words.iter().fold(start, |hash: u64, word| {
            (hash ^ u64::from(u32::from_ne_bytes(*word))).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
        })
    }

    /// Returns the sum of the pseudo-header, with a length of the transport header and what follows it (RFC 9293 §3.1, RFC 8200
    /// §8.1).
    pub(super) fn pseudo(&self, upper_len: u16) -> Checksum {
        let protocol = if self.tcp { TCP } else { UDP };
        let start = if self.ipv4 { 12 } else { 8 };
        let addresses = self.headers.get(start..self.transport).unwrap_or_default();
        Checksum::default().with(addresses).add_word(protocol.into()).add_word(upper_len)
    }

    /// Tells whether all its checksums are there and right. Of a packet without one nobody knows whether it is whole.
    pub(super) fn is_right(&self, packet: &[u8]) -> bool {
        let Some(upper) = packet.get(self.transport..) else { return false };
        let Ok(upper_len) = u16::try_from(upper.len()) else { return false };
        let none = !self.tcp && word(upper, 6) == Some(0);
        let ip = packet.get(..self.transport).unwrap_or_default();
        !none
            && (!self.ipv4 || Checksum::default().with(ip).is_right())
            && self.pseudo(upper_len).with(upper).is_right()
    }
}
