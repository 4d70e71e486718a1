//! The outbound half of an SA: seals packets.
//!
//! ESP in tunnel mode is sealed where the inner packet stands: [`Outbound::reserve`] takes the sequence numbers of all segments of
//! one super-packet in one step; [`Reserved::seal`] then seals each in place. [`Outbound::seal_packet`] seals in every form.

mod packet;

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering::Relaxed};

use arc_swap::ArcSwap;
use espalier_model::identity::Name;
use espalier_model::profile::Mode;
use espalier_model::sa::{ChildId, ChildSa, OutboundSa, SaSelectors, SaUsage, Spi, UdpPath};
use espalier_model::selector::Flow;
use thiserror::Error;

use crate::ah::AhTransform;
use crate::form::{Carriage, SaError, Shape};
use crate::ip::{self, protocol};
use crate::limits::Use;
use crate::outer::{OuterFields, OuterRules};
use crate::padding::Padding;
use crate::room::usual_mtu;
use crate::sequence::Sequence;
use crate::transform::{TRAILER_LEN, Transform};

pub use packet::Wrapped;

/// An outbound SA. Shared by workers; the sequence number is taken in one atomic step.
pub struct Outbound {
    id: ChildId,
    rule: Name,
    spi: Spi,
    shape: Shape,
    esp: Option<Sending<Transform>>,
    ah: Option<Sending<AhTransform>>,
    outer: OuterRules,
    padding: Padding,
    takes_padding: bool,
    mtu: AtomicU16,
    selectors: SaSelectors,
    used: Use,
    expiry_reported: AtomicBool,
    path: ArcSwap<UdpPath>,
}

/// One SA of the pair: there are two where ESP is inside AH.
struct Sending<T> {
    spi: Spi,
    transform: T,
    sequence: Sequence,
    /// The numbers that were used: a builder's own check, besides that each is taken in one step.
    #[cfg(any(debug_assertions, test))]
    spent: crate::replay::ReplayWindow,
}

impl<T> Sending<T> {
    fn new(spi: Spi, transform: T, sequence: Sequence) -> Self {
        Self {
            spi,
            transform,
            sequence,
            #[cfg(any(debug_assertions, test))]
            spent: crate::replay::ReplayWindow::new(8_192),
        }
    }

    /// Notes that a number is used under this key.
    ///
    /// # Panics
    /// With debug assertions: it was used before. A nonce that comes twice gives the key away.
    fn spend(&self, number: u64) {
        #[cfg(any(debug_assertions, test))]
        assert!(self.spent.commit(number), "number {number} of SPI {} is used twice", self.spi);
        #[cfg(not(any(debug_assertions, test)))]
        let _ = number;
    }
}

/// A sealed packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Bytes written.
    pub length: usize,
    /// This packet reached a soft limit: ask for a rekey.
    pub soft: bool,
}

/// Why a packet was not sealed. What can be known before takes no sequence number.
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
    /// Not to be sealed in this way: the SA has another form.
    #[error("SA has another form")]
    Form,
    /// A fragment, in transport mode.
    #[error("a fragment cannot be protected in transport mode")]
    Fragment,
    /// Not between the two ends of the path, in transport mode.
    #[error("packet is not between the ends of the SA")]
    NotOurs,
    /// Options or extension headers that have no place in this form, or that AH cannot cover.
    #[error("packet has a header that cannot be carried")]
    Extensions,
}

