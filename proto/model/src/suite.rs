//! Algorithms by the names that operators write and logs show.

use serde::{Deserialize, Serialize};

/// An ESP suite. AEAD only: RFC 4106 AES-GCM with an ICV of 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EspSuite {
    /// AES-GCM with a 256-bit key.
    Aes256Gcm16,
    /// AES-GCM with a 128-bit key.
    Aes128Gcm16,
}

/// Encryption of IKE messages. AEAD only (RFC 5282).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IkeEncryption {
    /// AES-GCM with a 256-bit key.
    Aes256Gcm16,
    /// AES-GCM with a 128-bit key.
    Aes128Gcm16,
}

/// Pseudo-random function of IKE (RFC 4868).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Prf {
    /// PRF-HMAC-SHA2-256.
    HmacSha256,
    /// PRF-HMAC-SHA2-384.
    HmacSha384,
    /// PRF-HMAC-SHA2-512.
    HmacSha512,
}

/// Key exchange method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyExchange {
    /// Curve25519 (RFC 8031).
    X25519,
    /// NIST P-256 (RFC 5903).
    P256,
}

impl EspSuite {
    /// Returns the length of the keying material in bytes: the AES key, then four bytes of salt (RFC 4106 §8.1).
    #[must_use]
    pub const fn keymat_len(self) -> usize {
        match self {
            Self::Aes256Gcm16 => 36,
            Self::Aes128Gcm16 => 20,
        }
    }
}

impl IkeEncryption {
    /// Returns the length of `SK_e` in bytes: the AES key, then four bytes of salt (RFC 5282 §7.1).
    #[must_use]
    pub const fn keymat_len(self) -> usize {
        match self {
            Self::Aes256Gcm16 => 36,
            Self::Aes128Gcm16 => 20,
        }
    }
}

impl Prf {
    /// Returns the length of its output and of its preferred key in bytes.
    #[must_use]
    pub const fn output_len(self) -> usize {
        match self {
            Self::HmacSha256 => 32,
            Self::HmacSha384 => 48,
            Self::HmacSha512 => 64,
        }
    }
}
