//! Revocation lists of authorities (RFC 5280 §5), and what holds where they say nothing.

use serde::{Deserialize, Serialize};

/// Lists of revoked certificates, besides the serial numbers that a plan names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Revocation {
    /// The lists, each as PEM text or as the path of a file in PEM or DER. The files are read again when they change.
    pub crls: Vec<String>,
    /// What holds for certificates of an authority whose list should have been replaced by now; default `refuse`.
    pub expired: Expired,
    /// What holds for certificates of an authority without a list, where there are lists at all; default `accept`, since a mesh
    /// trusts authorities of different kinds.
    pub missing: Missing,
}

/// What holds when a list is out of date.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expired {
    /// Nobody is believed until there is a newer list.
    #[default]
    Refuse,
    /// What the old list says still holds.
    Accept,
}

/// What holds when there is no list of an authority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missing {
    /// Its certificates are believed.
    #[default]
    Accept,
    /// Nobody with a certificate of it is believed.
    Refuse,
}

impl Revocation {
    /// Tells whether nothing is asked for.
    #[must_use]
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}
