//! Algorithms as transforms.

use espalier_model::suite::{Cipher, Hmac, KeyExchange, Prf};

use super::super::registry::{TransformType, transform_id as id};
use super::super::sa::{Proposal, Transform};
use super::key_exchange_id;

pub(super) const NO_INTEGRITY: Transform = Transform::new(TransformType::INTEG, id::INTEG_NONE);
pub(super) const NO_KEY_EXCHANGE: Transform = Transform::new(TransformType::KE, id::KE_NONE);

//= RFC 7296 §3.3.5: a key length exactly where the algorithm has several
pub(super) const fn encryption(cipher: Cipher) -> Transform {
    let (number, key) = match cipher {
        Cipher::Gcm(key) => (id::ENCR_AES_GCM_16, key),
        Cipher::Ccm(key) => (id::ENCR_AES_CCM_16, key),
        Cipher::Cbc(key, _) => (id::ENCR_AES_CBC, key),
        Cipher::Ctr(key, _) => (id::ENCR_AES_CTR, key),
        Cipher::Gmac(key) => (id::ENCR_NULL_AUTH_AES_GMAC, key),
        Cipher::ChaCha20Poly1305 => return Transform::new(TransformType::ENCR, id::ENCR_CHACHA20_POLY1305),
        Cipher::Null(_) => return Transform::new(TransformType::ENCR, id::ENCR_NULL),
    };
    Transform::with_key_length(TransformType::ENCR, number, key.bits())
}

pub(super) const fn integrity(hmac: Hmac) -> Transform {
    let number = match hmac {
        Hmac::Sha256 => id::INTEG_HMAC_SHA2_256_128,
        Hmac::Sha384 => id::INTEG_HMAC_SHA2_384_192,
        Hmac::Sha512 => id::INTEG_HMAC_SHA2_512_256,
    };
    Transform::new(TransformType::INTEG, number)
}

pub(super) const fn esn(extended: bool) -> Transform {
    Transform::new(TransformType::ESN, if extended { id::ESN_EXTENDED } else { id::ESN_NONE })
}

pub(super) const fn prf(function: Prf) -> Transform {
    let number = match function {
        Prf::HmacSha256 => id::PRF_HMAC_SHA2_256,
        Prf::HmacSha384 => id::PRF_HMAC_SHA2_384,
        Prf::HmacSha512 => id::PRF_HMAC_SHA2_512,
    };
    Transform::new(TransformType::PRF, number)
}

pub(super) fn key_exchange(method: KeyExchange) -> Transform {
    Transform::new(TransformType::KE, key_exchange_id(method))
}

/// Writes an offer for people: the transforms of each proposal, by name where they are known.
pub(crate) fn describe(offer: &[Proposal]) -> String {
    let proposal = |p: &Proposal| {
        let transforms: Vec<_> = p.transforms.iter().take(MOST_NAMED).map(name).collect();
        format!("{:?} {}", p.protocol, transforms.join(" "))
    };
    let mut parts: Vec<_> = offer.iter().take(MOST_NAMED).map(proposal).collect();
    if offer.len() > MOST_NAMED {
        parts.push("…".to_owned());
    }
    if parts.is_empty() { "nothing".to_owned() } else { parts.join(", or ") }
}

fn name(transform: &Transform) -> String {
    let known = match (transform.kind, transform.id) {
        (TransformType::ENCR, id::ENCR_NULL) => "null",
        (TransformType::ENCR, id::ENCR_AES_CBC) => "aes-cbc",
        (TransformType::ENCR, id::ENCR_AES_CTR) => "aes-ctr",
        (TransformType::ENCR, id::ENCR_AES_CCM_16) => "aes-ccm-16",
        (TransformType::ENCR, id::ENCR_AES_GCM_16) => "aes-gcm-16",
        (TransformType::ENCR, id::ENCR_NULL_AUTH_AES_GMAC) => "aes-gmac",
        (TransformType::ENCR, id::ENCR_CHACHA20_POLY1305) => "chacha20-poly1305",
        (TransformType::INTEG, id::INTEG_HMAC_SHA2_256_128) => "sha256",
        (TransformType::INTEG, id::INTEG_HMAC_SHA2_384_192) => "sha384",
        (TransformType::INTEG, id::INTEG_HMAC_SHA2_512_256) => "sha512",
        (TransformType::ESN, id::ESN_NONE) => "no-esn",
        (TransformType::ESN, id::ESN_EXTENDED) => "esn",
        (kind, id) => return format!("{kind:?}-{id}"),
    };
    transform.key_length.map_or_else(|| known.to_owned(), |bits| format!("{known}-{bits}"))
}

/// More is not read in a line of a log.
const MOST_NAMED: usize = 12;
