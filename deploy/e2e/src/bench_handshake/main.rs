//! `espalier-bench-handshake`: how many handshakes a core completes. `cargo bench-handshake` builds and starts it.
//!
//! Rounds of what is compared alternate, so that a busy machine slows all of them, and the medians of the rounds are reported.

mod fleet;
mod floor;
mod memory;
mod rate;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use serde::Serialize;

use fleet::Fleet;
use rate::median;

/// Measures complete handshakes: `IKE_SA_INIT` and `IKE_AUTH` with a child SA, X25519, ECDSA P-256, a chain of root, issuing
/// authority and leaf.
#[derive(Parser)]
#[command(name = "bench-handshake", bin_name = "cargo bench-handshake")]
struct Options {
    /// Rounds in memory.
    #[arg(long, default_value_t = 25)]
    rounds: usize,
    /// Handshakes of a round in memory.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    handshakes: u16,
    /// Write the report to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    sans_io_per_s: f64,
    ratio: Ratio,
}

#[derive(Serialize)]
struct Ratio {
    crypto_floor: f64,
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
    let report = in_memory(options)?;
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
    Ok(Report { sans_io_per_s: rate, ratio: Ratio { crypto_floor: ratio } })
}
