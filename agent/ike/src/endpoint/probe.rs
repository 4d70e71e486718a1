//! For tests: has an endpoint do now what it would do some time, and shows what it keeps.

use espalier_model::sa::{ChildId, Direction};

use super::slot::Sa;
use super::{Endpoint, context};
use crate::config::Now;
use crate::output::Output;
use crate::sa::established::Established;

/// What an endpoint keeps. Everything here goes when the SAs go.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) sas: usize,
    pub(crate) holders: usize,
    pub(crate) retired: usize,
    pub(crate) half_open: usize,
    pub(crate) outbound_halves: usize,
}

impl Endpoint {
    /// Replaces the IKE SA in use.
    pub(crate) fn rekey_ike_now(&mut self, now: Now) {
        self.with_sa_in_use(now, |sa, now| sa.rekey_at(now.instant));
    }

    /// Deletes the IKE SA in use.
    pub(crate) fn delete_ike_now(&mut self, now: Now) {
        self.with_sa_in_use(now, |sa, _| sa.begin_close());
    }

    /// Deletes the oldest pair of a rule. It is made anew afterwards.
    pub(crate) fn delete_child_now(&mut self, now: Now, rule: &str) {
        self.with_sa_in_use(now, |sa, now| {
            let child = sa.children.iter_mut().find(|child| child.config.rule.as_str() == rule);
            child.expect("the rule has a pair").delete_at = Some(now.instant);
        });
    }

    /// Forgets the pair of a rule without a word to the peer.
    pub(crate) fn lose_child(&mut self, now: Now, rule: &str) {
        let mut lost: Vec<ChildId> = Vec::new();
        self.with_sa_in_use(now, |sa, _| {
            lost.extend(sa.children.extract_if(.., |child| child.config.rule.as_str() == rule).map(|child| child.id));
            // Only the peer acts on the loss.
            sa.refuse_for_long(rule);
        });
        for id in lost {
            self.holders.remove(&id);
            let rule = rule.parse().expect("a name");
            assert!(self.outbounds.remove(&rule, id).is_none());
            self.outputs.extend([Direction::Outbound, Direction::Inbound].map(|half| Output::Remove(id, half)));
        }
    }

    /// Proves anew who we are.
    pub(crate) fn reauthenticate_now(&mut self, now: Now) {
        let ids: Vec<_> = self.peers.keys().cloned().collect();
        ids.iter().for_each(|id| self.peer_timers.set(id, Some(now.instant)));
        self.call_due(now);
    }

    /// Returns how much is kept.
    pub(crate) fn kept(&self) -> Kept {
        Kept {
            sas: self.sas.len(),
            holders: self.holders.len(),
            retired: self.retired.len(),
            half_open: self.half_open.len(),
            outbound_halves: self.outbounds.len(),
        }
    }

    fn with_sa_in_use(&mut self, now: Now, change: impl FnOnce(&mut Established, Now)) {
        let spi = self.peers.values().find_map(|peer| peer.sa).expect("an SA is in use");
        if let Some(Sa::Established(mut sa)) = self.sas.remove(&spi) {
            change(&mut sa, now);
            let result = sa.act(context!(self, now));
            assert!(result.is_ok());
            self.keep(spi, Some(Sa::Established(sa)));
        }
    }
}
