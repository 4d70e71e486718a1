//! What a node keeps: who it is, its key, whom it trusts, and its last plan. With it a node starts without the controller.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use espalier_ike::CertificateIdentity;
use espalier_model::envelope::{PlanState, Whole};
use espalier_model::identity::{DomainName, Identity, Name};
use espalier_model::plan::NodePlan;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{files, verify};
use crate::identity::{self, IdentityError};

/// The state of an enrolled node.
pub struct State {
    folder: PathBuf,
    pub(super) node: Node,
    pub(super) trust: Vec<Vec<u8>>,
}

/// Who the node is.
#[derive(Clone, Debug, Serialize, Deserialize)]
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
        Ok(state)
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

    /// Notes where the controller and the node are now.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn relocate(&mut self, controllers: Vec<String>, endpoints: Vec<std::net::IpAddr>) -> Result<(), StateError> {
        if !controllers.is_empty() {
            self.node.controllers = controllers;
        }
        if !endpoints.is_empty() {
            self.node.endpoints = endpoints;
        }
        self.write_node()
    }

    /// Reads key and certificate.
    ///
    /// # Errors
    /// The file cannot serve.
    pub fn certificate(&self) -> Result<CertificateIdentity, StateError> {
        let path = self.folder.join(IDENTITY);
        Ok(identity::certificate(&path, &path)?)
    }

    /// Returns key and certificates as one PEM text.
    pub(super) fn pem(&self) -> Result<zeroize::Zeroizing<Vec<u8>>, StateError> {
        let path = self.folder.join(IDENTITY);
        fs::read(&path).map(zeroize::Zeroizing::new).map_err(|e| StateError::File(path, e))
    }

    /// Exchanges key and certificate, both in one file: a crash leaves a pair that fits.
    pub(super) fn renew(&mut self, pem: &str, certificate_epoch: u64) -> Result<(), StateError> {
        self.write(IDENTITY, pem.as_bytes())?;
        self.node.certificate_epoch = certificate_epoch;
        self.write_node()
    }

    /// Reads the last plan, and checks it as if it had just come. One that does not pass is as good as none.
    #[must_use]
    pub fn plan(&self) -> (PlanState, Option<NodePlan>) {
        let mut held = PlanState::new(self.identity());
        let whole = fs::read(self.folder.join(PLAN)).ok();
        let whole = whole.and_then(|text| serde_json::from_slice::<Whole>(&text).ok());
        let plan = whole.and_then(|whole| {
            let checked = held.accept_whole(whole, |envelope| verify::envelope(envelope, self));
            checked.inspect_err(|error| tracing::warn!(%error, "the plan on disk is not used")).ok()
        });
        (held, plan)
    }

    /// Keeps a plan.
    pub(super) fn keep(&self, held: &PlanState) -> Result<(), StateError> {
        let path = self.folder.join(PLAN);
        let text = serde_json::to_vec(&held.whole()).map_err(|e| StateError::Content(path, e.to_string()))?;
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
