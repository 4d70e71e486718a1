//! Compiles the contract in Rust alone: nobody needs protoc.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={CONTRACT}");
    let files = protox::compile([CONTRACT], ["proto"])?;
    tonic_prost_build::configure().compile_fds(files)?;
    Ok(())
}

const CONTRACT: &str = "proto/espalier.proto";
