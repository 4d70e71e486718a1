//! AES-GCM and ChaCha20-Poly1305 with a tag of 16 bytes, by three providers behind one type.

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes128Gcm, Aes256Gcm, KeyInit};
use chacha20poly1305::ChaCha20Poly1305;

use crate::CryptoError;

/// Length of a nonce in bytes.
pub const NONCE_LEN: usize = 12;
/// Length of a tag in bytes.
pub const TAG_LEN: usize = 16;

/// An AEAD algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AeadAlgorithm {
    /// AES-GCM with a 128-bit key.
    Aes128Gcm,
    /// AES-GCM with a 256-bit key.
    Aes256Gcm,
    /// ChaCha20-Poly1305 (RFC 8439).
    ChaCha20Poly1305,
}

/// Who computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AeadProvider {
    /// ring: the fastest without AVX-512, since it has a VAES build.
    Ring,
    /// aws-lc-rs: the fastest with AVX-512.
    AwsLc,
    /// The pure-Rust crates aes-gcm and chacha20poly1305: portable, and the independent cross-check.
    Portable,
}

/// A key, ready for use by one provider. Wiped on drop as far as the provider does it.
pub struct AeadKey(Inner);

#[expect(clippy::large_enum_variant, reason = "the usual variant is the large one: no pointer to follow per packet")]
enum Inner {
    Ring(ring::aead::LessSafeKey),
    AwsLc(aws_lc_rs::aead::LessSafeKey),
    Portable128(Box<Aes128Gcm>),
    Portable256(Box<Aes256Gcm>),
    PortableChaCha(Box<ChaCha20Poly1305>),
}

impl AeadAlgorithm {
    /// Returns the length of its key in bytes.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::Aes128Gcm => 16,
            Self::Aes256Gcm | Self::ChaCha20Poly1305 => 32,
        }
    }
}

impl AeadProvider {
    /// All of them, for tests that compare.
    pub const ALL: [Self; 3] = [Self::Ring, Self::AwsLc, Self::Portable];

    /// Returns the fastest provider on this processor.
    #[must_use]
    pub fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx512f") && std::arch::is_x86_feature_detected!("vaes") {
            return Self::AwsLc;
        }
        Self::Ring
    }
}

impl AeadKey {
    /// Prepares a key.
    ///
    /// # Errors
    /// `KeyLength` when the key is not as long as the algorithm demands.
    pub fn new(provider: AeadProvider, algorithm: AeadAlgorithm, key: &[u8]) -> Result<Self, CryptoError> {
        if key.len() != algorithm.key_len() {
            return Err(CryptoError::KeyLength);
        }
        let inner = match provider {
            AeadProvider::Ring => ring_key(algorithm, key)?,
            AeadProvider::AwsLc => aws_lc_key(algorithm, key)?,
            AeadProvider::Portable => portable_key(algorithm, key)?,
        };
        Ok(Self(inner))
    }

