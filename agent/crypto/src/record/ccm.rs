//! AES-CCM with a nonce of 11 bytes and a tag of 16 (RFC 4309).

use aes::{Aes128, Aes256};
use ccm::aead::AeadInOut;
use ccm::consts::{U11, U16};
use ccm::{Ccm, KeyInit};

use super::TAG_LEN;
use crate::CryptoError;

const NONCE_LEN: usize = 11;

pub(super) enum CcmKey {
    Aes128(Ccm<Aes128, U16, U11>),
    Aes256(Ccm<Aes256, U16, U11>),
}

//= RFC 4309 §4: the salt of three bytes, then the IV
pub(super) const fn nonce(salt: [u8; 3], iv: [u8; 8]) -> [u8; NONCE_LEN] {
    let ([a, b, c], [d, e, f, g, h, i, j, k]) = (salt, iv);
    [a, b, c, d, e, f, g, h, i, j, k]
}

impl CcmKey {
    pub(super) fn new(key: &[u8]) -> Result<Self, CryptoError> {
        match Ccm::new_from_slice(key) {
            Ok(key) => Ok(Self::Aes256(key)),
            Err(_) => Ccm::new_from_slice(key).map(Self::Aes128).map_err(|_| CryptoError::KeyLength),
        }
    }

    pub(super) fn seal(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        in_out: &mut [u8],
    ) -> Result<[u8; TAG_LEN], CryptoError> {
        let tag = match self {
            Self::Aes128(key) => key.encrypt_inout_detached(nonce.into(), aad, in_out.into()),
            Self::Aes256(key) => key.encrypt_inout_detached(nonce.into(), aad, in_out.into()),
        };
        tag.map(Into::into).map_err(|_| CryptoError::TooLong)
    }

    pub(super) fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        in_out: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), CryptoError> {
        let opened = match self {
            Self::Aes128(key) => key.decrypt_inout_detached(nonce.into(), aad, in_out.into(), tag.into()),
            Self::Aes256(key) => key.decrypt_inout_detached(nonce.into(), aad, in_out.into(), tag.into()),
        };
        opened.map_err(|_| CryptoError::NotAuthentic)
    }
}
