//! `espalier-demo`: the main job on one machine, told as it happens. `cargo demo` builds and starts it.

mod demo;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match demo::run(&demo::Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
