//! A message that travels encrypted, as `IKE_INTERMEDIATE` is authenticated later: whole and in clear (RFC 9242 §3.3.2).

use zeroize::Zeroizing;

use super::{plain_text, read_plain};
use crate::wire::buffer::Writer;
use crate::wire::header::{HEADER_LEN, Header};
use crate::wire::payload::{GENERIC_HEADER_LEN, Payload};
use crate::wire::registry::PayloadType;
use crate::wire::{Malformed, Oversized};

/// What is in clear before the IV, and what is encrypted.
#[derive(Clone, Debug)]
pub struct Whole {
    clear: [u8; CLEAR_LEN],
    text: Zeroizing<Vec<u8>>,
}

/// The header of the message and that of SK.
const CLEAR_LEN: usize = HEADER_LEN + GENERIC_HEADER_LEN;

impl Whole {
    /// Builds the message that holds these payloads.
    ///
    /// # Errors
    /// `Oversized` for more than a datagram holds.
    pub fn new(header: &Header, payloads: &[Payload]) -> Result<Self, Oversized> {
        let (first, text) = plain_text(payloads)?;
        let text = Zeroizing::new(text);
        let mut w = Writer::new();
        header.emit(PayloadType::SK, GENERIC_HEADER_LEN + text.len(), &mut w)?;
        w.u8(first.0);
        w.u8(0);
        w.u16(0);
        let clear = w.finish().try_into().map_err(|_| Oversized("message"))?;
        Ok(Self { clear, text })
    }

    /// Takes the text of a datagram, or of all fragments together with the first one's datagram.
    pub(crate) fn received(datagram: &[u8], text: Zeroizing<Vec<u8>>) -> Result<Self, Malformed> {
        let clear = *datagram.first_chunk().ok_or(Malformed::Truncated("SK"))?;
        Ok(Self { clear, text })
    }

    /// Reads the payloads.
    pub(crate) fn payloads(&self) -> Result<Vec<Payload>, Malformed> {
        let [.., first, _, _, _] = self.clear;
        read_plain(PayloadType(first), &self.text)
    }

    /// Returns the octets that the proof of an identity covers.
    ///
    /// # Errors
    /// `Oversized` for more than fits one SK payload.
    pub fn octets(&self) -> Result<Zeroizing<Vec<u8>>, Oversized> {
        //= RFC 9242 §3.3.2: both lengths leave out IV, padding and integrity check value
        let sk_len = GENERIC_HEADER_LEN + self.text.len();
        let whole_len = u32::try_from(HEADER_LEN + sk_len).map_err(|_| Oversized("message"))?;
        let sk_len = u16::try_from(sk_len).map_err(|_| Oversized("SK"))?;
        let mut octets = Zeroizing::new(Vec::with_capacity(CLEAR_LEN + self.text.len()));
        let [spis @ .., _, version, exchange, flags, i0, i1, i2, i3, _, _, _, _, first, reserved, _, _] = self.clear;
        octets.extend_from_slice(&spis);
        //= RFC 9242 §3.3.2: fragments are covered as if the message had come in an SK payload
        octets.extend_from_slice(&[PayloadType::SK.0, version, exchange, flags, i0, i1, i2, i3]);
        octets.extend_from_slice(&whole_len.to_be_bytes());
        //= RFC 9242 §3.3.2: the reserved bits are those of the first fragment
        octets.extend_from_slice(&[first, reserved]);
        octets.extend_from_slice(&sk_len.to_be_bytes());
        octets.extend_from_slice(&self.text);
        Ok(octets)
    }
}
