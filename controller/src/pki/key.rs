//! The private keys that the authorities make: ECDSA P-256, wiped when they go.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use rcgen::{PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm};
use zeroize::Zeroizing;

use super::PkiError;

/// A private key. Unlike rcgen's own it keeps no copy in the clear that outlives it.
pub(super) struct PrivateKey(EcdsaKeyPair);

impl PrivateKey {
    /// Makes a key.
    pub(super) fn generate() -> Result<Self, PkiError> {
        EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map(Self).map_err(|_| PkiError::Key)
    }

    /// Reads a key from PKCS#8 in DER.
    pub(super) fn read(der: &[u8]) -> Result<Self, PkiError> {
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der).map(Self).map_err(|_| PkiError::Stored)
    }

    /// Returns the key as PKCS#8 in DER.
    pub(super) fn to_der(&self) -> Result<Zeroizing<Vec<u8>>, PkiError> {
        let document = self.0.to_pkcs8v1().map_err(|_| PkiError::Key)?;
        Ok(Zeroizing::new(document.as_ref().to_vec()))
    }

    /// Signs with SHA-256; the signature is in ASN.1.
    pub(super) fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, PkiError> {
        let signature = self.0.sign(&SystemRandom::new(), bytes);
        signature.map(|s| s.as_ref().to_vec()).map_err(|_| PkiError::Key)
    }
}

impl PublicKeyData for PrivateKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for PrivateKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.sign(message).map_err(|_| rcgen::Error::RingUnspecified)
    }
}