    /// Encrypts in place and returns the tag. The caller never repeats a nonce under one key.
    ///
    /// # Errors
    /// `TooLong` beyond the limit of the algorithm, which is 64 GiB for GCM.
    pub fn seal(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], in_out: &mut [u8]) -> Result<[u8; TAG_LEN], CryptoError> {
        let tag: Result<[u8; TAG_LEN], _> = match &self.0 {
            Inner::Ring(key) => {
                let nonce = ring::aead::Nonce::assume_unique_for_key(*nonce);
                let tag = key.seal_in_place_separate_tag(nonce, ring::aead::Aad::from(aad), in_out);
                tag.map_err(|_| CryptoError::TooLong)?.as_ref().try_into()
            }
            Inner::AwsLc(key) => {
                let nonce = aws_lc_rs::aead::Nonce::assume_unique_for_key(*nonce);
                let tag = key.seal_in_place_separate_tag(nonce, aws_lc_rs::aead::Aad::from(aad), in_out);
                tag.map_err(|_| CryptoError::TooLong)?.as_ref().try_into()
            }
            Inner::Portable128(key) => {
                let tag = key.encrypt_inout_detached(nonce.into(), aad, in_out.into());
                Ok(tag.map_err(|_| CryptoError::TooLong)?.into())
            }
            Inner::PortableChaCha(key) => {
                let tag = key.encrypt_inout_detached(nonce.into(), aad, in_out.into());
                Ok(tag.map_err(|_| CryptoError::TooLong)?.into())
            }
            Inner::Portable256(key) => {
                let tag = key.encrypt_inout_detached(nonce.into(), aad, in_out.into());
                Ok(tag.map_err(|_| CryptoError::TooLong)?.into())
            }
        };
        tag.map_err(|_| CryptoError::Provider)
    }

    /// Checks the tag and decrypts in place. On failure the buffer holds no plaintext that may be used.
    ///
    /// # Errors
    /// `NotAuthentic` when the tag does not match.
    pub fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        in_out: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), CryptoError> {
        let opened = match &self.0 {
            Inner::Ring(key) => {
                let nonce = ring::aead::Nonce::assume_unique_for_key(*nonce);
                let tag = ring::aead::Tag::from(*tag);
                key.open_in_place_separate_tag(nonce, ring::aead::Aad::from(aad), tag, in_out, 0..).map(|_| ()).ok()
            }
            Inner::AwsLc(key) => {
                let nonce = aws_lc_rs::aead::Nonce::assume_unique_for_key(*nonce);
                let aad = aws_lc_rs::aead::Aad::from(aad);
                key.open_in_place_separate_tag(nonce, aad, tag, in_out).map(|_| ()).ok()
            }
            Inner::Portable128(key) => key.decrypt_inout_detached(nonce.into(), aad, in_out.into(), tag.into()).ok(),
            Inner::Portable256(key) => key.decrypt_inout_detached(nonce.into(), aad, in_out.into(), tag.into()).ok(),
            Inner::PortableChaCha(key) => key.decrypt_inout_detached(nonce.into(), aad, in_out.into(), tag.into()).ok(),
        };
        opened.ok_or(CryptoError::NotAuthentic)
    }
}

fn ring_key(algorithm: AeadAlgorithm, key: &[u8]) -> Result<Inner, CryptoError> {
    let algorithm = match algorithm {
        AeadAlgorithm::Aes128Gcm => &ring::aead::AES_128_GCM,
        AeadAlgorithm::Aes256Gcm => &ring::aead::AES_256_GCM,
        AeadAlgorithm::ChaCha20Poly1305 => &ring::aead::CHACHA20_POLY1305,
    };
    let key = ring::aead::UnboundKey::new(algorithm, key).map_err(|_| CryptoError::KeyLength)?;
    Ok(Inner::Ring(ring::aead::LessSafeKey::new(key)))
}

fn aws_lc_key(algorithm: AeadAlgorithm, key: &[u8]) -> Result<Inner, CryptoError> {
    let algorithm = match algorithm {
        AeadAlgorithm::Aes128Gcm => &aws_lc_rs::aead::AES_128_GCM,
        AeadAlgorithm::Aes256Gcm => &aws_lc_rs::aead::AES_256_GCM,
        AeadAlgorithm::ChaCha20Poly1305 => &aws_lc_rs::aead::CHACHA20_POLY1305,
    };
    let key = aws_lc_rs::aead::UnboundKey::new(algorithm, key).map_err(|_| CryptoError::KeyLength)?;
    Ok(Inner::AwsLc(aws_lc_rs::aead::LessSafeKey::new(key)))
}

fn portable_key(algorithm: AeadAlgorithm, key: &[u8]) -> Result<Inner, CryptoError> {
    let inner = match algorithm {
        AeadAlgorithm::Aes128Gcm => Aes128Gcm::new_from_slice(key).map(|key| Inner::Portable128(Box::new(key))),
        AeadAlgorithm::Aes256Gcm => Aes256Gcm::new_from_slice(key).map(|key| Inner::Portable256(Box::new(key))),
        AeadAlgorithm::ChaCha20Poly1305 => {
            ChaCha20Poly1305::new_from_slice(key).map(|key| Inner::PortableChaCha(Box::new(key)))
        }
    };
    inner.map_err(|_| CryptoError::KeyLength)
}

#[cfg(test)]
mod tests;
