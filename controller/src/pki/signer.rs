//! The signature over plans.

use time::OffsetDateTime;

use super::key::PrivateKey;
use super::{Authority, PkiError};

/// Signs plans with a certificate of its own.
pub struct PlanSigner {
    chain: Vec<Vec<u8>>,
    key: PrivateKey,
}

impl PlanSigner {
    /// Makes a signer.
    ///
    /// # Errors
    /// An authority that has ended.
    pub fn new(authority: &Authority, now: OffsetDateTime) -> Result<Self, PkiError> {
        let issued = authority.issue_plan_signer(now)?;
        Ok(Self { chain: issued.chain, key: PrivateKey::read(&issued.key)? })
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
        self.key.sign(bytes)
    }
}
