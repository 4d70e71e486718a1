//! Our agent, with a plan on disk and a shared key.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use espalier_e2e::agent::shared_key_plan;
use espalier_e2e::lab::{Host, Pair};
use espalier_e2e::program::Program;

use super::super::scene::START;

/// Starts an agent on both hosts. Everything is as it is by default, the log included.
pub(super) fn start(program: &Path, pair: &Pair) -> Result<[Program; 2]> {
    let [one, other] = &pair.hosts;
    let mut both = [agent(program, one, other)?, agent(program, other, one)?];
    both.iter_mut().try_for_each(|agent| agent.await_log("child SA in use", 1, START))?;
    Ok(both)
}

fn agent(program: &Path, host: &Host, peer: &Host) -> Result<Program> {
    let plan = host.folder().join("plan.yaml");
    fs::write(&plan, shared_key_plan(host, &[peer], true)?)
        .with_context(|| format!("cannot write {}", plan.display()))?;
    let mut command = host.namespace.command(&program.display().to_string());
    command.arg("run").arg("--plan").arg(&plan).env("ESPALIER_SOCKET", host.folder().join("agent.sock"));
    Program::start(command, &host.folder().join("agent.log"))
}
