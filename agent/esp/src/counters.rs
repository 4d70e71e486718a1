//! Every packet that does not go on is dropped for one named reason.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::flow::BadPacket;
use crate::inbound::OpenError;
use crate::outbound::SealError;

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// Why a packet was dropped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum DropReason { $($(#[$doc])* $variant,)+ }

        impl DropReason {
            /// All of them, in the order of the counters.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Returns the name that status and metrics show.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

reasons! {
    /// Outbound: the policy says drop, or nothing matched.
    PolicyDrop = "policy_drop",
    /// Outbound: the policy says bypass, but the packet came to the tunnel interface.
    MisroutedBypass = "misrouted_bypass",
    /// Outbound: the rule has no SA, or its SA was narrowed and does not hold the flow.
    NoSa = "no_sa",
    /// Outbound: the rule's SA is being made, and as many packets wait for it as may.
    HoldFull = "hold_full",
    /// Outbound: the packet has waited for too long for its rule's SA.
    HoldExpired = "hold_expired",
    /// Not an IP packet, or cut short.
    Malformed = "malformed",
    /// Outbound: the SA's hard limit is reached.
    Expired = "expired",
    /// Outbound: the packet does not fit into the send buffer.
    TooBig = "too_big",
    /// A fragment: outbound in transport mode, inbound around the security header.
    Fragment = "fragment",
    /// Not of the form of the SA: inbound another protocol than was agreed on, outbound a header or an end that it cannot carry.
    WrongForm = "wrong_form",
    /// Outbound: the socket took no more.
    SendFailed = "send_failed",
    /// Inbound: no SA has this SPI.
    UnknownSpi = "unknown_spi",
    /// Inbound: seen before, or older than the window.
    Replayed = "replayed",
    /// Inbound: the ICV is wrong.
    Unauthentic = "unauthentic",
    /// Inbound: authentic, but its padding or next header is not what we negotiated.
    BadTrailer = "bad_trailer",
    /// Inbound: a dummy packet (RFC 4303 §2.6).
    Dummy = "dummy",
    /// Inbound: congestion that only a loss can tell the sender (RFC 6040 §4.2).
    CongestionLost = "congestion_lost",
    /// Inbound: the inner packet is not within what the SA may carry.
    SelectorMismatch = "selector_mismatch",
    /// Inbound: the policy demands another SA for this flow, or none.
    PolicyMismatch = "policy_mismatch",
    /// Inbound: the tunnel interface took no more.
    DeliverFailed = "deliver_failed",
}

/// Packets dropped, by reason. Written by workers, read by anyone.
#[derive(Debug)]
pub struct Counters([AtomicU64; DropReason::ALL.len()]);

impl Default for Counters {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Counters {
    fn cell(&self, reason: DropReason) -> &AtomicU64 {
        self.0.get(reason as usize).expect("there is a cell for each reason")
    }

    /// Counts one packet.
    pub fn count(&self, reason: DropReason) {
        self.count_many(reason, 1);
    }

    /// Counts packets that are dropped together.
    pub fn count_many(&self, reason: DropReason, packets: usize) {
        self.cell(reason).fetch_add(u64::try_from(packets).unwrap_or(u64::MAX), Relaxed);
    }

    /// Returns how many packets were dropped for this reason.
    #[must_use]
    pub fn get(&self, reason: DropReason) -> u64 {
        self.cell(reason).load(Relaxed)
    }
}

impl From<BadPacket> for DropReason {
    fn from(_: BadPacket) -> Self {
        Self::Malformed
    }
}

impl From<SealError> for DropReason {
    fn from(error: SealError) -> Self {
        match error {
            SealError::Exhausted => Self::Expired,
            SealError::TooSmall | SealError::TooLong => Self::TooBig,
            SealError::NotIp => Self::Malformed,
            SealError::Fragment => Self::Fragment,
            SealError::Form | SealError::NotOurs | SealError::Extensions => Self::WrongForm,
        }
    }
}

impl From<OpenError> for DropReason {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Short => Self::Malformed,
            OpenError::Replayed => Self::Replayed,
            OpenError::NotAuthentic => Self::Unauthentic,
            OpenError::Expired => Self::Expired,
            OpenError::Trailer => Self::BadTrailer,
            OpenError::Dummy => Self::Dummy,
            OpenError::Inner(_) => Self::Malformed,
            OpenError::Fragment => Self::Fragment,
            OpenError::Form => Self::WrongForm,
            OpenError::Congestion => Self::CongestionLost,
            OpenError::Selector => Self::SelectorMismatch,
        }
    }
}
