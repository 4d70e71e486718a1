//! charon in a guest, with a connection for each scenario.

use std::fs::{self, File};
use std::io;
use std::net::TcpStream;
use std::path::PathBuf;
use std::thread::{self, sleep};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use espalier_e2e::guest::{Finished, Guest};
use espalier_e2e::lab::{Host, Lab};
use espalier_e2e::program::output;
use espalier_e2e::strongswan::{folders, kernel_configuration};

use crate::case::KEY;
use crate::table::Scenario;

/// The gateway, and the nodes of all scenarios.
pub(crate) struct Judge {
    guest: Guest,
    pub(crate) lab: Lab,
    vici: String,
}

const VICI_PORT: u16 = 4502;

impl Judge {
    /// Boots the guest and starts charon there.
    pub(crate) fn start(scenarios: &[Scenario]) -> Result<Self> {
        let lab = Lab::named("espalier-kernel", u8::try_from(scenarios.len() + 1)?)?;
        let (gateway, nodes) = lab.hosts.split_last().context("a lab has hosts")?;
        let guest = Guest::boot(&lab, gateway)?;
        let pairs = scenarios.iter().enumerate().zip(nodes);
        let connections = pairs.map(|((n, scenario), node)| scenario.case.connection(&name(n), node, gateway));
        let connections: String = connections.collect();
        let secrets = format!("secrets {{\n  ike {{\n    id = gateway.example\n    secret = \"{KEY}\"\n  }}\n}}\n");
        fs::write(folders(gateway)?.join("swanctl.conf"), format!("connections {{\n{connections}}}\n{secrets}"))?;
        let vici = format!("tcp://{}:{VICI_PORT}", gateway.outer(true));
        let settings = gateway.folder().join("strongswan.conf");
        fs::write(&settings, kernel_configuration(&vici))?;
        for ipv4 in [true, false] {
            let address = format!("{}/{}", gateway.inner(ipv4), if ipv4 { 32 } else { 128 });
            let Finished { status, output } = guest.run(&format!("ip address add {address} dev lo"))?;
            ensure!(status == 0, "{output}");
        }
        let mut log = guest.start(&format!("STRONGSWAN_CONF={} exec charon-systemd", settings.display()))?;
        let mut file = File::create(log_of(gateway))?;
        thread::spawn(move || io::copy(&mut log, &mut file));
        let judge = Self { guest, lab, vici };
        for _ in 0..100 {
            match judge.control(&["--load-all"]) {
                Ok(_) => return Ok(judge),
                Err(_) => sleep(Duration::from_millis(100)),
            }
        }
        bail!("charon does not start:\n{:?}\n{}", judge.control(&["--load-all"]), judge.log(""))
    }

    /// Returns the node of a scenario.
    pub(crate) fn node(&self, place: usize) -> &Host {
        self.lab.hosts.get(place).unwrap()
    }

    pub(crate) fn gateway(&self) -> &Host {
        self.lab.hosts.last().unwrap()
    }

    /// Runs a command of sh(1) on the gateway.
    pub(crate) fn run(&self, command: &str) -> Finished {
        self.guest.run(command).unwrap()
    }

    /// Starts a command of sh(1) on the gateway.
    pub(crate) fn start_command(&self, command: &str) -> TcpStream {
        self.guest.start(command).unwrap()
    }

    /// Runs a command of swanctl(8).
    pub(crate) fn control(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.lab.switch.command("/usr/sbin/swanctl");
        command.args(arguments).args(["--uri", &self.vici]);
        command.env("SWANCTL_DIR", self.gateway().folder().join("swanctl"));
        output(command)
    }

    /// Returns the lines of charon's log that have a text.
    pub(crate) fn log(&self, text: &str) -> String {
        let log = fs::read_to_string(log_of(self.gateway())).unwrap_or_default();
        log.lines().filter(|line| line.contains(text)).map(|line| format!("{line}\n")).collect()
    }
}

/// Returns charon's name of the connection and the child of a scenario.
pub(crate) fn name(place: usize) -> String {
    format!("pair-{place}")
}

fn log_of(gateway: &Host) -> PathBuf {
    gateway.folder().join("charon.log")
}
