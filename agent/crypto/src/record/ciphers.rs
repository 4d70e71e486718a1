//! AES-CBC and AES-CTR, which authenticate nothing themselves.

use aws_lc_rs::cipher::{
    AES_128, AES_256, Algorithm, DecryptingKey, DecryptionContext, EncryptingKey, EncryptionContext, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;

use super::NONCE_LEN;
use crate::CryptoError;

const BLOCK_LEN: usize = 16;

pub(super) struct CbcKey {
    encrypting: EncryptingKey,
    decrypting: DecryptingKey,
}

pub(super) struct CtrKey(EncryptingKey);

impl CbcKey {
    pub(super) fn new(key: &[u8]) -> Result<Self, CryptoError> {
        let encrypting = EncryptingKey::cbc(unbound(key)?).map_err(|_| CryptoError::Provider)?;
        let decrypting = DecryptingKey::cbc(unbound(key)?).map_err(|_| CryptoError::Provider)?;
        Ok(Self { encrypting, decrypting })
    }

    pub(super) fn encrypt(&self, iv: [u8; BLOCK_LEN], in_out: &mut [u8]) -> Result<(), CryptoError> {
        let context = EncryptionContext::Iv128(FixedLength::from(iv));
        self.encrypting.less_safe_encrypt(in_out, context).map(|_| ()).map_err(|_| CryptoError::Layout)
    }

    pub(super) fn decrypt(&self, iv: [u8; BLOCK_LEN], in_out: &mut [u8]) -> Result<(), CryptoError> {
        let context = DecryptionContext::Iv128(FixedLength::from(iv));
        self.decrypting.decrypt(in_out, context).map(|_| ()).map_err(|_| CryptoError::Layout)
    }
}

impl CtrKey {
    pub(super) fn new(key: &[u8]) -> Result<Self, CryptoError> {
        EncryptingKey::ctr(unbound(key)?).map(Self).map_err(|_| CryptoError::Provider)
    }

    /// Encrypts or decrypts, which is the same.
    pub(super) fn apply(&self, nonce: &[u8; NONCE_LEN], in_out: &mut [u8]) -> Result<(), CryptoError> {
        //= RFC 3686 §4: the counter block is nonce and IV, then a counter of four bytes that begins with 1
        let mut block = [0; BLOCK_LEN];
        for (slot, byte) in block.iter_mut().zip(nonce.iter().chain(&[0, 0, 0, 1])) {
            *slot = *byte;
        }
        let context = EncryptionContext::Iv128(FixedLength::from(block));
        self.0.less_safe_encrypt(in_out, context).map(|_| ()).map_err(|_| CryptoError::TooLong)
    }
}

fn unbound(key: &[u8]) -> Result<UnboundCipherKey, CryptoError> {
    let algorithm: &'static Algorithm = if key.len() == 16 { &AES_128 } else { &AES_256 };
    UnboundCipherKey::new(algorithm, key).map_err(|_| CryptoError::KeyLength)
}
