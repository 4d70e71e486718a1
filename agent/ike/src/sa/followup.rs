//! `IKE_FOLLOWUP_KE`: additional key exchanges of a child SA or a successor, after `CREATE_CHILD_SA` has agreed on it
//! (RFC 9370 §2.2.4).
//!
//! Nothing is made before the last of them: an SA that waits has no keys, no children and no place in the data plane. Either end
//! may forget it.

mod answered;
mod asked;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use espalier_crypto::{KeyShare, Method};
use espalier_model::identity::Name;
use espalier_model::sa::{ChildId, Spi};
use espalier_model::secret::Secret;

use super::child::{Agreed, Asked, Part};
use super::established::Established;
use super::exchange::{Exchange, Rival};
use crate::keymat::{IkeSpis, Nonces, Shared};
use crate::wire::proposal::IkeSuite;
use crate::wire::proposal::additional::Additional;
use crate::wire::{IkeSpi, ProtocolId};

/// The key exchanges of one SA so far.
pub(super) struct Series {
    pub(super) nonces: Nonces,
    first: Secret,
    additional: Vec<Secret>,
    /// The methods that have not had their turn.
    left: VecDeque<Method>,
}

/// A child SA that is agreed upon.
pub(super) struct PlannedChild {
    pub(super) agreed: Agreed,
    pub(super) replaces: Option<ChildId>,
}

/// A successor that is agreed upon.
pub(super) struct PlannedIke {
    pub(super) suite: IkeSuite,
    pub(super) spis: IkeSpis,
    pub(super) epoch: u64,
}

/// What we have asked for.
pub(super) enum Wanted {
    /// A child SA, what the peer has asked for at the same time, and the SAs that it has deleted since.
    Child(Box<PlannedChild>, Option<Rival<ChildId>>, Vec<(ProtocolId, Spi)>),
    /// A successor, and what the peer has asked for at the same time.
    Ike(PlannedIke, Option<Rival<IkeSpi>>),
}

/// Our open request.
pub(crate) struct Followup {
    pub(super) wanted: Wanted,
    series: Series,
    share: KeyShare,
}

/// What the peer has asked for, and has to go on with.
pub(super) struct Awaited {
    link: Secret,
    expires: Instant,
    planned: Planned,
    series: Series,
}

enum Planned {
    Child(Box<PlannedChild>),
    Ike(PlannedIke),
}

/// A series of the peer that does not go on is forgotten after this long.
const PATIENCE: Duration = Duration::from_secs(20);
/// The peer's window is 1, so more than one is a peer that leaves them open.
const MOST_AWAITED: usize = 4;

impl Series {
    pub(super) fn new(nonces: Nonces, first: Secret, additional: &Additional) -> Self {
        Self { nonces, first, additional: Vec::new(), left: additional.methods().collect() }
    }

    /// Tells whether no key exchange is left.
    pub(super) fn is_complete(&self) -> bool {
        self.left.is_empty()
    }

    pub(super) fn shared(&self) -> Shared<'_> {
        Shared { first: Some(&self.first), additional: &self.additional }
    }
}

impl PlannedChild {
    /// Tells whether it is one of two made at once. The AH around a pair never is.
    fn is_for(&self, replaces: Option<ChildId>, rule: &Name) -> bool {
        self.replaces == replaces && self.agreed.config.rule == *rule && !self.is_outer()
    }

    /// Returns what a deletion by the peer would name.
    const fn names(&self) -> (ProtocolId, Spi) {
        (self.agreed.suite.protocol(), self.agreed.outbound)
    }

    const fn is_outer(&self) -> bool {
        matches!(self.agreed.part, Part::Outer(_))
    }
}

impl Followup {
    /// Returns the SA that the peer has made in place of ours while our offer of a successor is open.
    pub(super) fn rival(&self) -> Option<IkeSpi> {
        match &self.wanted {
            Wanted::Ike(_, rival) => rival.as_ref().and_then(|rival| rival.id),
            Wanted::Child(..) => None,
        }
    }
}

