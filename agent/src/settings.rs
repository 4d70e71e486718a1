//! The configuration: `agent.toml`, then `ESPALIER_*` variables, then flags; the later wins.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::Args;
use espalier_ike::Limits;
use espalier_model::identity::Name;
use serde::Deserialize;
use thiserror::Error;

use crate::dataplane::userspace::Offloads;

/// A configuration that cannot serve.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read {}", .0.display())]
    Read(PathBuf, #[source] std::io::Error),
    /// The file is not a configuration.
    #[error("{}: {}", .0.display(), .1)]
    Syntax(PathBuf, toml::de::Error),
}

/// What the agent runs with; each field of `agent.toml` has the name of the flag.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Settings {
    /// The controller, as HOST:PORT; several are tried in turn.
    #[arg(long = "controller", env = "ESPALIER_CONTROLLERS", value_name = "ADDRESS", value_delimiter = ',')]
    pub controllers: Vec<String>,
    /// The file with the join token; needed until the node is enrolled.
    #[arg(long, env = "ESPALIER_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// The name under which the node enrols [default: the host's name].
    #[arg(long, env = "ESPALIER_NODE_NAME", value_name = "NAME")]
    pub name: Option<Name>,
    /// An underlay address at which peers reach the node; needed until the node is enrolled.
    #[arg(long = "endpoint", env = "ESPALIER_ENDPOINTS", value_name = "ADDRESS", value_delimiter = ',')]
    pub endpoints: Vec<IpAddr>,
    /// The folder of the node's key, certificate and last plan [default: /var/lib/espalier].
    #[arg(long, env = "ESPALIER_STATE", value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Where health and metrics listen, without TLS [default: 127.0.0.1:9470].
    #[arg(long, env = "ESPALIER_METRICS", value_name = "ADDRESS")]
    pub metrics: Option<SocketAddr>,
    /// The local socket that `status` asks [default: /run/espalier/agent.sock].
    #[arg(long, env = "ESPALIER_SOCKET", value_name = "FILE")]
    pub socket: Option<PathBuf>,
    /// Whether the kernel hands over super-packets, which the agent cuts [default: true].
    #[arg(long, env = "ESPALIER_TUN_SEGMENTATION", value_name = "BOOL")]
    pub tun_segmentation: Option<bool>,
    /// Whether the agent hands over super-packets, made of packets that arrived [default: true].
    #[arg(long, env = "ESPALIER_TUN_COALESCING", value_name = "BOOL")]
    pub tun_coalescing: Option<bool>,
    /// Whether the kernel, or the network card, cuts what the agent sends into datagrams [default: true].
    #[arg(long, env = "ESPALIER_UDP_SEGMENTATION", value_name = "BOOL")]
    pub udp_segmentation: Option<bool>,
    /// Whether the kernel hands over datagrams of one sender together [default: true].
    #[arg(long, env = "ESPALIER_UDP_COALESCING", value_name = "BOOL")]
    pub udp_coalescing: Option<bool>,
    /// Half-open IKE SAs in all, of which a quarter is kept for addresses of peers [default: 1000].
    #[arg(long, env = "ESPALIER_HALF_OPEN", value_name = "COUNT")]
    pub half_open: Option<NonZeroUsize>,
    /// Half-open IKE SAs from one IPv4 address or one IPv6 /64; a peer's may have four times as many [default: 128].
    #[arg(long, env = "ESPALIER_HALF_OPEN_PER_SOURCE", value_name = "COUNT")]
    pub half_open_per_source: Option<NonZeroUsize>,
    /// Child SAs on one IKE SA; a peer with many rules may have four for each [default: 64].
    #[arg(long, env = "ESPALIER_CHILDREN", value_name = "COUNT")]
    pub children: Option<NonZeroUsize>,
    /// Whether whoever asks for an IKE SA that is not there is told so [default: false].
    #[arg(long, env = "ESPALIER_TELL_STRANGERS", value_name = "BOOL")]
    pub tell_strangers: Option<bool>,
}

/// What a node decides for itself, whatever plan it gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tuning {
    /// How packets are moved.
    pub offloads: Offloads,
    /// What strangers and peers can make the node keep.
    pub limits: Limits,
}

/// The usual file, which need not exist.
pub const USUAL_FILE: &str = "/etc/espalier/agent.toml";
/// The usual local socket.
pub const USUAL_SOCKET: &str = "/run/espalier/agent.sock";