impl Outbound {
    /// Takes over what IKE negotiated.
    ///
    /// # Errors
    /// `SaError` for a form that is not carried, or keying material that is not as long as the suite demands.
    pub fn new(OutboundSa(sa): &OutboundSa) -> Result<Self, SaError> {
        let ChildSa { id, rule, transform, padding, pad_to, dscp, selectors, path, limits, .. } = sa;
        let sequence = |esn| Sequence::new(limits.hard_packets, esn);
        let esp =
            transform.esp().map(|esp| Ok::<_, SaError>(Sending::new(esp.spi, Transform::new(esp)?, sequence(esp.esn))));
        let ah =
            transform.ah().map(|ah| Ok::<_, SaError>(Sending::new(ah.spi, AhTransform::new(ah)?, sequence(ah.esn))));
        let half = Self {
            id: *id,
            rule: rule.clone(),
            spi: transform.spi(),
            shape: Shape::of(sa)?,
            esp: esp.transpose()?,
            ah: ah.transpose()?,
            outer: OuterRules { dscp: (*dscp).into(), ..OuterRules::default() },
            padding: Padding::None,
            takes_padding: *padding,
            mtu: AtomicU16::new(usual_mtu(sa)),
            selectors: selectors.clone(),
            used: Use::new(*limits),
            expiry_reported: AtomicBool::new(false),
            path: ArcSwap::from_pointee(*path),
        };
        Ok(half.with_padding((*pad_to).into()))
    }

    /// Pads inner packets, in tunnel mode with ESP, and where the peer takes it (RFC 4303 §2.7).
    #[must_use]
    pub fn with_padding(self, padding: Padding) -> Self {
        let takes_padding = self.takes_padding && self.esp.is_some() && self.shape.mode == Mode::Tunnel;
        Self { padding: if takes_padding { padding } else { Padding::None }, ..self }
    }

    /// Returns how long packets may be that it carries whole.
    #[must_use]
    pub fn mtu(&self) -> u16 {
        self.mtu.load(Relaxed)
    }

    /// Sets how long packets may be: as long as the path carries them whole. Until then that is an underlay of 1,500 bytes.
    pub fn set_mtu(&self, mtu: u16) {
        self.mtu.store(mtu, Relaxed);
    }

    /// Chooses the fields of outer headers by these rules.
    #[must_use]
    pub fn with_outer(self, outer: OuterRules) -> Self {
        Self { outer, ..self }
    }

    /// Returns how its packets are handed to the system.
    #[must_use]
    pub const fn carriage(&self) -> Carriage {
        self.shape.carriage
    }

    /// Tells whether its packets are sealed in place; [`Self::seal_packet`] seals in every form.
    #[must_use]
    pub fn seals_in_place(&self) -> bool {
        self.in_place().is_ok()
    }

    /// Returns the fields of the header around an inner packet, where the system writes it.
    ///
    /// # Errors
    /// `NotIp`.
    pub fn outer_fields(&self, inner: &[u8]) -> Result<OuterFields, SealError> {
        self.outer.fields(inner).map_err(|_| SealError::NotIp)
    }

    /// Returns how many bytes stand before the inner packet that is sealed in place: SPI, number and IV.
    #[must_use]
    pub fn headroom(&self) -> usize {
        self.in_place().map_or(0, |esp| esp.transform.headroom())
    }

    /// Returns the length of the packet that carries an inner packet of this length, sealed in place.
    #[must_use]
    pub fn sealed_len(&self, inner: usize) -> usize {
        self.in_place().map_or(0, |esp| esp.transform.packet_len(self.padded(inner)))
    }

    /// Returns the length that an inner packet is padded to. It may change between two calls.
    fn padded(&self, inner: usize) -> usize {
        self.padding.padded(inner, self.mtu())
    }

    /// Returns the SA of ESP in tunnel mode, where there is nothing of ours around it.
    fn in_place(&self) -> Result<&Sending<Transform>, SealError> {
        self.esp.as_ref().filter(|_| self.shape.is_plain_tunnel()).ok_or(SealError::Form)
    }

