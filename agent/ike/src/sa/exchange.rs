//! What our open request asks for. The window is 1, so there is one at most.

use std::net::IpAddr;

use espalier_crypto::KeyShare;
use espalier_model::identity::Name;
use espalier_model::sa::{ChildId, Spi};

use super::child::{Asked, Part};
use super::followup::Followup;
use super::mobility::{RouteCheck, UpdateSent};
use crate::wire::{IkeSpi, Nonce, ProtocolId};

/// An open request.
pub(crate) enum Exchange {
    /// Whether the peer is there.
    Liveness,
    /// That packets take the path of our messages.
    Update(UpdateSent),
    /// Whether the peer receives at its new address.
    RouteCheck(RouteCheck),
    /// That the peer notes our other addresses.
    Addresses(Vec<IpAddr>),
    /// That the peer proves itself anew before its time is over.
    Lifetime,
    /// That child SAs go.
    DeleteChildren(Vec<ChildId>),
    /// That the IKE SA goes.
    DeleteIke,
    /// A child SA, new or in place of another.
    Child(Box<ChildOffer>),
    /// An IKE SA in place of this one.
    Ike(Box<IkeOffer>),
    /// An additional key exchange of either.
    Followup(Box<Followup>),
}

/// The child SA that we have asked for.
pub(crate) struct ChildOffer {
    pub(crate) asked: Asked,
    pub(crate) nonce: Nonce,
    pub(crate) share: KeyShare,
    pub(crate) replaces: Option<ChildId>,
    /// What the peer has asked for at the same time.
    pub(crate) rival: Option<Rival<ChildId>>,
    /// SAs that the peer has deleted since, of which we know nothing: the one that its answer brings may be among them.
    pub(crate) deleted: Vec<(ProtocolId, Spi)>,
}

impl ChildOffer {
    /// Tells whether a child that the peer has made for a rule is one of two made at once.
    pub(super) fn rivals(&self, rule: &Name) -> bool {
        self.asked.config.rule == *rule && !matches!(self.asked.part, Part::Outer(_))
    }
}

/// The IKE SA that we have asked for.
pub(crate) struct IkeOffer {
    pub(crate) spi: IkeSpi,
    pub(crate) nonce: Nonce,
    pub(crate) share: KeyShare,
    /// What the peer has asked for at the same time.
    pub(crate) rival: Option<Rival<IkeSpi>>,
    pub(crate) epoch: u64,
}

/// An SA that the peer has made, or has asked for, while our request for the same was under way (RFC 7296 §2.8.1).
pub(crate) struct Rival<Id> {
    /// None as long as additional key exchanges are to follow.
    pub(crate) id: Option<Id>,
    pub(crate) lowest: Nonce,
}

impl<Id> Rival<Id> {
    /// Tells whether our SA, whose lowest nonce is given, is the redundant one.
    pub(crate) fn wins(&self, ours: &Nonce) -> bool {
        //= RFC 7296 §2.8.1: the SA created with the lowest of the four nonces is closed by the endpoint that created it
        *ours < self.lowest
    }
}
