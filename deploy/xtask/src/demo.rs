//! `cargo demo`: builds what ships and starts the demo on it.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::tools;

/// What to show; see `cargo demo -- --help`.
#[derive(Args)]
pub(crate) struct Options {
    /// Flags of the demo itself.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "FLAGS")]
    flags: Vec<String>,
}

/// Builds and starts the demo. Returns only when it cannot be started.
pub(crate) fn run(options: &Options) -> Result<bool> {
    tools::install_for_demo()?;
    let program = tools::built("espalier-demo")?;
    let mut command = if tools::is_root()? {
        Command::new(&program)
    } else {
        // A user namespace makes its own root, where the system allows it; named namespaces need a /run of their own.
        let mut command = Command::new("unshare");
        let script = "mount -t tmpfs none /run && exec \"$0\" \"$@\"";
        command.args(["--map-root-user", "--net", "--mount", "sh", "-c", script, program.as_str()]);
        command
    };
    Err(command.args(&options.flags).exec()).with_context(|| format!("cannot start {program}"))
}
