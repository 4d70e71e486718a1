//! What a node may ask for: its own name, with a key of its own, and nothing else.

use espalier_model::identity::Name;
use thiserror::Error;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::cri_attributes::{ParsedCriAttribute, X509CriAttribute};
use x509_parser::extensions::{GeneralName, ParsedExtension, X509Extension};
use x509_parser::oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY};
use x509_parser::prelude::FromDer;

/// The names of a node.
pub(super) struct Names {
    pub(super) dns: String,
    pub(super) uri: String,
}

/// A request that is not granted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CsrError {
    /// Not a request, or more than one.
    #[error("the certificate request cannot be read: PKCS#10 in DER is expected")]
    Malformed,
    /// Larger than any request of ours.
    #[error("the certificate request has {0} bytes: at most {MOST_BYTES} are read")]
    TooLarge(usize),
    /// Whoever asks does not hold the key.
    #[error("the signature of the certificate request does not hold")]
    Signature,
    /// Another key than is used in the mesh.
    #[error("the key of the certificate request is not ECDSA P-256")]
    Key,
    /// It asks for another name than its own.
    #[error("the certificate request asks for {asked}, but this node is {own}")]
    Name {
        /// What it asks for.
        asked: String,
        /// What it may have.
        own: String,
    },
}

const MOST_BYTES: usize = 8_192;

impl Names {
    /// Returns the names of a node.
    pub(super) fn of_node(name: &Name, domain: &str) -> Self {
        Self { dns: format!("{name}.node.{domain}"), uri: format!("spiffe://{domain}/node/{name}") }
    }
}

/// Returns the DNS name that agents check. No node can obtain it: all of theirs end in `.node.` and the domain.
pub(super) fn controller_name(domain: &str) -> String {
    format!("controller.{domain}")
}

/// Returns the controller's URI.
pub(super) fn controller_uri(domain: &str) -> String {
    format!("spiffe://{domain}/controller")
}

/// Returns the DNS name of whoever signs plans.
pub(super) fn plan_signer_name(domain: &str) -> String {
    format!("plan-signer.controller.{domain}")
}

/// Returns the URI of whoever signs plans.
pub(super) fn plan_signer_uri(domain: &str) -> String {
    format!("spiffe://{domain}/controller/plan-signer")
}

/// Checks a request and returns its public key, a DER `SubjectPublicKeyInfo`.
pub(super) fn check(request: &[u8], own: &Names) -> Result<Vec<u8>, CsrError> {
    if request.len() > MOST_BYTES {
        return Err(CsrError::TooLarge(request.len()));
    }
    let Ok(([], csr)) = X509CertificationRequest::from_der(request) else { return Err(CsrError::Malformed) };
    let info = &csr.certification_request_info;
    let key = &info.subject_pki;
    let curve = key.algorithm.parameters.as_ref().and_then(|p| p.as_oid().ok());
    if key.algorithm.algorithm != OID_KEY_TYPE_EC_PUBLIC_KEY || curve != Some(OID_EC_P256) {
        return Err(CsrError::Key);
    }
    csr.verify_signature().map_err(|_| CsrError::Signature)?;
    let foreign = |asked: &str| CsrError::Name { asked: asked.to_owned(), own: own.dns.clone() };
    for name in info.subject.iter_common_name() {
        let name = name.as_str().map_err(|_| CsrError::Malformed)?;
        if name != own.dns {
            return Err(foreign(name));
        }
    }
    for extension in info.iter_attributes().flat_map(requested) {
        let extension = extension.parsed_extension();
        if extension.error().is_some() {
            return Err(CsrError::Malformed);
        }
        if let ParsedExtension::SubjectAlternativeName(names) = extension {
            let allowed = [GeneralName::DNSName(&own.dns), GeneralName::URI(&own.uri)];
            if let Some(name) = names.general_names.iter().find(|name| !allowed.contains(name)) {
                return Err(foreign(&name.to_string()));
            }
        }
    }
    Ok(key.raw.to_vec())
}

fn requested<'a>(attribute: &'a X509CriAttribute<'a>) -> &'a [X509Extension<'a>] {
    match attribute.parsed_attribute() {
        ParsedCriAttribute::ExtensionRequest(request) => &request.extensions,
        ParsedCriAttribute::ChallengePassword(_) | ParsedCriAttribute::UnsupportedAttribute => &[],
    }
}
