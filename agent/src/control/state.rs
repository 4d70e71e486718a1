//! What a node keeps: who it is, its key, whom it trusts, and its last plan. With it a node starts without the controller.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use espalier_ike::CertificateIdentity;
use espalier_model::envelope::{Envelope, PlanState, Whole};
use espalier_model::identity::{DomainName, Identity, Name};
use espalier_model::plan::NodePlan;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

use super::{files, verify};
use crate::identity::{self, IdentityError};

/// The state of an enrolled node.
pub struct State {
    folder: PathBuf,
    pub(super) node: Node,
    pub(super) trust: Vec<Vec<u8>>,
}

/// Who the node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Node {
    pub(super) name: Name,
    pub(super) trust_domain: DomainName,
    /// Addresses of the controller, `host:port`.
    pub(super) controllers: Vec<String>,
    /// Underlay addresses that the node reports.
    pub(super) endpoints: Vec<std::net::IpAddr>,
    /// The rotation of certificates under which it got its own.
    pub(super) certificate_epoch: u64,
}

/// A plan on disk.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Kept {
    /// The Unix second at which its signature was checked.
    came: u64,
    plan: Whole,
}

/// A state that cannot be read or written.
#[derive(Debug, Error)]
pub enum StateError {
    /// A file of it.
    #[error("{}", .0.display())]
    File(PathBuf, #[source] io::Error),
    /// A file that holds something else.
    #[error("{}: {}; delete the folder and enrol again", .0.display(), .1)]
    Content(PathBuf, String),
    /// Key or certificate.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

const NODE: &str = "node.json";
const IDENTITY: &str = "identity.pem";
const TRUST: &str = "trust.pem";
const PLAN: &str = "plan.json";
/// The key of an enrolment that is not answered yet.
const ENROLLING: &str = "enrolling.pem";

impl State {
    /// Reads the state of a folder, or nothing where no node has enrolled.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn load(folder: &Path) -> Result<Option<Self>, StateError> {
        let path = folder.join(NODE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StateError::File(path, error)),
        };
        let node = serde_json::from_slice(&text).map_err(|e| StateError::Content(path, e.to_string()))?;
        let trust = identity::trust(&folder.join(TRUST).display().to_string())?;
        let state = Self { folder: folder.to_owned(), node, trust };
        state.certificate()?;
        Ok(Some(state))
    }

    /// Writes the state of a node that has just enrolled; who it is comes last, and makes the rest count.
    pub(super) fn create(folder: &Path, node: Node, trust: Vec<Vec<u8>>, pem: &str) -> Result<Self, StateError> {
        files::folder(folder).map_err(|e| StateError::File(folder.to_owned(), e))?;
        let state = Self { folder: folder.to_owned(), node, trust };
        let trust: String = state.trust.iter().map(|der| pem_of(der)).collect();
        state.write(TRUST, trust.as_bytes())?;
        state.write(IDENTITY, pem.as_bytes())?;
        state.write_node()?;
        files::remove(&folder.join(ENROLLING)).map_err(|e| StateError::File(folder.join(ENROLLING), e))?;
        Ok(state)
    }

    /// Returns the key of an enrolment that was begun, as PEM. It is on disk before anybody hears of it: whatever becomes of the
    /// answer, the node can ask again as the one that it was.
    pub(super) fn enrolling_key(folder: &Path) -> Result<Zeroizing<String>, StateError> {
        let path = folder.join(ENROLLING);
        let of_path = |error| StateError::File(path.clone(), error);
        match fs::read_to_string(&path) {
            Ok(pem) => return Ok(Zeroizing::new(pem)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(of_path(error)),
        }
        files::folder(folder).map_err(|e| StateError::File(folder.to_owned(), e))?;
        let key = rcgen::KeyPair::generate().map_err(|e| of_path(io::Error::other(e)))?;
        let pem = Zeroizing::new(key.serialize_pem());
        files::write(&path, pem.as_bytes()).map_err(of_path)?;
        Ok(pem)
    }

    /// Returns the identity that the node proves.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.node.name.node_identity(&self.node.trust_domain)
    }

