//! The two responders under load: our agent, and strongSwan's charon with ESP in user space as well.

use std::fs;

use anyhow::{Context, Result};
use espalier_e2e::lab::Host;
use espalier_e2e::pki::write_secret;
use espalier_e2e::program::{Program, ours, output};
use espalier_e2e::strongswan::{self, StrongSwan};
use espalier_model::plan::{NodePlan, PlannedNode};
use espalier_model::revocation::Revocation;
use espalier_sys::netlink::Netlink;
use ipnet::IpNet;

use crate::fleet::{Fleet, classic};

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `espalier-agent run --plan`.
    Agent,
    /// charon, as Debian builds it.
    Charon,
}

/// One that runs.
pub(crate) enum Responder {
    /// The agent.
    Agent(Program),
    /// charon.
    Charon(StrongSwan),
}

impl Responder {
    /// Starts one, fresh, on one core.
    pub(crate) fn start(kind: Kind, host: &Host, core: usize) -> Result<Self> {
        match kind {
            Kind::Agent => {
                let mut command = host.namespace.command("taskset");
                command.args(["--cpu-list", &core.to_string()]).arg(ours("espalier-agent")?);
                command.arg("run").arg("--plan").arg(host.folder().join("plan.json"));
                let mut program = Program::start(command, &host.folder().join("agent.log"))?;
                program.await_log(" running ", 1, START)?;
                Ok(Self::Agent(program))
            }
            Kind::Charon => Ok(Self::Charon(StrongSwan::start_under_load(host, core)?)),
        }
    }

    /// Returns the time that it has run, in user space and in the kernel.
    pub(crate) fn processor_seconds(&self) -> Result<f64> {
        let id = match self {
            Self::Agent(program) => program.id(),
            Self::Charon(swan) => swan.id(),
        };
        let text = fs::read_to_string(format!("/proc/{id}/stat"))?;
        let (_, fields) = text.rsplit_once(") ").context("the name stands in parentheses")?;
        let ticks = fields.split(' ').skip(11).take(2).map(|field| Ok(field.parse::<f64>()?));
        Ok(ticks.sum::<Result<f64>>()? / TICKS_PER_SECOND)
    }

    /// Returns what it has logged.
    pub(crate) fn log(&self) -> String {
        match self {
            Self::Agent(program) => program.log(),
            Self::Charon(swan) => swan.log(),
        }
    }
}

/// Gives each initiator its address.
pub(crate) fn settle(initiators: &Host, fleet: &Fleet) -> Result<()> {
    initiators.namespace.enter(|| -> Result<()> {
        let mut netlink = Netlink::open()?;
        let loopback = netlink.link_index("lo")?;
        fleet.addresses().try_for_each(|address| Ok(netlink.add_address(loopback, IpNet::from(address))?))
    })?
}

/// Writes the files of a responder, the same certificates for both, and shows it the way to the initiators.
pub(crate) fn prepare(kind: Kind, host: &Host, initiators: &Host, fleet: &Fleet) -> Result<()> {
    let mut route = host.namespace.command("ip");
    let gateway = initiators.outer(true).to_string();
    route.args(["route", "add", &Fleet::underlay()?.to_string(), "via", &gateway]);
    output(route)?;
    let folder = host.folder();
    match kind {
        Kind::Agent => {
            fs::write(folder.join("node.pem"), fleet.responder_certificate().to_owned() + fleet.issuing())?;
            fs::write(folder.join("root.pem"), fleet.root())?;
            write_secret(&folder.join("node.key"), fleet.responder_key())?;
            let node = PlannedNode {
                id: fleet.responder_id().clone(),
                endpoints: vec![host.outer(true)],
                addresses: vec![fleet.responder_net()?],
                certificate: Some("node.pem".into()),
                key: Some("node.key".into()),
                certificate_epoch: 0,
            };
            let (peers, rules) = fleet.planned()?;
            let trust = vec!["root.pem".to_owned()];
            let strict = vec!["10.10.0.0/16".parse()?];
            let (profiles, revocation) = (vec![classic()?], Revocation::default());
            let plan = NodePlan { node, trust, strict, profiles, peers, rules, revoked: vec![], revocation };
            fs::write(folder.join("plan.json"), serde_json::to_string_pretty(&plan)?)?;
        }
        Kind::Charon => {
            let folder = strongswan::folders(host)?;
            fs::write(folder.join("x509/node.pem"), fleet.responder_certificate())?;
            fs::write(folder.join("x509ca/root.pem"), fleet.root())?;
            fs::write(folder.join("x509ca/issuing.pem"), fleet.issuing())?;
            write_secret(&folder.join("private/node.key"), fleet.responder_key())?;
            // charon routes each initiator's traffic from this address into its tunnel, so it must be the host's.
            let mut command = host.namespace.command("ip");
            command.args(["address", "add", &fleet.responder_net()?.to_string(), "dev", "lo"]);
            output(command)?;
            let settings = SETTINGS.replace("LOCAL", &host.outer(true).to_string());
            let settings = settings.replace("NAME", &fleet.responder_id().to_string());
            fs::write(folder.join("swanctl.conf"), settings.replace("NET", &fleet.responder_net()?.to_string()))?;
        }
    }
    Ok(())
}

/// Any identity under the root may come: charon narrows the traffic to what the initiator asks for.
const SETTINGS: &str = "connections {
  bench {
    version = 2
    local_addrs = LOCAL
    remote_addrs = %any
    proposals = aes256gcm16-prfsha384-x25519
    encap = yes
    send_cert = always
    unique = never
    local {
      auth = pubkey
      certs = node.pem
      id = NAME
    }
    remote {
      auth = pubkey
      id = %any
    }
    children {
      net {
        local_ts = NET
        remote_ts = 10.10.0.0/16
        esp_proposals = aes256gcm16
      }
    }
  }
}
";
const START: std::time::Duration = std::time::Duration::from_secs(30);
/// Linux tells the time of processes to user space in these, on every architecture.
const TICKS_PER_SECOND: f64 = 100.0;
