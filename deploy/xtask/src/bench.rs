//! `cargo bench-handshake`: builds what ships and starts a measurement on it.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::tools;

/// What to measure; see `cargo bench-handshake -- --help`.
#[derive(Args)]
pub(crate) struct Options {
    /// Flags of the measurement itself.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "FLAGS")]
    flags: Vec<String>,
}

/// Builds and starts a measurement. Returns only when it cannot be started.
pub(crate) fn run(program: &str, options: &Options) -> Result<bool> {
    tools::install_missing()?;
    let program = tools::built(program)?;
    Err(Command::new(&program).args(&options.flags).exec()).with_context(|| format!("cannot start {program}"))
}
