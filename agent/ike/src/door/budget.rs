//! How much of something is let through a second: in all, and for each source.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;

/// So many a second, and so many at once after a pause.
#[derive(Clone, Copy)]
pub(super) struct Rate {
    pub(super) per_second: u32,
    pub(super) burst: u32,
}

impl Rate {
    fn interval(self) -> Duration {
        Duration::from_secs(1) / self.per_second
    }
}

/// What is left of a rate: the moment at which all that was taken would have been earned.
#[derive(Clone, Copy, Default)]
pub(super) struct Budget(Option<Instant>);

impl Budget {
    /// Takes one, if there is one.
    pub(super) fn take(&mut self, now: Instant, rate: Rate) -> bool {
        let earned = self.0.map_or(now, |earned| earned.max(now)) + rate.interval();
        let left = earned <= now + rate.interval() * rate.burst;
        if left {
            self.0 = Some(earned);
        }
        left
    }
}

/// A budget for each source, in constant memory: sources that meet in a cell share its budget. Which ones do follows from a key,
/// so nobody can choose to meet somebody else.
pub(super) struct Sources {
    rate: Rate,
    key: [u64; 2],
    cells: Box<[Budget]>,
}

/// With more sources than this, each is rarer than its budget in any flood that a node survives.
const CELLS: usize = 4_096;

impl Sources {
    pub(super) fn new(rng: &mut StdRng, rate: Rate) -> Self {
        Self { rate, key: [rng.next_u64() | 1, rng.next_u64() | 1], cells: vec![Budget::default(); CELLS].into() }
    }

    /// Takes one of the budget of a source, if there is one. The addresses of an IPv6 network of 64 bits are one source.
    pub(super) fn take(&mut self, now: Instant, source: IpAddr) -> bool {
        let number = match source {
            IpAddr::V4(a) => u64::from(a.to_bits()),
            IpAddr::V6(a) => u64::try_from(a.to_bits() >> 64).unwrap_or_default(),
        };
        let [first, second] = self.key;
        let mixed = number.wrapping_mul(first);
        let mixed = (mixed ^ mixed >> 32).wrapping_mul(second) >> 32;
        let cell = usize::try_from(mixed).unwrap_or_default() % CELLS;
        self.cells.get_mut(cell).is_some_and(|budget| budget.take(now, self.rate))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use rand::SeedableRng;

    use super::*;

    const RATE: Rate = Rate { per_second: 10, burst: 3 };

    #[test]
    fn a_budget_gives_its_burst_at_once_and_its_rate_afterwards() {
        let (start, mut budget) = (Instant::now(), Budget::default());
        let mut taken =
            |millis: u64| (0..100).filter(|_| budget.take(start + Duration::from_millis(millis), RATE)).count();
        assert_eq!([taken(0), taken(99), taken(100), taken(350), taken(10_000)], [3, 0, 1, 2, 3]);
    }

    #[test]
    fn a_source_that_takes_much_leaves_the_others_theirs() {
        let mut sources = Sources::new(&mut StdRng::from_seed([3; 32]), RATE);
        let now = Instant::now();
        assert_eq!((0..1_000).filter(|_| sources.take(now, [192, 0, 2, 1].into())).count(), 3);
        let served = (0..100_u32).filter(|n| sources.take(now, (0x0a00_0000 + n).to_be_bytes().into())).count();
        assert!(served >= 98, "{served} of 100 other sources");
        let near = |n: u128| Ipv6Addr::from(0x2001_0db8 << 96 | n).into();
        assert_eq!((0..1_000).filter(|n| sources.take(now, near(*n))).count(), 3, "one network is one source");
    }
}
