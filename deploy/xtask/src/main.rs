//! Developer commands: `cargo verify`.

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
    /// Runs every check that the project has.
    Verify(verify::Options),
}

fn main() -> ExitCode {
    let outcome = match Command::parse() {
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
