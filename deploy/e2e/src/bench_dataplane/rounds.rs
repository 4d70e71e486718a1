//! The rounds: every peer in turn, everything that is to be measured of it.

use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;

use crate::figure::{Figure, Key, Measurement, Mode};
use crate::peer::Peer;
use crate::progress::Progress;
use crate::rtt::{self, Load, RoundTrips};
use crate::samples::Samples;
use crate::scene::Scene;
use crate::tcp::{self, Streams};
use crate::udp::Flow;
use crate::{Options, bisect, process, stop, wire};

/// What is measured, and how long.
struct Plan {
    modes: Vec<Mode>,
    measurements: Vec<Measurement>,
    seconds: u32,
}

/// One peer's turn in one round.
struct Turn<'a> {
    scene: &'a Scene,
    mode: Mode,
    round: u32,
    seconds: u32,
}

/// Packets of the load under which round trips are measured, and of the larger search.
const LARGE: usize = 1300;
const SMALL: usize = 64;
/// Lines of a log that say why a program has ended.
const LAST_LINES: usize = 5;

/// Puts all peers in place and measures them. Only what concerns no single peer is an error.
pub(crate) fn run(options: &Options) -> Result<Samples> {
    let mut samples = Samples::default();
    let plan = Plan::of(options);
    let scenes = scenes(&peers(options, &plan), &mut samples)?;
    let total: f64 = plan.measurements.iter().map(|measurement| measurement.weight()).sum();
    let turns = f64::from(options.rounds) * count(plan.modes.len()) * count(scenes.len());
    let mut progress = Progress::new(options.rounds, total * turns);
    for round in 0..options.rounds {
        // Who goes first changes, so that none always finds the machine as the same other has left it.
        let mut order: Vec<_> = plan.modes.iter().flat_map(|mode| scenes.iter().map(|scene| (*mode, scene))).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for (mode, scene) in order {
            let turn = Turn { scene, mode, round, seconds: plan.seconds };
            turn.take(&plan.measurements, &mut samples, &mut progress)?;
        }
        added(round, &plan, &mut samples);
    }
    progress.end();
    Ok(samples)
}

impl Plan {
    fn of(options: &Options) -> Self {
        let mut measurements = all_unless_given(&options.figures);
        if measurements.contains(&Measurement::RttHalf) {
            // What a tunnel adds under load is counted from the idle wire.
            measurements.push(Measurement::RttIdle);
        }
        let (modes, measurements) = (sorted(all_unless_given(&options.modes)), sorted(measurements));
        Self { modes, measurements, seconds: options.seconds }
    }

    /// Tells whether a round-trip time is wanted: it is the difference to the plain wire's.
    fn asks_for_time(&self) -> bool {
        self.measurements.iter().any(|m| matches!(m, Measurement::RttIdle | Measurement::RttHalf))
    }
}

/// Lists whom to measure: ours, whom the command line names, and the plain wire where others are compared with it.
fn peers(options: &Options, plan: &Plan) -> Vec<Peer> {
    let mut peers = all_unless_given(&options.peers);
    peers.push(Peer::Espalier);
    if plan.asks_for_time() {
        peers.push(Peer::Plain);
    }
    sorted(peers)
}

fn all_unless_given<T: ValueEnum + Clone>(given: &[T]) -> Vec<T> {
    if given.is_empty() { T::value_variants().to_vec() } else { given.to_vec() }
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort();
    list.dedup();
    list
}

/// Puts peers in place; of those that cannot be, the reason is noted.
fn scenes(peers: &[Peer], samples: &mut Samples) -> Result<Vec<Scene>> {
    let mut scenes = Vec::new();
    for peer in peers {
        stop::check()?;
        eprintln!("starting {}", peer.name());
        match Scene::start(*peer) {
            Ok(scene) => scenes.push(scene),
            Err(error) => {
                stop::check()?;
                let reason = shortened(&format!("{error:#}"));
                eprintln!("  {} is left out: {reason}", peer.name());
                samples.absent.insert(*peer, reason);
            }
        }
    }
    Ok(scenes)
}

