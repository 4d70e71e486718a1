//! The proof of an identity in `IKE_AUTH` (RFC 7296 §2.15, RFC 7427).

mod pss;

use std::collections::BTreeSet;

use espalier_crypto::{CryptoError, SignatureAlgorithm, SigningKey, equal, prf};
use espalier_model::secret::Secret;
use espalier_model::suite::Prf;
use rustls_pki_types::{AlgorithmIdentifier, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, alg_id};
use thiserror::Error;
use webpki::RawPublicKeyEntity;

use crate::certificate::SIGNATURE_ALGORITHMS;
use crate::wire::registry::hash_id;
use crate::wire::{AuthMethod, Authentication, Identification, Malformed, Nonce, Notify, NotifyType};

/// What one side's AUTH covers: its first message, the other side's nonce and its own identification under `SK_p`.
pub struct SignedOctets(Vec<u8>);

/// Hash functions that the peer verifies signatures with (RFC 7427 §4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HashAlgorithms(BTreeSet<u16>);

/// An AUTH payload that cannot be made or does not prove the identity.
#[derive(Debug, Error)]
pub enum AuthError {
    /// The peer verifies no signature that our key can make.
    #[error("the peer does not support the hash function of our key")]
    NoCommonHash,
    /// The method is not the one that was agreed, or is not supported.
    #[error("authentication method {} is not acceptable", .0.0)]
    Method(AuthMethod),
    /// The signature algorithm is not supported, or is not one for the key of the certificate.
    #[error("signature algorithm is not acceptable")]
    Algorithm,
    /// The payload is not built as its method demands.
    #[error("authentication data is malformed")]
    Malformed(#[source] Malformed),
    /// The code or the signature is wrong.
    #[error("authentication data is wrong")]
    Wrong,
    /// Signing failed.
    #[error("signing failed")]
    Crypto(#[source] CryptoError),
}

impl SignedOctets {
    /// Builds what a side authenticates, from its own point of view.
    ///
    /// `first_message` is the `IKE_SA_INIT` message that this side sent last, as it travelled, without a non-ESP marker.
    /// `nonce` is the one of the other side, `sk_p` is `SK_pi` for the initiator and `SK_pr` for the responder.
    #[must_use]
    pub fn new(function: Prf, sk_p: &Secret, first_message: &[u8], nonce: &Nonce, id: &Identification) -> Self {
        let maced_id = prf(function, sk_p.expose(), &[id.body()]);
        //= RFC 7296 §2.15: each end proves its last IKE_SA_INIT message, the other's nonce and its own name
        Self([first_message, nonce.as_bytes(), maced_id.expose()].concat())
    }

    /// Adds what is covered of the `IKE_INTERMEDIATE` exchanges.
    #[must_use]
    pub fn with_intermediate(mut self, int_auth: &[u8]) -> Self {
        //= RFC 9242 §3.3.2: IntAuth follows all that is signed without it
        self.0.extend_from_slice(int_auth);
        self
    }

    /// Makes the AUTH payload with a shared key.
    #[must_use]
    pub fn authenticate(&self, function: Prf, key: &Secret) -> Authentication {
        let code = self.code(function, key);
        Authentication { method: AuthMethod::SHARED_KEY, data: code.expose().to_vec() }
    }

    /// Checks the AUTH payload of a peer that holds the shared key, in constant time.
    ///
    /// # Errors
    /// `Method` for another method, `Wrong` for another key or other octets.
    pub fn check_shared_key(&self, function: Prf, key: &Secret, auth: &Authentication) -> Result<(), AuthError> {
        if auth.method != AuthMethod::SHARED_KEY {
            return Err(AuthError::Method(auth.method));
        }
        let code = self.code(function, key);
        if equal(code.expose(), &auth.data) { Ok(()) } else { Err(AuthError::Wrong) }
    }

    /// Makes the AUTH payload with a signature (RFC 7427 §3).
    ///
    /// # Errors
    /// `NoCommonHash` when the peer has not announced the hash function of the key.
    pub fn sign(&self, key: &SigningKey, peer: &HashAlgorithms) -> Result<Authentication, AuthError> {
        //= RFC 7427 §4: a signature is made only with a hash that the peer has announced
        let known = |algorithm: &&SignatureAlgorithm| peer.0.contains(&wire_form(**algorithm).0);
        let algorithm = *key.algorithms().iter().find(known).ok_or(AuthError::NoCommonHash)?;
        let signature = key.sign(algorithm, &self.0).map_err(AuthError::Crypto)?;
        let identifier = der(SEQUENCE, wire_form(algorithm).1.as_ref());
        let len = u8::try_from(identifier.len()).expect("an AlgorithmIdentifier is shorter than 128 bytes");
        //= RFC 7427 §3: a byte of length, the algorithm identifier in DER, the signature
        let data = [&[len], &identifier[..], &signature].concat();
        Ok(Authentication { method: AuthMethod::DIGITAL_SIGNATURE, data })
    }

    /// Checks the AUTH payload of a peer against the public key of its certificate, which is a DER `SubjectPublicKeyInfo`.
    ///
    /// # Errors
    /// `Method` for a method that is not a signature, `Algorithm` for one that the key is not for, `Wrong` for a bad signature.
    pub fn check_signature(&self, spki: &[u8], auth: &Authentication) -> Result<(), AuthError> {
        match auth.method {
            AuthMethod::DIGITAL_SIGNATURE => {
                let (identifier, signature) = split_algorithm(&auth.data)?;
                self.check_with(spki, &pss::with_null(identifier), signature)
            }
            AuthMethod::ECDSA_P256_SHA256 => self.check_raw(spki, &alg_id::ECDSA_SHA256, &auth.data, 32),
            AuthMethod::ECDSA_P384_SHA384 => self.check_raw(spki, &alg_id::ECDSA_SHA384, &auth.data, 48),
            other => Err(AuthError::Method(other)),
        }
    }

    /// Checks the raw form of an ECDSA signature that RFC 4754 §7 prescribes: r, then s.
    fn check_raw(
        &self,
        spki: &[u8],
        identifier: &AlgorithmIdentifier,
        raw: &[u8],
        len: usize,
    ) -> Result<(), AuthError> {
        let wrong = AuthError::Malformed(Malformed::Length("ECDSA signature"));
        match raw.split_at_checked(len) {
            Some((r, s)) if s.len() == len => {
                let inner = [der_integer(r), der_integer(s)].concat();
                self.check_with(spki, identifier, &der(SEQUENCE, &inner))
            }
            _ => Err(wrong),
        }
    }

    /// Checks a signature; `identifier` is the content of an `AlgorithmIdentifier`, which names the same algorithm for each curve.
    fn check_with(&self, spki: &[u8], identifier: &[u8], signature: &[u8]) -> Result<(), AuthError> {
        let spki = SubjectPublicKeyInfoDer::from(spki);
        let key = RawPublicKeyEntity::try_from(&spki).map_err(|_| AuthError::Algorithm)?;
        //= RFC 7427 §3: the algorithm is the one that the identifier names and that is for the key, or there is none
        let named = |a: &&&dyn SignatureVerificationAlgorithm| a.signature_alg_id().as_ref() == identifier;
        let mut result = Err(AuthError::Algorithm);
        for algorithm in SIGNATURE_ALGORITHMS.iter().filter(named) {
            match key.verify_signature(*algorithm, &self.0, signature) {
                Ok(()) => return Ok(()),
                Err(webpki::Error::InvalidSignatureForPublicKey) => result = Err(AuthError::Wrong),
                Err(_) => {}
            }
        }
        result
    }

    //= RFC 7296 §2.15: AUTH = prf(prf(Shared Secret, "Key Pad for IKEv2"), <SignedOctets>)
    fn code(&self, function: Prf, key: &Secret) -> Secret {
        let padded = prf(function, key.expose(), &[KEY_PAD]);
        prf(function, padded.expose(), &[&self.0])
    }
}

impl HashAlgorithms {
    /// Reads the data of a `SIGNATURE_HASH_ALGORITHMS` notify.
    ///
    /// # Errors
    /// `Length` for half a number.
    pub fn read(data: &[u8]) -> Result<Self, Malformed> {
        //= RFC 7427 §4: the announcement is a list of numbers of two bytes
        let (numbers, rest) = data.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(Malformed::Length("SIGNATURE_HASH_ALGORITHMS"));
        }
        Ok(Self(numbers.iter().map(|n| u16::from_be_bytes(*n)).collect()))
    }

    /// Builds the notify that announces what is verified here.
    #[must_use]
    pub fn announce() -> Notify {
        //= RFC 7427 §4: SIGNATURE_HASH_ALGORITHMS lists what is verified here
        let data = VERIFIED.iter().flat_map(|n| n.to_be_bytes()).collect();
        Notify::new(NotifyType::SIGNATURE_HASH_ALGORITHMS, data)
    }
}

/// Returns the hash function of a signature algorithm, and the content of its `AlgorithmIdentifier`.
const fn wire_form(algorithm: SignatureAlgorithm) -> (u16, AlgorithmIdentifier) {
    match algorithm {
        //= RFC 7427 §7: a key signs with a hash of its own strength
        SignatureAlgorithm::EcdsaP256Sha256 => (hash_id::SHA2_256, alg_id::ECDSA_SHA256),
        SignatureAlgorithm::EcdsaP384Sha384 => (hash_id::SHA2_384, alg_id::ECDSA_SHA384),
        //= RFC 8420 §2: Ed25519 signs the octets themselves, and is announced as the hash function Identity
        SignatureAlgorithm::Ed25519 => (hash_id::IDENTITY, alg_id::ED25519),
        //= RFC 7427 §5.1: RSA signs with PSS
        SignatureAlgorithm::RsaPssSha256 => (hash_id::SHA2_256, alg_id::RSA_PSS_SHA256),
        SignatureAlgorithm::RsaPssSha384 => (hash_id::SHA2_384, alg_id::RSA_PSS_SHA384),
        SignatureAlgorithm::RsaPssSha512 => (hash_id::SHA2_512, alg_id::RSA_PSS_SHA512),
    }
}

/// Splits the data of a digital signature into the content of its `AlgorithmIdentifier` and the signature value.
fn split_algorithm(data: &[u8]) -> Result<(&[u8], &[u8]), AuthError> {
    let truncated = AuthError::Malformed(Malformed::Truncated("AlgorithmIdentifier"));
    let Some((len, rest)) = data.split_first() else { return Err(truncated) };
    let Some((identifier, signature)) = rest.split_at_checked(usize::from(*len)) else { return Err(truncated) };
    Ok((contents(identifier)?, signature))
}

/// Returns the content of a DER sequence of less than 128 bytes, as every algorithm that is accepted has.
fn contents(identifier: &[u8]) -> Result<&[u8], AuthError> {
    match identifier {
        [SEQUENCE, len, content @ ..] if *len < 0x80 && content.len() == usize::from(*len) => Ok(content),
        _ => Err(AuthError::Malformed(Malformed::Value("AlgorithmIdentifier"))),
    }
}

fn der_integer(unsigned: &[u8]) -> Vec<u8> {
    let zeros = unsigned.iter().take_while(|b| **b == 0).count();
    let digits = unsigned.get(zeros..).unwrap_or_default();
    let positive: &[u8] = if digits.first().is_none_or(|b| b & 0x80 != 0) { &[0] } else { &[] };
    der(INTEGER, &[positive, digits].concat())
}

/// Wraps a content of less than 128 bytes: r and s of P-384 are 49 bytes each at most, and an `AlgorithmIdentifier` has 65.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = u8::try_from(content.len()).expect("what is wrapped here is shorter than 128 bytes");
    [&[tag, len], content].concat()
}

const KEY_PAD: &[u8] = b"Key Pad for IKEv2";
const VERIFIED: [u16; 4] = [hash_id::SHA2_256, hash_id::SHA2_384, hash_id::SHA2_512, hash_id::IDENTITY];
const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;

#[cfg(test)]
mod tests;
