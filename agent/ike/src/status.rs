//! What stands, for people and metrics.

use std::net::IpAddr;
use std::time::Instant;

use espalier_model::identity::{Identity, Name};
use espalier_model::plan::PpkId;
use espalier_model::sa::{ChildId, Form, Spi, UdpPath};

use crate::keymat::IkeSpis;
use crate::nat::Nat;

/// One standing IKE SA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IkeStatus {
    /// The peer, as proven.
    pub peer: Identity,
    /// Its SPIs.
    pub spis: IkeSpis,
    /// Whether this endpoint started it.
    pub initiator: bool,
    /// The path in use.
    pub path: UdpPath,
    /// Since when it stands.
    pub since: Instant,
    /// The key exchanges that made it, as in `x25519+mlkem768`.
    pub key_exchange: String,
    /// Whether it moves to other addresses (RFC 4555).
    pub mobike: bool,
    /// On which sides a NAT is.
    pub nat: Nat,
    /// The rotation of keys under which it was set up.
    pub key_epoch: u64,
    /// The postquantum preshared key that is mixed into its keys.
    pub ppk: Option<PpkId>,
    /// The addresses that one end has given the other.
    pub addresses: Vec<IpAddr>,
    /// The name servers that were told along with them.
    pub dns: Vec<IpAddr>,
    /// Its child SAs.
    pub children: Vec<ChildStatus>,
}

/// One child SA pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildStatus {
    /// Its name on this node.
    pub id: ChildId,
    /// The rule that demanded it.
    pub rule: Name,
    /// Our inbound SPI; of ESP inside AH that of ESP.
    pub inbound: Spi,
    /// The peer's inbound SPI.
    pub outbound: Spi,
    /// In what form its packets travel.
    pub form: Form,
    /// The rotation of keys under which it was set up.
    pub key_epoch: u64,
}
