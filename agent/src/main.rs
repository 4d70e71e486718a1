//! `espalier-agent`: the command line.

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use espalier_agent::control::enrol::Enrolment;
use espalier_agent::control::state::State;
use espalier_agent::settings::{Settings, Tuning, USUAL_SOCKET};
use espalier_agent::status::{self, Asker, Question};
use espalier_agent::{driver, network};
use espalier_model::identity::Name;
use espalier_model::join::JoinToken;
use espalier_model::plan::NodePlan;
use tokio::sync::mpsc::Receiver;
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
    /// Shows how the running agent fares: controller, peers, SAs, packets dropped. Fails where something is down.
    Status(Show),
    /// Takes the leak guard, the routes and the rules down: protected traffic may leave in the clear from here on.
    Leave,
}

#[derive(Args)]
struct Run {
    /// The plan of the node, YAML or JSON. There is no controller then.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["config", "controllers", "token_file", "name", "endpoints", "state"])]
    plan: Option<PathBuf>,
    /// Writes the keys of every SA into this folder, for Wireshark. Whoever reads them reads the traffic.
    #[arg(long, value_name = "DIR", requires = "plan")]
    keylog: Option<PathBuf>,
    /// The configuration file [default: /etc/espalier/agent.toml, where it exists].
    #[arg(long, env = "ESPALIER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Args)]
struct Show {
    /// The agent's local socket.
    #[arg(long, env = "ESPALIER_SOCKET", value_name = "FILE", default_value = USUAL_SOCKET)]
    socket: PathBuf,
    /// Everything, as JSON.
    #[arg(long)]
    json: bool,
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
            runtime.block_on(run_agent(*options))?;
        }
        Command::Status(show) => show_status(&show)?,
        Command::Leave => network::leave()?,
    }
    Ok(())
}

async fn run_agent(options: Run) -> Result<()> {
    if espalier_esp::NULL_CRYPTO {
        tracing::error!(
            "NULL CRYPTO: packets are neither encrypted nor authenticated; this build is for measurements alone"
        );
    }
    // A configuration file is for a node with a controller.
    let settings =
        if options.plan.is_some() { options.settings } else { options.settings.over(options.config.as_deref())? };
    let (asker, questions) = Asker::new();
    // Who cannot be watched still protects.
    if let Err(error) = status::serve_socket(settings.socket(), asker.clone()) {
        tracing::warn!(socket = %settings.socket().display(), %error, "no local socket: status will not answer");
    }
    if let Err(error) = status::serve_http(settings.metrics(), asker).await {
        tracing::warn!(address = %settings.metrics(), %error, "no metrics and no health probes");
    }
    let tuning = settings.tuning();
    match &options.plan {
        Some(plan) => run_file(plan, options.keylog.as_deref(), tuning, questions).await,
        None => Ok(driver::run_managed(enrolled(&settings).await?, tuning, questions).await?),
    }
}

async fn run_file(plan: &Path, keylog: Option<&Path>, tuning: Tuning, questions: Receiver<Question>) -> Result<()> {
    let text = fs::read_to_string(plan).with_context(|| format!("cannot read plan {}", plan.display()))?;
    let node = NodePlan::parse(&text).with_context(|| format!("plan {}", plan.display()))?;
    let node = node.within(plan.parent().unwrap_or_else(|| Path::new("")));
    Ok(driver::run(&node, keylog, tuning, questions).await?)
}

fn show_status(show: &Show) -> Result<()> {
    let path = show.socket.display();
    let status = status::ask(&show.socket)
        .with_context(|| format!("no agent answers at {path}: is it running, and are you root?"))?;
    let text = if show.json { serde_json::to_string_pretty(&status)? + "\n" } else { status.to_string() };
    std::io::stdout().write_all(text.as_bytes())?;
    if status.is_ready() { Ok(()) } else { bail!("not everything that the plan wants is up") }
}

/// Returns the state of the node: the one on disk, or a new one where the node has not enrolled yet.
async fn enrolled(settings: &Settings) -> Result<State> {
    let folder = settings.state();
    let Some(mut state) = State::load(folder)? else { return enrol(settings, None).await };
    if let Some(name) = settings.name.as_ref().filter(|name| *name != state.name()) {
        bail!("{} is the state of node {}, not of {name}: name another folder", folder.display(), state.name());
    }
    if let Err(error) = state.relocate(&settings.controllers, &settings.endpoints) {
        tracing::error!(%error, "the new addresses are used, but not kept for the next start");
    }
    if state.has_ended() && settings.token_file.is_some() {
        match enrol(settings, Some(&state)).await {
            Ok(state) => return Ok(state),
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "the certificate has ended, and is not replaced")
            }
        }
    } else if state.has_ended() {
        tracing::error!("the certificate of this node has ended: start it with --token-file to enrol it again");
    }
    Ok(state)
}

/// Enrols with the join token: a new node, or one whose certificate has ended.
async fn enrol(settings: &Settings, ended: Option<&State>) -> Result<State> {
    let Some(file) = &settings.token_file else {
        bail!("this node is not enrolled: give --token-file, --controller and --endpoint, or a plan with --plan");
    };
    let text = fs::read_to_string(file).with_context(|| format!("cannot read token {}", file.display()))?;
    let token: JoinToken = text.parse().with_context(|| format!("token {}", file.display()))?;
    let (controllers, endpoints) = match ended {
        Some(state) => (state.controllers(), state.endpoints()),
        None => (settings.controllers.as_slice(), settings.endpoints.as_slice()),
    };
    if controllers.is_empty() || endpoints.is_empty() {
        bail!("enrolment needs --controller HOST:PORT and --endpoint ADDRESS");
    }
    let name = match ended {
        Some(state) => state.name().clone(),
        None => settings.name.clone().map_or_else(host_name, Ok)?,
    };
    let enrolment = Enrolment { controllers, token: &token, name: &name, endpoints, folder: settings.state() };
    Ok(match ended {
        Some(state) => enrolment.again(state).await?,
        None => enrolment.first().await?,
    })
}

/// Takes the first part of the host's name.
fn host_name() -> Result<Name> {
    let text = fs::read_to_string("/proc/sys/kernel/hostname").context("cannot read the host's name")?;
    let first = text.trim().split('.').next().unwrap_or_default().to_ascii_lowercase();
    first.parse().context("the host's name cannot be the node's: give one with --name")
}
