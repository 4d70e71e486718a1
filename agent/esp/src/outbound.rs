//! The outbound half of an SA: seals inner packets where they stand.
//!
//! [`Outbound::reserve`] takes the sequence numbers of all segments of one super-packet in one step; [`Reserved::seal`] then seals
//! each in place.

use std::fmt;
use std::ops::RangeInclusive;

use arc_swap::ArcSwap;
use espalier_model::identity::Name;
use espalier_model::sa::{ChildId, ChildSa, OutboundSa, SaSelectors, SaUsage, Spi, UdpPath};
use espalier_model::selector::Flow;
use thiserror::Error;

use crate::form::{SaError, carried};
use crate::limits::Use;
use crate::sequence::Sequence;
use crate::transform::{TRAILER_LEN, Transform};

/// An outbound SA. Shared by workers; the sequence number is taken in one atomic step.
pub struct Outbound {
    id: ChildId,
    rule: Name,
    spi: Spi,
    transform: Transform,
    selectors: SaSelectors,
    pub(crate) sequence: Sequence,
    used: Use,
    path: ArcSwap<UdpPath>,
}

/// A sealed packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Bytes written.
    pub length: usize,
    /// This packet reached a soft limit: ask for a rekey.
    pub soft: bool,
}

/// Why a packet was not sealed. No sequence number is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SealError {
    /// The hard limit is reached; the SA carries nothing more.
    #[error("SA has reached its hard limit")]
    Exhausted,
    /// The output buffer is shorter than [`sealed_len`](crate::sealed_len).
    #[error("output buffer is too small")]
    TooSmall,
    /// Longer than the cipher allows.
    #[error("packet is too long")]
    TooLong,
    /// Neither IPv4 nor IPv6.
    #[error("not an IP packet")]
    NotIp,
}

/// Next header: IPv4 in tunnel mode.
pub(crate) const IPV4: u8 = 4;
/// Next header: IPv6 in tunnel mode.
pub(crate) const IPV6: u8 = 41;

impl Outbound {
    /// Takes over what IKE negotiated.
    ///
    /// # Errors
    /// `SaError` for a form that is not carried, or keying material that is not as long as the suite demands.
    pub fn new(OutboundSa(sa): &OutboundSa) -> Result<Self, SaError> {
        let ChildSa { id, rule, selectors, path, limits, .. } = sa;
        let esp = carried(sa)?;
        Ok(Self {
            id: *id,
            rule: rule.clone(),
            spi: esp.spi,
            transform: Transform::new(esp)?,
            selectors: selectors.clone(),
            sequence: Sequence::new(limits.hard_packets, esp.esn),
            used: Use::new(*limits),
            path: ArcSwap::from_pointee(*path),
        })
    }

    /// Returns how many bytes stand before the inner packet: SPI, number and IV.
    #[must_use]
    pub const fn headroom(&self) -> usize {
        self.transform.headroom()
    }

    /// Returns the length of the packet that carries an inner packet of this length.
    #[must_use]
    pub const fn sealed_len(&self, inner: usize) -> usize {
        self.transform.packet_len(inner)
    }