    /// Takes the numbers of so many packets, of so many bytes together, in one atomic step, and counts their use.
    ///
    /// The limit of bytes ends the SA with the first reservation after it is reached, so it is exceeded by one reservation at most.
    ///
    /// # Errors
    /// `Exhausted`; no number is taken then, not even those that were left. `Form` where packets are not sealed in place.
    pub fn reserve(&self, packets: usize, bytes: usize) -> Result<Reserved<'_>, SealError> {
        let esp = self.in_place()?;
        if self.used.expired() {
            return Err(SealError::Exhausted);
        }
        let numbers = esp.sequence.take(packets).map_err(|_| SealError::Exhausted)?;
        Ok(Reserved { sa: self, esp, numbers, soft: self.used.add(packets, bytes) })
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
        self.in_place()?;
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
        self.in_place()?;
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

    /// Tells whether it is still to be reported that the SA carries nothing more, and hands that duty to the caller, who gives it back
    /// with [`Outbound::expiry_not_reported`] where it cannot.
    #[must_use]
    pub fn take_expired(&self) -> bool {
        !self.expiry_reported.swap(true, Relaxed)
    }

    /// Lets the next packet report that the SA carries nothing more.
    pub fn expiry_not_reported(&self) {
        self.expiry_reported.store(false, Relaxed);
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

    /// Returns the SPI that the wire shows first.
    #[must_use]
    pub const fn spi(&self) -> Spi {
        self.spi
    }

    /// Returns the last number that went out, of AH where there is one.
    fn last(&self) -> u64 {
        let of_esp = || self.esp.as_ref().map_or(0, |esp| esp.sequence.last());
        self.ah.as_ref().map_or_else(of_esp, |ah| ah.sequence.last())
    }

    /// Goes on after a number, as if that many packets had been sent.
    #[cfg(test)]
    pub(crate) fn go_on_after(&self, number: u64) {
        self.esp.iter().for_each(|esp| esp.sequence.go_on_after(number));
        self.ah.iter().for_each(|ah| ah.sequence.go_on_after(number));
    }

    /// Returns its use so far.
    #[must_use]
    pub fn usage(&self) -> SaUsage {
        SaUsage { packets: self.used.packets(), bytes: self.used.bytes(), sequence: self.last(), ..SaUsage::default() }
    }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound").field("id", &self.id).field("spi", &self.spi).finish_non_exhaustive()
    }
}

impl fmt::Debug for Reserved<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reserved").field("numbers", &self.numbers).finish_non_exhaustive()
    }
}

/// Numbers that are taken, for packets that are sealed at once. Those that are dropped with it are lost, never used.
pub struct Reserved<'s> {
    sa: &'s Outbound,
    esp: &'s Sending<Transform>,
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
        let padded = self.sa.padded(inner_len);
        let length = self.esp.transform.packet_len(padded);
        let packet = room.get_mut(..length).ok_or(SealError::TooSmall)?;
        let parts = self.esp.transform.split(packet).ok_or(SealError::TooSmall)?;
        let number = self.numbers.next().ok_or(SealError::Exhausted)?;
        self.esp.spend(number);
        end(parts.text, inner_len, padded, next_header);
        self.esp.transform.seal(self.esp.spi, number, parts).map_err(|_| SealError::TooLong)?;
        Ok(length)
    }
}

fn next_header(inner: &[u8]) -> Result<u8, SealError> {
    match ip::version(inner) {
        Some(4) => Ok(protocol::IPV4),
        Some(6) => Ok(protocol::IPV6),
        _ => Err(SealError::NotIp),
    }
}

/// Writes behind the inner packet what hides its length, then padding 1, 2, 3, pad length and next header (RFC 4303 §2.4, §2.7).
fn end(text: &mut [u8], inner_len: usize, padded: usize, next_header: u8) {
    let (hiding, trailer) = text.get_mut(inner_len..).unwrap_or_default().split_at_mut(padded - inner_len);
    hiding.fill(0);
    let padding = trailer.len() - TRAILER_LEN;
    for (byte, value) in trailer.iter_mut().zip(1..) {
        *byte = value;
    }
    if let Some([pad_length, next]) = trailer.last_chunk_mut() {
        *pad_length = u8::try_from(padding).unwrap_or(u8::MAX);
        *next = next_header;
    }
}
