//! Sealing of records that state their IV: what an encrypted IKE message and an ESP packet have in common.
//!
//! A record is a header that is only authenticated, an IV, text, and an integrity check value. Nothing here allocates once a key
//! is made.

mod ccm;
mod ciphers;
mod gmac;

use espalier_model::suite::{AesKey, Cipher};

use self::ccm::CcmKey;
use self::ciphers::{CbcKey, CtrKey};
use self::gmac::GmacKey;
use crate::{AeadAlgorithm, AeadKey, AeadProvider, CryptoError, MacKey, NONCE_LEN, TAG_LEN, equal, random};

/// The keys of one direction, with their salt. Has no `Debug`; wiped on drop as far as the providers do it.
pub struct RecordKey {
    cipher: Cipher,
    inner: Inner,
}

#[expect(
    clippy::large_enum_variant,
    reason = "the usual variant is among the large ones: no pointer to follow per packet"
)]
enum Inner {
    Aead(AeadKey, Salt),
    Ccm(Box<CcmKey>, [u8; 3]),
    Gmac(Box<GmacKey>, Salt),
    Cbc(Box<CbcKey>, MacKey),
    Ctr(Box<CtrKey>, Salt, MacKey),
    Null(MacKey),
}

type Salt = [u8; 4];

impl RecordKey {
    /// Prepares keys: the encryption key with its salt at the end, and the integrity key, which is empty with AEAD.
    ///
    /// `provider` computes GCM and ChaCha20-Poly1305; there is one implementation of everything else.
    ///
    /// # Errors
    /// `KeyLength` when one is not as long as the cipher demands.
    pub fn new(
        provider: AeadProvider,
        cipher: Cipher,
        encryption: &[u8],
        integrity: &[u8],
    ) -> Result<Self, CryptoError> {
        let (key, salt) = encryption.split_at_checked(cipher.key_len()).ok_or(CryptoError::KeyLength)?;
        if salt.len() != cipher.salt_len() || integrity.len() != cipher.integrity_len() {
            return Err(CryptoError::KeyLength);
        }
        let aead = |algorithm| Ok(Inner::Aead(AeadKey::new(provider, algorithm, key)?, fixed(salt)?));
        let inner = match cipher {
            Cipher::Gcm(AesKey::Aes128) => aead(AeadAlgorithm::Aes128Gcm)?,
            Cipher::Gcm(AesKey::Aes256) => aead(AeadAlgorithm::Aes256Gcm)?,
            Cipher::ChaCha20Poly1305 => aead(AeadAlgorithm::ChaCha20Poly1305)?,
            Cipher::Ccm(_) => Inner::Ccm(Box::new(CcmKey::new(key)?), fixed(salt)?),
            Cipher::Gmac(_) => Inner::Gmac(Box::new(GmacKey::new(key)?), fixed(salt)?),
            Cipher::Cbc(_, hmac) => Inner::Cbc(Box::new(CbcKey::new(key)?), MacKey::new(hmac, integrity)?),
            Cipher::Ctr(_, hmac) => {
                Inner::Ctr(Box::new(CtrKey::new(key)?), fixed(salt)?, MacKey::new(hmac, integrity)?)
            }
            Cipher::Null(hmac) => Inner::Null(MacKey::new(hmac, integrity)?),
        };
        Ok(Self { cipher, inner })
    }

    /// Returns what it transforms with.
    #[must_use]
    pub const fn cipher(&self) -> Cipher {
        self.cipher
    }

    /// Writes the IV, encrypts the text in place and writes the integrity check value.
    ///
    /// A counter mode writes `counter` as its IV, so no counter may come twice under one key. CBC takes a random IV instead.
    ///
    /// # Errors
    /// `Layout` for fields of the wrong length, `TooLong` beyond the limit of the cipher.
    pub fn seal(
        &self,
        counter: u64,
        header: &[u8],
        iv: &mut [u8],
        text: &mut [u8],
        icv: &mut [u8],
    ) -> Result<(), CryptoError> {
        self.seal_before(counter, header, iv, text, &[], icv)
    }

    /// The same, with bytes after the text that are only authenticated and do not travel. AEAD has no place for such: there they
    /// belong into the header.
    ///
    /// # Errors
    /// As [`Self::seal`], and `Layout` for a tail where the cipher is AEAD.
    pub fn seal_before(
        &self,
        counter: u64,
        header: &[u8],
        iv: &mut [u8],
        text: &mut [u8],
        tail: &[u8],
        icv: &mut [u8],
    ) -> Result<(), CryptoError> {
        self.check_layout(iv, text, tail, icv)?;
        match &self.inner {
            Inner::Cbc(..) => random(iv),
            Inner::Null(_) => {}
            Inner::Aead(..) | Inner::Ccm(..) | Inner::Gmac(..) | Inner::Ctr(..) => {
                iv.copy_from_slice(&counter.to_be_bytes());
            }
        }
        self.seal_under(header, iv, text, tail, icv)
    }

