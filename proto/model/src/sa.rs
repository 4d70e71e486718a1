//! Security associations as IKE hands them to a data plane, and what a data plane tells IKE in return.
//!
//! The order of the calls carries the no-loss rule of RFC 7296 §2.8: an inbound SA stands before the peer may use it, and the
//! outbound SA changes only when the peer is known to hold its inbound one.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;

use thiserror::Error;

use crate::identity::Name;
use crate::profile::{Dscp, Mode, Padding};
use crate::selector::{Flow, TrafficSelector};

pub use form::{Encapsulation, Form, Keyed, OriginalAddresses, Transform};

mod form;

/// An SPI of ESP or AH. Values 0 to 255 are reserved (RFC 4303 §2.1) and cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spi(NonZeroU32);

/// An SPI of the reserved range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("SPI {0} is reserved")]
pub struct ReservedSpi(pub u32);

impl Spi {
    /// Returns the number on the wire.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

impl TryFrom<u32> for Spi {
    type Error = ReservedSpi;

    fn try_from(value: u32) -> Result<Self, ReservedSpi> {
        match NonZeroU32::new(value) {
            Some(v) if value > 255 => Ok(Self(v)),
            _ => Err(ReservedSpi(value)),
        }
    }
}

impl fmt::Display for Spi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// Names one child SA pair on this node for as long as the process lives. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChildId(pub u64);

/// One of the two halves of a child SA pair, as seen from this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Packets that arrive from the peer.
    Inbound,
    /// Packets that leave for the peer.
    Outbound,
}

/// The two ends of a UDP path: our address and port, and the peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UdpPath {
    /// Our end.
    pub local: SocketAddr,
    /// The peer's end.
    pub remote: SocketAddr,
}

/// What an SA may carry, negotiated: a packet must match one local and one remote selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaSelectors {
    /// Our side of the traffic.
    pub local: Vec<TrafficSelector>,
    /// The peer's side.
    pub remote: Vec<TrafficSelector>,
}

/// Limits of use. Reaching a soft limit asks for a rekey, the hard one stops the SA (RFC 4301 §4.4.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsageLimits {
    /// Packets after which a rekey is asked for.
    pub soft_packets: u64,
    /// Packets that are never exceeded; without extended sequence numbers 2^32 - 1, whatever stands here.
    pub hard_packets: u64,
    /// Bytes after which a rekey is asked for.
    pub soft_bytes: u64,
    /// Bytes that are never exceeded by more than one packet.
    pub hard_bytes: u64,
}

impl UsageLimits {
    /// No limits but that of the numbers themselves.
    pub const NONE: Self =
        Self { soft_packets: u64::MAX, hard_packets: u64::MAX, soft_bytes: u64::MAX, hard_bytes: u64::MAX };
}

/// One half of a child SA, ready for a data plane. Both directions have this shape.
#[derive(Clone)]
pub struct ChildSa {
    /// The pair it belongs to.
    pub id: ChildId,
    /// The policy rule that demanded it; the data plane admits a packet only through an SA of the rule that it matches.
    pub rule: Name,
    /// How packets are protected.
    pub transform: Transform,
    /// What of a packet is carried.
    pub mode: Mode,
    /// What is around it. With [`Encapsulation::Ip`] the ports of the path mean nothing.
    pub encapsulation: Encapsulation,
    /// What the peer's transport checksums are made of, where that is not what packets show.
    pub originals: Option<OriginalAddresses>,
    /// Whether the peer takes packets that are padded to hide their length (RFC 4303 §2.7).
    pub padding: bool,
    /// To what length packets are padded where it does.
    pub pad_to: Padding,
    /// The DSCP of outer headers.
    pub dscp: Dscp,
    /// What it may carry.
    pub selectors: SaSelectors,
    /// Where its packets go, or come from.
    pub path: UdpPath,
    /// Packets of the anti-replay window; only the inbound half uses it.
    pub replay_window: u32,
    /// Limits of use.
    pub limits: UsageLimits,
}

impl ChildSa {
    /// Returns the form as people read it.
    #[must_use]
    pub fn form(&self) -> Form {
        Form {
            esp: self.transform.esp().map(|esp| esp.suite),
            ah: self.transform.ah().map(|ah| ah.suite),
            esn: self.transform.esn(),
            mode: self.mode,
            encapsulation: self.encapsulation,
        }
    }
}

/// The inbound half of a child SA.
#[derive(Clone)]
pub struct InboundSa(pub ChildSa);

/// The outbound half of a child SA.
#[derive(Clone)]
pub struct OutboundSa(pub ChildSa);

impl fmt::Debug for ChildSa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildSa")
            .field("id", &self.id)
            .field("rule", &self.rule)
            .field("transform", &self.transform)
            .field("mode", &self.mode)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// What a data plane tells IKE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SaEvent {
    /// A soft limit of use is reached: rekey.
    Soft(ChildId),
    /// The hard limit of use is reached: the SA carries nothing more, and is to go.
    Hard(ChildId),
    /// A packet matched a protect rule on demand that has no SA. Told again, now and then, while packets wait for it.
    Acquire {
        /// The rule.
        rule: Name,
        /// The flow of the first packet.
        flow: Flow,
    },
    /// The first authentic packet arrived on this inbound SA: the peer uses it.
    FirstAuthentic(ChildId),
    /// An authentic, newest packet came from another address than the SA's path (NAT rebinding).
    NewSource(ChildId, SocketAddr),
    /// A packet came with an SPI that no SA has: its sender may have one that this node has not. Told once a second at most.
    UnknownSpi {
        /// The SPI.
        spi: Spi,
        /// Where the packet came from, which nobody has proven.
        remote: IpAddr,
    },
}

/// Use of one SA so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SaUsage {
    /// Packets carried.
    pub packets: u64,
    /// Bytes of inner packets carried.
    pub bytes: u64,
    /// Highest sequence number sent or seen.
    pub sequence: u64,
    /// Inbound: sequence numbers up to the highest that have not arrived.
    pub lost: u64,
    /// Inbound: packets dropped as replays.
    pub replayed: u64,
    /// Inbound: packets whose ICV was wrong.
    pub unauthentic: u64,
}
