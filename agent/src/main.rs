//! `espalier-agent`: the command line.

use std::fs;
use std::io::IsTerminal;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use espalier_agent::control::enrol::enrol;
use espalier_agent::control::state::State;
use espalier_agent::{driver, network};
use espalier_model::identity::Name;
use espalier_model::join::JoinToken;
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
    /// Brings the node's tunnels up and keeps them: from a plan file, or as the controller says.
    Run(Box<Run>),
    /// Takes the leak guard, the routes and the rules down: protected traffic may leave in the clear from here on.
    Leave,
}

#[derive(Args)]
struct Run {
    /// The plan of the node, YAML or JSON. There is no controller then.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["controllers", "token_file", "name", "endpoints"])]
    plan: Option<PathBuf>,
    /// Writes the keys of every SA into this folder, for Wireshark. Whoever reads them reads the traffic.
    #[arg(long, value_name = "DIR", requires = "plan")]
    keylog: Option<PathBuf>,
    /// The controller, as HOST:PORT; several are tried in turn.
    #[arg(long = "controller", env = "ESPALIER_CONTROLLERS", value_name = "ADDRESS", value_delimiter = ',')]
    controllers: Vec<String>,
    /// The file with the join token; needed until the node is enrolled.
    #[arg(long, env = "ESPALIER_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The name under which the node enrols [default: the host's name].
    #[arg(long, env = "ESPALIER_NODE_NAME", value_name = "NAME")]
    name: Option<Name>,
    /// An underlay address at which peers reach the node; needed until the node is enrolled.
    #[arg(long = "endpoint", env = "ESPALIER_ENDPOINTS", value_name = "ADDRESS", value_delimiter = ',')]
    endpoints: Vec<IpAddr>,
    /// The folder of the node's key, certificate and last plan.
    #[arg(long, env = "ESPALIER_STATE", value_name = "DIR", default_value = "/var/lib/espalier")]
    state: PathBuf,
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
        Command::Run(options) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                match &options.plan {
                    Some(plan) => run_file(plan, options.keylog.as_deref()).await,
                    None => run_managed(&options).await,
                }
            })?;
        }
        Command::Leave => network::leave()?,
    }
    Ok(())
}

async fn run_file(plan: &Path, keylog: Option<&Path>) -> Result<()> {
    let text = fs::read_to_string(plan).with_context(|| format!("cannot read plan {}", plan.display()))?;
    let node = NodePlan::parse(&text).with_context(|| format!("plan {}", plan.display()))?;
    let node = node.within(plan.parent().unwrap_or_else(|| Path::new("")));
    Ok(driver::run(&node, keylog).await?)
}

/// Enrols where the node has not been, and runs.
async fn run_managed(options: &Run) -> Result<()> {
    let Run { controllers, endpoints, state: folder, .. } = options;
    let state = match State::load(folder)? {
        Some(mut state) => {
            if let Some(name) = options.name.as_ref().filter(|name| *name != state.name()) {
                bail!("{} is the state of node {}, not of {name}: name another folder", folder.display(), state.name());
            }
            state.relocate(controllers.clone(), endpoints.clone())?;
            state
        }
        None => {
            let Some(file) = &options.token_file else {
                bail!(
                    "this node is not enrolled: give --token-file, --controller and --endpoint, or a plan with --plan"
                );
            };
            let text = fs::read_to_string(file).with_context(|| format!("cannot read token {}", file.display()))?;
            let token: JoinToken = text.parse().with_context(|| format!("token {}", file.display()))?;
            if controllers.is_empty() || endpoints.is_empty() {
                bail!("enrolment needs --controller HOST:PORT and --endpoint ADDRESS");
            }
            let name = options.name.clone().map_or_else(host_name, Ok)?;
            enrol(controllers, &token, &name, endpoints, folder).await?
        }
    };
    Ok(driver::run_managed(state).await?)
}

/// Takes the first part of the host's name.
fn host_name() -> Result<Name> {
    let text = fs::read_to_string("/proc/sys/kernel/hostname").context("cannot read the host's name")?;
    let first = text.trim().split('.').next().unwrap_or_default().to_ascii_lowercase();
    first.parse().context("the host's name cannot be the node's: give one with --name")
}
