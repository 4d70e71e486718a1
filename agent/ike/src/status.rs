//! What stands, for people and metrics.

use espalier_model::identity::{Identity, Name};
use espalier_model::sa::{Spi, UdpPath};

use crate::keymat::IkeSpis;

/// One standing IKE SA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IkeStatus {
    /// The peer, as proven.
    pub peer: Identity,
    /// Its SPIs.
    pub spis: IkeSpis,
    /// The path in use.
    pub path: UdpPath,
    /// Its child SAs.
    pub children: Vec<ChildStatus>,
}

/// One child SA pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildStatus {
    /// The rule that demanded it.
    pub rule: Name,
    /// Our inbound SPI.
    pub inbound: Spi,
    /// The peer's inbound SPI.
    pub outbound: Spi,
}
