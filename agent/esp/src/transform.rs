//! What suites make of a packet, and the sizes on the wire (RFC 4303 §2).

use espalier_crypto::{AeadProvider, CryptoError, RecordKey};
use espalier_model::sa::{Keyed, Spi};
use espalier_model::suite::{Cipher, EspSuite};

/// Whether packets are neither encrypted nor authenticated, to measure what everything but cryptography costs. Only
/// `--cfg espalier_null_crypto` makes it so: no cargo feature does, which another crate could switch on unasked.
pub const NULL_CRYPTO: bool = cfg!(espalier_null_crypto);
/// SPI and sequence number.
pub(crate) const HEADER_LEN: usize = 8;
/// Pad length and next header.
pub(crate) const TRAILER_LEN: usize = 2;
/// The trailer ends on a boundary of four bytes (RFC 4303 §2.4).
const ALIGNMENT: usize = 4;
pub(crate) const UDP_HEADER_LEN: usize = 8;

/// Returns the length of the ESP packet that carries an inner packet of this length.
#[must_use]
pub const fn sealed_len(suite: EspSuite, inner: usize) -> usize {
    packet_len(suite.cipher(), inner)
}

/// Returns the largest inner packet that fits into one datagram of the underlay, with AES-GCM 1,438 for 1,500 on IPv4 and 1,418 on
/// IPv6.
#[must_use]
pub fn inner_mtu(suite: EspSuite, underlay: u16, outer_ipv4: bool) -> u16 {
    let cipher = suite.cipher();
    let ip = if outer_ipv4 { 20 } else { 40 };
    let overhead = ip + UDP_HEADER_LEN + HEADER_LEN + cipher.iv_len() + cipher.icv_len();
    let room = usize::from(underlay).saturating_sub(overhead);
    u16::try_from((room / alignment(cipher) * alignment(cipher)).saturating_sub(TRAILER_LEN)).unwrap_or(0)
}

const fn packet_len(cipher: Cipher, inner: usize) -> usize {
    let text = (inner + TRAILER_LEN).next_multiple_of(alignment(cipher));
    HEADER_LEN + cipher.iv_len() + text + cipher.icv_len()
}

/// Returns the number of bytes of which the text with its trailer is a multiple.
pub(crate) const fn alignment(cipher: Cipher) -> usize {
    if cipher.block_len() > ALIGNMENT { cipher.block_len() } else { ALIGNMENT }
}

/// The keys of one SA, and whether its sequence numbers have 64 bits.
pub(crate) struct Transform {
    key: RecordKey,
    extended: bool,
}

/// The parts of an ESP packet.
pub(crate) struct Parts<'p> {
    pub(crate) header: &'p mut [u8; HEADER_LEN],
    pub(crate) iv: &'p mut [u8],
    pub(crate) text: &'p mut [u8],
    pub(crate) icv: &'p mut [u8],
}

impl Transform {
    /// Splits the keying material: the encryption key with its salt, then the integrity key (RFC 7296 §2.17).
    pub(crate) fn new(sa: &Keyed<EspSuite>) -> Result<Self, CryptoError> {
        let cipher = sa.suite.cipher();
        let keys = sa.keymat.expose().split_at_checked(cipher.encryption_len()).ok_or(CryptoError::KeyLength)?;
        let key = RecordKey::new(AeadProvider::best(), cipher, keys.0, keys.1)?;
        Ok(Self { key, extended: sa.esn })
    }

    /// Tells whether sequence numbers have 64 bits.
    pub(crate) const fn extended(&self) -> bool {
        self.extended
    }

    /// Returns how many bytes stand before the text.
    pub(crate) const fn headroom(&self) -> usize {
        HEADER_LEN + self.key.cipher().iv_len()
    }

    /// Returns the length of the ESP packet that carries an inner packet of this length.
    pub(crate) const fn packet_len(&self, inner: usize) -> usize {
        packet_len(self.key.cipher(), inner)
    }

