//! Rules on demand: a packet asks for their SAs, and nobody is called before.

use std::time::Instant;

use espalier_model::identity::Name;

use super::Endpoint;
use crate::config::{Now, PeerConfig};
use crate::sa::established::Established;
use crate::sa::upkeep::TURN;

impl Endpoint {
    /// Takes note that a packet waits for the SA of a rule. Whoever has it sends the first message, whichever end starts otherwise.
    pub(super) fn acquire(&mut self, now: Now, rule: &Name) {
        let Some(id) = self.wants.peer(rule).cloned() else { return };
        let Some(peer) = self.peers.get(&id) else { return };
        let (sa, calling) = (peer.sa, peer.attempt.is_some());
        // It may have come about while the data plane asked.
        if self.in_use(&id).is_some_and(|sa| sa.holds(rule)) {
            return;
        }
        self.wants.ask(now.instant, now.instant, rule);
        match sa {
            Some(spi) => self.with_established(now, spi, |_, _| {}),
            // A peer that has refused or has not answered is called again in its time.
            None if !calling && self.peer_timers.at(&id).is_none() => {
                self.peer_timers.set(&id, Some(now.instant));
                self.call_due(now);
            }
            None => {}
        }
    }

    /// Tells whether a rule on demand is wanted, and has no child SA yet.
    #[must_use]
    pub fn is_wanted(&self, now: Now, rule: &Name) -> bool {
        self.wants.is_wanted(rule, now.instant)
    }

    /// Tells whether there is to be an IKE SA with a peer at this moment.
    pub(super) fn is_called_for(&self, peer: &PeerConfig, at: Instant) -> bool {
        !peer.waits() || peer.children.iter().any(|child| self.wants.is_wanted(&child.rule, at))
    }

    /// Has the SA that stays make the children on demand of the one that goes.
    pub(super) fn keep_wanted(&mut self, now: Instant, goes: &Established, stays: &Established) {
        let from = if stays.parts.peer.initiate { now } else { now + TURN };
        let lost = goes.children.iter().filter(|child| child.delete_at.is_none());
        for rule in lost.map(|child| &child.config.rule).filter(|rule| !stays.holds(rule)) {
            self.wants.ask(now, from, rule);
        }
    }
}
