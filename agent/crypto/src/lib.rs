//! One table of functions for messages and packets, PRF, key exchange and signatures, over ring, aws-lc-rs and RustCrypto.
//!
//! Every function takes bytes and gives bytes. Nothing here knows a protocol; nothing panics from its input;
//! what is secret is wiped on drop and has no `Debug`.

mod aead;
mod agreement;
mod hash;
mod mac;
mod record;
mod signature;

pub use aead::{AeadAlgorithm, AeadKey, AeadProvider, NONCE_LEN, TAG_LEN};
pub use agreement::KeyShare;
pub use espalier_model::suite::Method;
pub use hash::{equal, prf, prf_plus, random, sha1, sha256};
pub use mac::MacKey;
pub use record::RecordKey;
pub use signature::{SignatureAlgorithm, SigningKey};

use thiserror::Error;

/// Why a function of this crate refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CryptoError {
    /// A key of a length that the algorithm does not take.
    #[error("key has the wrong length")]
    KeyLength,
    /// The authentication tag does not match.
    #[error("message is not authentic")]
    NotAuthentic,
    /// The message is longer than the algorithm allows.
    #[error("message is too long")]
    TooLong,
    /// An IV or an integrity check value of a length that the cipher does not have, or text that is no multiple of its block.
    #[error("message has the wrong layout")]
    Layout,
    /// The peer's public value is none of the group, or yields a shared secret that anybody knows.
    #[error("public value is invalid")]
    PublicValue,
    /// More output is asked for than prf+ can give (RFC 7296 §2.13).
    #[error("too much keying material asked for")]
    KeymatLength,
    /// Not a private key in PKCS#8 PEM of a supported kind.
    #[error("not a PKCS#8 private key of type ECDSA P-256, ECDSA P-384, Ed25519 or RSA with 2,048 to 4,096 bits")]
    PrivateKey,
    /// A signature algorithm that the key is not for.
    #[error("signature algorithm is not one of the key")]
    Algorithm,
    /// The provider failed for no fault of its input.
    #[error("cryptographic provider failed")]
    Provider,
}
