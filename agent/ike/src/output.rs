//! What an endpoint orders its driver to do, as values in a queue.

use std::net::{IpAddr, SocketAddr};

use espalier_model::identity::{Identity, Name};
use espalier_model::sa::{ChildId, Direction, InboundSa, OutboundSa, UdpPath};
use thiserror::Error;

use crate::door::DoorPolicy;
use crate::explain::{Event, NoCommonSuite, WrongIdentity};
use crate::keylog::KeylogLine;
use crate::keymat::IkeSpis;

/// One order. The driver carries them out in order.
pub enum Output {
    /// Send a datagram; on port 4500 behind the non-ESP marker (RFC 3948 §2.2).
    Transmit {
        /// From where to where.
        path: UdpPath,
        /// The IKE message.
        datagram: Vec<u8>,
    },
    /// Receive with this SA from now on.
    InstallInbound(InboundSa),
    /// Send what its rule protects with this SA from now on. It may be one that was in use before, and goes on where it was.
    UseOutbound(OutboundSa),
    /// Forget one half of a pair.
    Remove(ChildId, Direction),
    /// Send with this pair along another path, and expect its packets from there; those that are still under way along the one
    /// before are received all the same.
    MovePath(ChildId, UdpPath),
    /// The packets of an IKE SA's children take another path.
    Moved {
        /// The peer.
        peer: Identity,
        /// The path before.
        from: UdpPath,
        /// The path from now on.
        to: UdpPath,
        /// Why.
        why: MoveReason,
    },
    /// Tell [`crate::Endpoint::handle_usage`] how much this pair has carried.
    Measure(ChildId),
    /// Send the byte that keeps a NAT's mapping alive (RFC 3948 §2.3).
    Keepalive(UdpPath),
    /// An IKE SA stands.
    Up(Identity, IkeSpis),
    /// An IKE SA was replaced by this one, without a gap.
    Replaced(Identity, IkeSpis),
    /// An IKE SA, or the attempt at one, has ended.
    Down(Identity, DownReason),
    /// Somebody at this address opened an IKE SA, but has not proven to be a peer.
    TurnedAway(SocketAddr, DownReason),
    /// No child SA came of an offer of ours or of the peer's.
    ChildRefused {
        /// The peer.
        peer: Identity,
        /// The rule that it was for, where one shares the traffic.
        rule: Option<Name>,
        /// What was offered, what was wanted, and which field decides.
        reason: String,
    },
    /// These are the addresses that one of both has given the other, from now on; none says that they are taken back.
    Addresses(Identity, Vec<IpAddr>),
    /// Keep the door so from now on.
    Door(DoorPolicy),
    /// Something else that people want to read about.
    Told(Box<Event>),
    /// Keys for Wireshark.
    Keylog(KeylogLine),
}

impl Output {
    /// Tells whether it is everyday traffic, after which everything stands as before.
    #[must_use]
    pub const fn is_routine(&self) -> bool {
        matches!(self, Self::Transmit { .. } | Self::Measure(_) | Self::Keepalive(_) | Self::Door(_) | Self::Keylog(_))
    }
}

/// Why packets take another path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MoveReason {
    /// Our address is no longer there.
    #[error("our address is gone")]
    OursGone,
    /// A more wanted address of ours is there.
    #[error("a better address of ours is there")]
    Better,
    /// The peer says that its address is no longer there.
    #[error("the peer's address is gone")]
    TheirsGone,
    /// The peer has asked for it.
    #[error("the peer asks for it")]
    Asked,
    /// The path before carries nothing.
    #[error("the path before is dead")]
    Dead,
    /// A NAT shows the peer's packets at another address.
    #[error("the peer's mapping has changed")]
    TheirMapping,
    /// A NAT shows ours at another address.
    #[error("our mapping has changed")]
    OurMapping,
    /// The peer does not accept the path that was tried.
    #[error("the peer refuses the other path")]
    Refused,
}

/// Why an IKE SA, or the attempt at one, has ended.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DownReason {
    /// The peer has stopped to answer.
    #[error("peer does not answer")]
    NoAnswer,
    /// The peer deleted it.
    #[error("peer deleted the SA")]
    DeletedByPeer,
    /// The driver shut down, or the peer is no longer configured.
    #[error("deleted by us")]
    DeletedByUs,
    /// The peer refused; carries the notify's number and meaning.
    #[error("peer refused: {0}")]
    Refused(String),
    /// There is no common algorithm.
    #[error(transparent)]
    NoCommonSuite(Box<NoCommonSuite>),
    /// The peer is another one.
    #[error(transparent)]
    WrongIdentity(Box<WrongIdentity>),
    /// We refused; carries what was offered and what was wanted.
    #[error("{0}")]
    Failed(String),
}
