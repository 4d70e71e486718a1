//! The encrypted payload with AES-GCM (RFC 7296 §3.14, RFC 5282).
//!
//! The IV is a counter of the key, never the message ID: two messages of one ID, such as a request and the response of the other
//! exchange direction, can therefore not share a nonce. A retransmission resends the stored datagram and seals nothing.

use espalier_crypto::{AeadAlgorithm, AeadKey, AeadProvider, CryptoError};
use espalier_model::secret::Secret;
use espalier_model::suite::IkeEncryption;
use thiserror::Error;

use super::buffer::{Reader, Writer};
use super::header::{HEADER_LEN, Header};
use super::message::Message;
use super::payload::{self, GENERIC_HEADER_LEN, Payload};
use super::registry::PayloadType;
use super::{Malformed, Oversized};

/// Seals our messages. There is one per `SK_ei` or `SK_er`, and it owns the IV counter of that key.
pub struct SealingKey {
    key: SaltedKey,
    next_iv: u64,
}

/// Opens the peer's messages.
pub struct OpeningKey {
    key: SaltedKey,
}

/// A message that cannot be sealed.
#[derive(Debug, Error)]
pub enum SealError {
    /// It is longer than a datagram can be.
    #[error(transparent)]
    Oversized(#[from] Oversized),
    /// Every IV of the key is used up.
    #[error("the key has no IV left")]
    Exhausted,
    /// The cipher refused.
    #[error("sealing failed")]
    Crypto(#[source] CryptoError),
}

/// A message that cannot be opened. Only `Inner` is authenticated, so only it may have a consequence for the SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OpenError {
    /// Not an encrypted message.
    #[error("encrypted message is malformed")]
    Outer(#[source] Malformed),
    /// The tag is wrong: forged, damaged, or sealed with another key.
    #[error("message is not authentic")]
    Unauthentic,
    /// What an authentic message holds is malformed.
    #[error("content of an authentic message is malformed")]
    Inner(#[source] Malformed),
}

struct SaltedKey {
    aead: AeadKey,
    salt: Secret,
}

impl SaltedKey {
    fn new(encryption: IkeEncryption, keymat: &Secret) -> Result<Self, CryptoError> {
        let algorithm = match encryption {
            IkeEncryption::Aes256Gcm16 => AeadAlgorithm::Aes256Gcm,
            IkeEncryption::Aes128Gcm16 => AeadAlgorithm::Aes128Gcm,
        };
        let key_len = encryption.keymat_len() - SALT_LEN;
        let (key, salt) = keymat.expose().split_at_checked(key_len).unwrap_or_default();
        let aead = AeadKey::new(AeadProvider::Ring, algorithm, key)?;
        Ok(Self { aead, salt: Secret::from(salt) })
    }

    //= RFC 5282 §4: the nonce is the salt, then the IV
    fn nonce(&self, iv: [u8; IV_LEN]) -> [u8; SALT_LEN + IV_LEN] {
        let mut nonce = [0; SALT_LEN + IV_LEN];
        for (slot, byte) in nonce.iter_mut().zip(self.salt.expose().iter().chain(&iv)) {
            *slot = *byte;
        }
        nonce
    }
}

impl SealingKey {
    /// Takes `SK_e` of our direction: the AES key, then the salt.
    ///
    /// # Errors
    /// When the key is not as long as the algorithm demands.
    pub fn new(encryption: IkeEncryption, sk_e: &Secret) -> Result<Self, CryptoError> {
        SaltedKey::new(encryption, sk_e).map(|key| Self { key, next_iv: 0 })
    }

    /// Returns the datagram of a message that holds these payloads encrypted.
    ///
    /// # Errors
    /// `Oversized`, or `Exhausted` once the counter of IVs has come to its end.
    pub fn seal(&mut self, header: &Header, payloads: &[Payload]) -> Result<Vec<u8>, SealError> {
        let mut plain = Writer::new();
        let first = payload::emit_chain(payloads, &mut plain)?;
        plain.u8(0); // no padding: AES-GCM needs none (RFC 5282 §3)
        let mut text = plain.finish();
        let sk_len = GENERIC_HEADER_LEN + IV_LEN + text.len() + TAG_LEN;
        let mut w = Writer::new();
        header.emit(PayloadType::SK, sk_len, &mut w)?;
        w.u8(first.0);
        w.u8(0);
        w.u16(u16::try_from(sk_len).map_err(|_| Oversized("SK"))?);
        let iv = self.next_iv;
        self.next_iv = iv.checked_add(1).ok_or(SealError::Exhausted)?;
        let aad = w.finish();
        let nonce = self.key.nonce(iv.to_be_bytes());
        let tag = self.key.aead.seal(&nonce, &aad, &mut text).map_err(SealError::Crypto)?;
        Ok([&aad[..], &iv.to_be_bytes(), &text, &tag].concat())
    }
}

impl OpeningKey {
    /// Takes `SK_e` of the peer's direction: the AES key, then the salt.
    ///
    /// # Errors
    /// When the key is not as long as the algorithm demands.
    pub fn new(encryption: IkeEncryption, sk_e: &Secret) -> Result<Self, CryptoError> {
        SaltedKey::new(encryption, sk_e).map(|key| Self { key })
    }

    /// Returns the message of a datagram with its payloads decrypted. SK must be its only outer payload.
    ///
    /// # Errors
    /// `Outer` and `Unauthentic` for what anybody may have sent, `Inner` for what the peer itself has sent.
    pub fn open(&self, datagram: &[u8]) -> Result<Message, OpenError> {
        let sealed = Sealed::read(datagram).map_err(OpenError::Outer)?;
        let mut text = sealed.text.to_vec();
        let nonce = self.key.nonce(sealed.iv);
        self.key.aead.open(&nonce, sealed.aad, &mut text, &sealed.tag).map_err(|_| OpenError::Unauthentic)?;
        let payloads = read_plain(sealed.first, &text).map_err(OpenError::Inner)?;
        Ok(Message { header: sealed.header, payloads })
    }
}

struct Sealed<'a> {
    header: Header,
    first: PayloadType,
    aad: &'a [u8],
    iv: [u8; IV_LEN],
    text: &'a [u8],
    tag: [u8; TAG_LEN],
}

impl<'a> Sealed<'a> {
    fn read(datagram: &'a [u8]) -> Result<Self, Malformed> {
        let (header, outer) = Header::parse(datagram)?;
        if outer != PayloadType::SK {
            return Err(Malformed::Value("first payload of an encrypted message"));
        }
        let mut r = Reader::new(datagram);
        let aad = r.take(HEADER_LEN + GENERIC_HEADER_LEN, "SK")?;
        let mut generic = Reader::new(aad);
        generic.take(HEADER_LEN, "header")?;
        let first = PayloadType(generic.u8("SK")?);
        generic.u8("SK")?;
        let mut body = r.sub(generic.u16("SK")?, GENERIC_HEADER_LEN, "SK")?;
        r.finish("SK")?;
        let iv = body.array("IV")?;
        let text_len = body.len().checked_sub(TAG_LEN).ok_or(Malformed::Truncated("ICV"))?;
        let text = body.take(text_len, "SK")?;
        let tag = body.array("ICV")?;
        Ok(Self { header, first, aad, iv, text, tag })
    }
}

fn read_plain(first: PayloadType, text: &[u8]) -> Result<Vec<Payload>, Malformed> {
    let (pad_len, rest) = text.split_last().ok_or(Malformed::Truncated("pad length"))?;
    let len = rest.len().checked_sub(usize::from(*pad_len)).ok_or(Malformed::Length("padding"))?;
    let payloads = payload::read_chain(first, Reader::new(rest.get(..len).unwrap_or_default()))?;
    if payloads.iter().any(|p| p.payload_type() == PayloadType::SK) {
        return Err(Malformed::Value("payload inside SK"));
    }
    Ok(payloads)
}

const SALT_LEN: usize = 4;
const IV_LEN: usize = 8;
const TAG_LEN: usize = 16;

#[cfg(test)]
mod tests;