    /// Takes the numbers of so many packets, of so many bytes together, in one atomic step, and counts their use.
    ///
    /// The limit of bytes ends the SA with the first reservation after it is reached, so it is exceeded by one reservation at most.
    ///
    /// # Errors
    /// `Exhausted`; no number is taken then, not even those that were left.
    pub fn reserve(&self, packets: usize, bytes: usize) -> Result<Reserved<'_>, SealError> {
        if self.used.expired() {
            return Err(SealError::Exhausted);
        }
        let numbers = self.sequence.take(packets).map_err(|_| SealError::Exhausted)?;
        Ok(Reserved { sa: self, numbers, soft: self.used.add(packets, bytes) })
    }

    /// Seals one inner packet of `inner_len` bytes, which stands in `room` behind [`Self::headroom`] bytes; room for the rest of
    /// [`Self::sealed_len`] is behind it.
    ///
    /// # Errors
    /// `SealError`; the room then holds nothing that may be sent.
    pub fn seal_in_place(&self, room: &mut [u8], inner_len: usize) -> Result<Sealed, SealError> {
        self.check(room, inner_len)?;
        let mut reserved = self.reserve(1, inner_len)?;
        Ok(Sealed { length: reserved.seal(room, inner_len)?, soft: reserved.soft })
    }

    /// Seals a copy of an inner packet to the head of `out`.
    ///
    /// # Errors
    /// As [`Self::seal_in_place`]; but for `TooLong`, `out` is as it was.
    pub fn seal(&self, inner: &[u8], out: &mut [u8]) -> Result<Sealed, SealError> {
        next_header(inner)?;
        let room = out.get_mut(..self.sealed_len(inner.len())).ok_or(SealError::TooSmall)?;
        let mut reserved = self.reserve(1, inner.len())?;
        if let Some(place) = room.get_mut(self.headroom()..).and_then(|rest| rest.get_mut(..inner.len())) {
            place.copy_from_slice(inner);
        }
        Ok(Sealed { length: reserved.seal(room, inner.len())?, soft: reserved.soft })
    }

    /// Finds what can be wrong before a number is taken.
    fn check(&self, room: &[u8], inner_len: usize) -> Result<u8, SealError> {
        if room.len() < self.sealed_len(inner_len) {
            return Err(SealError::TooSmall);
        }
        let inner = room.get(self.headroom()..).and_then(|rest| rest.get(..inner_len));
        next_header(inner.ok_or(SealError::TooSmall)?)
    }

    /// Tells whether the SA may carry the flow: a narrowed SA holds less than its rule.
    #[must_use]
    pub fn carries(&self, flow: &Flow) -> bool {
        let (source_port, destination_port) = flow.ports.unzip();
        self.selectors.local.iter().any(|ts| ts.contains(flow.source, flow.protocol, source_port))
            && self.selectors.remote.iter().any(|ts| ts.contains(flow.destination, flow.protocol, destination_port))
    }

    /// Returns where its datagrams go.
    #[must_use]
    pub fn path(&self) -> UdpPath {
        **self.path.load()
    }

    /// Sends the following packets along another path.
    pub fn set_path(&self, path: UdpPath) {
        self.path.store(path.into());
    }

    /// Returns the pair it belongs to.
    #[must_use]
    pub const fn id(&self) -> ChildId {
        self.id
    }

    /// Returns the rule that demanded it.
    #[must_use]
    pub const fn rule(&self) -> &Name {
        &self.rule
    }

    /// Returns its SPI.
    #[must_use]
    pub const fn spi(&self) -> Spi {
        self.spi
    }

    /// Returns its use so far.
    #[must_use]
    pub fn usage(&self) -> SaUsage {
        SaUsage {
            packets: self.used.packets(),
            bytes: self.used.bytes(),
            sequence: self.sequence.last(),
            ..SaUsage::default()
        }
    }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound").field("id", &self.id).field("spi", &self.spi).finish_non_exhaustive()
    }
}

/// Numbers that are taken, for packets that are sealed at once. Those that are dropped with it are lost, never used.
#[derive(Debug)]
pub struct Reserved<'s> {
    sa: &'s Outbound,
    numbers: RangeInclusive<u64>,
    soft: bool,
}

impl Reserved<'_> {
    /// Tells whether these packets reach a soft limit: ask for a rekey.
    #[must_use]
    pub const fn soft(&self) -> bool {
        self.soft
    }

    /// Seals the next packet like [`Outbound::seal_in_place`] and returns its length (RFC 4303 §3.3).
    ///
    /// # Errors
    /// `SealError`; `Exhausted` when more packets come than were reserved. The room then holds nothing that may be sent.
    pub fn seal(&mut self, room: &mut [u8], inner_len: usize) -> Result<usize, SealError> {
        let next_header = self.sa.check(room, inner_len)?;
        let length = self.sa.sealed_len(inner_len);
        let packet = room.get_mut(..length).ok_or(SealError::TooSmall)?;
        let parts = self.sa.transform.split(packet).ok_or(SealError::TooSmall)?;
        let number = self.numbers.next().ok_or(SealError::Exhausted)?;
        end(parts.text, inner_len, next_header);
        self.sa.transform.seal(self.sa.spi, number, parts).map_err(|_| SealError::TooLong)?;
        Ok(length)
    }
}

fn next_header(inner: &[u8]) -> Result<u8, SealError> {
    match inner.first().map(|b| b >> 4) {
        Some(4) => Ok(IPV4),
        Some(6) => Ok(IPV6),
        _ => Err(SealError::NotIp),
    }
}

/// Writes padding 1, 2, 3, pad length and next header behind the inner packet (RFC 4303 §2.4).
fn end(text: &mut [u8], inner_len: usize, next_header: u8) {
    let trailer = text.get_mut(inner_len..).unwrap_or_default();
    let padding = trailer.len() - TRAILER_LEN;
    for (byte, value) in trailer.iter_mut().zip(1..) {
        *byte = value;
    }
    if let Some([pad_length, next]) = trailer.last_chunk_mut() {
        *pad_length = u8::try_from(padding).unwrap_or(u8::MAX);
        *next = next_header;
    }
}
