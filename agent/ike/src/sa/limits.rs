//! How much an SA may carry, and when it is replaced for that.

use espalier_model::profile::Profile;
use espalier_model::sa::UsageLimits;
use rand::RngExt;

use crate::context::Context;

impl Context<'_> {
    /// Returns the limits of both halves of a pair. The end that leads is the first to replace it, as with lifetimes; a random tenth
    /// is taken off, so that a fleet spreads out. What stops the SA is twice as far, so that there is time at any speed.
    pub(crate) fn limits(&mut self, profile: &Profile, esn: bool, leads: bool) -> UsageLimits {
        let spared = self.rng.random_range(0..=1_000_u64);
        let soft = |limit: u64| {
            let limit = if leads { limit } else { limit.saturating_add(limit / 4) };
            limit - limit / 1_000 * spared / 10
        };
        //= RFC 4303 §3.3.3: numbers are never used up; three quarters of them leave time to replace the SA at any speed
        let numbers = if esn { u64::MAX } else { u64::from(u32::MAX) };
        let packets = profile.child_rekey_packets.unwrap_or(u64::MAX);
        UsageLimits {
            soft_packets: soft(packets.min(numbers / 4 * 3)),
            hard_packets: packets.saturating_mul(2).min(numbers),
            soft_bytes: profile.child_rekey_bytes.map_or(u64::MAX, soft),
            hard_bytes: profile.child_rekey_bytes.map_or(u64::MAX, |bytes| bytes.saturating_mul(2)),
        }
    }
}