impl Settings {
    /// Fills in from a file what was not given; the usual file is used where it exists.
    ///
    /// # Errors
    /// The file cannot serve.
    pub fn over(self, file: Option<&Path>) -> Result<Self, SettingsError> {
        let usual = Path::new(USUAL_FILE);
        let Some(file) = file.or_else(|| usual.exists().then_some(usual)) else { return Ok(self) };
        let text = fs::read_to_string(file).map_err(|error| SettingsError::Read(file.to_owned(), error))?;
        let under: Self = toml::from_str(&text).map_err(|error| SettingsError::Syntax(file.to_owned(), error))?;
        Ok(Self {
            controllers: if self.controllers.is_empty() { under.controllers } else { self.controllers },
            token_file: self.token_file.or(under.token_file),
            name: self.name.or(under.name),
            endpoints: if self.endpoints.is_empty() { under.endpoints } else { self.endpoints },
            state: self.state.or(under.state),
            metrics: self.metrics.or(under.metrics),
            socket: self.socket.or(under.socket),
            tun_segmentation: self.tun_segmentation.or(under.tun_segmentation),
            tun_coalescing: self.tun_coalescing.or(under.tun_coalescing),
            udp_segmentation: self.udp_segmentation.or(under.udp_segmentation),
            udp_coalescing: self.udp_coalescing.or(under.udp_coalescing),
            half_open: self.half_open.or(under.half_open),
            half_open_per_source: self.half_open_per_source.or(under.half_open_per_source),
            children: self.children.or(under.children),
            tell_strangers: self.tell_strangers.or(under.tell_strangers),
        })
    }

    /// Returns the folder of the node's state.
    #[must_use]
    pub fn state(&self) -> &Path {
        self.state.as_deref().unwrap_or_else(|| Path::new("/var/lib/espalier"))
    }

    /// Returns where health and metrics listen.
    #[must_use]
    pub fn metrics(&self) -> SocketAddr {
        self.metrics.unwrap_or_else(|| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), METRICS))
    }

    /// Returns the local socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        self.socket.as_deref().unwrap_or_else(|| Path::new(USUAL_SOCKET))
    }

    /// Returns what the node decides for itself: every offload that is not switched off, for where one does harm, and the limits.
    #[must_use]
    pub fn tuning(&self) -> Tuning {
        let Tuning { offloads, limits } = Tuning::default();
        let count = |own: Option<NonZeroUsize>, usual| own.map_or(usual, NonZeroUsize::get);
        Tuning {
            offloads: Offloads {
                tun_segmentation: self.tun_segmentation.unwrap_or(offloads.tun_segmentation),
                tun_coalescing: self.tun_coalescing.unwrap_or(offloads.tun_coalescing),
                udp_segmentation: self.udp_segmentation.unwrap_or(offloads.udp_segmentation),
                udp_coalescing: self.udp_coalescing.unwrap_or(offloads.udp_coalescing),
            },
            limits: Limits {
                half_open: count(self.half_open, limits.half_open),
                half_open_per_source: count(self.half_open_per_source, limits.half_open_per_source),
                children: count(self.children, limits.children),
                tell_strangers: self.tell_strangers.unwrap_or(limits.tell_strangers),
            },
        }
    }
}

const METRICS: u16 = 9470;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("agent.toml");
        let text = "controllers = [\"a:7443\"]\nname = \"n1\"\nendpoints = [\"192.0.2.1\"]\nmetrics = \"0.0.0.0:9470\"\nudp-segmentation = false\ntun-coalescing = false\nhalf-open = 50\n";
        fs::write(&file, text).unwrap();
        let controllers = vec!["b:7443".to_owned()];
        let given = Settings { controllers, tun_coalescing: Some(true), ..Settings::default() };
        let settings = given.over(Some(&file)).unwrap();
        assert_eq!(settings.controllers, ["b:7443"]);
        assert_eq!(settings.name.as_ref().map(Name::as_str), Some("n1"));
        assert_eq!(settings.metrics(), "0.0.0.0:9470".parse().unwrap());
        let Tuning { offloads, limits } = settings.tuning();
        assert_eq!(offloads, Offloads { udp_segmentation: false, ..Offloads::default() });
        assert_eq!(limits, Limits { half_open: 50, ..Limits::default() });
        assert_eq!(settings.state(), Path::new("/var/lib/espalier"));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("agent.toml");
        fs::write(&file, "name = \"n1\"\nendpoint = [\"192.0.2.1\"]\n").unwrap();
        let error = Settings::default().over(Some(&file)).unwrap_err().to_string();
        assert!(error.contains("agent.toml") && error.contains("line 2") && error.contains("`endpoints`"), "{error}");
        assert!(Settings::default().over(Some(Path::new("/nowhere/agent.toml"))).is_err());
    }
}
