//! AH (RFC 4302): all of a packet is authentic that does not change on the way.

use espalier_crypto::{CryptoError, MacKey};
use espalier_model::sa::{Keyed, Spi};
use espalier_model::suite::AhSuite;

use crate::flow::BadPacket;
use crate::ip::{Link, version, zero_mutable};

/// Next header, length, reserved, SPI and sequence number.
const FIXED_LEN: usize = 12;
/// IP header and extension headers with AH; more than that before AH is refused.
const MOST_HEADERS: usize = 512;

/// The key of one SA, and whether its sequence numbers have 64 bits.
pub(crate) struct AhTransform {
    key: MacKey,
    suite: AhSuite,
    extended: bool,
}

/// Why an AH packet is none of this SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AhError {
    /// A header before it, or AH itself, cannot be read.
    Header(BadPacket),
    /// The ICV is wrong.
    NotAuthentic,
}

/// What AH says of itself, before it is known to be authentic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AhHeader {
    /// Its SA.
    pub(crate) spi: u32,
    /// The lower half of the sequence number.
    pub(crate) low: u32,
    /// What follows AH.
    pub(crate) inner: Link,
}

/// Returns the length of AH on the wire, with its ICV.
#[must_use]
pub(crate) const fn header_len(suite: AhSuite, v6: bool) -> usize {
    //= RFC 4302 §2.2, §3.3.3.2.1: a multiple of 32 bits, and with IPv6 of 64
    (FIXED_LEN + suite.hmac().icv_len()).next_multiple_of(if v6 { 8 } else { 4 })
}

impl AhTransform {
    pub(crate) fn new(sa: &Keyed<AhSuite>) -> Result<Self, CryptoError> {
        let key = MacKey::new(sa.suite.hmac(), sa.keymat.expose())?;
        Ok(Self { key, suite: sa.suite, extended: sa.esn })
    }

    /// Tells whether sequence numbers have 64 bits.
    pub(crate) const fn extended(&self) -> bool {
        self.extended
    }

    /// Returns the length of AH on the wire, with its ICV.
    pub(crate) const fn header_len(&self, v6: bool) -> usize {
        header_len(self.suite, v6)
    }

    /// Writes AH into a packet that has room for it at `place`, names what follows it, and authenticates the whole. The IP header
    /// says already how long the packet is, and that AH follows.
    ///
    /// # Errors
    /// `BadPacket` for headers that AH cannot cover.
    pub(crate) fn seal(&self, spi: Spi, number: u64, packet: &mut [u8], place: Link) -> Result<(), BadPacket> {
        let length = self.header_len(version(packet) == Some(6));
        let room = packet.get_mut(place.at..place.at + length).ok_or(BadPacket::Short)?;
        let (fixed, icv) = room.split_first_chunk_mut::<FIXED_LEN>().ok_or(BadPacket::Short)?;
        let ([a, b, c, d], [_, _, _, _, e, f, g, h]) = (spi.get().to_be_bytes(), number.to_be_bytes());
        //= RFC 4302 §2.2: the length in words of 32 bits, less two
        let words = u8::try_from(length / 4 - 2).map_err(|_| BadPacket::Long)?;
        *fixed = [place.protocol, words, 0, 0, a, b, c, d, e, f, g, h];
        icv.fill(0);
        let (mut headers, mut code) = ([0; MOST_HEADERS], [0; MOST_ICV]);
        let code = code.get_mut(..self.icv_len()).ok_or(BadPacket::Long)?;
        let (covered, payload) = self.cover(packet, place.at, length, &mut headers)?;
        self.key.write(&[covered, payload, self.tail(&number.to_be_bytes())], code);
        let icv_at = place.at + FIXED_LEN;
        packet.get_mut(icv_at..icv_at + code.len()).ok_or(BadPacket::Short)?.copy_from_slice(code);
        Ok(())
    }

    /// Reads AH.
    ///
    /// # Errors
    /// `BadPacket` where the packet ends before it does, or its length is none that this suite has.
    pub(crate) fn read(&self, packet: &[u8], at: usize) -> Result<AhHeader, BadPacket> {
        let header = packet.get(at..).and_then(<[u8]>::first_chunk::<FIXED_LEN>).ok_or(BadPacket::Short)?;
        let [next, words, _, _, a, b, c, d, e, f, g, h] = *header;
        let length = (usize::from(words) + 2) * 4;
        // There are ends that align to 64 bits with IPv4, too; what is added is authentic as the rest.
        let v6 = version(packet) == Some(6);
        if (length != self.header_len(v6) && length != self.header_len(true)) || packet.len() < at + length {
            return Err(BadPacket::Short);
        }
        Ok(AhHeader {
            spi: u32::from_be_bytes([a, b, c, d]),
            low: u32::from_be_bytes([e, f, g, h]),
            inner: Link { protocol: next, at: at + length, named_at: at },
        })
    }

    /// Checks the ICV under the whole number.
    pub(crate) fn check(&self, number: u64, packet: &[u8], header: &AhHeader) -> Result<(), AhError> {
        let (at, length) = (header.inner.named_at, header.inner.at - header.inner.named_at);
        let mut headers = [0; MOST_HEADERS];
        let (covered, payload) = self.cover(packet, at, length, &mut headers).map_err(AhError::Header)?;
        let icv_at = at + FIXED_LEN;
        let icv = packet.get(icv_at..icv_at + self.icv_len()).ok_or(AhError::Header(BadPacket::Short))?;
        let opened = self.key.check(&[covered, payload, self.tail(&number.to_be_bytes())], icv);
        opened.map_err(|_| AhError::NotAuthentic)
    }

    /// Returns what is covered of the headers up to the end of AH, and the rest, of which all is.
    fn cover<'p>(
        &self,
        packet: &'p [u8],
        at: usize,
        length: usize,
        room: &'p mut [u8; MOST_HEADERS],
    ) -> Result<(&'p [u8], &'p [u8]), BadPacket> {
        let (headers, payload) = packet.split_at_checked(at + length).ok_or(BadPacket::Short)?;
        let covered = room.get_mut(..headers.len()).ok_or(BadPacket::Extensions)?;
        covered.copy_from_slice(headers);
        let (before, own) = covered.split_at_mut_checked(at).ok_or(BadPacket::Short)?;
        zero_mutable(before)?;
        //= RFC 4302 §3.3.3.1: the ICV itself counts as zero, its padding as it is
        own.get_mut(FIXED_LEN..FIXED_LEN + self.icv_len()).ok_or(BadPacket::Short)?.fill(0);
        Ok((covered, payload))
    }

    //= RFC 4302 §2.5.1: the upper half of the number is authenticated after the packet, and does not travel
    fn tail<'n>(&self, number: &'n [u8; 8]) -> &'n [u8] {
        let [upper @ .., _, _, _, _] = number;
        if self.extended { upper } else { &[] }
    }

    const fn icv_len(&self) -> usize {
        self.suite.hmac().icv_len()
    }
}

/// The ICV of HMAC-SHA2-512-256.
const MOST_ICV: usize = 32;
