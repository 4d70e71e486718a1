//! The encrypted payload (RFC 7296 §3.14, RFC 5282, RFC 5930, RFC 7634).
//!
//! The IV of a counter mode is a counter of the key, never the message ID: two messages of one ID, such as a request and the
//! response of the other exchange direction, can therefore not share a nonce. The IV of CBC is random. A retransmission resends
//! the stored datagrams and seals nothing. Padding is looked at only once the integrity check value is found right. A message that
//! is longer than a datagram should be travels as [fragments](fragment).

pub mod fragment;
mod whole;

use espalier_crypto::{AeadProvider, CryptoError, RecordKey};
use espalier_model::secret::Secret;
use espalier_model::suite::{Cipher, IkeEncryption};
use thiserror::Error;
use zeroize::Zeroizing;

use super::buffer::{Reader, Writer};
use super::header::{HEADER_LEN, Header};
use super::message::Message;
use super::payload::{self, GENERIC_HEADER_LEN, Payload};
use super::registry::PayloadType;
use super::{Malformed, Oversized};
pub use whole::Whole;

/// Seals our messages. There is one per `SK_ei` or `SK_er`, and it owns the IV counter of that key.
pub struct SealingKey {
    key: RecordKey,
    next_iv: u64,
}

/// Opens the peer's messages.
pub struct OpeningKey {
    key: RecordKey,
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

fn record_key(encryption: IkeEncryption, sk_e: &Secret, sk_a: &Secret) -> Result<RecordKey, CryptoError> {
    //= RFC 5282 §7.1: SK_e is the key and then the salt
    RecordKey::new(AeadProvider::Ring, encryption.cipher(), sk_e.expose(), sk_a.expose())
}

impl SealingKey {
    /// Takes the keys of our direction: `SK_e`, which is the key and then the salt, and `SK_a`, which is empty with AEAD.
    ///
    /// # Errors
    /// When a key is not as long as the algorithm demands.
    pub fn new(encryption: IkeEncryption, sk_e: &Secret, sk_a: &Secret) -> Result<Self, CryptoError> {
        record_key(encryption, sk_e, sk_a).map(|key| Self { key, next_iv: 0 })
    }

    /// Returns the datagram of a message that holds these payloads encrypted.
    ///
    /// # Errors
    /// `Oversized`, or `Exhausted` once the counter of IVs has come to its end.
    pub fn seal(&mut self, header: &Header, payloads: &[Payload]) -> Result<Vec<u8>, SealError> {
        let (first, plain) = plain_text(payloads)?;
        self.enclose(header, &Outside::whole(first), plain)
    }

    /// Encrypts any bytes as if they were payloads.
    #[cfg(test)]
    pub(crate) fn seal_text(&mut self, header: &Header, first: PayloadType, text: Vec<u8>) -> Vec<u8> {
        self.enclose(header, &Outside::whole(first), text).unwrap()
    }

    /// Encrypts one part of a message, padded, and puts it behind what travels in clear.
    fn enclose(&mut self, header: &Header, outside: &Outside, mut text: Vec<u8>) -> Result<Vec<u8>, SealError> {
        let cipher = self.key.cipher();
        //= RFC 7296 §3.14: padding to a multiple of the block; only CBC has blocks
        let padding = (text.len() + 1).next_multiple_of(cipher.block_len()) - text.len() - 1;
        text.resize(text.len() + padding, 0);
        text.push(u8::try_from(padding).map_err(|_| Oversized("padding"))?);
        let body_len = GENERIC_HEADER_LEN + outside.place.len() + cipher.iv_len() + text.len() + cipher.icv_len();
        let mut w = Writer::new();
        header.emit(outside.kind, body_len, &mut w)?;
        w.u8(outside.first.0);
        w.u8(0);
        w.u16(u16::try_from(body_len).map_err(|_| Oversized("SK"))?);
        w.bytes(&outside.place);
        //= RFC 7296 §3.14: each message has a new IV, which is unpredictable with CBC
        //= RFC 5282 §3.1: the IV is a counter of the key
        let counter = self.next_iv;
        self.next_iv = counter.checked_add(1).ok_or(SealError::Exhausted)?;
        //= RFC 5282 §5.1: what is in clear before the IV is authenticated
        let aad = w.finish();
        let (mut iv, mut icv) = (vec![0; cipher.iv_len()], vec![0; cipher.icv_len()]);
        self.key.seal(counter, &aad, &mut iv, &mut text, &mut icv).map_err(SealError::Crypto)?;
        Ok([aad, iv, text, icv].concat())
    }
}

impl OpeningKey {
    /// Takes the keys of the peer's direction: `SK_e`, which is the key and then the salt, and `SK_a`, which is empty with AEAD.
    ///
    /// # Errors
    /// When a key is not as long as the algorithm demands.
    pub fn new(encryption: IkeEncryption, sk_e: &Secret, sk_a: &Secret) -> Result<Self, CryptoError> {
        record_key(encryption, sk_e, sk_a).map(|key| Self { key })
    }

