//! Sequence numbers: each is given out once, then never again.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use thiserror::Error;

/// The limit is reached. The SA must be rekeyed, never reused (RFC 4303 §3.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("sequence numbers are exhausted")]
pub struct Exhausted;

/// Gives out 1, 2, 3, … up to its limit. The number is also the IV, so none may come twice under one key. The wire shows its lower
/// half: with extended numbers the upper one is understood (RFC 4303 §2.2.1).
#[derive(Debug)]
pub struct Sequence {
    last: AtomicU64,
    limit: u64,
}

impl Sequence {
    /// Starts before 1. Without extended sequence numbers the limit is never above 2^32 - 1.
    #[must_use]
    pub fn new(limit: u64, extended: bool) -> Self {
        let most = if extended { u64::MAX } else { u64::from(u32::MAX) };
        Self { last: AtomicU64::new(0), limit: limit.min(most) }
    }

    /// Goes on after a number, as if that many packets had been sent.
    #[cfg(test)]
    pub(crate) fn go_on_after(&self, number: u64) {
        self.last.store(number, Relaxed);
    }

    /// Takes the next numbers, in one atomic step: all of them, or none.
    ///
    /// # Errors
    /// `Exhausted` when fewer are left. Once none is, it is so for ever.
    pub fn take(&self, count: usize) -> Result<RangeInclusive<u64>, Exhausted> {
        let count = u64::try_from(count).map_err(|_| Exhausted)?;
        //= RFC 7296 §2.8: an SA ends at its limit
        let step = |n: u64| n.checked_add(count).filter(|last| *last <= self.limit);
        let previous = self.last.fetch_update(Relaxed, Relaxed, step).map_err(|_| Exhausted)?;
        Ok(previous.checked_add(1).ok_or(Exhausted)?..=previous.checked_add(count).ok_or(Exhausted)?)
    }

    /// Returns the last number given out, 0 before the first.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::thread;

    use super::*;

    #[test]
    fn no_number_comes_twice_up_to_the_limit_and_none_after() {
        let sequence = Sequence::new(10_000, false);
        let take = |count| std::iter::from_fn(|| sequence.take(count).ok()).flatten().collect::<Vec<_>>();
        let taken: Vec<u64> = thread::scope(|scope| {
            let threads: Vec<_> = [1, 3, 45, 64].map(|count| scope.spawn(move || take(count))).into_iter().collect();
            threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
        });
        let unique: BTreeSet<u64> = taken.iter().copied().collect();
        assert_eq!((taken.len(), unique.len()), (10_000, 10_000));
        assert_eq!(unique.last(), Some(&10_000));
        assert_eq!(sequence.take(1), Err(Exhausted));
    }

    #[test]
    fn where_fewer_are_left_than_wanted_none_is_taken() {
        let sequence = Sequence::new(10, false);
        assert_eq!(sequence.take(8), Ok(1..=8));
        assert_eq!(sequence.take(3), Err(Exhausted));
        assert_eq!((sequence.last(), sequence.take(2)), (8, Ok(9..=10)));
    }

    #[test]
    fn numbers_end_at_32_or_at_64_bits() {
        for (extended, last) in [(false, u64::from(u32::MAX)), (true, u64::MAX)] {
            let sequence = Sequence::new(u64::MAX, extended);
            sequence.go_on_after(last - 1);
            assert_eq!(sequence.take(2), Err(Exhausted));
            assert_eq!(sequence.take(1), Ok(last..=last));
            assert_eq!(sequence.take(1), Err(Exhausted));
            assert_eq!(sequence.last(), last);
        }
        let extended = Sequence::new(u64::MAX, true);
        extended.go_on_after(u64::from(u32::MAX));
        assert_eq!(extended.take(1), Ok(1 << 32..=1 << 32));
    }
}
