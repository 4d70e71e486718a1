//! Truncated HMAC over input in parts (RFC 4868).

use espalier_model::suite::Hmac;

use crate::{CryptoError, equal};

/// A key of truncated HMAC. ring keeps its whole state on the stack, so no packet allocates. Has no `Debug`.
pub struct MacKey(ring::hmac::Key);

impl MacKey {
    /// Prepares a key.
    ///
    /// # Errors
    /// `KeyLength` when it is not as long as the whole code (RFC 4868 §2.1.1).
    pub fn new(hmac: Hmac, key: &[u8]) -> Result<Self, CryptoError> {
        if key.len() != hmac.key_len() {
            return Err(CryptoError::KeyLength);
        }
        let algorithm = match hmac {
            Hmac::Sha256 => ring::hmac::HMAC_SHA256,
            Hmac::Sha384 => ring::hmac::HMAC_SHA384,
            Hmac::Sha512 => ring::hmac::HMAC_SHA512,
        };
        Ok(Self(ring::hmac::Key::new(algorithm, key)))
    }

    /// Writes the code of the parts, one after the other, as much as there is room for.
    pub fn write(&self, parts: &[&[u8]], icv: &mut [u8]) {
        //= RFC 4868 §2.1: the code is truncated to its first half
        for (slot, byte) in icv.iter_mut().zip(self.code(parts).as_ref()) {
            *slot = *byte;
        }
    }

    /// Checks a truncated code, in constant time.
    ///
    /// # Errors
    /// `NotAuthentic` when it is another one.
    pub fn check(&self, parts: &[&[u8]], icv: &[u8]) -> Result<(), CryptoError> {
        let code = self.code(parts);
        let expected = code.as_ref().get(..icv.len()).unwrap_or_default();
        if !icv.is_empty() && equal(expected, icv) { Ok(()) } else { Err(CryptoError::NotAuthentic) }
    }

    fn code(&self, parts: &[&[u8]]) -> ring::hmac::Tag {
        let mut context = ring::hmac::Context::with_key(&self.0);
        parts.iter().for_each(|part| context.update(part));
        context.sign()
    }
}
