//! What a plan entry is called, and what a set of entries hashes to.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::EntryError;

/// What a plan entry is replaced and removed by: its kind and its name. 1 to 320 printable ASCII bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EntryKey(String);

/// SHA-256 over the digests of all entries in the order of their keys. Text form: 64 hexadecimal digits.
///
/// The digest of an entry covers its key and its JSON, whose fields stand in the order of the type. Who replaces one
/// entry hashes one entry again, and 32 bytes for each of the others.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl EntryKey {
    /// Takes the key of an entry, whose parts may be too long for it.
    pub(super) const fn of(text: String) -> Self {
        Self(text)
    }

    /// Returns the key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EntryKey {
    type Err = EntryError;

    fn from_str(text: &str) -> Result<Self, EntryError> {
        let kind = text.split_once('/').map_or(text, |(kind, _)| kind);
        let known = matches!(kind, "node" | "strict" | "trust" | "profile" | "peer" | "rule" | "revoked");
        let good = known && text.len() <= 320 && text.bytes().all(|b| b.is_ascii_graphic());
        if good { Ok(Self(text.to_owned())) } else { Err(EntryError::Key(text.chars().take(320).collect())) }
    }
}

impl TryFrom<String> for EntryKey {
    type Error = EntryError;

    fn try_from(text: String) -> Result<Self, EntryError> {
        text.parse()
    }
}

impl From<EntryKey> for String {
    fn from(key: EntryKey) -> Self {
        key.0
    }
}

impl Borrow<str> for EntryKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EntryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Digest {
    /// Takes a digest as it travels.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the digest as it travels.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::write(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = EntryError;

    fn from_str(text: &str) -> Result<Self, EntryError> {
        let bytes = hex::read(text).and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| EntryError::Digest(text.chars().take(64).collect()))
    }
}

impl TryFrom<String> for Digest {
    type Error = EntryError;

    fn try_from(text: String) -> Result<Self, EntryError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

/// Bytes as hexadecimal text.
pub(crate) mod hex {
    /// Writes two lower-case digits for each byte.
    pub(crate) fn write(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Reads what [`write()`] writes.
    pub(crate) fn read(text: &str) -> Option<Vec<u8>> {
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
        pairs.iter().map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
    }

    const fn digit(byte: u8) -> Option<u8> {
        match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        }
    }
}
