//! A whole mesh: a controller at the switch, and an agent on each host that enrols with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use espalier_api::{MeshStatus, NodeStatus, TokenStatus};
use reqwest::Method;

use crate::lab::{Host, Lab, outer};
use crate::pki::write_secret;
use crate::program::{Program, ours};
use crate::rest::Rest;

/// The mesh.
pub struct Mesh {
    /// The network.
    pub lab: Lab,
    /// The controller.
    pub controller: Program,
    /// The agents, in the order of the hosts.
    pub agents: Vec<Program>,
    /// The client of an administrator.
    pub rest: Rest,
}

/// Each SA between two nodes: the SPIs of the IKE SA, and those of its children.
pub type Sas = BTreeMap<(String, String), (String, BTreeSet<String>)>;

const START: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

impl Mesh {
    /// Starts a controller and makes a mesh of no nodes.
    ///
    /// # Errors
    /// It does not start; with its log.
    pub fn new(hosts: u8) -> Result<Self> {
        let lab = Lab::new(hosts)?;
        let controller = start_controller(&lab)?;
        let folder = lab.folder().join("controller");
        let deadline = Instant::now() + START;
        while !folder.join("etc/root.pem").exists() {
            ensure!(Instant::now() < deadline, "the controller does not start:\n{}", controller.log());
            sleep(LOOK_AGAIN);
        }
        let (root, token) =
            (fs::read_to_string(folder.join("etc/root.pem"))?, fs::read_to_string(folder.join("etc/admin"))?);
        let base = format!("https://{}:7080", outer(Lab::GATEWAY, true));
        let rest = Rest::new(&lab.switch, &base, &root, token.trim())?;
        let mesh = Self { lab, controller, agents: Vec::new(), rest };
        while mesh.rest.status().is_err() {
            ensure!(Instant::now() < deadline, "REST does not answer:\n{}", mesh.controller.log());
            sleep(LOOK_AGAIN);
        }
        Ok(mesh)
    }

    /// Makes a join token for so many nodes.
    ///
    /// # Errors
    /// The controller refuses.
    pub fn token(&self, name: &str, uses: usize) -> Result<String> {
        let body = format!(
            r#"{{"apiVersion": "espalier/v1", "kind": "JoinToken", "metadata": {{"name": "{name}"}}, "spec": {{"uses": {uses}}}}}"#
        );
        let answer = self.rest.accepted(Method::POST, "/join-tokens", &body)?;
        serde_json::from_str::<TokenStatus>(&answer.body)?.token.context("a new token is shown")
    }

    /// Starts an agent on every host.
    ///
    /// # Errors
    /// One cannot be started.
    pub fn join_all(&mut self) -> Result<()> {
        let token = self.token("all", self.lab.hosts.len())?;
        for host in &self.lab.hosts {
            self.agents.push(start_agent(host, &token)?);
        }
        Ok(())
    }

    /// Starts the controller again on what it has left.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn restart_controller(&mut self) -> Result<()> {
        self.controller = start_controller(&self.lab)?;
        Ok(())
    }

    /// Waits until the mesh is in a state.
    ///
    /// # Errors
    /// It is not in time; with how it stands and what agents have written.
    pub fn await_status(&self, what: &str, within: Duration, good: impl Fn(&MeshStatus) -> bool) -> Result<MeshStatus> {
        let deadline = Instant::now() + within;
        loop {
            let status = self.rest.status();
            if let Some(status) = status.as_ref().ok().filter(|status| good(status)) {
                return Ok(status.clone());
            }
            if Instant::now() > deadline {
                let logs: String = self.agents.iter().map(|agent| last_lines(&agent.log())).collect();
                bail!(
                    "{what} not within {within:?}: {status:#?}\nagents:\n{logs}\ncontroller:\n{}",
                    last_lines(&self.controller.log())
                );
            }
            sleep(LOOK_AGAIN);
        }
    }

    /// Waits until every node has an IKE SA with a child SA to every other, and all carry out the latest plan.
    ///
    /// # Errors
    /// It does not come to that in time.
    pub fn await_whole(&self, within: Duration) -> Result<MeshStatus> {
        let count = self.lab.hosts.len();
        self.await_status("a full mesh", within, |status| {
            let full = |node: &NodeStatus| {
                node.current
                    && node.ike_sas.len() == count - 1
                    && node.ike_sas.iter().all(|sa| !sa.child_sas.is_empty())
            };
            status.nodes.len() == count
                && status.nodes.iter().all(full)
                && agreed(&sas(status), count * (count - 1) / 2)
        })
    }
}

