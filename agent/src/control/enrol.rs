//! Enrolment: with a token, a node gets a certificate for a key that never leaves it.

use std::error::Error as StdError;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use espalier_model::identity::{Identity, Name};
use espalier_model::join::JoinToken;
use espalier_proto::v1::enrolment_client::EnrolmentClient;
use espalier_proto::v1::{EnrolRequest, EnrolResponse};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use thiserror::Error;
use tokio::time::timeout;
use tonic::Code;
use zeroize::Zeroizing;

use super::state::{Node, State, StateError, pem_of};
use super::{tls, verify};
use crate::error_chain as causes;

/// Why a node is not enrolled.
#[derive(Debug, Error)]
pub enum EnrolError {
    /// The controller is not reached, or is not the token's.
    #[error("controller {0} cannot be reached: {1}")]
    Unreachable(String, String),
    /// The controller says no.
    #[error("controller {0} refuses to enrol this node: {1}")]
    Refused(String, String),
    /// What the controller answered does not fit.
    #[error("the controller's answer cannot be used: {0}")]
    Answer(String),
    /// No key can be made.
    #[error("no key can be made")]
    Key(#[from] rcgen::Error),
    /// What was granted cannot be kept.
    #[error("the node's state cannot be kept")]
    State(#[from] StateError),
}

/// Who enrols, where, and by what right.
pub struct Enrolment<'a> {
    /// The controller's addresses, tried in turn.
    pub controllers: &'a [String],
    /// The join token.
    pub token: &'a JoinToken,
    /// The name that the node wants, or has.
    pub name: &'a Name,
    /// The node's underlay addresses.
    pub endpoints: &'a [IpAddr],
    /// Where its state goes.
    pub folder: &'a Path,
}

impl Enrolment<'_> {
    /// Enrols a node that has no state yet. A crash at any moment leaves it able to do so again with the same token.
    ///
    /// # Errors
    /// The reason for which the node is not enrolled.
    pub async fn first(&self) -> Result<State, EnrolError> {
        let key = State::enrolling_key(self.folder)?;
        self.with_key(&key).await
    }

    /// Enrols a node again whose certificate has ended, with the key that it has: it keeps its name and its addresses.
    ///
    /// # Errors
    /// The reason for which the node is not enrolled; its state stays.
    pub async fn again(&self, state: &State) -> Result<State, EnrolError> {
        let pem = state.pem()?;
        self.with_key(std::str::from_utf8(&pem).unwrap_or_default()).await
    }

    async fn with_key(&self, key: &str) -> Result<State, EnrolError> {
        let mut unreachable = EnrolError::Unreachable(String::new(), "no address is given".to_owned());
        for controller in self.controllers {
            match self.at(controller, key).await {
                Err(error @ EnrolError::Unreachable(..)) => unreachable = error,
                answered => return answered,
            }
        }
        Err(unreachable)
    }

    async fn at(&self, controller: &str, key: &str) -> Result<State, EnrolError> {
        let domain = &self.token.trust_domain;
        let identity = self.name.node_identity(domain);
        let (pem_key, csr_der) = request(&identity, Some(key))?;
        let request = EnrolRequest {
            token: String::from_utf8_lossy(self.token.text.expose()).into_owned(),
            name: self.name.to_string(),
            csr_der,
            endpoints: self.endpoints.iter().map(ToString::to_string).collect(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let unreachable = |error: &dyn StdError| EnrolError::Unreachable(controller.to_owned(), causes(error));
        let config = tls::pinned(self.token.fingerprint).map_err(|error| unreachable(&error))?;
        let address = tls::resolve(controller).await.map_err(|error| unreachable(&error))?;
        let channel = tls::connect(address, domain, config).await.map_err(|error| unreachable(&error))?;
        let answer = timeout(PATIENCE, EnrolmentClient::new(channel).enrol(request)).await;
        let answer = answer.map_err(|late| unreachable(&late))?;
        let answer = answer.map_err(|status| {
            let (controller, reason) = (controller.to_owned(), status.message().to_owned());
            if status.code() == Code::Unavailable {
                EnrolError::Unreachable(controller, reason)
            } else {
                EnrolError::Refused(controller, reason)
            }
        })?;
        self.keep(answer.into_inner(), &identity, pem_key)
    }

    /// Keeps what was granted, if it is what was asked for.
    fn keep(&self, answer: EnrolResponse, identity: &Identity, key: String) -> Result<State, EnrolError> {
        if answer.node != identity.to_string() {
            return Err(EnrolError::Answer(format!("it is for {}, this node is {identity}", answer.node)));
        }
        let pinned = answer.trust.iter().any(|der| espalier_crypto::sha256(&[der]) == self.token.fingerprint);
        if !pinned {
            return Err(EnrolError::Answer("its root is not the token's".to_owned()));
        }
        verify::chain(&answer.trust, &answer.certificate_chain, identity, verify::unix())
            .map_err(|e| EnrolError::Answer(e.to_string()))?;
        let pem = Zeroizing::new(answer.certificate_chain.iter().fold(key, |pem, der| pem + &pem_of(der)));
        let node = Node {
            name: self.name.clone(),
            trust_domain: self.token.trust_domain.clone(),
            controllers: self.controllers.to_vec(),
            endpoints: self.endpoints.to_vec(),
            certificate_epoch: answer.certificate_epoch,
        };
        Ok(State::create(self.folder, node, answer.trust, &pem)?)
    }
}

/// Makes the request for a certificate, for a key in PEM or for a new one. Returns the key as PEM and the request as DER.
pub(super) fn request(identity: &Identity, key: Option<&str>) -> Result<(String, Vec<u8>), rcgen::Error> {
    let key = key.map_or_else(KeyPair::generate, KeyPair::from_pem)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, identity.to_string());
    let request = params.serialize_request(&key)?;
    Ok((key.serialize_pem(), request.der().to_vec()))
}

const PATIENCE: Duration = Duration::from_secs(20);
