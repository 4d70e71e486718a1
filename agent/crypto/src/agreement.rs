//! Ephemeral key exchange: X25519 (RFC 8031), NIST curves (RFC 5903), MODP groups (RFC 3526) and ML-KEM (FIPS 203).
//!
//! A KEM is not symmetric, so the two ends call different functions: the initiator makes a [`KeyShare`], the responder answers
//! its public value with [`KeyShare::respond`], and the initiator [agrees](KeyShare::agree) on the answer.

mod modp;

use aws_lc_rs::agreement::{self, Algorithm, EphemeralPrivateKey, UnparsedPublicKey};
use aws_lc_rs::kem::{self, Ciphertext, DecapsulationKey, EncapsulationKey};
use aws_lc_rs::rand::SystemRandom;
use espalier_model::secret::Secret;
use espalier_model::suite::{Kem, KeyExchange, Method};

use self::modp::{Exponent, Modp};
use crate::CryptoError;

/// A fresh private key and its public value. Used for one exchange, then gone.
pub struct KeyShare {
    method: Method,
    private: Private,
    public: Vec<u8>,
}

enum Private {
    Curve(&'static Algorithm, EphemeralPrivateKey),
    Modp(Modp, Exponent),
    Kem(DecapsulationKey),
}

/// What computes a key exchange method.
enum Engine {
    Curve(&'static Algorithm),
    Modp(Modp),
}

/// SEC 1 mark of an uncompressed point, which IKE leaves out (RFC 5903 §7).
const UNCOMPRESSED: u8 = 4;

impl KeyShare {
    /// Makes a key pair.
    ///
    /// # Errors
    /// `Provider` when the generator fails.
    pub fn generate(method: impl Into<Method>) -> Result<Self, CryptoError> {
        let method = method.into();
        let (private, public) = match method {
            Method::KeyExchange(exchange) => match engine(exchange) {
                Engine::Curve(algorithm) => curve(algorithm)?,
                Engine::Modp(group) => {
                    let exponent = Exponent::generate();
                    let public = group.public(&exponent);
                    (Private::Modp(group, exponent), public)
                }
            },
            Method::Kem(kem) => {
                let private = DecapsulationKey::generate(kem_algorithm(kem)).map_err(|_| CryptoError::Provider)?;
                let public = private.encapsulation_key().map_err(|_| CryptoError::Provider)?;
                let public = public.key_bytes().map_err(|_| CryptoError::Provider)?.as_ref().to_vec();
                (Private::Kem(private), public)
            }
        };
        Ok(Self { method, private, public })
    }

    /// Answers an initiator: returns our public value, or the ciphertext, and the shared secret.
    ///
    /// # Errors
    /// `PublicValue` when the initiator's value is not valid.
    pub fn respond(method: impl Into<Method>, peer: &[u8]) -> Result<(Vec<u8>, Secret), CryptoError> {
        match method.into() {
            method @ Method::KeyExchange(_) => {
                let share = Self::generate(method)?;
                let public = share.public.clone();
                share.agree(peer).map(|shared| (public, shared))
            }
            Method::Kem(kem) => {
                let key = EncapsulationKey::new(kem_algorithm(kem), peer).map_err(|_| CryptoError::PublicValue)?;
                let (ciphertext, shared) = key.encapsulate().map_err(|_| CryptoError::PublicValue)?;
                Ok((ciphertext.as_ref().to_vec(), Secret::from(shared.as_ref())))
            }
        }
    }

    /// Returns the public value as the KE payload carries it: coordinates without a mark, MODP values as long as the prime.
    #[must_use]
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// Returns the method.
    #[must_use]
    pub const fn method(&self) -> Method {
        self.method
    }

    /// Computes the shared secret from the peer's public value, or its ciphertext. Leading zeros are kept.
    ///
    /// # Errors
    /// `PublicValue` when the peer's value has the wrong length, is not in the group, or has low order. A ciphertext of the right
    /// length always yields a secret, though not the peer's unless it is the peer's ciphertext (FIPS 203 §6.3).
    pub fn agree(self, peer: &[u8]) -> Result<Secret, CryptoError> {
        //= RFC 7296 §2.12: a private value makes one secret and is gone
        match self.private {
            Private::Curve(algorithm, private) => {
                if peer.len() != self.public.len() {
                    return Err(CryptoError::PublicValue);
                }
                let peer = UnparsedPublicKey::new(algorithm, encoded(algorithm, peer));
                agreement::agree_ephemeral(private, peer, CryptoError::PublicValue, |shared| Ok(Secret::from(shared)))
            }
            Private::Modp(group, exponent) => group.agree(&exponent, peer),
            Private::Kem(key) => {
                let shared = key.decapsulate(Ciphertext::from(peer)).map_err(|_| CryptoError::PublicValue)?;
                Ok(Secret::from(shared.as_ref()))
            }
        }
    }
}

fn curve(algorithm: &'static Algorithm) -> Result<(Private, Vec<u8>), CryptoError> {
    let private = EphemeralPrivateKey::generate(algorithm, &SystemRandom::new());
    let private = private.map_err(|_| CryptoError::Provider)?;
    let point = private.compute_public_key().map_err(|_| CryptoError::Provider)?;
    let skipped = usize::from(is_point(algorithm));
    let public = point.as_ref().get(skipped..).ok_or(CryptoError::Provider)?.to_vec();
    Ok((Private::Curve(algorithm, private), public))
}

/// Puts the mark before the coordinates of a point.
fn encoded(algorithm: &'static Algorithm, value: &[u8]) -> Vec<u8> {
    let mark: &[u8] = if is_point(algorithm) { &[UNCOMPRESSED] } else { &[] };
    [mark, value].concat()
}

fn is_point(algorithm: &'static Algorithm) -> bool {
    *algorithm != agreement::X25519
}

fn engine(method: KeyExchange) -> Engine {
    match method {
        KeyExchange::X25519 => Engine::Curve(&agreement::X25519),
        KeyExchange::P256 => Engine::Curve(&agreement::ECDH_P256),
        KeyExchange::P384 => Engine::Curve(&agreement::ECDH_P384),
        KeyExchange::P521 => Engine::Curve(&agreement::ECDH_P521),
        KeyExchange::Modp2048 => Engine::Modp(Modp::Modp2048),
        KeyExchange::Modp3072 => Engine::Modp(Modp::Modp3072),
        KeyExchange::Modp4096 => Engine::Modp(Modp::Modp4096),
    }
}

fn kem_algorithm(kem: Kem) -> &'static kem::Algorithm<kem::AlgorithmId> {
    match kem {
        Kem::MlKem768 => &kem::ML_KEM_768,
        Kem::MlKem1024 => &kem::ML_KEM_1024,
    }
}

#[cfg(test)]
mod tests;
