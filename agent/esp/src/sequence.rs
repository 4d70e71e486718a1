//! Sequence numbers: each is given out once, then never again.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use thiserror::Error;

/// The limit is reached. The SA must be rekeyed, never reused (RFC 4303 §3.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("sequence numbers are exhausted")]
pub struct Exhausted;

/// Gives out 1, 2, 3, … up to its limit. The number is also the IV, so none may come twice under one key.
#[derive(Debug)]
pub struct Sequence {
    last: AtomicU64,
    limit: u64,
}

impl Sequence {
    /// Starts before 1. Without extended sequence numbers the limit is never above 2^32 - 1.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self { last: AtomicU64::new(0), limit: limit.min(u64::from(u32::MAX)) }
    }

    /// Takes the next number, in one atomic step.
    ///
    /// # Errors
    /// `Exhausted` once the limit is reached, for ever.
    pub fn next(&self) -> Result<u32, Exhausted> {
        //= RFC 7296 §2.8: an SA ends at its limit
        let step = |n| (n < self.limit).then_some(n + 1);
        let previous = self.last.fetch_update(Relaxed, Relaxed, step).map_err(|_| Exhausted)?;
        u32::try_from(previous + 1).map_err(|_| Exhausted)
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
        let sequence = Sequence::new(10_000);
        let take = || std::iter::from_fn(|| sequence.next().ok()).collect::<Vec<_>>();
        let taken: Vec<u32> = thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
        });
        let unique: BTreeSet<u32> = taken.iter().copied().collect();
        assert_eq!((taken.len(), unique.len()), (10_000, 10_000));
        assert_eq!(unique.last(), Some(&10_000));
        assert_eq!(sequence.next(), Err(Exhausted));
    }

    #[test]
    fn a_limit_beyond_32_bits_is_cut() {
        let sequence = Sequence { last: AtomicU64::new(u64::from(u32::MAX) - 1), ..Sequence::new(u64::MAX) };
        assert_eq!(sequence.next(), Ok(u32::MAX));
        assert_eq!(sequence.next(), Err(Exhausted));
    }
}
