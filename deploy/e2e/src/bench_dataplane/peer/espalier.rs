//! Our agent, with a plan on disk and a shared key.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use espalier_e2e::agent::shared_key_plan;
use espalier_e2e::lab::{Host, Pair};
use espalier_e2e::program::Program;

use super::crowd;
use crate::scene::START;
use crate::stop;

/// Starts an agent on both hosts. Everything is as it is by default, the log included.
pub(super) fn start(program: &Path, pair: &Pair) -> Result<[Program; 2]> {
    start_with(program, pair, 1, |_, _| String::new())
}

/// The same with a build that has no cipher, and says so.
pub(super) fn start_null(program: &Path, pair: &Pair) -> Result<[Program; 2]> {
    let mut both = start(program, pair)?;
    both.iter_mut().try_for_each(|agent| agent.await_log("NULL CRYPTO", 1, GLANCE))?;
    Ok(both)
}

/// The same with much more in the tables.
pub(super) fn start_crowded(program: &Path, pair: &Pair) -> Result<[Program; 2]> {
    start_with(program, pair, 1 + usize::from(crowd::PROTECTED), crowd::rules)
}

/// Starts both with further rules, and waits for so many SAs.
fn start_with(
    program: &Path,
    pair: &Pair,
    children: usize,
    rules: impl Fn(&Host, &Host) -> String,
) -> Result<[Program; 2]> {
    let agent = |host: &Host, peer: &Host| -> Result<Program> {
        let plan = host.folder().join("plan.yaml");
        fs::write(&plan, shared_key_plan(host, &[peer], true)? + &rules(host, peer))
            .with_context(|| format!("cannot write {}", plan.display()))?;
        let mut command = host.namespace.command(&program.display().to_string());
        command.arg("run").arg("--plan").arg(&plan).env("ESPALIER_SOCKET", host.folder().join("agent.sock"));
        Program::start(command, &host.folder().join("agent.log"))
    };
    let [one, other] = &pair.hosts;
    let mut both = [agent(one, other)?, agent(other, one)?];
    both.iter_mut().try_for_each(|agent| await_children(agent, children))?;
    Ok(both)
}

/// Waits for SAs, for as long as that many may take, and heeds Ctrl-C meanwhile.
fn await_children(agent: &mut Program, children: usize) -> Result<()> {
    let time = START + EACH * u32::try_from(children)?;
    let deadline = Instant::now() + time;
    loop {
        match agent.await_log("child SA in use", children, GLANCE) {
            Err(error) if Instant::now() > deadline => return Err(error.context(format!("not up within {time:?}"))),
            Err(_) => stop::check()?,
            Ok(()) => return Ok(()),
        }
    }
}

/// Time for one more SA to come up on a busy machine.
const EACH: Duration = Duration::from_millis(150);
const GLANCE: Duration = Duration::from_secs(1);
