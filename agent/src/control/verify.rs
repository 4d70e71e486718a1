//! The controller's word: who may sign plans, and whether a certificate is ours.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use espalier_ike::certificate::{CertificateError, TrustStore, validity};
use espalier_model::envelope::Envelope;
use espalier_model::identity::Identity;
use rustls_pki_types::CertificateDer;
use webpki::EndEntityCert;

use super::state::State;

/// Checks that a plan's envelope was signed by the mesh's plan signer, whose certificate is good now.
pub(super) fn envelope(envelope: &Envelope, state: &State) -> Result<(), String> {
    envelope_at(envelope, state, unix())
}

/// Checks the envelope of a plan that came at a Unix second.
pub(super) fn envelope_at(envelope: &Envelope, state: &State, at: u64) -> Result<(), String> {
    let signer = format!("plan-signer.controller.{}", state.node.trust_domain);
    let signer: Identity = signer.parse().map_err(|_| "no plan signer can have this name".to_owned())?;
    chain(&state.trust, &envelope.chain, &signer, at).map_err(|error| error.to_string())?;
    let leaf = envelope.chain.first().ok_or("there is no certificate")?;
    let leaf = CertificateDer::from(leaf.as_slice());
    let leaf = EndEntityCert::try_from(&leaf).map_err(|error| error.to_string())?;
    leaf.verify_signature(webpki::aws_lc_rs::ECDSA_P256_SHA256, &envelope.signed_bytes(), &envelope.signature)
        .map_err(|_| "it is not by the key of its certificate".to_owned())
}

/// Checks that a chain leads to the mesh's root and names somebody, at a Unix second.
pub(super) fn chain(trust: &[Vec<u8>], chain: &[Vec<u8>], who: &Identity, at: u64) -> Result<(), CertificateError> {
    TrustStore::new(trust)?.verify(chain, who, &BTreeSet::new(), at).map(drop)
}

/// Returns from when to when a chain is good, in Unix seconds: as long as all of it is.
pub(super) fn life(chain: &[Vec<u8>]) -> Option<(u64, u64)> {
    let lives = chain.iter().map(|der| validity(der)).collect::<Result<Vec<_>, _>>().ok()?;
    Some((lives.first()?.0, lives.iter().map(|life| life.1).min()?))
}

/// Tells the time.
pub(super) fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
