//! Who is compared: where each program comes from, and how it is started at both ends.

mod crowd;
mod espalier;
mod strongswan;
mod wireguard;

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use espalier_e2e::lab::Pair;
use espalier_e2e::program::{Program, ours};
use espalier_e2e::strongswan::StrongSwan;

/// A way to carry packets from one host to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Peer {
    /// Our agent, as it ships: always measured.
    Espalier,
    /// Our agent with 10,000 rules and 1,000 SAs each way in its tables.
    Crowded,
    /// Our agent without the cipher: the limit of what forwards.
    NullCrypto,
    /// No tunnel: the wire itself.
    Plain,
    /// gotatun.
    Gotatun,
    /// BoringTun.
    Boringtun,
    /// wireguard-go of Debian 12, without offloads.
    #[value(name = "wireguard-go-12")]
    WireguardGo12,
    /// wireguard-go of Debian trixie, with offloads.
    WireguardGoTrixie,
    /// strongSwan with ESP in user space.
    #[value(name = "strongswan")]
    StrongSwan,
}

/// The programs of a tunnel, one at each end; none for the plain wire.
pub(crate) enum Tunnel {
    None,
    Programs([Program; 2]),
    StrongSwan([StrongSwan; 2]),
}

impl Peer {
    /// Returns its name in the report.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Espalier => "espalier",
            Self::Crowded => "crowded",
            Self::NullCrypto => "null-crypto",
            Self::Plain => "plain",
            Self::Gotatun => "gotatun",
            Self::Boringtun => "boringtun",
            Self::WireguardGo12 => "wireguard-go-12",
            Self::WireguardGoTrixie => "wireguard-go-trixie",
            Self::StrongSwan => "strongswan",
        }
    }

    /// Starts it on two hosts, and returns it with the addresses between which it carries packets.
    ///
    /// # Errors
    /// The program is not there, or does not start.
    pub(crate) fn start(self, pair: &Pair) -> Result<(Tunnel, [IpAddr; 2])> {
        let [one, other] = &pair.hosts;
        let inner = [one.inner(true), other.inner(true)];
        let tunnel = match self {
            Self::Plain => return Ok((Tunnel::None, [one.outer(true), other.outer(true)])),
            Self::Espalier => Tunnel::Programs(espalier::start(&ours("espalier-agent")?, pair)?),
            Self::Crowded => Tunnel::Programs(espalier::start_crowded(&ours("espalier-agent")?, pair)?),
            Self::NullCrypto => Tunnel::Programs(espalier::start_null(&self.fetched("release/espalier-agent")?, pair)?),
            Self::Gotatun => Tunnel::Programs(wireguard::start(&self.fetched("bin/gotatun")?, pair)?),
            Self::Boringtun => Tunnel::Programs(wireguard::start(&self.fetched("bin/boringtun-cli")?, pair)?),
            Self::WireguardGo12 | Self::WireguardGoTrixie => {
                Tunnel::Programs(wireguard::start(&self.fetched("usr/bin/wireguard-go")?, pair)?)
            }
            Self::StrongSwan => Tunnel::StrongSwan(strongswan::start(pair)?),
        };
        Ok((tunnel, inner))
    }

    /// Finds its program where `cargo bench-dataplane` puts what it fetches; where it could not, a file there says why.
    fn fetched(self, program: &str) -> Result<PathBuf> {
        let agent = ours("espalier-agent")?;
        let target =
            agent.parent().and_then(|release| release.parent()).context("what is built lies in two folders")?;
        let folder = target.join("peers").join(self.name());
        let path = folder.join(program);
        if path.is_file() {
            return Ok(path);
        }
        match fs::read_to_string(folder.join(WHY_NOT)) {
            Ok(reason) => bail!("{}", reason.trim()),
            Err(_) => bail!("{} is not there: start this with cargo bench-dataplane, which fetches it", path.display()),
        }
    }
}

impl Tunnel {
    /// Returns the ids of its processes.
    pub(crate) fn ids(&self) -> Vec<u32> {
        match self {
            Self::None => Vec::new(),
            Self::Programs(both) => both.iter().map(Program::id).collect(),
            Self::StrongSwan(both) => both.iter().map(StrongSwan::id).collect(),
        }
    }

    /// Returns what both ends have logged.
    pub(crate) fn log(&self) -> String {
        match self {
            Self::None => String::new(),
            Self::Programs(both) => both.iter().map(Program::log).collect(),
            Self::StrongSwan(both) => both.iter().map(StrongSwan::log).collect(),
        }
    }
}

/// The file that says why a program could not be fetched.
const WHY_NOT: &str = "why-not";
