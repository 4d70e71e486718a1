//! `espalier-bench-handshake`: how many handshakes a core completes. `cargo bench-handshake` builds and starts it.
//!
//! Rounds of what is compared alternate, so that a busy machine slows all of them, and the medians of the rounds are reported.

mod fleet;
mod floor;
mod initiator;
mod load;
mod memory;
mod responders;
mod sockets;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use serde::Serialize;

use espalier_e2e::rate::median;
use fleet::Fleet;

/// Measures complete handshakes: `IKE_SA_INIT` and `IKE_AUTH` with a child SA, X25519, ECDSA P-256, a chain of root, issuing
/// authority and leaf.
#[derive(Parser)]
#[command(name = "bench-handshake", bin_name = "cargo bench-handshake")]
struct Options {
    /// Rounds in memory.
    #[arg(long, default_value_t = 61)]
    rounds: usize,
    /// Handshakes of a round in memory.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u16).range(1..=1000))]
    handshakes: u16,
    /// Rounds over sockets with each of both responders. It needs root.
    #[arg(long, default_value_t = 7)]
    socket_rounds: usize,
    /// Handshakes of a round over sockets.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    socket_handshakes: u16,
    /// Only what needs no sockets.
    #[arg(long)]
    memory_only: bool,
    /// Write the report to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    sans_io_per_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sockets_per_s: Option<f64>,
    ratio: Ratio,
}

#[derive(Serialize)]
struct Ratio {
    crypto_floor: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    charon: Option<f64>,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let mut report = in_memory(options)?;
    if !options.memory_only {
        over_sockets(options, &mut report)?;
    }
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&report)?;
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

fn in_memory(options: &Options) -> Result<Report> {
    let fleet = Fleet::new(options.handshakes)?;
    let mut floor = floor::Floor::new()?;
    let (mut handshakes, mut crypto) = (Vec::new(), Vec::new());
    for round in 0..options.rounds {
        // Who goes first changes, so that neither always finds the machine as the other has left it.
        if round % 2 == 0 {
            crypto.push(floor.round(options.handshakes)?);
        }
        handshakes.push(memory::round(&fleet)?);
        if round % 2 == 1 {
            crypto.push(floor.round(options.handshakes)?);
        }
    }
    let (rate, bound) = (median(&handshakes), median(&crypto));
    let ratios: Vec<_> = handshakes.iter().zip(&crypto).map(|(rate, bound)| rate / bound).collect();
    let ratio = median(&ratios);
    eprintln!("{:<50} {:>12} {:>10}", "both ends in one thread, in memory", "per second", "us each");
    eprintln!("{:<50} {bound:>12.0} {:>10.1}", "asymmetric operations alone", 1e6 / bound);
    eprintln!("{:<50} {rate:>12.0} {:>10.1}", "complete handshakes", 1e6 / rate);
    eprintln!("{:<50} {ratio:>12.3} {:>10}", "ratio (at least 0.75)", "");
    Ok(Report { sans_io_per_s: rate, sockets_per_s: None, ratio: Ratio { crypto_floor: ratio, charon: None } })
}

fn over_sockets(options: &Options, report: &mut Report) -> Result<()> {
    let sockets::Comparison { agent, charon, ratio } =
        sockets::compare(options.socket_rounds, options.socket_handshakes)?;
    eprintln!();
    eprintln!("{:<50} {:>12} {:>10} {:>10}", "responder on one core, over UDP", "per second", "its core", "initiator");
    for (name, measured) in [("strongSwan charon", &charon), ("espalier-agent", &agent)] {
        let sockets::Measured { rate, initiator, responder } = measured;
        eprintln!("{name:<50} {rate:>12.0} {:>9.0}% {:>9.0}%", 100.0 * responder, 100.0 * initiator);
    }
    eprintln!("{:<50} {ratio:>12.3}", "ratio (at least 1.5)");
    if agent.initiator.max(charon.initiator) >= BUSY {
        eprintln!("the initiator took too much of its core: the rates are bounded by it, too");
    }
    (report.sockets_per_s, report.ratio.charon) = (Some(agent.rate), Some(ratio));
    Ok(())
}

/// An initiator that takes more of its own core than this holds the responder up.
const BUSY: f64 = 0.8;