    /// Returns the message of a datagram with its payloads decrypted. SK must be its only outer payload.
    ///
    /// # Errors
    /// `Outer` and `Unauthentic` for what anybody may have sent, `Inner` for what the peer itself has sent.
    pub fn open(&self, datagram: &[u8]) -> Result<Message, OpenError> {
        let (header, whole) = self.open_whole(datagram)?;
        let payloads = whole.payloads().map_err(OpenError::Inner)?;
        Ok(Message { header, payloads })
    }

    /// Returns the header of a datagram, and its payloads decrypted, but not read. SK must be its only outer payload.
    ///
    /// # Errors
    /// Like [`OpeningKey::open`].
    pub fn open_whole(&self, datagram: &[u8]) -> Result<(Header, Whole), OpenError> {
        let sealed = Sealed::read(self.key.cipher(), datagram, PayloadType::SK, 0).map_err(OpenError::Outer)?;
        let text = self.decrypt(&sealed)?;
        let whole = Whole::received(datagram, text).map_err(OpenError::Outer)?;
        Ok((sealed.header, whole))
    }

    /// Returns the authentic text without its padding.
    fn decrypt(&self, sealed: &Sealed<'_>) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let mut text = Zeroizing::new(sealed.text.to_vec());
        //= RFC 7296 §3.14: what counts is the integrity check value, whatever IV and padding are
        self.key.open(sealed.aad, sealed.iv, &mut text, sealed.icv).map_err(|_| OpenError::Unauthentic)?;
        //= RFC 5282 §3: padding is read as without AEAD
        let padding = text.pop().ok_or(OpenError::Inner(Malformed::Truncated("pad length")))?;
        let len = text.len().checked_sub(usize::from(padding));
        text.truncate(len.ok_or(OpenError::Inner(Malformed::Length("padding")))?);
        Ok(text)
    }
}

/// What travels in clear between the header and the IV.
struct Outside {
    kind: PayloadType,
    first: PayloadType,
    /// The number of a fragment and of all of them, or nothing.
    place: Vec<u8>,
}

impl Outside {
    const fn whole(first: PayloadType) -> Self {
        Self { kind: PayloadType::SK, first, place: Vec::new() }
    }
}

struct Sealed<'a> {
    header: Header,
    first: PayloadType,
    aad: &'a [u8],
    iv: &'a [u8],
    text: &'a [u8],
    icv: &'a [u8],
}

impl<'a> Sealed<'a> {
    /// Reads a datagram whose only payload is of a kind, with some bytes in clear before the IV.
    fn read(cipher: Cipher, datagram: &'a [u8], kind: PayloadType, clear: usize) -> Result<Self, Malformed> {
        let (header, outer) = Header::parse(datagram)?;
        if outer != kind {
            return Err(Malformed::Value("first payload of an encrypted message"));
        }
        let aad_len = HEADER_LEN + GENERIC_HEADER_LEN + clear;
        let aad = Reader::new(datagram).take(aad_len, "SK")?;
        let mut r = Reader::new(datagram);
        r.take(HEADER_LEN, "header")?;
        let first = PayloadType(r.u8("SK")?);
        r.u8("SK")?;
        let length = r.u16("SK")?;
        let mut body = r.sub(length, GENERIC_HEADER_LEN, "SK")?;
        //= RFC 7383 §2.5: nothing follows a fragment
        r.finish("SK")?;
        body.take(clear, "SK")?;
        let iv = body.take(cipher.iv_len(), "IV")?;
        let text_len = body.len().checked_sub(cipher.icv_len()).ok_or(Malformed::Truncated("ICV"))?;
        let text = body.take(text_len, "SK")?;
        let icv = body.take(cipher.icv_len(), "ICV")?;
        Ok(Self { header, first, aad, iv, text, icv })
    }
}

/// Returns the type of the first payload and all of them as they are encrypted, without padding.
fn plain_text(payloads: &[Payload]) -> Result<(PayloadType, Vec<u8>), Oversized> {
    let mut plain = Writer::new();
    let first = payload::emit_chain(payloads, &mut plain)?;
    Ok((first, plain.finish()))
}

/// Reads the payloads that an authentic message, or all its fragments together, hold.
pub(crate) fn read_plain(first: PayloadType, text: &[u8]) -> Result<Vec<Payload>, Malformed> {
    let payloads = payload::read_chain(first, Reader::new(text))?;
    //= RFC 7296 §3.1: an Encrypted payload holds no other
    if payloads.iter().any(|p| matches!(p.payload_type(), PayloadType::SK | PayloadType::SKF)) {
        return Err(Malformed::Value("payload inside SK"));
    }
    Ok(payloads)
}

#[cfg(test)]
mod tests;
