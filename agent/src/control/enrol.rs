//! Enrolment: with a token, a node gets a certificate for a key that never leaves it.

use std::error::Error as StdError;
use std::net::IpAddr;
use std::path::Path;

use espalier_model::identity::{Identity, Name};
use espalier_model::join::JoinToken;
use espalier_proto::v1::EnrolRequest;
use espalier_proto::v1::enrolment_client::EnrolmentClient;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use thiserror::Error;

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

/// Enrols under a name, and keeps what is granted in a folder.
///
/// # Errors
/// The first reason for which the node is not enrolled. Nothing is kept then.
pub async fn enrol(
    controllers: &[String],
    token: &JoinToken,
    name: &Name,
    endpoints: &[IpAddr],
    folder: &Path,
) -> Result<State, EnrolError> {
    let domain = &token.trust_domain;
    let identity = name.node_identity(domain);
    let (pem_key, csr_der) = request(&identity)?;
    let request = EnrolRequest {
        token: String::from_utf8_lossy(token.text.expose()).into_owned(),
        name: name.to_string(),
        csr_der,
        endpoints: endpoints.iter().map(ToString::to_string).collect(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let Some(controller) = controllers.first() else {
        return Err(EnrolError::Unreachable(String::new(), "no address is given".to_owned()));
    };
    let unreachable = |error: &dyn StdError| EnrolError::Unreachable(controller.clone(), causes(error));
    let config = tls::pinned(token.fingerprint).map_err(|error| unreachable(&error))?;
    let channel = tls::connect(controller, domain, config).await.map_err(|error| unreachable(&error))?;
    let answer = EnrolmentClient::new(channel).enrol(request).await;
    let answer = answer.map_err(|s| EnrolError::Refused(controller.clone(), s.message().to_owned()))?.into_inner();
    if answer.node != identity.to_string() {
        return Err(EnrolError::Answer(format!("it is for {}, this node is {identity}", answer.node)));
    }
    let pinned = answer.trust.iter().any(|der| espalier_crypto::sha256(&[der]) == token.fingerprint);
    if !pinned {
        return Err(EnrolError::Answer("its root is not the token's".to_owned()));
    }
    verify::chain(&answer.trust, &answer.certificate_chain, &identity)
        .map_err(|e| EnrolError::Answer(e.to_string()))?;
    let pem = pem_key + &answer.certificate_chain.iter().map(|der| pem_of(der)).collect::<String>();
    let node = Node {
        name: name.clone(),
        trust_domain: domain.clone(),
        controllers: controllers.to_vec(),
        endpoints: endpoints.to_vec(),
        certificate_epoch: 0,
    };
    Ok(State::create(folder, node, answer.trust, &pem)?)
}

/// Makes a key and the request for its certificate. Returns the key as PEM and the request as DER.
pub(super) fn request(identity: &Identity) -> Result<(String, Vec<u8>), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, identity.to_string());
    let request = params.serialize_request(&key)?;
    Ok((key.serialize_pem(), request.der().to_vec()))
}
