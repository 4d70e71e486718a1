//! Developer commands: `cargo demo`, `cargo verify`.

mod demo;
mod structure;
mod suite;
mod tools;
mod verify;

use std::process::ExitCode;

use clap::Parser;

/// The project's developer commands.
#[derive(Parser)]
#[command(name = "xtask", bin_name = "cargo")]
enum Command {
    /// Shows a whole mesh on this machine.
    Demo(demo::Options),
    /// Runs every check that the project has.
    Verify(verify::Options),
}

fn main() -> ExitCode {
    let outcome = match Command::parse() {
        Command::Demo(options) => demo::run(&options),
        Command::Verify(options) => verify::run(&options),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