    /// Returns the node's name.
    #[must_use]
    pub const fn name(&self) -> &Name {
        &self.node.name
    }

    /// Returns the controller's addresses.
    #[must_use]
    pub fn controllers(&self) -> &[String] {
        &self.node.controllers
    }

    /// Returns the underlay addresses that the node reports.
    #[must_use]
    pub fn endpoints(&self) -> &[std::net::IpAddr] {
        &self.node.endpoints
    }

    /// Notes where the controller and the node are now. A start without change writes nothing: a full disk does not stop it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn relocate(&mut self, controllers: &[String], endpoints: &[std::net::IpAddr]) -> Result<(), StateError> {
        let before = self.node.clone();
        if !controllers.is_empty() {
            self.node.controllers = controllers.to_vec();
        }
        if !endpoints.is_empty() {
            self.node.endpoints = endpoints.to_vec();
        }
        if self.node == before { Ok(()) } else { self.write_node() }
    }

    /// Tells whether the node's certificate has ended: it can only enrol again then.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        let life = self.certificate().ok().and_then(|certificate| verify::life(&certificate.chain));
        life.is_none_or(|(_, until)| until < verify::unix())
    }

    /// Returns the file of key and certificate.
    #[must_use]
    pub fn identity_file(&self) -> PathBuf {
        self.folder.join(IDENTITY)
    }

    /// Reads key and certificate.
    ///
    /// # Errors
    /// The file cannot serve.
    pub fn certificate(&self) -> Result<CertificateIdentity, StateError> {
        let path = self.identity_file();
        Ok(identity::certificate(&path, &path)?)
    }

    /// Returns key and certificates as one PEM text.
    pub(super) fn pem(&self) -> Result<Zeroizing<Vec<u8>>, StateError> {
        let path = self.identity_file();
        fs::read(&path).map(Zeroizing::new).map_err(|e| StateError::File(path, e))
    }

    /// Exchanges key and certificate, both in one file: a crash leaves a pair that fits.
    pub(super) fn renew(&mut self, pem: &str, certificate_epoch: u64) -> Result<(), StateError> {
        self.write(IDENTITY, pem.as_bytes())?;
        self.node.certificate_epoch = certificate_epoch;
        self.write_node()
    }

    /// Reads the last plan, and checks it as of when it came. One that does not pass is as good as none.
    #[must_use]
    pub fn plan(&self) -> (PlanState, Option<NodePlan>) {
        let mut held = PlanState::new(self.identity());
        let path = self.folder.join(PLAN);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return (held, None),
            Err(error) => {
                tracing::error!(file = %path.display(), %error, "the last plan cannot be read");
                return (held, None);
            }
        };
        let plan = serde_json::from_slice(&text).map_err(|error| error.to_string()).and_then(|Kept { came, plan }| {
            // What was good when it came is better than nothing, which would leave traffic unprotected.
            let verify = |envelope: &Envelope| verify::envelope_at(envelope, self, came);
            held.accept_whole(plan, verify).map_err(|error| crate::error_chain(&error))
        });
        let plan =
            plan.inspect_err(|error| tracing::error!(file = %path.display(), error, "the last plan is not used"));
        (held, plan.ok())
    }

    /// Keeps a plan that came by a Unix second.
    pub(super) fn keep(&self, held: &PlanState, came: u64) -> Result<(), StateError> {
        let Some(plan) = held.whole() else { return Ok(()) };
        let path = self.folder.join(PLAN);
        let text = serde_json::to_vec(&Kept { came, plan }).map_err(|e| StateError::Content(path, e.to_string()))?;
        self.write(PLAN, &text)
    }

    fn write_node(&self) -> Result<(), StateError> {
        let text = serde_json::to_vec_pretty(&self.node)
            .map_err(|e| StateError::Content(self.folder.join(NODE), e.to_string()))?;
        self.write(NODE, &text)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        let path = self.folder.join(name);
        files::write(&path, bytes).map_err(|e| StateError::File(path, e))
    }
}

/// Writes a certificate as PEM.
pub(super) fn pem_of(der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::prelude::BASE64_STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
