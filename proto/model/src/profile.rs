//! Profiles: how traffic is protected, by name.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::identity::Name;
use crate::suite::{EspSuite, IkeEncryption, KeyExchange, Prf};

/// Algorithms in order of preference, and lifetimes. Every list must hold at least one element.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Profile {
    /// The name that peers and rules refer to.
    pub name: Name,
    /// Encryption of IKE messages.
    #[serde(default = "default_ike_encryption")]
    pub ike_encryption: Vec<IkeEncryption>,
    /// Pseudo-random functions of IKE.
    #[serde(default = "default_prf")]
    pub prf: Vec<Prf>,
    /// Key exchange methods, for the IKE SA and for each child that is rekeyed (perfect forward secrecy).
    #[serde(default = "default_key_exchange")]
    pub key_exchange: Vec<KeyExchange>,
    /// Suites of the child SAs.
    #[serde(default = "default_esp")]
    pub esp: Vec<EspSuite>,
    /// Seconds until an IKE SA is rekeyed; default 14,400. A random tenth is taken off, so that a fleet spreads out.
    #[serde(default = "default_ike_lifetime")]
    pub ike_rekey_seconds: u32,
    /// Seconds until a child SA is rekeyed; default 3,600. A random tenth is taken off.
    #[serde(default = "default_child_lifetime")]
    pub child_rekey_seconds: u32,
    /// Seconds without a packet from the peer until its liveness is checked; default 10.
    #[serde(default = "default_liveness")]
    pub liveness_seconds: u32,
    /// Packets of the anti-replay window; default 1,024, a multiple of 64 from 64 to 8,192.
    #[serde(default = "default_replay_window")]
    pub replay_window: u32,
    /// Whether an IKE SA is set up without a child SA, which follows once it stands (RFC 6023); default false, since that costs a
    /// round trip. A peer that does not announce it gets its child SA at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub childless: bool,
}

/// A profile that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProfileError {
    /// A list without an element.
    #[error("profile {0}: {1} is empty; name at least one algorithm or leave the field out")]
    Empty(Name, &'static str),
    /// A window of another size.
    #[error("profile {0}: replay-window {1} is not a multiple of 64 from 64 to 8192")]
    ReplayWindow(Name, u32),
    /// A lifetime too short to hand over in.
    #[error("profile {0}: {1} must be at least {2} seconds")]
    TooShort(Name, &'static str, u32),
}

impl Profile {
    /// Returns the profile that is used where none is named.
    #[must_use]
    pub fn standard(name: Name) -> Self {
        Self {
            name,
            ike_encryption: default_ike_encryption(),
            prf: default_prf(),
            key_exchange: default_key_exchange(),
            esp: default_esp(),
            ike_rekey_seconds: default_ike_lifetime(),
            child_rekey_seconds: default_child_lifetime(),
            liveness_seconds: default_liveness(),
            replay_window: default_replay_window(),
            childless: false,
        }
    }

    /// Checks what the field types cannot.
    ///
    /// # Errors
    /// The first field that cannot work, by name.
    pub fn check(&self) -> Result<(), ProfileError> {
        let lists = [
            ("ike-encryption", self.ike_encryption.is_empty()),
            ("prf", self.prf.is_empty()),
            ("key-exchange", self.key_exchange.is_empty()),
            ("esp", self.esp.is_empty()),
        ];
        if let Some((field, _)) = lists.iter().find(|(_, empty)| *empty) {
            return Err(ProfileError::Empty(self.name.clone(), field));
        }
        if !(64..=8192).contains(&self.replay_window) || !self.replay_window.is_multiple_of(64) {
            return Err(ProfileError::ReplayWindow(self.name.clone(), self.replay_window));
        }
        let times = [
            ("ike-rekey-seconds", self.ike_rekey_seconds, 5),
            ("child-rekey-seconds", self.child_rekey_seconds, 2),
            ("liveness-seconds", self.liveness_seconds, 1),
        ];
        match times.iter().find(|(_, value, least)| value < least) {
            Some((field, _, least)) => Err(ProfileError::TooShort(self.name.clone(), field, *least)),
            None => Ok(()),
        }
    }

    /// Returns the time until an IKE SA is rekeyed, before jitter.
    #[must_use]
    pub fn ike_rekey(&self) -> Duration {
        Duration::from_secs(u64::from(self.ike_rekey_seconds))
    }

    /// Returns the time until a child SA is rekeyed, before jitter.
    #[must_use]
    pub fn child_rekey(&self) -> Duration {
        Duration::from_secs(u64::from(self.child_rekey_seconds))
    }

    /// Returns the silence after which a peer's liveness is checked.
    #[must_use]
    pub fn liveness(&self) -> Duration {
        Duration::from_secs(u64::from(self.liveness_seconds))
    }
}

fn default_ike_encryption() -> Vec<IkeEncryption> {
    vec![IkeEncryption::Aes256Gcm16, IkeEncryption::Aes128Gcm16]
}

fn default_prf() -> Vec<Prf> {
    vec![Prf::HmacSha384, Prf::HmacSha256, Prf::HmacSha512]
}

fn default_key_exchange() -> Vec<KeyExchange> {
    vec![KeyExchange::X25519, KeyExchange::P256]
}

fn default_esp() -> Vec<EspSuite> {
    vec![EspSuite::Aes256Gcm16, EspSuite::Aes128Gcm16]
}

const fn default_ike_lifetime() -> u32 {
    14_400
}

const fn default_child_lifetime() -> u32 {
    3_600
}

const fn default_liveness() -> u32 {
    10
}

const fn default_replay_window() -> u32 {
    1_024
}
