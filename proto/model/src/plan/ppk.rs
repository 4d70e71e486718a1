//! The postquantum preshared key of a peer (RFC 8784).

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A secret besides the proof of identity: who can break the key exchange one day, but does not know it, reads nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PlannedPpk {
    /// By which both ends find it. It travels encrypted, but without protection by the key itself.
    pub id: PpkId,
    /// The path of a file with it, mode 0600: text, `0x` and hexadecimal digits, or `0s` and base64; at least 256 bits.
    pub file: PathBuf,
    /// Whether no SA may do without; default false, so that a fleet can be equipped one end after the other.
    #[serde(default)]
    pub required: bool,
}

/// The name of a postquantum preshared key: 1 to 64 printable ASCII bytes without spaces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PpkId(String);

/// A name that is not one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("\"{0}\" is not the id of a ppk: use 1 to 64 printable ASCII characters without spaces")]
pub struct PpkIdError(String);

impl PpkId {
    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PpkId {
    type Err = PpkIdError;

    fn from_str(text: &str) -> Result<Self, PpkIdError> {
        let good = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if good { Ok(Self(text.to_owned())) } else { Err(PpkIdError(text.to_owned())) }
    }
}

impl TryFrom<String> for PpkId {
    type Error = PpkIdError;

    fn try_from(text: String) -> Result<Self, PpkIdError> {
        text.parse()
    }
}

impl From<PpkId> for String {
    fn from(id: PpkId) -> Self {
        id.0
    }
}

impl fmt::Display for PpkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
