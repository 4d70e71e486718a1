//! The anti-replay window (RFC 4303 §3.4.3), as a ring of words (RFC 6479), over numbers of 64 bits (RFC 4303, appendix A).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const WORD: u64 = 64;
const LOW: u64 = 0xffff_ffff;

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

    /// Returns the number of which the wire shows the lower half: the one that lies nearest to the window, which is the only one
    /// that may be new. `None` where that would lie before 0 or beyond 2^64.
    #[must_use]
    pub fn extend(&self, low: u32) -> Option<u64> {
        //= RFC 4303 §A2.2: the upper half follows from where the lower one lies relative to the window
        let top = self.highest();
        let upper = top >> 32;
        let (low, top_low) = (u64::from(low), top & LOW);
        let first = (top_low + 1).wrapping_sub(self.size) & LOW;
        let upper = match (top_low + 1 >= self.size, low >= first) {
            // The window lies within one half space: before it begins, the next one has begun.
            (true, true) => upper,
            (true, false) => upper.checked_add(1).filter(|upper| *upper <= LOW)?,
            // The window reaches back into the half space before.
            (false, true) => upper.checked_sub(1)?,
            (false, false) => upper,
        };
        Some((upper << 32) | low)
    }

    /// Tells whether a packet with this number could be new. Decides nothing: the packet is not authentic yet.
    #[must_use]
    pub fn may_accept(&self, number: u64) -> bool {
        let highest = self.highest();
        if number > highest {
            return true;
        }
        let (word, bit) = self.place(number);
        number != 0 && highest - number < self.size && word.load(Relaxed) & bit == 0
    }

    /// Takes the number of an authentic packet. Returns false when it was there already or lies before the window.
    #[must_use]
    pub fn commit(&self, number: u64) -> bool {
        if !self.may_accept(number) {
            return false;
        }
        let highest = self.highest();
        if number > highest {
            self.forget(highest / WORD, number / WORD);
            self.highest.store(number, Relaxed);
        }
        let (word, bit) = self.place(number);
        word.fetch_or(bit, Relaxed) & bit == 0
    }

    /// Goes on after a number, as if it had been taken.
    #[cfg(test)]
    pub(crate) fn go_on_after(&self, number: u64) {
        self.highest.store(number, Relaxed);
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
        assert!(window.commit(u64::MAX) && !window.commit(u64::MAX) && !window.commit(100));
        assert!(window.commit(u64::MAX - 63) && !window.commit(u64::MAX - 64));
    }

    #[test]
    fn the_upper_half_is_that_of_the_nearest_number() {
        let window = ReplayWindow::new(64);
        assert_eq!((window.extend(1), window.extend(5_000)), (Some(1), Some(5_000)));
        assert_eq!(window.extend(u32::MAX), None, "nothing comes before 0");
        assert!(window.commit(u64::from(u32::MAX)));
        assert_eq!(window.extend(u32::MAX - 63), Some(0xffff_ffc0), "the oldest inside");
        assert_eq!(window.extend(u32::MAX - 64), Some(0x1_ffff_ffbf), "just before: only the next round may be new");
        assert_eq!(window.extend(0), Some(1 << 32));
        assert!(window.commit((1 << 32) + 5));
        assert_eq!(window.extend(u32::MAX), Some(0xffff_ffff), "a late one from before the wrap");
        assert_eq!(window.extend(u32::MAX - 57), Some(0xffff_ffc6));
        assert_eq!(window.extend(u32::MAX - 58), Some(0x1_ffff_ffc5));
        assert!(window.commit(u64::MAX) && window.extend(u32::MAX).is_some());
        assert_eq!(window.extend(0), None, "nothing comes after 2^64");
    }

    proptest! {
        #[test]
        fn the_ring_decides_as_a_set_does(
            size in prop::sample::select(vec![64_u32, 128, 1024, 8192]),
            start in prop::sample::select(vec![0, 5, u64::from(u32::MAX) - 300, (7 << 32) - 9_000, u64::MAX - 2_000]),
            steps in prop::collection::vec((any::<bool>(), 0_u64..20_000), 1..400),
        ) {
            let (window, mut seen, mut highest) = (ReplayWindow::new(size), BTreeSet::from([start]), start);
            prop_assert_eq!(window.commit(start), start != 0);
            for (forward, step) in steps {
                let number = if forward { highest.saturating_add(step % 200) } else { highest.saturating_sub(step) };
                let old = number == 0 || highest.saturating_sub(number) >= u64::from(size);
                if !old {
                    let low = u32::try_from(number & LOW).unwrap();
                    prop_assert_eq!(window.extend(low), Some(number), "highest {}", highest);
                }
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
