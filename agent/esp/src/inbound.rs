//! The inbound half of an SA: opens packets. ESP in tunnel mode comes without its IP header, other forms with it.

mod packet;

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering::Relaxed};

use arc_swap::{ArcSwap, ArcSwapOption};
use espalier_model::identity::Name;
use espalier_model::sa::{ChildId, ChildSa, InboundSa, SaSelectors, SaUsage, Spi, UdpPath};
use espalier_model::selector::Flow;
use thiserror::Error;

use crate::ah::AhTransform;
use crate::flow::{BadPacket, whole};
use crate::form::{Carriage, SaError, Shape};
use crate::ip::{self, protocol};
use crate::limits::Use;
use crate::replay::ReplayWindow;
use crate::room::usual_mtu;
use crate::transform::{TRAILER_LEN, Transform};

/// An inbound SA. One worker opens; anyone may read its use.
pub struct Inbound {
    id: ChildId,
    rule: Name,
    spi: Spi,
    shape: Shape,
    esp: Option<Receiving<Transform>>,
    ah: Option<Receiving<AhTransform>>,
    selectors: SaSelectors,
    mtu: AtomicU16,
    path: ArcSwap<UdpPath>,
    /// Another source that was reported, until the path changes.
    source: ArcSwapOption<SocketAddr>,
    used: Use,
    reported: AtomicBool,
    expiry_reported: AtomicBool,
    replayed: AtomicU64,
    unauthentic: AtomicU64,
}

/// One SA of the pair: there are two where ESP is inside AH.
struct Receiving<T> {
    spi: Spi,
    transform: T,
    window: ReplayWindow,
}

/// An authentic packet that the SA may carry.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened<'p> {
    /// The packet as its sender had it, without padding.
    pub packet: &'p mut [u8],
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
    /// Too short for ESP or AH, or not aligned.
    #[error("packet is too short for its security header")]
    Short,
    /// A fragment: it comes before reassembly.
    #[error("packet is a fragment")]
    Fragment,
    /// Not of the form of the SA: another protocol, or another SPI inside.
    #[error("packet has another form than its SA")]
    Form,
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
    /// It met congestion, and cannot carry the mark (RFC 6040 §4.2).
    #[error("packet met congestion, and its sender does not understand it")]
    Congestion,
    /// The inner packet is not what the SA may carry.
    #[error("inner packet is outside the SA's selectors")]
    Selector,
}

impl Inbound {
    /// Takes over what IKE negotiated.
    ///
    /// # Errors
    /// `SaError` for a form that is not carried, or keying material that is not as long as the suite demands.
    pub fn new(InboundSa(sa): &InboundSa) -> Result<Self, SaError> {
        let ChildSa { id, rule, transform, selectors, path, replay_window, limits, .. } = sa;
        let window = || ReplayWindow::new(*replay_window);
        let esp = transform
            .esp()
            .map(|esp| Ok::<_, SaError>(Receiving { spi: esp.spi, transform: Transform::new(esp)?, window: window() }));
        let ah = transform
            .ah()
            .map(|ah| Ok::<_, SaError>(Receiving { spi: ah.spi, transform: AhTransform::new(ah)?, window: window() }));
        Ok(Self {
            id: *id,
            rule: rule.clone(),
            spi: transform.spi(),
            shape: Shape::of(sa)?,
            esp: esp.transpose()?,
            ah: ah.transpose()?,
            selectors: selectors.clone(),
            mtu: AtomicU16::new(usual_mtu(sa)),
            path: ArcSwap::from_pointee(*path),
            source: ArcSwapOption::empty(),
            used: Use::new(*limits),
            reported: AtomicBool::new(false),
            expiry_reported: AtomicBool::new(false),
            replayed: AtomicU64::new(0),
            unauthentic: AtomicU64::new(0),
        })
    }

