//! Signing with the node's private key.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;

use crate::CryptoError;

/// A signature algorithm of RFC 7427 that we sign with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignatureAlgorithm {
    /// ECDSA on P-256 with SHA-256, DER-encoded.
    EcdsaP256Sha256,
    /// ECDSA on P-384 with SHA-384, DER-encoded.
    EcdsaP384Sha384,
    /// Ed25519 (RFC 8420).
    Ed25519,
}

/// A private key. Has no `Debug`.
pub struct SigningKey {
    algorithm: SignatureAlgorithm,
    pair: Pair,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// Reads a private key from PKCS#8 PEM.
    ///
    /// # Errors
    /// `PrivateKey` when it is none, or of another kind.
    pub fn from_pkcs8_pem(pem: &str) -> Result<Self, CryptoError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| CryptoError::PrivateKey)?;
        let der = der.secret_pkcs8_der();
        let ecdsa = [
            (SignatureAlgorithm::EcdsaP256Sha256, &ECDSA_P256_SHA256_ASN1_SIGNING),
            (SignatureAlgorithm::EcdsaP384Sha384, &ECDSA_P384_SHA384_ASN1_SIGNING),
        ];
        for (algorithm, signing) in ecdsa {
            if let Ok(pair) = EcdsaKeyPair::from_pkcs8(signing, der) {
                return Ok(Self { algorithm, pair: Pair::Ecdsa(pair) });
            }
        }
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| CryptoError::PrivateKey)?;
        Ok(Self { algorithm: SignatureAlgorithm::Ed25519, pair: Pair::Ed25519(pair) })
    }

    /// Signs a message.
    ///
    /// # Errors
    /// `Provider` when the generator of the nonce fails.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        match &self.pair {
            Pair::Ecdsa(pair) => {
                let signature = pair.sign(&SystemRandom::new(), message).map_err(|_| CryptoError::Provider)?;
                Ok(signature.as_ref().to_vec())
            }
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }

    /// Returns the algorithm that it signs with.
    #[must_use]
    pub const fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{self, KeyPair, UnparsedPublicKey, VerificationAlgorithm};

    use super::*;

    #[test]
    fn each_kind_of_key_signs() {
        let kinds: [(&rcgen::SignatureAlgorithm, _, &'static dyn VerificationAlgorithm); 3] = [
            (&rcgen::PKCS_ECDSA_P256_SHA256, SignatureAlgorithm::EcdsaP256Sha256, &signature::ECDSA_P256_SHA256_ASN1),
            (&rcgen::PKCS_ECDSA_P384_SHA384, SignatureAlgorithm::EcdsaP384Sha384, &signature::ECDSA_P384_SHA384_ASN1),
            (&rcgen::PKCS_ED25519, SignatureAlgorithm::Ed25519, &signature::ED25519),
        ];
        for (kind, algorithm, verification) in kinds {
            let pem = rcgen::KeyPair::generate_for(kind).unwrap().serialize_pem();
            let key = SigningKey::from_pkcs8_pem(&pem).unwrap();
            assert_eq!(key.algorithm(), algorithm);
            let public = match &key.pair {
                Pair::Ecdsa(pair) => pair.public_key().as_ref().to_vec(),
                Pair::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
            };
            let public = UnparsedPublicKey::new(verification, public);
            let signature = key.sign(b"message").unwrap();
            assert!(public.verify(b"message", &signature).is_ok());
            assert!(public.verify(b"massage", &signature).is_err());
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for bad in ["", "key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
            assert_eq!(SigningKey::from_pkcs8_pem(bad).err(), Some(CryptoError::PrivateKey));
        }
    }
}
