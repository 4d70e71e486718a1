//! Signing with the node's private key.

use std::ops::RangeInclusive;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PSS_SHA256,
    RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
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
    /// RSASSA-PSS with SHA-256, MGF1 with SHA-256 and a salt of 32 bytes (RFC 8017).
    RsaPssSha256,
    /// RSASSA-PSS with SHA-384, MGF1 with SHA-384 and a salt of 48 bytes (RFC 8017).
    RsaPssSha384,
    /// RSASSA-PSS with SHA-512, MGF1 with SHA-512 and a salt of 64 bytes (RFC 8017).
    RsaPssSha512,
}

/// A private key. Has no `Debug`.
pub struct SigningKey {
    algorithms: &'static [SignatureAlgorithm],
    pair: Pair,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(Box<RsaKeyPair>),
}

/// Sizes of RSA keys that sign, in bytes of the modulus: 2,048 to 4,096 bits.
const RSA_SIZES: RangeInclusive<usize> = 256..=512;
/// What an RSA key signs with, best first; a peer that has but one of the hash functions is served too.
const RSA: &[SignatureAlgorithm] =
    &[SignatureAlgorithm::RsaPssSha384, SignatureAlgorithm::RsaPssSha512, SignatureAlgorithm::RsaPssSha256];

impl SigningKey {
    /// Reads a private key from PKCS#8 PEM.
    ///
    /// # Errors
    /// `PrivateKey` when it is none, or of another kind.
    pub fn from_pkcs8_pem(pem: &str) -> Result<Self, CryptoError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| CryptoError::PrivateKey)?;
        let der = der.secret_pkcs8_der();
        let ecdsa: [(&[SignatureAlgorithm], _); 2] = [
            (&[SignatureAlgorithm::EcdsaP256Sha256], &ECDSA_P256_SHA256_ASN1_SIGNING),
            (&[SignatureAlgorithm::EcdsaP384Sha384], &ECDSA_P384_SHA384_ASN1_SIGNING),
        ];
        for (algorithms, signing) in ecdsa {
            if let Ok(pair) = EcdsaKeyPair::from_pkcs8(signing, der) {
                return Ok(Self { algorithms, pair: Pair::Ecdsa(pair) });
            }
        }
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            return Ok(Self { algorithms: &[SignatureAlgorithm::Ed25519], pair: Pair::Ed25519(pair) });
        }
        match RsaKeyPair::from_pkcs8(der) {
            Ok(pair) if RSA_SIZES.contains(&pair.public_modulus_len()) => {
                Ok(Self { algorithms: RSA, pair: Pair::Rsa(Box::new(pair)) })
            }
            Ok(_) | Err(_) => Err(CryptoError::PrivateKey),
        }
    }

    /// Signs a message with one of the key's algorithms.
    ///
    /// # Errors
    /// `Algorithm` when it is none of them, `Provider` when the generator of the nonce or the salt fails.
    pub fn sign(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        if !self.algorithms.contains(&algorithm) {
            return Err(CryptoError::Algorithm);
        }
        match &self.pair {
            Pair::Ecdsa(pair) => {
                let signature = pair.sign(&SystemRandom::new(), message).map_err(|_| CryptoError::Provider)?;
                Ok(signature.as_ref().to_vec())
            }
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let signed = pair.sign(padding(algorithm)?, &SystemRandom::new(), message, &mut signature);
                signed.map(|()| signature).map_err(|_| CryptoError::Provider)
            }
        }
    }

    /// Returns the algorithms that it signs with, best first.
    #[must_use]
    pub const fn algorithms(&self) -> &'static [SignatureAlgorithm] {
        self.algorithms
    }
}

fn padding(algorithm: SignatureAlgorithm) -> Result<&'static dyn RsaEncoding, CryptoError> {
    match algorithm {
        SignatureAlgorithm::RsaPssSha256 => Ok(&RSA_PSS_SHA256),
        SignatureAlgorithm::RsaPssSha384 => Ok(&RSA_PSS_SHA384),
        SignatureAlgorithm::RsaPssSha512 => Ok(&RSA_PSS_SHA512),
        SignatureAlgorithm::EcdsaP256Sha256 | SignatureAlgorithm::EcdsaP384Sha384 | SignatureAlgorithm::Ed25519 => {
            Err(CryptoError::Algorithm)
        }
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
            check(&pem, &[(algorithm, verification)]);
        }
    }

    #[test]
    fn an_rsa_key_signs_with_each_hash() {
        let kind = &rcgen::PKCS_RSA_SHA256;
        for size in [rcgen::RsaKeySize::_2048, rcgen::RsaKeySize::_3072, rcgen::RsaKeySize::_4096] {
            let pem = rcgen::KeyPair::generate_rsa_for(kind, size).unwrap().serialize_pem();
            check(
                &pem,
                &[
                    (SignatureAlgorithm::RsaPssSha384, &signature::RSA_PSS_2048_8192_SHA384),
                    (SignatureAlgorithm::RsaPssSha512, &signature::RSA_PSS_2048_8192_SHA512),
                    (SignatureAlgorithm::RsaPssSha256, &signature::RSA_PSS_2048_8192_SHA256),
                ],
            );
        }
    }

    fn check(pem: &str, expected: &[(SignatureAlgorithm, &'static dyn VerificationAlgorithm)]) {
        let key = SigningKey::from_pkcs8_pem(pem).unwrap();
        let algorithms: Vec<_> = expected.iter().map(|(algorithm, _)| *algorithm).collect();
        assert_eq!(key.algorithms(), algorithms);
        let public = match &key.pair {
            Pair::Ecdsa(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Rsa(pair) => pair.public_key().as_ref().to_vec(),
        };
        for (algorithm, verification) in expected {
            let public = UnparsedPublicKey::new(*verification, &public);
            let signature = key.sign(*algorithm, b"message").unwrap();
            assert!(public.verify(b"message", &signature).is_ok());
            assert!(public.verify(b"massage", &signature).is_err());
        }
        let foreign = [SignatureAlgorithm::Ed25519, SignatureAlgorithm::RsaPssSha256];
        let foreign = foreign.into_iter().find(|algorithm| !algorithms.contains(algorithm)).unwrap();
        assert_eq!(key.sign(foreign, b"message"), Err(CryptoError::Algorithm));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for bad in ["", "key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
            assert_eq!(SigningKey::from_pkcs8_pem(bad).err(), Some(CryptoError::PrivateKey));
        }
    }
}
