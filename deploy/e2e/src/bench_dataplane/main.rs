//! `espalier-bench-dataplane`: what a tunnel carries, beside other tunnels in user space. `cargo bench-dataplane` builds and starts it.
//!
//! Each peer has two hosts and a wire of its own, and all stand at once. In each round every peer takes its turn, in an order that is
//! reversed from round to round, so that a busy machine slows all of them; medians of the rounds are reported, and ratios are taken
//! within a round before.

mod bars;
mod bisect;
mod figure;
mod peer;
mod process;
mod progress;
mod report;
mod rounds;
mod rtt;
mod samples;
mod scene;
mod stop;
mod table;
mod tcp;
mod udp;
mod wire;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use figure::{Measurement, Mode};
use peer::Peer;
use report::Report;

/// Measures TCP, UDP and round-trip times through tunnels between two hosts on this machine. It needs root.
#[derive(Parser)]
#[command(name = "bench-dataplane", bin_name = "cargo bench-dataplane")]
pub(crate) struct Options {
    /// Rounds; medians of them are reported.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Seconds of a TCP run; a step of the search for the largest UDP rate takes a fifth of it.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
    /// What to compare with [default: all].
    #[arg(long, value_enum, value_delimiter = ',')]
    peers: Vec<Peer>,
    /// What to measure [default: all].
    #[arg(long, value_enum, value_delimiter = ',')]
    figures: Vec<Measurement>,
    /// How the wire behaves: it passes super-packets whole, or only packets that fit its MTU [default: both].
    #[arg(long, value_enum, value_delimiter = ',')]
    modes: Vec<Mode>,
    /// Write the report to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fail where a bar is not met.
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<bool> {
    stop::listen()?;
    let samples = rounds::run(options)?;
    let report = Report::of(options.rounds, &samples);
    table::print(&samples, &report);
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&report)?;
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(report.complete() && (!options.check || report.all_met()))
}
