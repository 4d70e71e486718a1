//! Lines for Wireshark's decryption tables, with which a capture of our own traffic is read.
//!
//! The files of that name lie in Wireshark's configuration folder (`WIRESHARK_CONFIG_DIR`), one line each ended by a newline, and
//! `tshark -o uat:<table>:<line>` takes single lines. ESP is decrypted only with `-o esp.enable_encryption_decode:TRUE`.

use std::fmt::Write;
use std::net::IpAddr;

use espalier_model::sa::{ChildSa, Direction};
use espalier_model::secret::Secret;
use espalier_model::suite::IkeEncryption;
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
        let algorithm = match keys.encryption {
            IkeEncryption::Aes256Gcm16 => "AES-GCM-256 with 16 octet ICV [RFC5282]",
            IkeEncryption::Aes128Gcm16 => "AES-GCM-128 with 16 octet ICV [RFC5282]",
        };
        let (ei, er) = (hex(&keys.sk_ei), hex(&keys.sk_er));
        let (spi_i, spi_r) = (spis.initiator, spis.responder);
        let text = format!("{spi_i},{spi_r},{},{},\"{algorithm}\",,,\"NONE [RFC4306]\"", *ei, *er);
        Self { table: KeylogTable::Ike, text: Zeroizing::new(text) }
    }

    /// Builds the line of one half of a child SA.
    #[must_use]
    pub fn esp(sa: &ChildSa, direction: Direction) -> Self {
        let (local, remote) = (sa.path.local.ip(), sa.path.remote.ip());
        let (source, destination) = match direction {
            Direction::Inbound => (remote, local),
            Direction::Outbound => (local, remote),
        };
        let family = if matches!(source, IpAddr::V4(_)) { "IPv4" } else { "IPv6" };
        let (spi, key) = (sa.spi, hex(&sa.keymat));
        let algorithm = "AES-GCM with 16 octet ICV [RFC4106]";
        let text = format!(
            "\"{family}\",\"{source}\",\"{destination}\",\"0x{spi}\",\"{algorithm}\",\"0x{}\",\"NULL\",\"\"",
            *key
        );
        Self { table: KeylogTable::Esp, text: Zeroizing::new(text) }
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

fn hex(secret: &Secret) -> Zeroizing<String> {
    let bytes = secret.expose();
    let mut text = Zeroizing::new(String::with_capacity(2 * bytes.len()));
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a String takes everything");
    }
    text
}

#[cfg(test)]
mod tests;
