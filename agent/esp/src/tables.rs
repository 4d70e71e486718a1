//! One snapshot of everything that a packet needs: the SPD, the SAD, and which SA a rule uses now.

mod shards;

use std::sync::Arc;

use espalier_model::identity::Name;
use espalier_model::sa::{ChildId, Direction, Spi};
use espalier_model::selector::Flow;

use crate::counters::DropReason;
use crate::inbound::Inbound;
use crate::outbound::Outbound;
use crate::spd::{Spd, Verdict};

use shards::Shards;

/// A read-only snapshot. Changing it means building the next one; SAs with their counters are shared between snapshots, and so is
/// all that does not change: the cost of one more SA does not grow with those that are there.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    spd: Arc<Spd>,
    inbound: Shards<Spi, Arc<Inbound>>,
    outbound: Shards<Name, Arc<Outbound>>,
    /// The outbound SA of each rule, by its place in the SPD, in pages of [`PAGE`]: what a packet looks up.
    by_place: Vec<Arc<[Option<Arc<Outbound>>]>>,
}

const PAGE: usize = 64;

impl Tables {
    /// Finds the SA through which a packet leaves.
    ///
    /// # Errors
    /// The reason why it must not leave.
    pub fn outbound(&self, flow: &Flow) -> Result<&Arc<Outbound>, DropReason> {
        match self.spd.outbound(flow) {
            Verdict::Protect(_, place) => self.in_place(place),
            Verdict::Bypass => return Err(DropReason::MisroutedBypass),
            Verdict::Drop => return Err(DropReason::PolicyDrop),
        }
        .filter(|sa| sa.carries(flow))
        .ok_or(DropReason::NoSa)
    }

    /// Returns the rule of a packet whose SA is made on demand, and is not there: the packet asks for it.
    //= RFC 4301 §5.1: a packet without an SA is dropped, or waits while one is made
    #[must_use]
    pub fn awaited(&self, flow: &Flow) -> Option<&Name> {
        match self.spd.outbound(flow) {
            Verdict::Protect(rule, place) if self.spd.is_on_demand(place) && self.in_place(place).is_none() => {
                Some(rule)
            }
            Verdict::Protect(..) | Verdict::Bypass | Verdict::Drop => None,
        }
    }

    /// Tells whether a rule has an SA to send with.
    #[must_use]
    pub fn sends(&self, rule: &Name) -> bool {
        self.outbound.get(rule).is_some()
    }

    /// Finds the SA of an SPI.
    #[must_use]
    pub fn inbound(&self, spi: u32) -> Option<&Arc<Inbound>> {
        Spi::try_from(spi).ok().and_then(|spi| self.inbound.get(&spi))
    }

    /// Tells whether a packet may enter that came through this SA: its flow must be one that the SA's own rule protects
    /// (RFC 4301 §5.2).
    #[must_use]
    pub fn admits(&self, sa: &Inbound, flow: &Flow) -> bool {
        matches!(self.spd.inbound(flow), Verdict::Protect(rule, _) if rule == sa.rule())
    }

    /// Returns the policy.
    #[must_use]
    pub fn spd(&self) -> &Spd {
        &self.spd
    }

    /// Returns every inbound SA.
    pub fn inbound_sas(&self) -> impl Iterator<Item = &Arc<Inbound>> {
        self.inbound.values()
    }

    /// Returns the next snapshot, with another policy. SAs of rules that are gone stay until IKE removes them, unused.
    #[must_use]
    pub fn with_policy(&self, spd: Spd) -> Self {
        let current: Vec<_> = spd.rules().map(|rule| self.outbound.get(rule).cloned()).collect();
        let by_place = current.chunks(PAGE).map(Arc::from).collect();
        Self { spd: Arc::new(spd), by_place, ..self.clone() }
    }

    /// Returns the next snapshot, with one more inbound SA.
    #[must_use]
    pub fn with_inbound(&self, sa: Arc<Inbound>) -> Self {
        let mut next = self.clone();
        next.inbound.insert(sa.spi(), sa);
        next
    }

    /// Returns the next snapshot, in which this SA carries what its rule sends.
    #[must_use]
    pub fn with_outbound(&self, sa: Arc<Outbound>) -> Self {
        let mut next = self.clone();
        next.place(sa.rule(), Some(Arc::clone(&sa)));
        next.outbound.insert(sa.rule().clone(), sa);
        next
    }

    /// Returns the next snapshot, without one half of a pair. A half that is not there, or was replaced, changes nothing.
    #[must_use]
    pub fn without(&self, id: ChildId, direction: Direction) -> Self {
        let mut next = self.clone();
        match direction {
            Direction::Inbound => {
                if let Some(sa) = self.inbound.values().find(|sa| sa.id() == id) {
                    next.inbound.remove(&sa.spi());
                }
            }
            Direction::Outbound => {
                if let Some(sa) = self.outbound.values().find(|sa| sa.id() == id) {
                    next.place(sa.rule(), None);
                    next.outbound.remove(sa.rule());
                }
            }
        }
        next
    }

    #[inline]
    fn in_place(&self, place: usize) -> Option<&Arc<Outbound>> {
        self.by_place.get(place / PAGE).and_then(|page| page.get(place % PAGE)?.as_ref())
    }

    /// Puts an SA, or none, where the packets of a rule look.
    fn place(&mut self, rule: &Name, sa: Option<Arc<Outbound>>) {
        let Some(place) = self.spd.place(rule) else { return };
        let page = self.by_place.get_mut(place / PAGE);
        if let Some(slot) = page.and_then(|page| Arc::make_mut(page).get_mut(place % PAGE)) {
            *slot = sa;
        }
    }
}
