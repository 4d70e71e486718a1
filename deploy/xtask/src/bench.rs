//! `cargo bench-dataplane`, `cargo bench-handshake`: build what ships and start a measurement on it.

mod peers;

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::tools;

/// What to measure; see `cargo bench-dataplane -- --help` and `cargo bench-handshake -- --help`.
#[derive(Args)]
pub(crate) struct Options {
    /// Flags of the measurement itself.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "FLAGS")]
    flags: Vec<String>,
}

/// Builds and starts the measurement of handshakes. Returns only when it cannot be started.
pub(crate) fn handshake(options: &Options) -> Result<bool> {
    tools::install_missing()?;
    start("espalier-bench-handshake", options)
}

/// Builds and starts the measurement of the data plane, with the peers that it is to be compared with. Returns only when it cannot
/// be started.
pub(crate) fn dataplane(options: &Options) -> Result<bool> {
    tools::install_missing()?;
    if !options.flags.iter().any(|flag| flag == "--help" || flag == "-h") {
        peers::fetch(options.flags.iter().map(String::as_str))?;
    }
    start("espalier-bench-dataplane", options)
}

fn start(program: &str, options: &Options) -> Result<bool> {
    let program = tools::built(program)?;
    Err(Command::new(&program).args(&options.flags).exec()).with_context(|| format!("cannot start {program}"))
}
