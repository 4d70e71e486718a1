//! `espalier-agent`: the command line.

use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use espalier_agent::{driver, network};
use espalier_model::plan::NodePlan;
use tracing_subscriber::EnvFilter;

/// Runs the tunnels of one node.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Brings the node's tunnels up and keeps them.
    Run {
        /// The plan of the node, YAML or JSON.
        #[arg(long, value_name = "FILE")]
        plan: PathBuf,
        /// Writes the keys of every SA into this folder, for Wireshark. Whoever reads them reads the traffic.
        #[arg(long, value_name = "DIR")]
        keylog: Option<PathBuf>,
    },
    /// Takes the leak guard, the routes and the rules down: protected traffic may leave in the clear from here on.
    Leave,
}

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_env("ESPALIER_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let color = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(color).init();
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Run { plan, keylog } => {
            let text = fs::read_to_string(&plan).with_context(|| format!("cannot read plan {}", plan.display()))?;
            let node = NodePlan::parse(&text).with_context(|| format!("plan {}", plan.display()))?;
            let node = node.within(plan.parent().unwrap_or_else(|| Path::new("")));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(driver::run(&node, keylog.as_deref()))?;
        }
        Command::Leave => network::leave()?,
    }
    Ok(())
}
