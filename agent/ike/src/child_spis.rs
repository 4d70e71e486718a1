//! SPIs of our inbound child SAs.

use espalier_model::sa::Spi;
use rand::Rng;
use rand::rngs::StdRng;

/// Draws SPIs in an order that looks random, in which none comes again before all others have: none is given that an SA still
/// has, whether it stands, lingers or is only asked for. They are no secret, since every packet shows its own.
pub(crate) struct ChildSpis {
    keys: [u32; ROUNDS],
    turn: u32,
}

impl ChildSpis {
    pub(crate) fn new(rng: &mut StdRng) -> Self {
        Self { keys: std::array::from_fn(|_| rng.next_u32()), turn: 0 }
    }

    /// Draws the next one.
    pub(crate) fn draw(&mut self) -> Spi {
        loop {
            let number = self.permuted(self.turn);
            self.turn = self.turn.wrapping_add(1);
            if let Ok(spi) = Spi::try_from(number) {
                return spi;
            }
        }
    }

    /// A Feistel network: each round can be undone, so different numbers stay different.
    fn permuted(&self, number: u32) -> u32 {
        let (mut left, mut right) = (number >> HALF, number & ((1 << HALF) - 1));
        for key in self.keys {
            (left, right) = (right, left ^ ((right ^ key).wrapping_mul(FACTOR) >> HALF));
        }
        left << HALF | right
    }
}

const ROUNDS: usize = 4;
const HALF: u32 = 16;
/// Odd, with ones and zeros all over, so that each bit of a half moves many of the other.
const FACTOR: u32 = 0x9e37_79b1;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;

    use super::*;

    #[test]
    fn no_spi_is_drawn_while_an_sa_may_still_have_it() {
        let mut spis = ChildSpis::new(&mut StdRng::from_seed([6; 32]));
        let drawn: BTreeSet<_> = (0..1_000_000).map(|_| spis.draw()).collect();
        assert_eq!(drawn.len(), 1_000_000, "of numbers at random, a hundred would be there twice");
    }

    #[test]
    fn reserved_numbers_are_passed_over() {
        let mut spis = ChildSpis::new(&mut StdRng::from_seed([7; 32]));
        let reserved = (0..u32::MAX).find(|turn| Spi::try_from(spis.permuted(*turn)).is_err()).unwrap();
        spis.turn = reserved;
        let (next, drawn) = (spis.permuted(reserved + 1), spis.draw());
        assert_eq!((drawn.get(), spis.turn), (next, reserved + 2));
    }

    #[test]
    fn two_lives_of_a_node_draw_in_different_orders() {
        let order = |seed| {
            let mut spis = ChildSpis::new(&mut StdRng::from_seed([seed; 32]));
            (0..1_000).map(|_| spis.draw()).collect::<BTreeSet<_>>()
        };
        assert_eq!(order(1).intersection(&order(2)).count(), 0);
    }
}
