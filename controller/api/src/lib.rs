//! What REST answers, besides the documents themselves.

use std::net::IpAddr;

use espalier_model::document::rotation::RotationScope;
use espalier_model::identity::{Identity, Name};
use espalier_model::labels::Labels;
use serde::{Deserialize, Serialize};

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// Its items, in the order of their names.
    pub items: Vec<T>,
    /// Where the next page begins: give it back as `cursor`. Without one this page is the last.
    #[serde(skip_serializing_if = "Option::is_none", default = "Option::default")]
    pub next: Option<String>,
}

/// How the mesh stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshStatus {
    /// The life of the controller's database.
    pub epoch: u64,
    /// The latest change of plans.
    pub generation: u64,
    /// Raised by a rotation of keys.
    pub key_epoch: u64,
    /// Raised by a rotation of certificates.
    pub certificate_epoch: u64,
    /// Every enrolled node.
    pub nodes: Vec<NodeStatus>,
}

/// How a node stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Its name.
    pub name: Name,
    /// Its IKE identity.
    pub identity: Identity,
    /// Its labels.
    pub labels: Labels,
    /// Its underlay addresses.
    pub endpoints: Vec<IpAddr>,
    /// Its addresses in the mesh.
    pub addresses: Vec<String>,
    /// Whether it is connected to this controller.
    pub connected: bool,
    /// Whether it carries out the latest plan that concerns it.
    pub current: bool,
    /// The generation that it carries out.
    pub applied: u64,
    /// Why it does not carry out the latest plan, if it has refused one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub refused: Option<String>,
    /// Under which rotation of certificates it got its own.
    pub certificate_epoch: u64,
    /// When its certificate ends, in Unix seconds; 0 where it has not said.
    pub certificate_not_after: i64,
    /// Its IKE SAs, as it last reported them.
    pub ike_sas: Vec<IkeSaStatus>,
}

/// An IKE SA as one end sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IkeSaStatus {
    /// The peer's identity.
    pub peer: String,
    /// The SPI of the initiator, 16 hexadecimal digits.
    pub spi_initiator: String,
    /// The SPI of the responder, 16 hexadecimal digits.
    pub spi_responder: String,
    /// The rotation of keys under which it was set up.
    pub key_epoch: u64,
    /// Its child SAs.
    pub child_sas: Vec<ChildSaStatus>,
}

/// A child SA pair as one end sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChildSaStatus {
    /// The rule that it serves.
    pub rule: String,
    /// The SPI of packets that come in, 8 hexadecimal digits.
    pub spi_in: String,
    /// The SPI of packets that go out, 8 hexadecimal digits.
    pub spi_out: String,
    /// Packets received.
    pub packets_in: u64,
    /// Packets sent.
    pub packets_out: u64,
}

/// A join token. The token itself is shown once, when it is made.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenStatus {
    /// Its name.
    pub name: Name,
    /// How many nodes it still admits; without it, any number.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub uses_left: Option<u32>,
    /// When it ends, in Unix seconds.
    pub expires: i64,
    /// Labels of the nodes that it admits.
    pub labels: Labels,
    /// What a node shows to be admitted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub token: Option<String>,
}

/// A rotation and how far it has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RotationStatus {
    /// Its name.
    pub name: Name,
    /// What it replaces.
    pub scope: RotationScope,
    /// The epoch that everything reaches by it.
    pub epoch: u64,
    /// When it was started, in Unix seconds.
    pub started: i64,
    /// IKE SAs, or certificates, that have reached the epoch. An SA counts at both of its ends.
    pub done: usize,
    /// IKE SAs, or certificates, in all.
    pub total: usize,
}

/// A certificate of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateStatus {
    /// Its serial number, lower-case hexadecimal.
    pub serial: String,
    /// The node's name.
    pub node: String,
    /// When it ends, in Unix seconds.
    pub not_after: i64,
    /// When it was revoked, in Unix seconds, if it was.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub revoked_at: Option<i64>,
}

/// What went wrong (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What kind of problem it is, in a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong here, and how to put it right.
    pub detail: String,
    /// Every field that is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty", default = "Vec::default")]
    pub errors: Vec<FieldError>,
}

/// A field that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// JSON pointer (RFC 6901) to it.
    pub pointer: String,
    /// What is wrong with it.
    pub detail: String,
}
