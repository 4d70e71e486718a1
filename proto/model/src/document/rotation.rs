//! A rotation: every key or every certificate of the fleet is replaced, without loss of traffic.

use serde::{Deserialize, Serialize};

use super::{Fault, Kind, Spec};

/// The body of a `Rotation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RotationSpec {
    /// What is replaced.
    pub scope: RotationScope,
}

/// What a rotation replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RotationScope {
    /// The keys of every IKE and child SA.
    Keys,
    /// The certificate and the key pair of every node.
    Certificates,
}

impl Spec for RotationSpec {
    const KIND: Kind = Kind::Rotation;

    fn check(&self) -> Vec<Fault> {
        Vec::new()
    }
}
