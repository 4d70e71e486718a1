//! SPIs of our IKE SAs that show, to who knows the key, that they are ours.

use rand::Rng;
use rand::rngs::StdRng;

use crate::wire::IkeSpi;

/// Marks the SPIs that an endpoint chooses: 48 random bits, and 16 that follow from them and a key. Who guesses at an SPI is found
/// out 65,535 times out of 65,536 by one multiplication, without a look at any SA. Nothing rests on it but who is let in first:
/// a peer sees our SPIs.
#[derive(Clone, Copy)]
pub(crate) struct SpiMark {
    factor: u64,
    summand: u64,
}

impl SpiMark {
    pub(crate) fn new(rng: &mut StdRng) -> Self {
        Self { factor: rng.next_u64() | 1, summand: rng.next_u64() }
    }

    /// Draws an SPI.
    pub(crate) fn draw(self, rng: &mut StdRng) -> IkeSpi {
        loop {
            let random = rng.next_u64() >> MARK_BITS;
            let spi = IkeSpi(random << MARK_BITS | self.mark(random));
            //= RFC 7296 §2.6: SPIs of IKE SAs are drawn at random, and never zero
            if spi != IkeSpi::ZERO {
                return spi;
            }
        }
    }

    /// Tells whether an SPI may be one of ours.
    pub(crate) fn bears(self, spi: IkeSpi) -> bool {
        spi.0 & ((1 << MARK_BITS) - 1) == self.mark(spi.0 >> MARK_BITS)
    }

    /// Universal hashing by multiplication and shift: what has not been seen cannot be foretold.
    const fn mark(self, random: u64) -> u64 {
        random.wrapping_mul(self.factor).wrapping_add(self.summand) >> (u64::BITS - MARK_BITS)
    }
}

const MARK_BITS: u32 = 16;

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn what_is_drawn_bears_the_mark_and_what_is_guessed_does_not() {
        let mut rng = StdRng::from_seed([5; 32]);
        let (ours, theirs) = (SpiMark::new(&mut rng), SpiMark::new(&mut rng));
        let count = |mark: SpiMark, spis: &[IkeSpi]| spis.iter().filter(|spi| mark.bears(**spi)).count();
        let drawn: Vec<_> = (0..10_000).map(|_| ours.draw(&mut rng)).collect();
        let guessed: Vec<_> = (0..100_000).map(|_| IkeSpi(rng.next_u64())).collect();
        let in_order: Vec<_> = (0..100_000).map(IkeSpi).collect();
        assert_eq!(count(ours, &drawn), drawn.len());
        for foreign in [&drawn, &guessed, &in_order] {
            assert!(count(theirs, foreign) < 20, "{}", count(theirs, foreign));
        }
    }
}
