//! The inbound half of an SA: opens ESP packets.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use arc_swap::{ArcSwap, ArcSwapOption};
use espalier_model::identity::Name;
use espalier_model::sa::{ChildId, ChildSa, InboundSa, SaSelectors, SaUsage, Spi, UdpPath};
use espalier_model::selector::Flow;
use thiserror::Error;

use crate::flow::{BadPacket, whole};
use crate::form::{SaError, carried};
use crate::limits::Use;
use crate::outbound::{IPV4, IPV6};
use crate::replay::ReplayWindow;
use crate::transform::{TRAILER_LEN, Transform};

/// An inbound SA. One worker opens; anyone may read its use.
pub struct Inbound {
    id: ChildId,
    rule: Name,
    spi: Spi,
    transform: Transform,
    selectors: SaSelectors,
    path: ArcSwap<UdpPath>,
    /// Another source that was reported, until the path changes.
    source: ArcSwapOption<SocketAddr>,
    pub(crate) window: ReplayWindow,
    used: Use,
    reported: AtomicBool,
    replayed: AtomicU64,
    unauthentic: AtomicU64,
}

/// An authentic packet that the SA may carry.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened<'p> {
    /// The inner packet, without padding.
    pub packet: &'p [u8],
    /// Its flow: the source is the peer's side.
    pub flow: Flow,
    /// Its sequence number is the highest so far: its outer source may be believed as the peer's address.
    pub newest: bool,
    /// It reached a soft limit: ask for a rekey.
    pub soft: bool,
}

/// Why a packet was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OpenError {
    /// Too short for ESP, or not aligned.
    #[error("packet is too short for ESP")]
    Short,
    /// Seen before, or older than the window.
    #[error("packet is a replay")]
    Replayed,
    /// The ICV is wrong.
    #[error("packet is not authentic")]
    NotAuthentic,
    /// The hard limit is reached.
    #[error("SA has reached its hard limit")]
    Expired,
    /// The padding or the next header is wrong.
    #[error("trailer is wrong")]
    Trailer,
    /// A dummy packet.
    #[error("packet is a dummy")]
    Dummy,
    /// The inner packet cannot be read.
    #[error("inner packet is malformed")]
    Inner(#[source] BadPacket),
    /// The inner packet is not what the SA may carry.
    #[error("inner packet is outside the SA's selectors")]
    Selector,
}

/// Next header of a dummy packet (RFC 4303 §2.6).
const NO_NEXT_HEADER: u8 = 59;

impl Inbound {
    /// Takes over what IKE negotiated.
    ///
    /// # Errors
    /// `SaError` for a form that is not carried, or keying material that is not as long as the suite demands.
    pub fn new(InboundSa(sa): &InboundSa) -> Result<Self, SaError> {
        let ChildSa { id, rule, selectors, path, replay_window, limits, .. } = sa;
        let esp = carried(sa)?;
        Ok(Self {
            id: *id,
            rule: rule.clone(),
            spi: esp.spi,
            transform: Transform::new(esp)?,
            selectors: selectors.clone(),
            path: ArcSwap::from_pointee(*path),
            source: ArcSwapOption::empty(),
            window: ReplayWindow::new(*replay_window),
            used: Use::new(*limits),
            reported: AtomicBool::new(false),
            replayed: AtomicU64::new(0),
            unauthentic: AtomicU64::new(0),
        })
    }

