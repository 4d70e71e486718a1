//! The agent on a host.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::lab::Host;
use crate::program::{Program, ours, output};

/// A running `espalier-agent run --plan`.
pub struct Agent {
    /// The program.
    pub program: Program,
}

/// Time for an agent to reach a state.
const SOON: Duration = Duration::from_secs(15);

impl Agent {
    /// Starts the agent on a host from a plan, which is written to its folder.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(host: &Host, plan: &str, arguments: &[&str]) -> Result<Self> {
        let file = host.folder().join("plan.yaml");
        fs::write(&file, plan).with_context(|| format!("cannot write {}", file.display()))?;
        let mut command = command(host)?;
        command.arg("run").arg("--plan").arg(&file).args(arguments);
        Ok(Self { program: Program::start(command, &host.folder().join("agent.log"))? })
    }

    /// Waits until so many child SAs have been taken into use since the start.
    ///
    /// # Errors
    /// They are not; with its log.
    pub fn await_children(&mut self, count: usize) -> Result<()> {
        self.program.await_log("child SA in use", count, SOON)
    }

    /// Waits until a text stands in its log so many times.
    ///
    /// # Errors
    /// It does not; with its log.
    pub fn await_log(&mut self, text: &str, count: usize) -> Result<()> {
        self.program.await_log(text, count, SOON)
    }
}

/// Returns the command `espalier-agent` inside a host.
///
/// # Errors
/// It is not built.
pub fn command(host: &Host) -> Result<Command> {
    let program = ours("espalier-agent")?;
    let mut command = host.namespace.command(&program.display().to_string());
    command.env("ESPALIER_LOG", "debug").env("ESPALIER_SOCKET", host.folder().join("agent.sock"));
    Ok(command)
}

/// Runs `espalier-agent leave` on a host.
///
/// # Errors
/// It failed.
pub fn leave(host: &Host) -> Result<()> {
    let mut command = command(host)?;
    command.arg("leave");
    output(command).map(drop)
}

/// Writes a plan for a host that protects its inner addresses, IPv4 and IPv6, towards others by one shared key.
///
/// # Errors
/// What the file system says.
pub fn shared_key_plan(host: &Host, others: &[&Host], underlay_ipv4: bool) -> Result<String> {
    let key = host.folder().join("mesh.psk");
    crate::pki::write_secret(&key, "only for tests\n")?;
    let inner = |h: &Host| format!("[{}/32, \"{}/128\"]", h.inner(true), h.inner(false));
    let mut plan = format!(
        "node: {{ id: {}, endpoints: [\"{}\"], addresses: {} }}\nstrict: [10.10.0.0/16, \"fd00:10::/32\"]\npeers:\n",
        id(host),
        host.outer(underlay_ipv4),
        inner(host)
    );
    for other in others {
        let (id, endpoint) = (id(other), other.outer(underlay_ipv4));
        let initiate = host.number < other.number;
        plan += &format!(
            "  - {{ id: {id}, endpoints: [\"{endpoint}\"], initiate: {initiate}, auth: {{ psk-file: mesh.psk }} }}\n"
        );
    }
    plan += "rules:\n";
    for other in others {
        let (name, id) = (rule(host, other), id(other));
        plan += &format!(
            "  - {{ name: {name}, action: protect, local: {}, remote: {}, peer: {id} }}\n",
            inner(host),
            inner(other)
        );
    }
    Ok(plan)
}

/// Appends a profile with short lifetimes to a plan.
#[must_use]
pub fn with_lifetimes(plan: &str, ike_seconds: u32, child_seconds: u32) -> String {
    with_profile(plan, &format!("ike-rekey-seconds: {ike_seconds}, child-rekey-seconds: {child_seconds}"))
}

/// Gives the default profile of a plan these fields, besides those that it has.
#[must_use]
pub fn with_profile(plan: &str, fields: &str) -> String {
    match plan.split_once("{ name: default, ") {
        Some((before, after)) => format!("{before}{{ name: default, {fields}, {after}"),
        None => format!("{plan}profiles:\n  - {{ name: default, {fields} }}\n"),
    }
}

fn id(host: &Host) -> String {
    format!("host{}.example", host.number)
}

fn rule(one: &Host, other: &Host) -> String {
    format!("pair-{}-{}", one.number.min(other.number), one.number.max(other.number))
}

/// Returns the text of a file that a page of the documentation shows: the `n`-th fenced block of a section.
///
/// # Errors
/// The page has no such section or block.
pub fn documented(page: &Path, section: &str, n: usize) -> Result<String> {
    let text = fs::read_to_string(page).with_context(|| format!("cannot read {}", page.display()))?;
    let part = text.split("\n## ").find(|part| part.starts_with(section));
    let part = part.with_context(|| format!("{} has no section {section:?}", page.display()))?;
    let block = part.split("\n```").skip(1).step_by(2).nth(n);
    let block = block.with_context(|| format!("section {section:?} has no block {n}"))?;
    let (_, body) = block.split_once('\n').context("a block has lines")?;
    Ok(format!("{body}\n"))
}