    /// Opens an ESP packet of tunnel mode in place. The order of checks is that of RFC 4303 §3.4: replay window, ICV, window again,
    /// trailer, inner packet, selectors. Only an authentic packet moves the window.
    ///
    /// # Errors
    /// `OpenError`; the buffer then holds nothing that may be delivered. `Form` where the SA has another form than ESP in tunnel mode.
    pub fn open<'p>(&self, esp: &'p mut [u8]) -> Result<Opened<'p>, OpenError> {
        let half = self.esp.as_ref().filter(|_| self.shape.is_plain_tunnel()).ok_or(OpenError::Form)?;
        let mut parts = half.transform.split(esp).ok_or(OpenError::Short)?;
        let [.., a, b, c, d] = *parts.header;
        if self.used.expired() {
            return Err(OpenError::Expired);
        }
        let number = self.admit(&half.window, u32::from_be_bytes([a, b, c, d]), half.transform.extended())?;
        if half.transform.open(half.spi, number, &mut parts).is_err() {
            return Err(self.not_authentic());
        }
        let newest = self.commit(&half.window, number)?;
        let padded = strip(parts.text);
        let soft = self.used.add(1, *padded.as_ref().unwrap_or(&0));
        let inner = parts.text.get_mut(..padded?).ok_or(OpenError::Trailer)?;
        let (flow, length) = whole(inner).map_err(OpenError::Inner)?;
        if !self.carries(&flow) {
            return Err(OpenError::Selector);
        }
        let packet = inner.get_mut(..length).ok_or(OpenError::Inner(BadPacket::Short))?;
        Ok(Opened { packet, flow, newest, soft })
    }

    /// Counts a packet that was there before.
    fn replay(&self) -> OpenError {
        self.replayed.fetch_add(1, Relaxed);
        OpenError::Replayed
    }

    /// Counts a packet whose ICV is wrong.
    fn not_authentic(&self) -> OpenError {
        self.unauthentic.fetch_add(1, Relaxed);
        OpenError::NotAuthentic
    }

    /// Tells whether the first authentic packet is still to be reported, and hands that duty to the caller.
    /// A caller that cannot report it gives it back with [`Inbound::not_reported`].
    #[must_use]
    pub fn take_first(&self) -> bool {
        !self.reported.load(Relaxed) && self.used.packets() > 0 && !self.reported.swap(true, Relaxed)
    }

    /// Tells whether it is still to be reported that the SA carries nothing more, and hands that duty to the caller, who gives it back
    /// with [`Inbound::expiry_not_reported`] where it cannot.
    #[must_use]
    pub fn take_expired(&self) -> bool {
        !self.expiry_reported.swap(true, Relaxed)
    }

    /// Lets the next packet report that the SA carries nothing more.
    pub fn expiry_not_reported(&self) {
        self.expiry_reported.store(false, Relaxed);
    }

    /// Lets the next packet report that the SA is in use.
    pub fn not_reported(&self) {
        self.reported.store(false, Relaxed);
    }

    /// Tells whether [`Self::open`] opens its packets; [`Self::open_packet`] opens those of every form.
    #[must_use]
    pub fn opens_in_place(&self) -> bool {
        self.shape.is_plain_tunnel()
    }

    /// Returns how its packets are taken from the system.
    #[must_use]
    pub const fn carriage(&self) -> Carriage {
        self.shape.carriage
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

    /// Returns the path along which its packets come.
    #[must_use]
    pub fn path(&self) -> UdpPath {
        **self.path.load()
    }

    /// Returns how long packets may be on the way back.
    #[must_use]
    pub fn mtu(&self) -> u16 {
        self.mtu.load(Relaxed)
    }

    /// Sets how long packets may be on the way back, as [`Outbound::set_mtu`](crate::Outbound::set_mtu) does.
    pub fn set_mtu(&self, mtu: u16) {
        self.mtu.store(mtu, Relaxed);
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
        let (packets, sequence) = (self.used.packets(), self.highest());
        SaUsage {
            packets,
            bytes: self.used.bytes(),
            sequence,
            lost: sequence.saturating_sub(packets),
            replayed: self.replayed.load(Relaxed),
            unauthentic: self.unauthentic.load(Relaxed),
        }
    }

    /// Returns the highest number that came, of AH where there is one.
    fn highest(&self) -> u64 {
        let of_esp = || self.esp.as_ref().map_or(0, |esp| esp.window.highest());
        self.ah.as_ref().map_or_else(of_esp, |ah| ah.window.highest())
    }

    /// Goes on after a number, as if it had come.
    #[cfg(test)]
    pub(crate) fn go_on_after(&self, number: u64) {
        self.esp.iter().for_each(|esp| esp.window.go_on_after(number));
        self.ah.iter().for_each(|ah| ah.window.go_on_after(number));
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

/// Returns the length without padding, pad length and next header: of an inner packet with what hides its length.
fn strip(text: &[u8]) -> Result<usize, OpenError> {
    let (inner, next) = strip_padding(text)?;
    match (next, ip::version(inner)) {
        (protocol::IPV4, Some(4)) | (protocol::IPV6, Some(6)) => Ok(inner.len()),
        (protocol::NONE, _) => Err(OpenError::Dummy),
        _ => Err(OpenError::Trailer),
    }
}

/// Takes off padding, pad length and next header, and returns the last.
fn strip_padding(text: &[u8]) -> Result<(&[u8], u8), OpenError> {
    let (rest, [pad_length, next]) = text.split_last_chunk::<TRAILER_LEN>().ok_or(OpenError::Trailer)?;
    let inner = rest.len().checked_sub(usize::from(*pad_length)).ok_or(OpenError::Trailer)?;
    let (inner, padding) = rest.split_at_checked(inner).ok_or(OpenError::Trailer)?;
    let right = padding.iter().zip(1_u8..).all(|(byte, expected)| *byte == expected);
    if right { Ok((inner, *next)) } else { Err(OpenError::Trailer) }
}
