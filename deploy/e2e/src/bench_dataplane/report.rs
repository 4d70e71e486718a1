//! The report: figures by name, then by peer.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::bars::{self, Bar};
use crate::figure::Key;
use crate::peer::Peer;
use crate::samples::{Samples, Spread};

/// Figures by name, then by peer.
type Table = BTreeMap<String, BTreeMap<&'static str, f64>>;

/// What `--json` writes.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    rounds: u32,
    /// Medians.
    value: Table,
    /// Medians of the ratios within a round, ours to the peer's.
    ratio: Table,
    /// The noise: lowest and highest of the rounds.
    value_min: Table,
    value_max: Table,
    ratio_min: Table,
    ratio_max: Table,
    /// Peers that could not be had, and why.
    pub(crate) absent: BTreeMap<&'static str, String>,
    /// Measurements that failed, and why.
    pub(crate) failed: Vec<String>,
    /// The bars whose figures were measured.
    pub(crate) bars: Vec<Bar>,
}

impl Report {
    /// Reports what was measured.
    pub(crate) fn of(rounds: u32, samples: &Samples) -> Self {
        let values = |part: fn(Spread) -> f64| table(samples, |key, peer| samples.spread(key, peer).map(part));
        let ratios = |part: fn(Spread) -> f64| table(samples, |key, peer| samples.ours_to(key, peer).map(part));
        Self {
            rounds,
            value: values(|spread| spread.median),
            ratio: ratios(|spread| spread.median),
            value_min: values(|spread| spread.min),
            value_max: values(|spread| spread.max),
            ratio_min: ratios(|spread| spread.min),
            ratio_max: ratios(|spread| spread.max),
            absent: samples.absent.iter().map(|(peer, why)| (peer.name(), why.clone())).collect(),
            failed: samples.failed.clone(),
            bars: bars::judge(samples),
        }
    }

    /// Tells whether our agent was measured without a failure.
    pub(crate) fn complete(&self) -> bool {
        let ours = Peer::Espalier.name();
        !self.absent.contains_key(ours) && !self.failed.iter().any(|failure| failure.starts_with(ours))
    }

    /// Tells whether every bar was measured and holds.
    pub(crate) fn all_met(&self) -> bool {
        self.bars.len() == bars::COUNT && self.bars.iter().all(|bar| bar.met)
    }
}

fn table(samples: &Samples, figure: impl Fn(Key, Peer) -> Option<f64>) -> Table {
    let row = |key: Key| {
        let cells = samples.peers(key).into_iter().filter_map(|peer| Some((peer.name(), figure(key, peer)?)));
        (key.name(), cells.collect::<BTreeMap<_, _>>())
    };
    samples.keys().into_iter().map(row).filter(|(_, cells)| !cells.is_empty()).collect()
}
