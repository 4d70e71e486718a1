//! What was measured, round by round.

use std::collections::{BTreeMap, BTreeSet};

use espalier_e2e::rate::median;

use crate::figure::Key;
use crate::peer::Peer;

/// All figures of all rounds, and what is missing.
#[derive(Default)]
pub(crate) struct Samples {
    figures: BTreeMap<(Key, Peer), BTreeMap<u32, f64>>,
    /// Peers that could not be put in place, and why.
    pub(crate) absent: BTreeMap<Peer, String>,
    /// Measurements that failed, each with its round, and why.
    pub(crate) failed: Vec<String>,
}

/// The middle one of some rounds, and the noise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Samples {
    /// Notes a figure.
    pub(crate) fn add(&mut self, round: u32, key: Key, peer: Peer, figure: f64) {
        self.figures.entry((key, peer)).or_default().insert(round, figure);
    }

    /// Forgets a figure of one round.
    pub(crate) fn remove(&mut self, round: u32, key: Key, peer: Peer) {
        if let Some(rounds) = self.figures.get_mut(&(key, peer)) {
            rounds.remove(&round);
        }
    }

    /// Returns one round's figure.
    pub(crate) fn get(&self, round: u32, key: Key, peer: Peer) -> Option<f64> {
        self.figures.get(&(key, peer))?.get(&round).copied()
    }

    /// Lists what was measured, in order.
    pub(crate) fn keys(&self) -> BTreeSet<Key> {
        self.figures.keys().map(|(key, _)| *key).collect()
    }

    /// Lists the peers of a figure, in order.
    pub(crate) fn peers(&self, key: Key) -> Vec<Peer> {
        self.figures.keys().filter(|(of, _)| *of == key).map(|(_, peer)| *peer).collect()
    }

    /// Returns the rounds of a figure.
    pub(crate) fn spread(&self, key: Key, peer: Peer) -> Option<Spread> {
        Spread::of(self.figures.get(&(key, peer))?.values().copied())
    }

    /// Returns how many times as large ours is as a peer's. What a tunnel adds to the plain wire's time has no ratio to that time.
    pub(crate) fn ours_to(&self, key: Key, peer: Peer) -> Option<Spread> {
        if peer == Peer::Espalier || (peer == Peer::Plain && key.figure.is_added_time()) {
            return None;
        }
        self.ratio((key, Peer::Espalier), (key, peer))
    }

    /// Returns how many times as large one figure is as another, taken within each round. A round in which one of them is not
    /// above zero (a difference of two times may not be) has no ratio.
    pub(crate) fn ratio(&self, over: (Key, Peer), under: (Key, Peer)) -> Option<Spread> {
        let (over, under) = (self.figures.get(&over)?, self.figures.get(&under)?);
        let both = over.iter().filter_map(|(round, over)| Some((over, under.get(round)?)));
        Spread::of(both.filter(|(over, under)| **over > 0.0 && **under > 0.0).map(|(over, under)| over / under))
    }
}

impl Spread {
    fn of(figures: impl Iterator<Item = f64>) -> Option<Self> {
        let figures: Vec<f64> = figures.collect();
        let min = figures.iter().copied().min_by(f64::total_cmp)?;
        let max = figures.iter().copied().max_by(f64::total_cmp)?;
        Some(Self { median: median(&figures), min, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::{Figure, Mode};

    #[test]
    fn ratios_are_taken_within_a_round_and_only_of_what_both_have() {
        let key = Key { mode: Mode::Through, figure: Figure::Tcp1 };
        let mut samples = Samples::default();
        for (round, ours, theirs) in [(0, 10.0, 5.0), (1, 3.0, 1.0), (2, 8.0, 2.0), (3, 1.0, 0.0)] {
            samples.add(round, key, Peer::Espalier, ours);
            samples.add(round, key, Peer::Gotatun, theirs);
        }
        samples.add(4, key, Peer::Espalier, 100.0);
        let ratio = samples.ratio((key, Peer::Espalier), (key, Peer::Gotatun));
        assert_eq!(ratio, Some(Spread { median: 3.0, min: 2.0, max: 4.0 }));
        assert_eq!(samples.ratio((key, Peer::Espalier), (key, Peer::Plain)), None);
        assert_eq!(samples.spread(key, Peer::Espalier), Some(Spread { median: 8.0, min: 1.0, max: 100.0 }));
    }
}
