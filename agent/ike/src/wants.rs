//! Rules on demand: whose they are, and which of them are to have a child SA now.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use espalier_model::identity::{Identity, Name};

use crate::config::PeerConfig;

/// Every rule on demand of the configuration, and no other.
#[derive(Default)]
pub(crate) struct Wants(BTreeMap<Name, Entry>);

struct Entry {
    peer: Identity,
    want: Option<Want>,
}

/// That a child SA is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Want {
    /// Not before.
    pub(crate) from: Instant,
    /// Nobody waits for it any more after this.
    pub(crate) until: Instant,
}

/// A rule is wanted for this long after it was asked for last: whoever has sent a packet repeats it sooner than that.
const PATIENCE: Duration = Duration::from_secs(60);

impl Wants {
    /// Takes the rules of changed peers; what was wanted of those that stay is wanted still.
    pub(crate) fn configure<'p>(&mut self, peers: impl Iterator<Item = &'p PeerConfig>) {
        let mut before = std::mem::take(&mut self.0);
        for peer in peers {
            for child in peer.children.iter().filter(|child| child.is_on_demand()) {
                let want = before.remove(&child.rule).and_then(|entry| entry.want);
                self.0.insert(child.rule.clone(), Entry { peer: peer.id.clone(), want });
            }
        }
    }

    /// Returns the peer of a rule on demand.
    pub(crate) fn peer(&self, rule: &Name) -> Option<&Identity> {
        self.0.get(rule).map(|entry| &entry.peer)
    }

    /// Notes that a rule is to have a child SA. Nothing comes of a rule that is not on demand.
    pub(crate) fn ask(&mut self, now: Instant, from: Instant, rule: &Name) {
        if let Some(entry) = self.0.get_mut(rule) {
            let before = entry.want.filter(|want| want.until > now).map(|want| want.from);
            let from = before.map_or(from, |before| before.min(from));
            entry.want = Some(Want { from, until: now + PATIENCE });
        }
    }

    /// Notes that a rule has a child SA. When that goes, another is made only once it is asked for.
    pub(crate) fn meet(&mut self, rule: &Name) {
        if let Some(entry) = self.0.get_mut(rule) {
            entry.want = None;
        }
    }

    /// Returns what is wanted of a rule.
    pub(crate) fn of(&self, rule: &Name) -> Option<Want> {
        self.0.get(rule).and_then(|entry| entry.want)
    }

    /// Tells whether a rule is wanted at this moment.
    pub(crate) fn is_wanted(&self, rule: &Name, at: Instant) -> bool {
        self.of(rule).is_some_and(|want| at < want.until)
    }
}
