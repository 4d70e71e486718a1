//! Which forms of packets are carried here. An SA of any other is refused, never half carried.

use espalier_crypto::CryptoError;
use espalier_model::profile::Mode;
use espalier_model::sa::{ChildSa, Encapsulation, Keyed, Transform};
use espalier_model::suite::EspSuite;
use thiserror::Error;

/// An SA that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SaError {
    /// Its keys do not fit its suite.
    #[error("the keys do not fit the suite")]
    Keys(#[from] CryptoError),
    /// AH is not carried.
    #[error("AH is not carried in user space")]
    Ah,
    /// Transport mode is not carried.
    #[error("transport mode is not carried in user space")]
    Transport,
    /// ESP outside UDP is not carried.
    #[error("ESP outside UDP is not carried in user space")]
    Unencapsulated,
}

/// Returns the one SA of a pair that is ESP in tunnel mode, inside UDP.
pub(crate) fn carried(sa: &ChildSa) -> Result<&Keyed<EspSuite>, SaError> {
    match (&sa.transform, sa.mode, sa.encapsulation) {
        (Transform::Ah(_) | Transform::AhEsp { .. }, ..) => Err(SaError::Ah),
        (_, Mode::Transport, _) => Err(SaError::Transport),
        (_, _, Encapsulation::Ip) => Err(SaError::Unencapsulated),
        (Transform::Esp(esp), Mode::Tunnel, Encapsulation::Udp) => Ok(esp),
    }
}
