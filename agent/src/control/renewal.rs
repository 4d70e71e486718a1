//! When the node needs its next certificate.

use std::time::{Duration, Instant};

use rand::RngExt;

/// The clocks, both: a certificate ends by the calendar, patience by the stopwatch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocks {
    pub(super) unix: u64,
    pub(super) instant: Instant,
}

/// The life of the certificate in use, and the fleet's wish for another one.
#[derive(Clone, Debug)]
pub(super) struct Renewal {
    /// The Unix second after which the certificate is no longer good; 0 where none is.
    not_after: u64,
    /// The Unix second from which the next one is asked for.
    due: u64,
    /// The rotation of certificates under which it was issued.
    epoch: u64,
    /// The rotation that the mesh is in.
    wanted: u64,
    not_before: Instant,
}

/// Renewals that failed are tried again after this, more or less.
const AGAIN: Duration = Duration::from_secs(60);
/// The calendar may jump: it is looked at this often.
const LOOK: Duration = Duration::from_secs(60);
/// A fleet that rotates does not ask in one instant.
const SPREAD: Duration = Duration::from_millis(300);

impl Renewal {
    /// Plans for a certificate that is good from one Unix second to another. It is renewed when a third of its life has passed.
    pub(super) fn new((from, until): (u64, u64), epoch: u64, now: Clocks) -> Self {
        let life = Duration::from_secs(until.saturating_sub(from));
        let due = from.saturating_add(life.mul_f64(rand::rng().random_range(0.30..0.36)).as_secs());
        Self { not_after: until, due, epoch, wanted: epoch, not_before: now.instant }
    }

    /// Notes the rotation that the mesh is in.
    pub(super) fn want(&mut self, epoch: u64, now: Clocks) {
        if epoch > self.wanted.max(self.epoch) {
            self.not_before = now.instant + SPREAD.mul_f64(rand::rng().random_range(0.0..1.0));
        }
        self.wanted = epoch;
    }

    /// Notes that the controller did not give one.
    pub(super) fn failed(&mut self, now: Clocks) {
        self.not_before = now.instant + AGAIN.mul_f64(rand::rng().random_range(0.5..1.5));
    }

    /// Tells whether it is time.
    pub(super) fn is_due(&self, now: Clocks) -> bool {
        (self.wanted > self.epoch || now.unix >= self.due) && now.instant >= self.not_before
    }

    /// Returns when to ask [`Self::is_due`] again.
    pub(super) fn look_at(&self, now: Clocks) -> Instant {
        let left = if self.wanted > self.epoch { 0 } else { self.due.saturating_sub(now.unix) };
        (now.instant + Duration::from_secs(left).min(LOOK)).max(self.not_before)
    }

    /// Returns the Unix second after which the certificate is no longer good.
    pub(super) const fn not_after(&self) -> u64 {
        self.not_after
    }

    /// Returns the rotation under which the certificate was issued.
    pub(super) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Returns the rotation that the mesh is in.
    pub(super) fn wanted(&self) -> u64 {
        self.wanted.max(self.epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600;

    fn start() -> (Renewal, Clocks) {
        let now = Clocks { unix: 1_000_000, instant: Instant::now() };
        (Renewal::new((now.unix, now.unix + 72 * HOUR), 3, now), now)
    }

    fn after(now: Clocks, seconds: u64) -> Clocks {
        Clocks { unix: now.unix + seconds, instant: now.instant + Duration::from_secs(seconds) }
    }

    #[test]
    fn a_third_of_the_life_is_enough() {
        let (renewal, now) = start();
        assert!(!renewal.is_due(after(now, 21 * HOUR)));
        assert!(renewal.is_due(after(now, 26 * HOUR)));
        assert_eq!(renewal.look_at(now), now.instant + LOOK);
    }

    #[test]
    fn a_restart_does_not_put_it_off() {
        let (_, now) = start();
        let later = after(now, 30 * HOUR);
        assert!(Renewal::new((now.unix, now.unix + 72 * HOUR), 3, later).is_due(later));
    }

    #[test]
    fn a_clock_that_jumps_is_noticed() {
        let (renewal, now) = start();
        assert!(renewal.is_due(Clocks { unix: now.unix + 30 * HOUR, ..after(now, 61) }));
    }

    #[test]
    fn a_rotation_is_followed_at_once_and_not_forgotten_by_a_failure() {
        let (mut renewal, now) = start();
        renewal.want(4, now);
        assert!(renewal.is_due(after(now, 1)) && renewal.look_at(now) <= now.instant + SPREAD);
        renewal.failed(after(now, 1));
        assert!(!renewal.is_due(after(now, 20)));
        renewal.want(4, after(now, 20));
        assert!(!renewal.is_due(after(now, 20)), "a plan of the same rotation changes nothing");
        assert!(renewal.is_due(after(now, 100)));
        assert_eq!((renewal.epoch(), renewal.wanted()), (3, 4));
    }

    #[test]
    fn a_certificate_that_is_not_good_is_due() {
        let now = Clocks { unix: 1_000_000, instant: Instant::now() };
        assert!(Renewal::new((0, 0), 0, now).is_due(now));
    }
}