impl Established {
    /// Tells whether we are replacing the IKE SA.
    pub(super) const fn is_being_replaced(&self) -> bool {
        match &self.exchange {
            Some(Exchange::Ike(_)) => true,
            Some(Exchange::Followup(followup)) => matches!(followup.wanted, Wanted::Ike(..)),
            Some(Exchange::Child(_) | Exchange::DeleteChildren(_) | Exchange::DeleteIke | Exchange::Liveness) => false,
            Some(Exchange::Update(_) | Exchange::RouteCheck(_) | Exchange::Addresses(_) | Exchange::Lifetime)
            | None => false,
        }
    }

    /// Tells whether our offer of this child SA has been answered, and waits for additional key exchanges.
    pub(super) fn is_followed_up(&self, replaces: Option<ChildId>, rule: &Name, part: Part) -> bool {
        match &self.exchange {
            Some(Exchange::Followup(followup)) if !matches!(part, Part::Outer(_)) => match &followup.wanted {
                Wanted::Child(child, ..) => child.is_for(replaces, rule),
                Wanted::Ike(..) => false,
            },
            _ => false,
        }
    }

    /// Notes SAs that the peer has deleted before we have heard that they came to be.
    pub(super) fn note_deleted(&mut self, named: &[(ProtocolId, Spi)]) {
        let (children, deleted) = match &mut self.exchange {
            Some(Exchange::Child(offer)) => (&self.children, &mut offer.deleted),
            Some(Exchange::Followup(followup)) => match &mut followup.wanted {
                Wanted::Child(_, _, deleted) => (&self.children, deleted),
                Wanted::Ike(..) => return,
            },
            _ => return,
        };
        let unknown = named.iter().filter(|(protocol, spi)| children.iter().all(|c| !c.has_outbound(*protocol, *spi)));
        deleted.extend(unknown.take(MOST_UNKNOWN.saturating_sub(deleted.len())));
    }

    /// Returns until when the peer may go on with what it has asked for. Until then we ask for nothing of our own.
    pub(super) fn awaits_until(&self) -> Option<Instant> {
        self.awaited.iter().map(|awaited| awaited.expires).max()
    }

    /// Returns when the first of the peer's series is to be forgotten.
    pub(super) fn forgets_at(&self) -> Option<Instant> {
        self.awaited.iter().map(|awaited| awaited.expires).min()
    }

    /// Forgets the peer's series that have not gone on in time.
    pub(super) fn forget_late(&mut self, now: Instant) {
        self.awaited.retain(|awaited| awaited.expires > now);
    }

    /// Returns what the peer has asked for in the place of the same child SA.
    pub(super) fn child_rival(&self, replaces: Option<ChildId>, asked: &Asked) -> Option<Rival<ChildId>> {
        let outer = matches!(asked.part, Part::Outer(_));
        let same = |awaited: &&Awaited| !outer && awaited.is_child(replaces, &asked.config.rule);
        self.awaited.iter().find(same).map(|awaited| Rival { id: None, lowest: awaited.series.nonces.lowest().clone() })
    }

    /// Returns what the peer has asked for in the place of this IKE SA.
    pub(super) fn ike_rival(&self) -> Option<Rival<IkeSpi>> {
        let awaited = self.awaited.iter().find(|awaited| awaited.is_ike());
        awaited.map(|awaited| Rival { id: None, lowest: awaited.series.nonces.lowest().clone() })
    }
}

impl Awaited {
    fn is_child(&self, replaces: Option<ChildId>, rule: &Name) -> bool {
        match &self.planned {
            Planned::Child(child) => child.is_for(replaces, rule),
            Planned::Ike(_) => false,
        }
    }

    const fn is_ike(&self) -> bool {
        matches!(self.planned, Planned::Ike(_))
    }
}

/// More SPIs than a peer has reason to delete while one request is open.
const MOST_UNKNOWN: usize = 16;