    /// Seals under an IV that is already written.
    fn seal_under(
        &self,
        header: &[u8],
        iv: &[u8],
        text: &mut [u8],
        tail: &[u8],
        icv: &mut [u8],
    ) -> Result<(), CryptoError> {
        match &self.inner {
            Inner::Aead(key, salt) => icv.copy_from_slice(&key.seal(&nonce(*salt, iv)?, header, text)?),
            Inner::Ccm(key, salt) => icv.copy_from_slice(&key.seal(&ccm::nonce(*salt, fixed(iv)?), header, text)?),
            Inner::Gmac(key, salt) => icv.copy_from_slice(&key.tag(&nonce(*salt, iv)?, &[header, iv, text])),
            Inner::Cbc(key, mac) => {
                key.encrypt(fixed(iv)?, text)?;
                mac.write(&[header, iv, text, tail], icv);
            }
            Inner::Ctr(key, salt, mac) => {
                key.apply(&nonce(*salt, iv)?, text)?;
                mac.write(&[header, iv, text, tail], icv);
            }
            Inner::Null(mac) => mac.write(&[header, iv, text, tail], icv),
        }
        Ok(())
    }

    /// Checks the integrity check value, then decrypts the text in place. On failure it holds nothing that may be used.
    ///
    /// # Errors
    /// `Layout` for fields of the wrong length, `NotAuthentic` when the value is wrong.
    pub fn open(&self, header: &[u8], iv: &[u8], text: &mut [u8], icv: &[u8]) -> Result<(), CryptoError> {
        self.open_before(header, iv, text, &[], icv)
    }

    /// The same, with the bytes after the text of [`Self::seal_before`].
    ///
    /// # Errors
    /// As [`Self::open`], and `Layout` for a tail where the cipher is AEAD.
    pub fn open_before(
        &self,
        header: &[u8],
        iv: &[u8],
        text: &mut [u8],
        tail: &[u8],
        icv: &[u8],
    ) -> Result<(), CryptoError> {
        self.check_layout(iv, text, tail, icv)?;
        match &self.inner {
            Inner::Aead(key, salt) => key.open(&nonce(*salt, iv)?, header, text, &fixed(icv)?),
            Inner::Ccm(key, salt) => key.open(&ccm::nonce(*salt, fixed(iv)?), header, text, &fixed(icv)?),
            Inner::Gmac(key, salt) => authentic(&key.tag(&nonce(*salt, iv)?, &[header, iv, text]), icv),
            Inner::Cbc(key, mac) => {
                mac.check(&[header, iv, text, tail], icv)?;
                key.decrypt(fixed(iv)?, text)
            }
            Inner::Ctr(key, salt, mac) => {
                mac.check(&[header, iv, text, tail], icv)?;
                key.apply(&nonce(*salt, iv)?, text)
            }
            Inner::Null(mac) => mac.check(&[header, iv, text, tail], icv),
        }
    }

    fn check_layout(&self, iv: &[u8], text: &[u8], tail: &[u8], icv: &[u8]) -> Result<(), CryptoError> {
        let cipher = self.cipher;
        let fits = iv.len() == cipher.iv_len()
            && (tail.is_empty() || cipher.hmac().is_some())
            && icv.len() == cipher.icv_len()
            && text.len().is_multiple_of(cipher.block_len());
        if fits { Ok(()) } else { Err(CryptoError::Layout) }
    }
}

fn authentic(expected: &[u8], icv: &[u8]) -> Result<(), CryptoError> {
    if equal(expected, icv) { Ok(()) } else { Err(CryptoError::NotAuthentic) }
}

//= RFC 4106 §4, RFC 7634 §2, RFC 3686 §4, RFC 4543 §3: the salt, then the IV
fn nonce(salt: Salt, iv: &[u8]) -> Result<[u8; NONCE_LEN], CryptoError> {
    let ([a, b, c, d], [e, f, g, h, i, j, k, l]) = (salt, fixed(iv)?);
    Ok([a, b, c, d, e, f, g, h, i, j, k, l])
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], CryptoError> {
    bytes.try_into().map_err(|_| CryptoError::Layout)
}

#[cfg(test)]
mod tests;
