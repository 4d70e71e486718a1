//! Handshakes over UDP with a responder that runs as it does in earnest, pinned to one core.

use anyhow::{Context, Result, bail};
use espalier_e2e::lab::{Host, Lab};

use crate::fleet::Fleet;
use crate::load::{self, Outcome};
use crate::responders::{Kind, Responder, prepare, settle};
use espalier_e2e::rate::median;

/// Medians of the rounds of one responder.
pub(crate) struct Measured {
    pub(crate) rate: f64,
    /// The share of its core that the initiator took.
    pub(crate) initiator: f64,
    /// The share of its core that the responder took.
    pub(crate) responder: f64,
}

/// The agent, charon, and the median of the agent's rate over charon's.
pub(crate) struct Comparison {
    pub(crate) agent: Measured,
    pub(crate) charon: Measured,
    pub(crate) ratio: f64,
}

#[derive(Default)]
struct Rounds {
    rates: Vec<f64>,
    initiator: Vec<f64>,
    responder: Vec<f64>,
}

/// Core of the responder.
const RESPONDER: usize = 0;
/// Core of the initiators.
const INITIATORS: usize = 1;

/// Measures both responders in turn, so many rounds each.
pub(crate) fn compare(rounds: usize, handshakes: u16) -> Result<Comparison> {
    let fleet = Fleet::new(handshakes)?;
    let lab = Lab::named("esp-hb", 3)?;
    let [initiators, agent, charon] = &lab.hosts[..] else { bail!("the lab has three hosts") };
    settle(initiators, &fleet)?;
    prepare(Kind::Agent, agent, initiators, &fleet)?;
    prepare(Kind::Charon, charon, initiators, &fleet)?;
    let (mut ours, mut theirs) = (Rounds::default(), Rounds::default());
    for round in 0..rounds {
        let mut turns = [(Kind::Agent, agent, &mut ours), (Kind::Charon, charon, &mut theirs)];
        if round % 2 == 1 {
            turns.reverse();
        }
        for (kind, host, rounds) in turns {
            rounds.add(kind, host, initiators, &fleet)?;
        }
    }
    let ratios: Vec<_> = ours.rates.iter().zip(&theirs.rates).map(|(ours, theirs)| ours / theirs).collect();
    Ok(Comparison { agent: ours.medians(), charon: theirs.medians(), ratio: median(&ratios) })
}

impl Rounds {
    /// Starts a responder, has every initiator set up its SA with it, and stops it.
    fn add(&mut self, kind: Kind, host: &Host, initiators: &Host, fleet: &Fleet) -> Result<()> {
        let clients = fleet.clients()?;
        let responder = Responder::start(kind, host, RESPONDER)?;
        let before = responder.processor_seconds()?;
        let to = host.outer(true);
        let outcome = initiators.namespace.enter(|| load::run(&clients, to, INITIATORS))?;
        let Outcome { rate, busy, time } =
            outcome.with_context(|| format!("{kind:?} wrote:\n{}", last_lines(&responder.log())))?;
        self.responder.push((responder.processor_seconds()? - before) / time.as_secs_f64());
        self.rates.push(rate);
        self.initiator.push(busy);
        Ok(())
    }

    fn medians(&self) -> Measured {
        Measured { rate: median(&self.rates), initiator: median(&self.initiator), responder: median(&self.responder) }
    }
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(30)).map(|line| format!("{line}\n")).collect()
}