/// Returns the SAs that both ends of a pair report alike, by the names of the two.
#[must_use]
pub fn sas(status: &MeshStatus) -> Sas {
    let names: BTreeMap<String, &str> =
        status.nodes.iter().map(|node| (node.identity.to_string(), node.name.as_str())).collect();
    let mut seen = BTreeMap::new();
    for node in &status.nodes {
        for sa in &node.ike_sas {
            let Some(peer) = names.get(&sa.peer) else { continue };
            let (low, high) = (node.name.as_str().min(peer), node.name.as_str().max(peer));
            let children = sa.child_sas.iter().map(|child| {
                let (a, b) = (&child.spi_in, &child.spi_out);
                format!("{}/{}", a.min(b), a.max(b))
            });
            let ends: &mut Vec<_> = seen.entry((low.to_owned(), high.to_owned())).or_default();
            ends.push((format!("{}/{}", sa.spi_initiator, sa.spi_responder), children.collect::<BTreeSet<_>>()));
        }
    }
    let both = seen.into_iter().filter_map(|(pair, ends)| match &ends[..] {
        [one, other] if one == other => Some((pair, one.clone())),
        _ => None,
    });
    both.collect()
}

fn agreed(sas: &Sas, pairs: usize) -> bool {
    sas.len() == pairs && sas.values().all(|(_, children)| !children.is_empty())
}

/// Returns a node's mesh address.
///
/// # Errors
/// It has none of the family.
pub fn address(status: &MeshStatus, host: &Host, ipv4: bool) -> Result<IpAddr> {
    let name = node_name(host);
    let node = status.nodes.iter().find(|node| node.name.as_str() == name);
    let addresses = node.with_context(|| format!("{name} is not enrolled"))?.addresses.iter();
    let mut addresses = addresses.filter_map(|text| text.parse::<IpAddr>().ok());
    addresses.find(|address| address.is_ipv4() == ipv4).with_context(|| format!("{name} has no such address"))
}

/// Returns the name under which a host enrols.
#[must_use]
pub fn node_name(host: &Host) -> String {
    format!("node-{}", host.number)
}

/// Starts an agent that enrols with a token, or goes on with the state it has.
///
/// # Errors
/// It cannot be started.
pub fn start_agent(host: &Host, token: &str) -> Result<Program> {
    let file = host.folder().join("token");
    write_secret(&file, token)?;
    let mut command = host.namespace.command(&ours("espalier-agent")?.display().to_string());
    command.args(["run", "--controller", &format!("{}:7443", outer(Lab::GATEWAY, true)), "--name", &node_name(host)]);
    command.arg("--endpoint").arg(host.outer(true).to_string()).arg("--token-file").arg(file);
    command.arg("--state").arg(host.folder().join("state")).arg("--socket").arg(host.folder().join("agent.sock"));
    command.env("ESPALIER_LOG", "info");
    Program::start(command, &host.folder().join("agent.log"))
}

fn start_controller(lab: &Lab) -> Result<Program> {
    let folder = lab.folder().join("controller");
    fs::create_dir_all(&folder)?;
    let mut command = lab.switch.command(&ours("espalier-controller")?.display().to_string());
    let path = |name: &str| folder.join(name).display().to_string();
    command.args(["--database", &path("lib/controller.db"), "--kek-file", &path("etc/kek")]);
    command.args(["--admin-token-file", &path("etc/admin"), "--root-file", &path("etc/root.pem")]);
    command.args(["--name", &outer(Lab::GATEWAY, true).to_string(), "--trust-domain", "mesh.example"]);
    command.args(["--pool", "10.10.0.0/16", "--pool", "fd00:10::/64"]);
    Program::start(command, &folder.join("controller.log"))
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let from = lines.len().saturating_sub(12);
    lines.get(from..).unwrap_or_default().iter().map(|line| format!("{line}\n")).collect()
}
