//! What happens to SAs and why, as values that read as sentences. The driver writes them down; nothing is logged here.

mod names;
mod suites;
mod traffic;

use std::fmt;

use espalier_model::identity::{Identity, Name};
use espalier_model::sa::ChildId;
use thiserror::Error;

use crate::wire::NotifyType;

pub(crate) use suites::no_common_ike;
pub(crate) use traffic::between;

/// Something that happened between this endpoint and a peer, besides that an IKE SA came or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The peer.
    pub peer: Identity,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A child SA pair is for less traffic than its rule.
    ChildNarrowed {
        /// The rule that demands it.
        rule: Name,
        /// Its name on this node.
        child: ChildId,
        /// The traffic that it is for.
        traffic: String,
    },
    /// A child SA pair has taken the place of another.
    ChildRekeyed {
        /// The rule that demands it.
        rule: Name,
        /// The pair that goes.
        old: ChildId,
        /// The pair that stays.
        new: ChildId,
    },
    /// A child SA pair is given up.
    ChildDown {
        /// The rule that demanded it.
        rule: Name,
        /// Its name on this node.
        child: ChildId,
    },
    /// A child SA pair has carried as much as it may, and the peer has not let it be replaced.
    ChildExhausted {
        /// The rule that demands it.
        rule: Name,
        /// Its name on this node.
        child: ChildId,
    },
    /// Somebody answered `IKE_SA_INIT` with what cannot be used. It may be forged, so the right answer is still waited for.
    Doubtful(Why),
    /// The peer has reported an error of ours, or has made one.
    Fault(Why),
}

/// A reason.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Why {
    /// The peer said no more than this.
    #[error("peer refused: {0:?}{hint}", hint = advice(*.0))]
    Told(NotifyType),
    /// Algorithms.
    #[error(transparent)]
    Suites(Box<NoCommonSuite>),
    /// A text that says all.
    #[error("{0}")]
    Other(String),
}

/// Two ends without a common algorithm of some kind.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("no common {what}: peer offers {offered}; profile {profile} has {field}: {wanted}")]
pub struct NoCommonSuite {
    /// The kind.
    pub what: &'static str,
    /// What the peer offers of this kind.
    pub offered: String,
    /// The profile that was asked.
    pub profile: Name,
    /// Its field, as it is written.
    pub field: &'static str,
    /// What stands there.
    pub wanted: String,
}

/// A peer that claims to be somebody else.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct WrongIdentity {
    /// Who it claims to be.
    pub claimed: String,
    /// Who it should be; nobody in particular where it opened the SA itself.
    pub expected: Option<Identity>,
}

impl fmt::Display for WrongIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "peer claims to be {}", self.claimed)?;
        match &self.expected {
            Some(id) => write!(f, ", but peers.id is {id}"),
            None => f.write_str(", and no peers.id is that"),
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ChildNarrowed { rule, child, traffic } => {
                write!(f, "child SA {} of rule {rule} is narrowed to {traffic}", child.0)
            }
            Self::ChildRekeyed { rule, old, new } => {
                write!(f, "child SA {} of rule {rule} takes the place of {}", new.0, old.0)
            }
            Self::ChildDown { rule, child } => write!(f, "child SA {} of rule {rule} is given up", child.0),
            Self::ChildExhausted { rule, child } => write!(
                f,
                "child SA {} of rule {rule} carries nothing more (child-rekey-bytes and child-rekey-packets decide), and is \
                 replaced by a new one",
                child.0
            ),
            Self::Doubtful(why) => write!(f, "answer to the first message cannot be used: {why}"),
            Self::Fault(why) => write!(f, "{why}"),
        }
    }
}

/// Says what an operator may look at, where an error of the peer has a usual cause.
const fn advice(kind: NotifyType) -> &'static str {
    match kind {
        NotifyType::NO_PROPOSAL_CHOSEN => {
            " (compare ike-encryption, prf and key-exchange, or esp for a child SA, with what the peer takes)"
        }
        NotifyType::TS_UNACCEPTABLE => " (compare the rule's local, remote, protocol and ports with the peer's policy)",
        NotifyType::SINGLE_PAIR_REQUIRED => {
            " (the peer takes one pair of selectors for each child SA: write one rule for each local and remote prefix)"
        }
        NotifyType::AUTHENTICATION_FAILED => " (the peer's log says why: identity, certificate or shared secret)",
        NotifyType::NO_ADDITIONAL_SAS => " (the peer takes no more child SAs on this IKE SA: join rules)",
        NotifyType::INVALID_KE_PAYLOAD => " (compare key-exchange with what the peer takes)",
        NotifyType::FAILED_CP_REQUIRED | NotifyType::INTERNAL_ADDRESS_FAILURE => {
            " (the peer gives this node no address of its own)"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests;
