//! What is tried.

use espalier_model::suite::{AhSuite, EspSuite};

use crate::case::{Case, Encap};
use crate::judge::Judge;
use crate::rekey;
use crate::scene::Scene;

/// A pair of SAs, and what happens to it.
pub(crate) struct Scenario {
    pub(crate) case: Case,
    what: &'static str,
    course: fn(&mut Scene<'_>),
}

impl Scenario {
    pub(crate) fn name(&self) -> String {
        format!("{}: {}", self.what, self.case)
    }

    /// Runs it at its place in the table.
    pub(crate) fn run(&self, judge: &Judge, place: usize) {
        (self.course)(&mut Scene::new(judge, self.case, place));
    }
}

/// Suites whose packets differ in what has a length: IV, padding, integrity check value.
const SHAPES: [EspSuite; 5] = [
    EspSuite::Aes256Gcm16,
    EspSuite::ChaCha20Poly1305,
    EspSuite::Aes256CbcSha512,
    EspSuite::Aes128CtrSha256,
    EspSuite::NullSha384,
];

/// Returns all scenarios. Each form is tried in a few of the eight ways in which it may come about, the usual one in all.
pub(crate) fn scenarios() -> Vec<Scenario> {
    let usual = Case::esp(EspSuite::Aes256Gcm16);
    let mut cases: Vec<Case> = (0..8).map(|n| usual.way(n)).collect();
    cases.extend(EspSuite::ALL.iter().enumerate().skip(1).map(|(n, suite)| Case::esp(*suite).way(n)));
    for (n, suite) in SHAPES.into_iter().enumerate() {
        let esp = Case::esp(suite);
        cases.extend([n, n + 2].map(|n| esp.bare(Encap::Never).way(n)));
        cases.extend([n + 1, n + 3].map(|n| esp.transport().bare(Encap::Never).way(n)));
    }
    cases.extend([0, 7].map(|n| usual.bare(Encap::Auto).way(n)));
    cases.extend([1, 2, 4, 7].map(|n| usual.transport().way(n)));
    for (n, suite) in AhSuite::ALL.iter().enumerate() {
        cases.extend([n, n + 2].map(|n| Case::ah(*suite).way(n)));
        cases.extend([n + 1, n + 3, n + 6].map(|n| Case::ah(*suite).transport().way(n)));
    }
    let passes = |case| Scenario { case, what: "packets pass", course: |scene| scene.assert_passes() };
    // What takes longest begins first.
    rekeys(usual).into_iter().chain(cases.into_iter().map(passes)).collect()
}

fn rekeys(usual: Case) -> Vec<Scenario> {
    let lasting = |case: Case| case.profile(", child-rekey-seconds: 2");
    let by_the_gateway = |case| Scenario { case, what: "rekeyed by the gateway", course: rekey::by_the_gateway };
    let by_the_agent =
        |case| Scenario { case: lasting(case), what: "rekeyed by the agent", course: rekey::by_the_agent };
    let by_both = |case| Scenario { case: lasting(case), what: "rekeyed by both", course: rekey::by_both };
    let bare = usual.bare(Encap::Never);
    vec![
        by_the_gateway(usual.way(1)),
        by_the_gateway(usual.way(6)),
        by_the_agent(usual.way(3)),
        by_the_agent(usual.way(4)),
        by_both(usual.way(1)),
        by_the_gateway(bare.way(5)),
        by_the_agent(bare.transport().way(1)),
        by_both(Case::ah(AhSuite::Sha256).way(5)),
    ]
}
