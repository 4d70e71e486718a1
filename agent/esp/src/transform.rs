//! AES-GCM as ESP uses it (RFC 4106), and the sizes on the wire.

use espalier_crypto::{AeadAlgorithm, AeadKey, AeadProvider, CryptoError, NONCE_LEN, TAG_LEN};
use espalier_model::secret::Secret;
use espalier_model::suite::EspSuite;

/// SPI and sequence number.
pub(crate) const HEADER_LEN: usize = 8;
/// The explicit IV.
pub(crate) const IV_LEN: usize = 8;
/// The integrity check value.
pub(crate) const ICV_LEN: usize = TAG_LEN;
/// Pad length and next header.
pub(crate) const TRAILER_LEN: usize = 2;
/// The trailer ends on a boundary of four bytes (RFC 4303 §2.4).
pub(crate) const ALIGNMENT: usize = 4;
const SALT_LEN: usize = 4;
const UDP_HEADER_LEN: usize = 8;

/// Returns the length of the ESP packet that carries an inner packet of this length.
#[must_use]
pub const fn sealed_len(inner: usize) -> usize {
    HEADER_LEN + IV_LEN + (inner + TRAILER_LEN).next_multiple_of(ALIGNMENT) + ICV_LEN
}

/// Returns the largest inner packet that fits into one datagram of the underlay: 1,438 for 1,500 on IPv4, 1,418 on IPv6.
#[must_use]
pub fn inner_mtu(underlay: u16, outer_ipv4: bool) -> u16 {
    let ip = if outer_ipv4 { 20 } else { 40 };
    let room = usize::from(underlay).saturating_sub(ip + UDP_HEADER_LEN + HEADER_LEN + IV_LEN + ICV_LEN);
    u16::try_from((room / ALIGNMENT * ALIGNMENT).saturating_sub(TRAILER_LEN)).unwrap_or(0)
}

/// The key and the salt of one SA.
pub(crate) struct Transform {
    key: AeadKey,
    salt: [u8; SALT_LEN],
}

impl Transform {
    /// Splits the keying material: the AES key, then the salt (RFC 4106 §8.1).
    pub(crate) fn new(suite: EspSuite, keymat: &Secret) -> Result<Self, CryptoError> {
        let algorithm = match suite {
            EspSuite::Aes256Gcm16 => AeadAlgorithm::Aes256Gcm,
            EspSuite::Aes128Gcm16 => AeadAlgorithm::Aes128Gcm,
        };
        let (key, salt) = keymat.expose().split_last_chunk().ok_or(CryptoError::KeyLength)?;
        Ok(Self { key: AeadKey::new(AeadProvider::best(), algorithm, key)?, salt: *salt })
    }

    pub(crate) fn seal(&self, iv: [u8; IV_LEN], aad: &[u8], text: &mut [u8]) -> Result<[u8; ICV_LEN], CryptoError> {
        self.key.seal(&self.nonce(iv), aad, text)
    }

    pub(crate) fn open(
        &self,
        iv: [u8; IV_LEN],
        aad: &[u8],
        text: &mut [u8],
        icv: &[u8; ICV_LEN],
    ) -> Result<(), CryptoError> {
        self.key.open(&self.nonce(iv), aad, text, icv)
    }

    fn nonce(&self, iv: [u8; IV_LEN]) -> [u8; NONCE_LEN] {
        let ([a, b, c, d], [e, f, g, h, i, j, k, l]) = (self.salt, iv);
        [a, b, c, d, e, f, g, h, i, j, k, l]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mtu_leaves_room_for_exactly_the_overhead() {
        assert_eq!((inner_mtu(1500, true), inner_mtu(1500, false)), (1438, 1418));
        for underlay in 100..9000 {
            let mtu = usize::from(inner_mtu(underlay, true));
            assert!(sealed_len(mtu) + 28 <= usize::from(underlay));
            assert!(sealed_len(mtu + 1) + 28 > usize::from(underlay));
        }
        assert_eq!(inner_mtu(0, true), 0);
    }
}
