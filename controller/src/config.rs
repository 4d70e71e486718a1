//! The configuration: file, then `ESPALIER_*` variables, then flags; the later wins.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use espalier_model::document::Spec;
use espalier_model::document::mesh::MeshSpec;
use espalier_model::identity::DomainName;
use ipnet::IpNet;
use serde::Deserialize;
use thiserror::Error;

/// What the controller runs with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The database's file.
    pub database: PathBuf,
    /// The file of the key-encryption key.
    pub kek_file: PathBuf,
    /// Where the administrator's first token is written.
    pub admin_token_file: PathBuf,
    /// Where the mesh's root certificate is written for those who call REST.
    pub root_file: PathBuf,
    /// Names and addresses at which the controller is reached.
    pub names: Vec<String>,
    /// Where gRPC listens.
    pub grpc: SocketAddr,
    /// Where REST listens.
    pub rest: SocketAddr,
    /// Where health and metrics listen, without TLS.
    pub metrics: SocketAddr,
    /// The mesh that the first start makes.
    pub mesh: MeshSpec,
}

/// A configuration that cannot serve.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}", .0.display())]
    Read(PathBuf, #[source] std::io::Error),
    /// The file is not a configuration.
    #[error("{}: {}", .0.display(), .1)]
    Syntax(PathBuf, toml::de::Error),
    /// The mesh cannot be.
    #[error("the mesh of the configuration: {0}")]
    Mesh(String),
}

/// Flags and variables; each stands for the field of the same name in `controller.toml`.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Settings {
    /// The database's file [default: /var/lib/espalier/controller.db].
    #[arg(long, env = "ESPALIER_DATABASE", value_name = "FILE")]
    database: Option<PathBuf>,
    /// The file of the key-encryption key, made where there is none [default: /etc/espalier/kek].
    #[arg(long, env = "ESPALIER_KEK_FILE", value_name = "FILE")]
    kek_file: Option<PathBuf>,
    /// Where the administrator's first token is written, once [default: /etc/espalier/admin-token].
    #[arg(long, env = "ESPALIER_ADMIN_TOKEN_FILE", value_name = "FILE")]
    admin_token_file: Option<PathBuf>,
    /// Where the mesh's root certificate is written for those who call REST [default: /etc/espalier/root.pem].
    #[arg(long, env = "ESPALIER_ROOT_FILE", value_name = "FILE")]
    root_file: Option<PathBuf>,
    /// Names and addresses at which the controller is reached, for its certificate [default: localhost, 127.0.0.1, ::1].
    #[arg(long = "name", env = "ESPALIER_NAMES", value_name = "NAME", value_delimiter = ',')]
    names: Option<Vec<String>>,
    /// Where gRPC listens [default: port 7443 of every address].
    #[arg(long, env = "ESPALIER_GRPC", value_name = "ADDRESS")]
    grpc: Option<SocketAddr>,
    /// Where REST listens [default: port 7080 of every address].
    #[arg(long, env = "ESPALIER_REST", value_name = "ADDRESS")]
    rest: Option<SocketAddr>,
    /// Where health and metrics listen, without TLS [default: 127.0.0.1:9471].
    #[arg(long, env = "ESPALIER_METRICS", value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
    /// The domain that every identity ends in; for the first start [default: mesh.internal].
    #[arg(long, env = "ESPALIER_TRUST_DOMAIN", value_name = "DOMAIN")]
    trust_domain: Option<DomainName>,
    /// Where nodes get their addresses from, one pool of each family; for the first start [default: 10.64.0.0/16].
    #[arg(long = "pool", env = "ESPALIER_POOLS", value_name = "PREFIX", value_delimiter = ',')]
    pools: Option<Vec<IpNet>>,
}

impl Config {
    /// Puts file and settings together; the usual file is used where it exists and no other is named.
    ///
    /// # Errors
    /// The file cannot serve, or the mesh cannot be.
    pub fn load(file: Option<&Path>, over: Settings) -> Result<Self, ConfigError> {
        let usual = Path::new(USUAL_FILE);
        let file = file.or_else(|| usual.exists().then_some(usual));
        let under = file.map_or_else(|| Ok(Settings::default()), read)?;
        let path = |over: Option<PathBuf>, under: Option<PathBuf>, usual: &str| {
            over.or(under).unwrap_or_else(|| PathBuf::from(usual))
        };
        let listen = |over: Option<SocketAddr>, under: Option<SocketAddr>, usual: ([u16; 8], u16)| {
            over.or(under).unwrap_or_else(|| (usual.0, usual.1).into())
        };
        let (any, local) = ([0; 8], SocketAddr::from(([127, 0, 0, 1], 9471)));
        let usual_names = || ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
        let mesh = MeshSpec {
            trust_domain: over
                .trust_domain
                .or(under.trust_domain)
                .map_or_else(|| "mesh.internal".parse().map_err(|e| ConfigError::Mesh(format!("{e}"))), Ok)?,
            pools: over.pools.or(under.pools).unwrap_or_else(|| vec![USUAL_POOL]),
            strict: true,
            scope: Vec::new(),
        };
        if let Some(fault) = mesh.check().first() {
            return Err(ConfigError::Mesh(fault.to_string()));
        }
        Ok(Self {
            database: path(over.database, under.database, "/var/lib/espalier/controller.db"),
            kek_file: path(over.kek_file, under.kek_file, "/etc/espalier/kek"),
            admin_token_file: path(over.admin_token_file, under.admin_token_file, "/etc/espalier/admin-token"),
            root_file: path(over.root_file, under.root_file, "/etc/espalier/root.pem"),
            names: over.names.or(under.names).unwrap_or_else(usual_names),
            grpc: listen(over.grpc, under.grpc, (any, 7443)),
            rest: listen(over.rest, under.rest, (any, 7080)),
            metrics: over.metrics.or(under.metrics).unwrap_or(local),
            mesh,
        })
    }
}

/// The usual file, which need not exist.
const USUAL_FILE: &str = "/etc/espalier/controller.toml";
const USUAL_POOL: IpNet = IpNet::V4(ipnet::Ipv4Net::new_assert(std::net::Ipv4Addr::new(10, 64, 0, 0), 16));

fn read(file: &Path) -> Result<Settings, ConfigError> {
    let text = fs::read_to_string(file).map_err(|error| ConfigError::Read(file.to_owned(), error))?;
    toml::from_str(&text).map_err(|error| ConfigError::Syntax(file.to_owned(), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("controller.toml");
        fs::write(&file, "database = \"/a/db\"\ntrust-domain = \"a.example\"\npools = [\"10.1.0.0/16\"]\n").unwrap();
        let over = Settings { database: Some("/b/db".into()), ..Settings::default() };
        let config = Config::load(Some(&file), over).unwrap();
        assert_eq!(config.database, Path::new("/b/db"));
        assert_eq!(config.mesh.trust_domain.as_str(), "a.example");
        assert_eq!(config.grpc, "[::]:7443".parse().unwrap());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("controller.toml");
        fs::write(&file, "databse = \"/a/db\"\n").unwrap();
        let error = Config::load(Some(&file), Settings::default()).unwrap_err().to_string();
        assert!(error.contains("controller.toml") && error.contains("databse") && error.contains("line 1"), "{error}");
        fs::write(&file, "pools = [\"10.1.0.1/16\"]\n").unwrap();
        let error = Config::load(Some(&file), Settings::default()).unwrap_err().to_string();
        assert!(error.contains("10.1.0.0/16"), "{error}");
        assert!(Config::load(Some(Path::new("/nowhere")), Settings::default()).is_err());
    }
}
