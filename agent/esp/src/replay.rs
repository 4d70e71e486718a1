//! The anti-replay window (RFC 4303 §3.4.3), as a ring of words (RFC 6479).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const WORD: u64 = 64;

/// A window over the last sequence numbers. One worker writes; anyone may read.
#[derive(Debug)]
pub struct ReplayWindow {
    /// One word more than the window needs, so that moving on never clears a number still inside.
    words: Box<[AtomicU64]>,
    size: u64,
    highest: AtomicU64,
}

impl ReplayWindow {
    /// Makes a window of that many packets, rounded up to a multiple of 64.
    #[must_use]
    pub fn new(packets: u32) -> Self {
        let words = u64::from(packets).div_ceil(WORD).max(1);
        let ring = (0..=words).map(|_| AtomicU64::new(0)).collect();
        Self { words: ring, size: words * WORD, highest: AtomicU64::new(0) }
    }

    /// Tells whether a packet with this number could be new. Decides nothing: the packet is not authentic yet.
    #[must_use]
    pub fn may_accept(&self, number: u32) -> bool {
        let number = u64::from(number);
        let highest = self.highest();
        if number > highest {
            return true;
        }
        let (word, bit) = self.place(number);
        number != 0 && number + self.size > highest && word.load(Relaxed) & bit == 0
    }

    /// Takes the number of an authentic packet. Returns false when it was there already or lies before the window.
    #[must_use]
    pub fn commit(&self, number: u32) -> bool {
        if !self.may_accept(number) {
            return false;
        }
        let number = u64::from(number);
        let highest = self.highest();
        if number > highest {
            self.forget(highest / WORD, number / WORD);
            self.highest.store(number, Relaxed);
        }
        let (word, bit) = self.place(number);
        word.fetch_or(bit, Relaxed) & bit == 0
    }

    /// Returns the highest number taken, 0 before the first.
    #[must_use]
    pub fn highest(&self) -> u64 {
        self.highest.load(Relaxed)
    }

    /// Clears the words that the window moves into: those after `from`, up to and with `to`.
    fn forget(&self, from: u64, to: u64) {
        let count = u64::try_from(self.words.len()).unwrap_or(u64::MAX);
        (from + 1..=to).take(self.words.len()).for_each(|index| self.word(index % count).store(0, Relaxed));
    }

    fn place(&self, number: u64) -> (&AtomicU64, u64) {
        let count = u64::try_from(self.words.len()).unwrap_or(u64::MAX);
        (self.word(number / WORD % count), 1 << (number % WORD))
    }

    fn word(&self, index: u64) -> &AtomicU64 {
        usize::try_from(index)
            .ok()
            .and_then(|i| self.words.get(i))
            .expect("the index is taken modulo the ring's length")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn late_packets_pass_once_and_old_ones_never() {
        let window = ReplayWindow::new(64);
        assert!(!window.commit(0), "0 is never sent");
        assert!(window.commit(100) && !window.commit(100));
        assert!(window.commit(37), "the oldest number inside");
        assert!(!window.commit(36), "just before the window");
        assert!(window.commit(u32::MAX) && !window.commit(u32::MAX) && !window.commit(100));
    }

    proptest! {
        #[test]
        fn the_ring_decides_as_a_set_does(
            size in prop::sample::select(vec![64_u32, 128, 1024, 8192]),
            steps in prop::collection::vec((any::<bool>(), 0_u32..20_000), 1..400),
        ) {
            let (window, mut seen, mut highest) = (ReplayWindow::new(size), BTreeSet::new(), 0_u32);
            for (forward, step) in steps {
                let number = if forward { highest.saturating_add(step % 200) } else { highest.saturating_sub(step) };
                let old = number == 0 || u64::from(number) + u64::from(size) <= u64::from(highest);
                let expected = !old && !seen.contains(&number);
                prop_assert_eq!(window.may_accept(number), expected);
                prop_assert_eq!(window.commit(number), expected, "{} with highest {}", number, highest);
                if expected {
                    seen.insert(number);
                    highest = highest.max(number);
                }
            }
        }
    }
}
