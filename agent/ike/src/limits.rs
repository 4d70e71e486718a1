//! How much a stranger, or an authentic peer that misbehaves, can make an endpoint keep and do.
//!
//! | what grows | by whom | bound |
//! |---|---|---|
//! | half-open SAs | anybody who shows an address | [`Limits::half_open`] in all, [`Limits::half_open_per_source`] for a source |
//! | fragments of a request | whoever has half an SA | one message of 65,535 bytes a direction and SA |
//! | certificates of a peer | whoever has half an SA | 4 of 16 KiB each, in one message |
//! | child SAs | a peer | [`Limits::children`] on an IKE SA, or four for each of its rules if that is more |
//! | new SAs on an IKE SA, rekeyed ones too | a peer | an [`Allowance`] that successors inherit |
//! | IKE SAs that others have replaced | a peer | [`MOST_REPLACED`] for each peer |
//! | last answers of SAs that are gone | a peer | 4,096 in all, for a minute |
//! | SPIs deleted before they are known | a peer | 16 while one request is open |
//! | words about packets of no SA | anybody | one in ten seconds on an IKE SA |
//! | answers outside an SA | anybody | [`STRANGERS`] in all |
//!
//! Everything else is as large as the configuration.

use std::time::{Duration, Instant};

/// What may be set; the rest is fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Half-open SAs in all; default 1,000, more than a fleet opens at once. A quarter is kept for addresses of configured peers.
    pub half_open: usize,
    /// Half-open SAs from one IPv4 address or one IPv6 /64; default 128, for a site behind one address. Addresses of configured
    /// peers may have four times as many.
    pub half_open_per_source: usize,
    /// Child SAs on one IKE SA; default 64. A peer with many rules may have four for each.
    pub children: usize,
    /// Whether whoever asks for an SA that is not there is told so (RFC 7296 §1.5); off by default, since it tells strangers that
    /// somebody is here, and peers find out by their liveness check.
    pub tell_strangers: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { half_open: 1_000, half_open_per_source: 128, children: 64, tell_strangers: false }
    }
}

/// IKE SAs of one peer that others have replaced, and that neither end has deleted yet.
pub(crate) const MOST_REPLACED: usize = 16;

/// Answers to what belongs to no SA, for all senders together.
pub(crate) const STRANGERS: Rate = Rate { burst: 20, period: Duration::from_millis(100) };

/// So many at once, and one more in each period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) burst: u32,
    pub(crate) period: Duration,
}

/// What is left of a rate.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Allowance {
    used: u32,
    /// When `used` was last lowered.
    since: Option<Instant>,
}

impl Allowance {
    /// Takes one; tells whether there was one.
    pub(crate) fn take(&mut self, now: Instant, rate: Rate) -> bool {
        let since = *self.since.get_or_insert(now);
        let past = now.saturating_duration_since(since).as_nanos() / rate.period.as_nanos().max(1);
        match u32::try_from(past) {
            Ok(past) if past < self.used => {
                self.used -= past;
                self.since = Some(since + rate.period * past);
            }
            _ => (self.used, self.since) = (0, Some(now)),
        }
        if self.used >= rate.burst {
            return false;
        }
        self.used += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_burst_and_then_one_a_period() {
        let rate = Rate { burst: 3, period: Duration::from_secs(1) };
        let (start, mut left) = (Instant::now(), Allowance::default());
        let mut taken = |millis| left.take(start + Duration::from_millis(millis), rate);
        let given: Vec<_> = [0, 0, 0, 0, 999, 1_000, 1_001, 1_999, 2_500, 2_600].into_iter().map(&mut taken).collect();
        assert_eq!(given, [true, true, true, false, false, true, false, false, true, false]);
        assert_eq!((0..10).filter(|_| taken(3_600_000)).count(), 3, "what is not used is not saved up");
    }

    #[test]
    fn a_storm_of_an_hour_gets_no_more_than_its_rate() {
        let (start, mut left) = (Instant::now(), Allowance::default());
        let given = (0..3_600_u32 * 50).filter(|n| left.take(start + Duration::from_millis(20) * *n, STRANGERS));
        assert!((36_000..=36_020).contains(&given.count()));
    }
}