    /// Opens an ESP packet in place. The order of checks is that of RFC 4303 §3.4: replay window, ICV, window again, trailer,
    /// inner packet, selectors. Only an authentic packet moves the window.
    ///
    /// # Errors
    /// `OpenError`; the buffer then holds nothing that may be delivered.
    pub fn open<'p>(&self, esp: &'p mut [u8]) -> Result<Opened<'p>, OpenError> {
        let mut parts = self.transform.split(esp).ok_or(OpenError::Short)?;
        let [.., a, b, c, d] = *parts.header;
        let low = u32::from_be_bytes([a, b, c, d]);
        if self.used.expired() {
            return Err(OpenError::Expired);
        }
        let number = if self.transform.extended() { self.window.extend(low) } else { Some(u64::from(low)) };
        let Some(number) = number.filter(|number| self.window.may_accept(*number)) else {
            self.replayed.fetch_add(1, Relaxed);
            return Err(OpenError::Replayed);
        };
        if self.transform.open(self.spi, number, &mut parts).is_err() {
            self.unauthentic.fetch_add(1, Relaxed);
            return Err(OpenError::NotAuthentic);
        }
        let newest = number > self.window.highest();
        if !self.window.commit(number) {
            self.replayed.fetch_add(1, Relaxed);
            return Err(OpenError::Replayed);
        }
        let padded = strip(parts.text);
        let soft = self.used.add(1, padded.map_or(0, <[u8]>::len));
        let (flow, length) = whole(padded?).map_err(OpenError::Inner)?;
        if !self.carries(&flow) {
            return Err(OpenError::Selector);
        }
        let packet = padded?.get(..length).ok_or(OpenError::Inner(BadPacket::Short))?;
        Ok(Opened { packet, flow, newest, soft })
    }

    /// Tells whether the first authentic packet is still to be reported, and hands that duty to the caller.
    /// A caller that cannot report it gives it back with [`Inbound::not_reported`].
    #[must_use]
    pub fn take_first(&self) -> bool {
        !self.reported.load(Relaxed) && self.used.packets() > 0 && !self.reported.swap(true, Relaxed)
    }

    /// Lets the next packet report that the SA is in use.
    pub fn not_reported(&self) {
        self.reported.store(false, Relaxed);
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

    /// Returns the path along which its packets come.
    #[must_use]
    pub fn path(&self) -> UdpPath {
        **self.path.load()
    }

    /// Expects its packets along another path.
    pub fn set_path(&self, path: UdpPath) {
        self.path.store(path.into());
        self.source.store(None);
    }

    /// Tells whether the sender of the newest packet is another one than IKE knows, and not reported yet. A caller that
    /// cannot report it gives it back with [`Inbound::source_not_reported`].
    #[must_use]
    pub fn take_source(&self, remote: SocketAddr) -> bool {
        if self.path.load().remote == remote || self.source.load().as_deref() == Some(&remote) {
            return false;
        }
        self.source.store(Some(remote.into()));
        true
    }

    /// Lets the next packet report its sender.
    pub fn source_not_reported(&self) {
        self.source.store(None);
    }

    /// Returns its use so far. Lost are the numbers up to the highest that have not arrived.
    #[must_use]
    pub fn usage(&self) -> SaUsage {
        let (packets, sequence) = (self.used.packets(), self.window.highest());
        SaUsage {
            packets,
            bytes: self.used.bytes(),
            sequence,
            lost: sequence.saturating_sub(packets),
            replayed: self.replayed.load(Relaxed),
            unauthentic: self.unauthentic.load(Relaxed),
        }
    }

    fn carries(&self, flow: &Flow) -> bool {
        let (source_port, destination_port) = flow.ports.unzip();
        self.selectors.remote.iter().any(|ts| ts.contains(flow.source, flow.protocol, source_port))
            && self.selectors.local.iter().any(|ts| ts.contains(flow.destination, flow.protocol, destination_port))
    }
}

impl fmt::Debug for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbound").field("id", &self.id).field("spi", &self.spi).finish_non_exhaustive()
    }
}

/// Takes off padding, pad length and next header.
fn strip(text: &[u8]) -> Result<&[u8], OpenError> {
    let (rest, [pad_length, next_header]) = text.split_last_chunk::<TRAILER_LEN>().ok_or(OpenError::Trailer)?;
    let inner = rest.len().checked_sub(usize::from(*pad_length)).ok_or(OpenError::Trailer)?;
    let (inner, padding) = rest.split_at_checked(inner).ok_or(OpenError::Trailer)?;
    if padding.iter().zip(1_u8..).any(|(byte, expected)| *byte != expected) {
        return Err(OpenError::Trailer);
    }
    match (*next_header, inner.first().map(|b| b >> 4)) {
        (IPV4, Some(4)) | (IPV6, Some(6)) => Ok(inner),
        (NO_NEXT_HEADER, _) => Err(OpenError::Dummy),
        _ => Err(OpenError::Trailer),
    }
}
