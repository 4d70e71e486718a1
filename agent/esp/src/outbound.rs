//! The outbound half of an SA: seals inner packets.

use std::fmt;

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

    /// Writes the ESP packet that carries `inner` to the head of `out`: SPI, number, IV, ciphertext, ICV (RFC 4303 §3.3).
    ///
    /// # Errors
    /// `SealError`; the output buffer then holds nothing that may be sent.
    pub fn seal(&self, inner: &[u8], out: &mut [u8]) -> Result<Sealed, SealError> {
        let next_header = match inner.first().map(|b| b >> 4) {
            Some(4) => IPV4,
            Some(6) => IPV6,
            _ => return Err(SealError::NotIp),
        };
        let length = self.transform.packet_len(inner.len());
        let packet = out.get_mut(..length).ok_or(SealError::TooSmall)?;
        if self.used.expired() {
            return Err(SealError::Exhausted);
        }
        let number = self.sequence.next().map_err(|_| SealError::Exhausted)?;
        let parts = self.transform.split(packet).ok_or(SealError::TooSmall)?;
        fill(parts.text, inner, next_header);
        self.transform.seal(self.spi, number, parts).map_err(|_| SealError::TooLong)?;
        Ok(Sealed { length, soft: self.used.add(inner.len()) })
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

/// Lays out inner packet, padding 1, 2, 3, pad length and next header (RFC 4303 §2.4).
fn fill(text: &mut [u8], inner: &[u8], next_header: u8) {
    let (body, trailer) = text.split_at_mut(inner.len());
    body.copy_from_slice(inner);
    let padding = trailer.len() - TRAILER_LEN;
    for (byte, value) in trailer.iter_mut().zip(1..) {
        *byte = value;
    }
    if let Some([pad_length, next]) = trailer.last_chunk_mut() {
        *pad_length = u8::try_from(padding).unwrap_or(u8::MAX);
        *next = next_header;
    }
}
