//! The Internet checksum (RFC 1071).

/// A one's complement sum of 16-bit words. Adding is cheap; only the end folds and complements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checksum(u32);

/// Bytes summed in one step.
const STEP: usize = 32;

impl Checksum {
    /// Adds bytes as words, the last of which may lack its second byte: then nothing can follow.
    #[must_use]
    pub fn with(self, bytes: &[u8]) -> Self {
        let (blocks, rest) = bytes.as_chunks::<STEP>();
        // Each lane takes 33 bits a step, so 64 bits hold any packet.
        let mut lanes = [0; STEP / 8];
        blocks.iter().for_each(|block| step(&mut lanes, block));
        let mut last = [0; STEP];
        if let Some(head) = last.get_mut(..rest.len()) {
            head.copy_from_slice(rest);
        }
        step(&mut lanes, &last);
        let folded = fold(lanes.iter().copied().fold(0, u64::wrapping_add));
        //= RFC 1071 §2 (B): the sum does not depend on the order of bytes in a word
        self.add_word(u16::from_be_bytes(folded.to_ne_bytes()))
    }

    /// Adds one word.
    #[must_use]
    pub const fn add_word(self, word: u16) -> Self {
        // 65,535 words fit; a packet has fewer parts than that.
        Self(self.0.wrapping_add(word as u32))
    }

    /// Takes a word out that was added before.
    #[must_use]
    pub const fn remove_word(self, word: u16) -> Self {
        self.add_word(!word)
    }

    /// Returns the sum, folded.
    #[must_use]
    pub fn sum(self) -> u16 {
        fold(self.0.into())
    }

    /// Returns what goes into the packet: the complement of the sum.
    #[must_use]
    pub fn finish(self) -> u16 {
        !self.sum()
    }

    /// Tells whether a packet was summed that contains its right checksum.
    #[must_use]
    pub fn is_right(self) -> bool {
        self.sum() == u16::MAX
    }
}

fn step(lanes: &mut [u64; STEP / 8], block: &[u8; STEP]) {
    for (lane, word) in lanes.iter_mut().zip(block.as_chunks::<8>().0) {
        let word = u64::from_ne_bytes(*word);
        *lane = lane.wrapping_add(word & 0xffff_ffff).wrapping_add(word >> 32);
    }
}

fn fold(mut sum: u64) -> u16 {
    loop {
        match u16::try_from(sum) {
            Ok(folded) => return folded,
            Err(_) => sum = (sum & 0xffff) + (sum >> 16),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::offload::testing::slow_sum;

    #[test]
    fn the_example_of_rfc_1071_sums_up() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Checksum::default().with(&bytes).sum(), 0xddf2);
        assert_eq!(Checksum::default().with(&bytes).finish(), !0xddf2);
        assert!(Checksum::default().with(&bytes).add_word(!0xddf2).is_right());
    }

    proptest! {
        #[test]
        fn it_is_the_sum_of_words_one_by_one(bytes: Vec<u8>, more in prop::collection::vec(any::<u8>(), 0..3000), cut: usize) {
            prop_assert_eq!(Checksum::default().with(&bytes).sum(), slow_sum(&bytes));
            prop_assert_eq!(Checksum::default().with(&more).sum(), slow_sum(&more));
            let (head, tail) = more.split_at(cut % (more.len() / 2 + 1) * 2);
            prop_assert_eq!(Checksum::default().with(head).with(tail).sum(), slow_sum(&more));
        }

        #[test]
        fn a_word_that_is_removed_was_never_there(word: u16, rest in 1_u16..) {
            let sum = Checksum::default().add_word(rest).add_word(word).remove_word(word).sum();
            prop_assert_eq!(sum, rest);
        }
    }

    #[test]
    fn the_longest_packet_of_ones_does_not_overflow() {
        let bytes = vec![0xff; 65_535];
        assert_eq!(Checksum::default().with(&bytes).sum(), slow_sum(&bytes));
    }
}
