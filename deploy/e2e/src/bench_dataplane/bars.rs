//! The bars: what the data plane owes to those who choose it, as ratios within one run.

use serde::Serialize;

use crate::figure::{Figure, Key, Mode};
use crate::peer::Peer;
use crate::samples::Samples;

/// A bar and what was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Bar {
    /// What it says.
    pub(crate) name: &'static str,
    /// The least that it demands, or the most.
    #[serde(flatten)]
    pub(crate) limit: Limit,
    /// What we want besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) aim: Option<f64>,
    /// What was measured.
    pub(crate) measured: f64,
    /// Whether it holds.
    pub(crate) met: bool,
}

/// A bound of a ratio.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Limit {
    AtLeast(f64),
    AtMost(f64),
}

struct Demand {
    name: &'static str,
    mode: Mode,
    over: (Figure, Peer),
    /// What it is compared with; nothing for a figure that is judged by itself.
    under: Option<(Figure, Peer)>,
    limit: Limit,
    aim: Option<f64>,
}

/// How many there are.
pub(crate) const COUNT: usize = DEMANDS.len();
const DEMANDS: [Demand; 10] = [
    Demand {
        name: "TCP, one stream, to gotatun",
        mode: Mode::Through,
        over: (Figure::Tcp1, Peer::Espalier),
        under: Some((Figure::Tcp1, Peer::Gotatun)),
        limit: Limit::AtLeast(5.0),
        aim: Some(6.0),
    },
    Demand {
        name: "TCP, one stream, to wireguard-go with offloads",
        mode: Mode::Through,
        over: (Figure::Tcp1, Peer::Espalier),
        under: Some((Figure::Tcp1, Peer::WireguardGoTrixie)),
        limit: Limit::AtLeast(2.0),
        aim: Some(2.5),
    },
    Demand {
        name: "TCP, one stream, to null-crypto",
        mode: Mode::Through,
        over: (Figure::Tcp1, Peer::Espalier),
        under: Some((Figure::Tcp1, Peer::NullCrypto)),
        limit: Limit::AtLeast(0.65),
        aim: None,
    },
    Demand {
        name: "TCP, one stream, null-crypto to the plain wire",
        mode: Mode::Through,
        over: (Figure::Tcp1, Peer::NullCrypto),
        under: Some((Figure::Tcp1, Peer::Plain)),
        limit: Limit::AtLeast(0.4),
        aim: None,
    },
    Demand {
        name: "TCP, one stream, mode wire, to gotatun",
        mode: Mode::Wire,
        over: (Figure::Tcp1, Peer::Espalier),
        under: Some((Figure::Tcp1, Peer::Gotatun)),
        limit: Limit::AtLeast(4.0),
        aim: Some(5.0),
    },
    Demand {
        name: "TCP, four streams to one",
        mode: Mode::Through,
        over: (Figure::Tcp4, Peer::Espalier),
        under: Some((Figure::Tcp1, Peer::Espalier)),
        limit: Limit::AtLeast(0.95),
        aim: None,
    },
    Demand {
        name: "TCP, one stream, 10,000 rules and 1,000 SAs to one",
        mode: Mode::Through,
        over: (Figure::Tcp1, Peer::Crowded),
        under: Some((Figure::Tcp1, Peer::Espalier)),
        limit: Limit::AtLeast(0.9),
        aim: None,
    },
    Demand {
        name: "memory with 10,000 rules and 1,000 SAs, MB",
        mode: Mode::Through,
        over: (Figure::Rss, Peer::Crowded),
        under: None,
        limit: Limit::AtMost(150.0),
        aim: None,
    },
    Demand {
        name: "UDP, 1,300 bytes, to gotatun",
        mode: Mode::Through,
        over: (Figure::Udp1300, Peer::Espalier),
        under: Some((Figure::Udp1300, Peer::Gotatun)),
        limit: Limit::AtLeast(2.5),
        aim: Some(3.5),
    },
    Demand {
        name: "added round trip, idle, median, to wireguard-go with offloads",
        mode: Mode::Through,
        over: (Figure::RttIdleP50, Peer::Espalier),
        under: Some((Figure::RttIdleP50, Peer::WireguardGoTrixie)),
        limit: Limit::AtMost(1.1),
        aim: None,
    },
];

impl Limit {
    /// Tells whether a ratio keeps it.
    const fn holds(self, ratio: f64) -> bool {
        match self {
            Self::AtLeast(least) => ratio >= least,
            Self::AtMost(most) => ratio <= most,
        }
    }
}

/// Judges what was measured; a bar whose figures were not is left out.
pub(crate) fn judge(samples: &Samples) -> Vec<Bar> {
    let bar = |demand: &Demand| {
        let key = |figure| Key { mode: demand.mode, figure };
        let over = (key(demand.over.0), demand.over.1);
        let measured = match demand.under {
            Some((figure, peer)) => samples.ratio(over, (key(figure), peer))?.median,
            None => samples.spread(over.0, over.1)?.median,
        };
        let &Demand { name, limit, aim, .. } = demand;
        Some(Bar { name, limit, aim, measured, met: limit.holds(measured) })
    };
    DEMANDS.iter().filter_map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_judged_by_the_median_of_ratios_and_left_out_without_figures() {
        let mut samples = Samples::default();
        let key = Key { mode: Mode::Wire, figure: Figure::Tcp1 };
        for (round, ours) in [(0, 39.0), (1, 41.0), (2, 90.0)] {
            samples.add(round, key, Peer::Espalier, ours);
            samples.add(round, key, Peer::Gotatun, 10.0);
        }
        let bars = judge(&samples);
        assert_eq!(bars.len(), 1);
        assert!(bars[0].met && bars[0].measured == 4.1);
        assert!(Limit::AtMost(1.1).holds(1.1) && !Limit::AtMost(1.1).holds(1.2) && !Limit::AtLeast(2.0).holds(1.9));
    }
}
