//! The encrypted fragment payload (RFC 7383 §2.5). Each fragment is sealed and authenticated by itself.

use std::net::IpAddr;

use zeroize::Zeroizing;

use super::{OpenError, OpeningKey, Outside, SealError, Sealed, SealingKey, plain_text};
use crate::wire::buffer::Reader;
use crate::wire::header::{HEADER_LEN, Header};
use crate::wire::payload::{GENERIC_HEADER_LEN, Payload};
use crate::wire::registry::PayloadType;
use crate::wire::{Malformed, Oversized};

/// Where a fragment belongs. The number is at least 1 and at most the total.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its own number; the first is 1.
    pub number: u16,
    /// How many there are.
    pub total: u16,
}

/// A fragment that is authentic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// The header of its datagram.
    pub header: Header,
    /// Where it belongs.
    pub place: Place,
    /// In the first fragment the type of the message's first payload.
    pub first: PayloadType,
    /// Its part of the payloads.
    pub text: Zeroizing<Vec<u8>>,
}

/// A message has no more fragments than this: as many as 64 KiB need.
pub const MOST_FRAGMENTS: u16 = 64;
/// All fragments of a message together hold no more bytes than this, which is a chain of four certificates.
pub const MOST_TEXT: usize = 65_535;

/// Returns how long an IKE message to an address may be and still fit the smallest packet that every path carries.
#[must_use]
pub const fn datagram_limit(remote: IpAddr) -> usize {
    // For IPv4 the 576 bytes that it promises would more than double the fragments, of which all must arrive; a path that carries
    // no 1280 bytes does not carry what is inside the mesh either.
    //= RFC 7383 §2.5.1: 1280 bytes, which every path of IPv6 carries
    let ip_header = match remote {
        IpAddr::V4(_) => 20,
        IpAddr::V6(_) => 40,
    };
    SMALLEST_MTU - ip_header - UDP_HEADER - NON_ESP_MARKER
}

const SMALLEST_MTU: usize = 1_280;
const UDP_HEADER: usize = 8;
const NON_ESP_MARKER: usize = 4;
/// The number of the fragment and of all of them.
const PLACE_LEN: usize = 4;

impl Place {
    /// Reads where the fragment that a datagram holds belongs, or `None` when it holds another payload. Nothing is authentic yet.
    ///
    /// # Errors
    /// `Value` for a number that cannot be, `TooMany` for more fragments than are accepted.
    pub fn peek(datagram: &[u8]) -> Result<Option<Self>, Malformed> {
        if Header::parse(datagram)?.1 != PayloadType::SKF {
            return Ok(None);
        }
        let mut r = Reader::new(datagram);
        r.take(HEADER_LEN + GENERIC_HEADER_LEN, "SKF")?;
        let (number, total) = (r.u16("SKF")?, r.u16("SKF")?);
        //= RFC 7383 §2.6: a fragment whose number is zero or exceeds the total is discarded
        if number == 0 || number > total {
            return Err(Malformed::Value("fragment number"));
        }
        if total > MOST_FRAGMENTS {
            return Err(Malformed::TooMany("fragments"));
        }
        Ok(Some(Self { number, total }))
    }

    fn emit(self) -> Vec<u8> {
        [self.number.to_be_bytes(), self.total.to_be_bytes()].concat()
    }
}

impl SealingKey {
    /// Returns the datagrams of a message that holds these payloads encrypted: one, or fragments when it would be longer than
    /// `limit` bytes.
    ///
    /// # Errors
    /// Like [`SealingKey::seal`]; also `Oversized` for more than a peer of ours would put together.
    pub fn seal_within(
        &mut self,
        header: &Header,
        payloads: &[Payload],
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, SealError> {
        let (first, plain) = plain_text(payloads)?;
        let whole = self.room(limit, 0);
        //= RFC 7383 §2.4: a message that fits a packet is not fragmented
        if plain.len() <= whole {
            return Ok(vec![self.enclose(header, &Outside::whole(first), plain)?]);
        }
        let room = self.room(limit, PLACE_LEN);
        let count = plain.len().checked_div(room).map(|_| plain.len().div_ceil(room));
        let total = count.and_then(|n| u16::try_from(n).ok()).filter(|n| *n <= MOST_FRAGMENTS);
        let total = total.filter(|_| plain.len() <= MOST_TEXT).ok_or(Oversized("message"))?;
        //= RFC 7383 §2.5: fragments are numbered from 1 to their total
        let fragments = (1..=total).zip(plain.chunks(room)).map(|(number, part)| {
            let place = Place { number, total }.emit();
            //= RFC 7383 §2.5: the type of the first payload stands in the first fragment, the others have zero
            let first = if number == 1 { first } else { PayloadType::NONE };
            //= RFC 7383 §2.5: each fragment has its own IV, padding and integrity check value
            //= RFC 7383 §2.5: the header of each fragment is that of the message, but for its length and the next payload
            self.enclose(header, &Outside { kind: PayloadType::SKF, first, place }, part.to_vec())
        });
        fragments.collect()
    }

    /// Returns how many bytes of payloads a datagram of at most `limit` bytes holds, with some bytes in clear before the IV.
    fn room(&self, limit: usize, clear: usize) -> usize {
        let cipher = self.key.cipher();
        let around = HEADER_LEN + GENERIC_HEADER_LEN + clear + cipher.iv_len() + cipher.icv_len();
        let text = limit.saturating_sub(around);
        (text / cipher.block_len() * cipher.block_len()).saturating_sub(PAD_LENGTH)
    }
}

const PAD_LENGTH: usize = 1;

impl OpeningKey {
    /// Returns the fragment that a datagram holds. SKF must be its only outer payload.
    ///
    /// # Errors
    /// `Outer` and `Unauthentic` for what anybody may have sent, `Inner` for what the peer itself has sent.
    pub fn open_fragment(&self, datagram: &[u8]) -> Result<Fragment, OpenError> {
        let place = Place::peek(datagram).map_err(OpenError::Outer)?;
        let place = place.ok_or(OpenError::Outer(Malformed::Value("first payload of a fragment")))?;
        //= RFC 7383 §2.5: the number and the total are protected with the header
        let sealed =
            Sealed::read(self.key.cipher(), datagram, PayloadType::SKF, PLACE_LEN).map_err(OpenError::Outer)?;
        Ok(Fragment { header: sealed.header, place, first: sealed.first, text: self.decrypt(&sealed)? })
    }
}

#[cfg(test)]
mod tests;
