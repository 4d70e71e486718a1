//! Deadlines by key: the earliest is found without looking at the others.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// At most one deadline for each key.
pub(super) struct Timers<K> {
    by_key: BTreeMap<K, Instant>,
    queue: BTreeSet<(Instant, K)>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self { by_key: BTreeMap::new(), queue: BTreeSet::new() }
    }
}

impl<K: Ord + Clone> Timers<K> {
    /// Sets, moves or removes a deadline.
    pub(super) fn set(&mut self, key: &K, at: Option<Instant>) {
        if self.by_key.get(key).copied() == at {
            return;
        }
        if let Some(before) = self.by_key.remove(key) {
            self.queue.remove(&(before, key.clone()));
        }
        if let Some(at) = at {
            self.by_key.insert(key.clone(), at);
            self.queue.insert((at, key.clone()));
        }
    }

    /// Returns the deadline of a key.
    pub(super) fn at(&self, key: &K) -> Option<Instant> {
        self.by_key.get(key).copied()
    }

    /// Returns the earliest deadline.
    pub(super) fn next(&self) -> Option<Instant> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Takes all keys whose deadline has come.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<K> {
        let mut due = Vec::new();
        while let Some((at, key)) = self.queue.first().filter(|(at, _)| *at <= now).cloned() {
            self.queue.remove(&(at, key.clone()));
            self.by_key.remove(&key);
            due.push(key);
        }
        due
    }
}
