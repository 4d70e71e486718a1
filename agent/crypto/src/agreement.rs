//! Ephemeral key exchange: X25519 (RFC 8031) and NIST P-256 (RFC 5903).

use aws_lc_rs::agreement::{self, Algorithm, EphemeralPrivateKey, UnparsedPublicKey};
use aws_lc_rs::rand::SystemRandom;
use espalier_model::secret::Secret;
use espalier_model::suite::KeyExchange;

use crate::CryptoError;

/// A fresh private key and its public value. Used for one exchange, then gone.
pub struct KeyShare {
    group: KeyExchange,
    private: EphemeralPrivateKey,
    public: Vec<u8>,
}

/// SEC 1 mark of an uncompressed point, which IKE leaves out (RFC 5903 §7).
const UNCOMPRESSED: u8 = 4;

impl KeyShare {
    /// Makes a key pair.
    ///
    /// # Errors
    /// `Provider` when the generator fails.
    pub fn generate(group: KeyExchange) -> Result<Self, CryptoError> {
        let private = EphemeralPrivateKey::generate(algorithm(group), &SystemRandom::new());
        let private = private.map_err(|_| CryptoError::Provider)?;
        let point = private.compute_public_key().map_err(|_| CryptoError::Provider)?;
        let public = match group {
            KeyExchange::X25519 => point.as_ref().to_vec(),
            KeyExchange::P256 => point.as_ref().get(1..).ok_or(CryptoError::Provider)?.to_vec(),
        };
        Ok(Self { group, private, public })
    }

    /// Returns the public value as the KE payload carries it: 32 bytes for X25519, X and Y of 32 bytes each for P-256.
    #[must_use]
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// Returns the method.
    #[must_use]
    pub const fn group(&self) -> KeyExchange {
        self.group
    }

    /// Computes the shared secret: 32 bytes, leading zeros kept.
    ///
    /// # Errors
    /// `PublicValue` when the peer's value has the wrong length, is not on the curve, or has low order.
    pub fn agree(self, peer: &[u8]) -> Result<Secret, CryptoError> {
        let mut encoded = Vec::with_capacity(65);
        if self.group == KeyExchange::P256 {
            encoded.push(UNCOMPRESSED);
        }
        encoded.extend_from_slice(peer);
        if peer.len() != self.public.len() {
            return Err(CryptoError::PublicValue);
        }
        let peer = UnparsedPublicKey::new(algorithm(self.group), encoded);
        agreement::agree_ephemeral(self.private, peer, CryptoError::PublicValue, |shared| Ok(Secret::from(shared)))
    }
}

fn algorithm(group: KeyExchange) -> &'static Algorithm {
    match group {
        KeyExchange::X25519 => &agreement::X25519,
        KeyExchange::P256 => &agreement::ECDH_P256,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_agree() {
        for (group, length) in [(KeyExchange::X25519, 32), (KeyExchange::P256, 64)] {
            let (a, b) = (KeyShare::generate(group).unwrap(), KeyShare::generate(group).unwrap());
            let (public_a, public_b) = (a.public().to_vec(), b.public().to_vec());
            assert_eq!(public_a.len(), length);
            let (shared_a, shared_b) = (a.agree(&public_b).unwrap(), b.agree(&public_a).unwrap());
            assert!(shared_a == shared_b);
            assert_eq!(shared_a.expose().len(), 32);
        }
    }

    #[test]
    fn an_invalid_public_value_is_refused() {
        for (group, bad) in [
            (KeyExchange::X25519, vec![0; 32]),
            (KeyExchange::X25519, vec![9; 31]),
            (KeyExchange::X25519, vec![9; 33]),
            (KeyExchange::P256, vec![0; 64]),
            (KeyExchange::P256, vec![1; 64]),
            (KeyExchange::P256, vec![1; 65]),
            (KeyExchange::P256, vec![]),
        ] {
            let refused = KeyShare::generate(group).unwrap().agree(&bad).err();
            assert_eq!(refused, Some(CryptoError::PublicValue), "{group:?} {}", bad.len());
        }
    }
}
