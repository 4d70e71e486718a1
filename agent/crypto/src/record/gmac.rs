//! AES-GMAC over input in parts (RFC 4543): GCM without text.

use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Aes256};
use ghash::universal_hash::UniversalHash;
use ghash::{Block, GHash};
use zeroize::Zeroize;

use super::{NONCE_LEN, TAG_LEN};
use crate::CryptoError;

const BLOCK_LEN: usize = 16;

pub(super) struct GmacKey {
    cipher: BlockCipher,
    hash: GHash,
}

enum BlockCipher {
    Aes128(Aes128),
    Aes256(Aes256),
}

impl GmacKey {
    pub(super) fn new(key: &[u8]) -> Result<Self, CryptoError> {
        let cipher = match Aes256::new_from_slice(key) {
            Ok(key) => BlockCipher::Aes256(key),
            Err(_) => BlockCipher::Aes128(Aes128::new_from_slice(key).map_err(|_| CryptoError::KeyLength)?),
        };
        let mut hash_key = cipher.encrypt([0; BLOCK_LEN]);
        let hash = GHash::new(&hash_key.into());
        hash_key.zeroize();
        Ok(Self { cipher, hash })
    }

    /// Computes the tag of the parts, one after the other.
    pub(super) fn tag(&self, nonce: &[u8; NONCE_LEN], parts: &[&[u8]]) -> [u8; TAG_LEN] {
        let mut hash = self.hash.clone();
        let (mut length, mut pending, mut filled) = (0_u64, [0; BLOCK_LEN], 0);
        for part in parts {
            length += u64::try_from(part.len()).unwrap_or(u64::MAX);
            let mut rest = *part;
            if filled > 0 {
                let (head, tail) = rest.split_at(rest.len().min(BLOCK_LEN - filled));
                copy(&mut pending, filled, head);
                filled += head.len();
                rest = tail;
            }
            if filled == BLOCK_LEN {
                hash.update(&[pending.into()]);
                filled = 0;
            }
            if filled == 0 {
                let (blocks, tail) = Block::slice_as_chunks(rest);
                hash.update(blocks);
                copy(&mut pending, 0, tail);
                filled = tail.len();
            }
        }
        hash.update_padded(pending.get(..filled).unwrap_or_default());
        //= NIST SP 800-38D §6.4: the lengths of authenticated data and of text in bits, the latter none
        hash.update(&[(u128::from(length * 8) << 64).to_be_bytes().into()]);
        let hashed: [u8; TAG_LEN] = hash.finalize().into();
        let [a, b, c, d, e, f, g, h, i, j, k, l] = *nonce;
        let mask = self.cipher.encrypt([a, b, c, d, e, f, g, h, i, j, k, l, 0, 0, 0, 1]);
        (u128::from_be_bytes(hashed) ^ u128::from_be_bytes(mask)).to_be_bytes()
    }
}

impl BlockCipher {
    fn encrypt(&self, block: [u8; BLOCK_LEN]) -> [u8; BLOCK_LEN] {
        let mut block = block.into();
        match self {
            Self::Aes128(key) => key.encrypt_block(&mut block),
            Self::Aes256(key) => key.encrypt_block(&mut block),
        }
        block.into()
    }
}

fn copy(pending: &mut [u8; BLOCK_LEN], from: usize, bytes: &[u8]) {
    for (slot, byte) in pending.iter_mut().skip(from).zip(bytes) {
        *slot = *byte;
    }
}
