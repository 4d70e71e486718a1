//! Developer commands: `cargo bench-dataplane`, `cargo bench-handshake`, `cargo compliance`, `cargo demo`, `cargo fuzz-all`, `cargo verify`.

mod bench;
mod compliance;
mod demo;
mod fuzz;
mod python;
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
    /// Measures what a tunnel carries, beside other tunnels in user space.
    BenchDataplane(bench::Options),
    /// Measures how many handshakes a core completes.
    BenchHandshake(bench::Options),
    /// Writes the page about what the RFCs demand, and says what is wrong with its lists.
    Compliance,
    /// Shows a whole mesh on this machine.
    Demo(demo::Options),
    /// Runs the fuzz targets under libFuzzer.
    Fuzz(fuzz::Options),
    /// Runs every check that the project has.
    Verify(verify::Options),
}

fn main() -> ExitCode {
    let outcome = match Command::parse() {
        Command::BenchDataplane(options) => bench::dataplane(&options),
        Command::BenchHandshake(options) => bench::handshake(&options),
        Command::Compliance => compliance::run(),
        Command::Demo(options) => demo::run(&options),
        Command::Fuzz(options) => fuzz::run(&options),
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