    /// Takes a packet apart; `None` when it is too short, or not aligned.
    pub(crate) fn split<'p>(&self, packet: &'p mut [u8]) -> Option<Parts<'p>> {
        let cipher = self.key.cipher();
        let (header, rest) = packet.split_first_chunk_mut()?;
        let (iv, rest) = rest.split_at_mut_checked(cipher.iv_len())?;
        let (text, icv) = rest.split_at_mut_checked(rest.len().checked_sub(cipher.icv_len())?)?;
        let whole = !text.is_empty() && text.len().is_multiple_of(alignment(cipher));
        whole.then_some(Parts { header, iv, text, icv })
    }

    /// Writes the header with the lower half of the number, and the IV, seals the text and writes the integrity check value. The
    /// number is the IV of every counter mode: unique under this key, and never random (RFC 4106 §3.1). None may come twice.
    pub(crate) fn seal(&self, spi: Spi, number: u64, parts: Parts<'_>) -> Result<(), CryptoError> {
        let covered = self.covered(spi, number);
        parts.header.copy_from_slice(&covered.wire);
        if NULL_CRYPTO {
            return Ok(());
        }
        self.key.seal_before(number, covered.header(), parts.iv, parts.text, covered.tail(), parts.icv)
    }

    /// Checks the integrity check value under the whole number and decrypts the text.
    pub(crate) fn open(&self, spi: Spi, number: u64, parts: &mut Parts<'_>) -> Result<(), CryptoError> {
        if NULL_CRYPTO {
            return Ok(());
        }
        let covered = self.covered(spi, number);
        self.key.open_before(covered.header(), parts.iv, parts.text, covered.tail(), parts.icv)
    }

    fn covered(&self, spi: Spi, number: u64) -> Covered {
        let [a, b, c, d] = spi.get().to_be_bytes();
        let [e, f, g, h, i, j, k, l] = number.to_be_bytes();
        let separate = self.key.cipher().hmac().is_some();
        Covered {
            wire: [a, b, c, d, i, j, k, l],
            whole: [a, b, c, d, e, f, g, h, i, j, k, l],
            upper: [e, f, g, h],
            place: match (self.extended, separate) {
                (false, _) => Place::Nowhere,
                (true, true) => Place::Tail,
                (true, false) => Place::Header,
            },
        }
    }
}

/// What of a header is authenticated, and where the upper half of the number stands, which does not travel.
struct Covered {
    wire: [u8; HEADER_LEN],
    whole: [u8; HEADER_LEN + 4],
    upper: [u8; 4],
    place: Place,
}

/// Where the upper half of the number is authenticated.
#[derive(PartialEq, Eq)]
enum Place {
    /// There is none.
    Nowhere,
    /// With AEAD, between SPI and lower half.
    Header,
    /// With a separate integrity algorithm, after the text.
    Tail,
}

impl Covered {
    //= RFC 4106 §5, RFC 4309 §5, RFC 4543 §3.3, RFC 7634 §2.1: with AEAD the header holds all 64 bits of the number
    fn header(&self) -> &[u8] {
        if self.place == Place::Header { &self.whole } else { &self.wire }
    }

    //= RFC 4303 §2.2.1: with a separate integrity algorithm the upper half is appended to what is authenticated
    fn tail(&self) -> &[u8] {
        if self.place == Place::Tail { &self.upper } else { &[] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mtu_leaves_room_for_exactly_the_overhead() {
        for (suite, ipv4, ipv6) in [
            (EspSuite::Aes256Gcm16, 1438, 1418),
            (EspSuite::ChaCha20Poly1305, 1438, 1418),
            (EspSuite::Aes128Ccm16, 1438, 1418),
            (EspSuite::Aes128Gmac, 1438, 1418),
            (EspSuite::Aes256CbcSha256, 1422, 1406),
            (EspSuite::Aes256CbcSha512, 1406, 1390),
            (EspSuite::Aes256CtrSha512, 1422, 1402),
            (EspSuite::NullSha384, 1438, 1418),
        ] {
            assert_eq!((inner_mtu(suite, 1500, true), inner_mtu(suite, 1500, false)), (ipv4, ipv6), "{suite}");
        }
        for suite in EspSuite::ALL {
            for underlay in 120..2000 {
                let mtu = usize::from(inner_mtu(*suite, underlay, true));
                assert!(sealed_len(*suite, mtu) + 28 <= usize::from(underlay));
                assert!(sealed_len(*suite, mtu + 1) + 28 > usize::from(underlay));
            }
        }
        assert_eq!(inner_mtu(EspSuite::Aes256Gcm16, 0, true), 0);
    }
}