impl Turn<'_> {
    fn take(&self, measurements: &[Measurement], samples: &mut Samples, progress: &mut Progress) -> Result<()> {
        wire::set(&self.scene.pair, self.mode)?;
        for measurement in measurements {
            stop::check()?;
            let peer = self.scene.peer;
            progress.next(self.round, self.mode, peer, *measurement);
            if let Err(error) = self.measure(*measurement, samples) {
                stop::check()?;
                let (mode, round) = (self.mode.name(), self.round + 1);
                let (peer, name) = (peer.name(), measurement.name());
                let reason = shortened(&format!("{error:#}"));
                samples.failed.push(format!("{peer}, {mode}, {name}, round {round}: {reason}"));
            }
            progress.done(*measurement);
        }
        if let Ok(Some(memory)) = process::memory(&self.scene.tunnel.ids()) {
            self.note(samples, Figure::Rss, memory);
        }
        Ok(())
    }

    fn measure(&self, measurement: Measurement, samples: &mut Samples) -> Result<()> {
        match measurement {
            Measurement::Tcp1 => {
                let ids = self.scene.tunnel.ids();
                let before = process::processor_seconds(&ids)?;
                let carried = self.tcp(1, false)?;
                self.note(samples, Figure::Tcp1, carried.mbit_per_second);
                if !ids.is_empty() && carried.gigabytes > 0.0 {
                    let took = process::processor_seconds(&ids)? - before;
                    self.note(samples, Figure::CpuPerGb, took / carried.gigabytes);
                }
            }
            Measurement::Tcp4 => self.note(samples, Figure::Tcp4, self.tcp(4, false)?.mbit_per_second),
            Measurement::Bidir => self.note(samples, Figure::Bidir, self.tcp(1, true)?.mbit_per_second),
            Measurement::Udp1300 => self.note(samples, Figure::Udp1300, self.udp(LARGE)?),
            Measurement::Udp64 => self.note(samples, Figure::Udp64, self.udp(SMALL)?),
            Measurement::RttIdle => {
                let trips = rtt::measure(self.scene, self.half_a_run(), None)?;
                self.note_trips(samples, [Figure::RttIdleP50, Figure::RttIdleP99], trips);
            }
            Measurement::RttHalf => {
                let known = samples.get(self.round, self.key(Figure::Udp1300), self.scene.peer);
                let rate = known.map_or_else(|| self.udp(LARGE), Ok)? / 2.0;
                let flow = Flow::open(self.scene)?;
                let load = Load { flow: &flow, size: LARGE, rate };
                let trips = rtt::measure(self.scene, self.half_a_run(), Some(load))?;
                self.note_trips(samples, [Figure::RttHalfP50, Figure::RttHalfP99], trips);
            }
        }
        Ok(())
    }

    fn tcp(&self, count: u32, both_ways: bool) -> Result<tcp::Carried> {
        tcp::run(self.scene, Streams { count, both_ways }, self.seconds)
    }

    fn udp(&self, size: usize) -> Result<f64> {
        let flow = Flow::open(self.scene)?;
        let time = Duration::from_secs(self.seconds.into()) / 5;
        bisect::largest(|rate| {
            stop::check()?;
            flow.step(size, rate, time)
        })
    }

    fn half_a_run(&self) -> Duration {
        Duration::from_secs(self.seconds.into()) / 2
    }

    const fn key(&self, figure: Figure) -> Key {
        Key { mode: self.mode, figure }
    }

    fn note(&self, samples: &mut Samples, figure: Figure, value: f64) {
        samples.add(self.round, self.key(figure), self.scene.peer, value);
    }

    fn note_trips(&self, samples: &mut Samples, [p50, p99]: [Figure; 2], trips: RoundTrips) {
        self.note(samples, p50, trips.p50);
        self.note(samples, p99, trips.p99);
    }
}

/// Turns the round-trip times of tunnels into what they add to the idle plain wire's of the same round.
fn added(round: u32, plan: &Plan, samples: &mut Samples) {
    use Figure::{RttHalfP50, RttHalfP99, RttIdleP50, RttIdleP99};
    for mode in &plan.modes {
        for (figure, idle) in
            [(RttHalfP50, RttIdleP50), (RttHalfP99, RttIdleP99), (RttIdleP50, RttIdleP50), (RttIdleP99, RttIdleP99)]
        {
            let key = Key { mode: *mode, figure };
            let plain = samples.get(round, Key { mode: *mode, figure: idle }, Peer::Plain);
            for peer in samples.peers(key).into_iter().filter(|peer| *peer != Peer::Plain) {
                match (samples.get(round, key, peer), plain) {
                    (Some(whole), Some(plain)) => samples.add(round, key, peer, whole - plain),
                    (Some(_), None) => samples.remove(round, key, peer),
                    (None, _) => {}
                }
            }
        }
    }
}

/// Keeps the first line of a reason and the last ones: between them may stand all that a program has logged.
fn shortened(reason: &str) -> String {
    let mut lines: Vec<&str> = reason.lines().filter(|line| !line.trim().is_empty()).collect();
    if lines.len() > 1 + LAST_LINES {
        lines.splice(1..lines.len() - LAST_LINES, ["…"]);
    }
    lines.join("\n")
}

fn count(items: usize) -> f64 {
    u32::try_from(items).map_or(f64::INFINITY, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_keeps_its_first_line_and_its_last_ones() {
        let long: String = (0..100).map(|n| format!("line {n}\n\n")).collect();
        assert_eq!(shortened(&long), "line 0\n…\nline 95\nline 96\nline 97\nline 98\nline 99");
        assert_eq!(shortened("one\ntwo\n"), "one\ntwo");
    }
}
