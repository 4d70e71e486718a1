//! What our open request asks for. The window is 1, so there is one at most.

use espalier_crypto::KeyShare;
use espalier_model::sa::{ChildId, Spi};

use crate::config::ChildConfig;
use crate::wire::{IkeSpi, Nonce};

/// An open request.
pub(crate) enum Exchange {
    /// Whether the peer is there.
    Liveness,
    /// That child SAs go.
    DeleteChildren(Vec<ChildId>),
    /// That the IKE SA goes.
    DeleteIke,
    /// A child SA, new or in place of another.
    Child(Box<ChildOffer>),
    /// An IKE SA in place of this one.
    Ike(Box<IkeOffer>),
}

/// The child SA that we have asked for.
pub(crate) struct ChildOffer {
    pub(crate) config: ChildConfig,
    pub(crate) inbound: Spi,
    pub(crate) nonce: Nonce,
    pub(crate) share: KeyShare,
    pub(crate) replaces: Option<ChildId>,
    /// What the peer has asked for at the same time.
    pub(crate) rival: Option<Rival<ChildId>>,
    /// SPIs that the peer has deleted since, of which we know nothing: the one that its answer brings may be among them.
    pub(crate) deleted: Vec<Spi>,
    pub(crate) epoch: u64,
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

/// An SA that the peer has made while our request for the same was under way (RFC 7296 §2.8.1).
pub(crate) struct Rival<Id> {
    pub(crate) id: Id,
    pub(crate) lowest: Nonce,
}

impl<Id> Rival<Id> {
    /// Tells whether our SA, whose lowest nonce is given, is the redundant one.
    pub(crate) fn wins(&self, ours: &Nonce) -> bool {
        //= RFC 7296 §2.8.1: the SA created with the lowest of the four nonces is closed by the endpoint that created it
        *ours < self.lowest
    }
}
