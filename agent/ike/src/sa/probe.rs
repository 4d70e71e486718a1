//! For tests: changes when an SA does something.

use std::time::{Duration, Instant};

use super::established::Established;

impl Established {
    /// Has the SA replaced at a moment.
    pub(crate) const fn rekey_at(&mut self, at: Instant) {
        self.rekey_at = at;
    }

    /// Leaves it to the peer to make a pair of a rule.
    pub(crate) fn refuse_for_long(&mut self, rule: &str) {
        let at = self.since + Duration::from_secs(3_600);
        self.refused.insert(rule.parse().expect("a name"), (1, at));
    }
}
