//! The signature over plans.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use time::OffsetDateTime;

use super::{Authority, PkiError};

/// Signs plans with a certificate of its own.
pub struct PlanSigner {
    chain: Vec<Vec<u8>>,
    key: EcdsaKeyPair,
}

impl PlanSigner {
    /// Makes a signer.
    ///
    /// # Errors
    /// An authority that has ended.
    pub fn new(authority: &Authority, now: OffsetDateTime) -> Result<Self, PkiError> {
        let issued = authority.issue_plan_signer(now)?;
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &issued.key)
            .map_err(|_| PkiError::Make(rcgen::Error::RingUnspecified))?;
        Ok(Self { chain: issued.chain, key })
    }

    /// Returns its certificate, then the issuing ones, DER.
    #[must_use]
    pub fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }

    /// Signs by ECDSA P-256 with SHA-256.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, PkiError> {
        let signature = self.key.sign(&SystemRandom::new(), bytes);
        signature.map(|s| s.as_ref().to_vec()).map_err(|_| PkiError::Make(rcgen::Error::RingUnspecified))
    }
}
