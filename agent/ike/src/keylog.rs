//! Lines for Wireshark's decryption tables, with which a capture of our own traffic is read.
//!
//! The files of that name lie in Wireshark's configuration folder (`WIRESHARK_CONFIG_DIR`), one line each ended by a newline, and
//! `tshark -o uat:<table>:<line>` takes single lines. ESP is decrypted only with `-o esp.enable_encryption_decode:TRUE`.

use std::fmt::Write;
use std::net::IpAddr;

use espalier_model::sa::{ChildSa, Direction};
use espalier_model::secret::Secret;
use espalier_model::suite::{AesKey, Cipher, Hmac};
use zeroize::Zeroizing;

use crate::keymat::{IkeKeys, IkeSpis};

/// One of Wireshark's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeylogTable {
    /// Keys of IKE SAs.
    Ike,
    /// Keys of ESP SAs.
    Esp,
}

/// One line of a table. It holds keys, so it has no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct KeylogLine {
    table: KeylogTable,
    text: Zeroizing<String>,
}

impl KeylogTable {
    /// Returns the name of the table and of its file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ike => "ikev2_decryption_table",
            Self::Esp => "esp_sa",
        }
    }
}

impl KeylogLine {
    /// Builds the line of an IKE SA.
    #[must_use]
    pub fn ike(spis: IkeSpis, keys: &IkeKeys) -> Self {
        let (encryption, integrity) = ike_names(keys.encryption.cipher());
        let (ei, er, ai, ar) = (hex(&keys.sk_ei), hex(&keys.sk_er), hex(&keys.sk_ai), hex(&keys.sk_ar));
        let (spi_i, spi_r) = (spis.initiator, spis.responder);
        let text = format!("{spi_i},{spi_r},{},{},\"{encryption}\",{},{},\"{integrity}\"", *ei, *er, *ai, *ar);
        Self { table: KeylogTable::Ike, text: Zeroizing::new(text) }
    }

    /// Builds the line of one half of a child SA; AH hides nothing. Wireshark up to 4.0 takes sequence numbers for 32 bits: it
    /// reads packets with longer ones, but holds their integrity check value for wrong.
    #[must_use]
    pub fn esp(sa: &ChildSa, direction: Direction) -> Option<Self> {
        let esp = sa.transform.esp()?;
        let (local, remote) = (sa.path.local.ip(), sa.path.remote.ip());
        let (source, destination) = match direction {
            Direction::Inbound => (remote, local),
            Direction::Outbound => (local, remote),
        };
        let family = if matches!(source, IpAddr::V4(_)) { "IPv4" } else { "IPv6" };
        let cipher = esp.suite.cipher();
        let (key, mac) = esp.keymat.expose().split_at_checked(cipher.encryption_len()).unwrap_or_default();
        let (spi, key, mac) = (esp.spi, prefixed(key), prefixed(mac));
        let (encryption, integrity) = esp_names(cipher);
        let text = format!(
            "\"{family}\",\"{source}\",\"{destination}\",\"0x{spi}\",\"{encryption}\",\"{}\",\"{integrity}\",\"{}\"",
            *key, *mac
        );
        Some(Self { table: KeylogTable::Esp, text: Zeroizing::new(text) })
    }

    /// Returns the table that the line belongs to.
    #[must_use]
    pub const fn table(&self) -> KeylogTable {
        self.table
    }

    /// Returns the line without an end of line.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Returns Wireshark's names of encryption and integrity in the table of IKE SAs. It has none for ChaCha20-Poly1305 there, so
/// that line only states the keys.
const fn ike_names(cipher: Cipher) -> (&'static str, &'static str) {
    let encryption = match cipher {
        Cipher::Gcm(AesKey::Aes256) => "AES-GCM-256 with 16 octet ICV [RFC5282]",
        Cipher::Gcm(AesKey::Aes128) => "AES-GCM-128 with 16 octet ICV [RFC5282]",
        Cipher::Ccm(AesKey::Aes256) => "AES-CCM-256 with 16 octet ICV [RFC5282]",
        Cipher::Ccm(AesKey::Aes128) => "AES-CCM-128 with 16 octet ICV [RFC5282]",
        Cipher::Cbc(AesKey::Aes256, _) => "AES-CBC-256 [RFC3602]",
        Cipher::Cbc(AesKey::Aes128, _) => "AES-CBC-128 [RFC3602]",
        Cipher::Ctr(AesKey::Aes256, _) => "AES-CTR-256 [RFC5930]",
        Cipher::Ctr(AesKey::Aes128, _) => "AES-CTR-128 [RFC5930]",
        Cipher::ChaCha20Poly1305 => "ChaCha20 with Poly1305 [RFC7634]",
        Cipher::Gmac(_) | Cipher::Null(_) => "NULL [RFC2410]",
    };
    let integrity = match cipher.hmac() {
        Some(Hmac::Sha256) => "HMAC_SHA2_256_128 [RFC4868]",
        Some(Hmac::Sha384) => "HMAC_SHA2_384_192 [RFC4868]",
        Some(Hmac::Sha512) => "HMAC_SHA2_512_256 [RFC4868]",
        None => "NONE [RFC4306]",
    };
    (encryption, integrity)
}

/// Returns Wireshark's names of encryption and integrity in the table of ESP SAs. It has none for CCM and GMAC there: the payload
/// of GMAC is in clear, and that of CCM stays closed.
const fn esp_names(cipher: Cipher) -> (&'static str, &'static str) {
    let encryption = match cipher {
        Cipher::Gcm(_) => "AES-GCM with 16 octet ICV [RFC4106]",
        Cipher::ChaCha20Poly1305 => "ChaCha20 with Poly1305 [RFC7634]",
        Cipher::Ccm(_) => "AES-CCM with 16 octet ICV [RFC4309]",
        Cipher::Cbc(..) => "AES-CBC [RFC3602]",
        Cipher::Ctr(..) => "AES-CTR [RFC3686]",
        Cipher::Gmac(_) | Cipher::Null(_) => "NULL",
    };
    let integrity = match cipher.hmac() {
        Some(Hmac::Sha256) => "HMAC-SHA-256-128 [RFC4868]",
        Some(Hmac::Sha384) => "HMAC-SHA-384-192 [RFC4868]",
        Some(Hmac::Sha512) => "HMAC-SHA-512-256 [RFC4868]",
        None if matches!(cipher, Cipher::Gmac(_)) => "ANY 128 bit authentication [no checking]",
        None => "NULL",
    };
    (encryption, integrity)
}

/// Writes a key as the table of ESP SAs has it; nothing stands for no key.
fn prefixed(key: &[u8]) -> Zeroizing<String> {
    if key.is_empty() { Zeroizing::default() } else { Zeroizing::new(format!("0x{}", *digits(key))) }
}

fn hex(secret: &Secret) -> Zeroizing<String> {
    digits(secret.expose())
}

fn digits(bytes: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(2 * bytes.len()));
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a String takes everything");
    }
    text
}

#[cfg(test)]
mod tests;
