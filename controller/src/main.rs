//! `espalier-controller`: the command line.

use std::error::Error;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use espalier_controller::config::{Config, Settings};
use espalier_controller::run::run;
use tracing_subscriber::EnvFilter;

/// Runs the mesh: admits nodes, issues certificates, turns policies into plans.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The configuration file [default: /etc/espalier/controller.toml, where it exists].
    #[arg(long, env = "ESPALIER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Write logs as JSON, a line each.
    #[arg(long, env = "ESPALIER_LOG_JSON")]
    log_json: bool,
    #[command(flatten)]
    settings: Settings,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_env("ESPALIER_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let color = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(color);
    if arguments.log_json {
        log.json().init()
    } else {
        log.init()
    }
    let result = match Config::load(arguments.config.as_deref(), arguments.settings) {
        Ok(config) => run(config).await.map_err(|error| Box::new(error) as Box<dyn Error>),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = error.to_string();
            let mut source = error.source();
            while let Some(cause) = source {
                text = format!("{text}: {cause}");
                source = cause.source();
            }
            eprintln!("error: {text}");
            ExitCode::FAILURE
        }
    }
}
