//! Profiles: how traffic is protected, by name.

mod additional;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::identity::Name;
use crate::suite::{AhSuite, EspSuite, IkeEncryption, KeyExchange, Prf};

pub use additional::{AdditionalError, AdditionalKeyExchanges, MOST_ROUNDS, Round};
pub use built_in::BUILT_IN;
pub use form::{Activation, Confidentiality, Encap, Esn, Mode, Protection};
pub use outside::{Dscp, OutsideError, Padding};

mod built_in;
mod form;
mod outside;

/// Algorithms in order of preference, the form of packets, and lifetimes. Every list must hold at least one element.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Profile {
    /// The name that peers and rules refer to.
    pub name: Name,
    /// What of a packet a child SA carries; default `tunnel`.
    #[serde(default)]
    pub mode: Mode,
    /// Which protocol protects packets; default `esp`.
    #[serde(default)]
    pub protection: Protection,
    /// Whether packets must be secret; default `required`: a list of suites that holds one without encryption is refused.
    #[serde(default)]
    pub confidentiality: Confidentiality,
    /// Encryption of IKE messages.
    #[serde(default = "default_ike_encryption")]
    pub ike_encryption: Vec<IkeEncryption>,
    /// Pseudo-random functions of IKE.
    #[serde(default = "default_prf")]
    pub prf: Vec<Prf>,
    /// Key exchange methods, for the IKE SA and for each child that is rekeyed (perfect forward secrecy).
    #[serde(default = "default_key_exchange")]
    pub key_exchange: Vec<KeyExchange>,
    /// Key exchanges that take place besides (RFC 9370); default ML-KEM, which a peer cannot decline. `[none]` is for peers that
    /// have none.
    #[serde(default = "AdditionalKeyExchanges::standard")]
    pub additional_key_exchange: AdditionalKeyExchanges,
    /// Suites of the child SAs with ESP.
    #[serde(default = "default_esp")]
    pub esp: Vec<EspSuite>,
    /// Suites of the child SAs with AH.
    #[serde(default = "default_ah")]
    pub ah: Vec<AhSuite>,
    /// Whether sequence numbers have 64 bits; default `preferred`.
    #[serde(default)]
    pub esn: Esn,
    /// Whether ESP travels in UDP; default `always`. Counts in the profile of a peer, which may overrule it.
    #[serde(default)]
    pub encap: Encap,
    /// Seconds until an IKE SA is rekeyed; default 14,400. A random tenth is taken off, so that a fleet spreads out.
    #[serde(default = "default_ike_lifetime")]
    pub ike_rekey_seconds: u32,
    /// Seconds until a child SA is rekeyed; default 3,600. A random tenth is taken off.
    #[serde(default = "default_child_lifetime")]
    pub child_rekey_seconds: u32,
    /// Packets in one direction after which a child SA is rekeyed, at least 1,000; no such limit where nothing is written.
    /// A random tenth is taken off. At twice as many the SA carries nothing more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub child_rekey_packets: Option<u64>,
    /// Bytes of inner packets in one direction after which a child SA is rekeyed, at least 100,000; otherwise as packets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub child_rekey_bytes: Option<u64>,
    /// Seconds without a packet from the peer until its liveness is checked; default 10.
    #[serde(default = "default_liveness")]
    pub liveness_seconds: u32,
    /// Packets of the anti-replay window; default 1,024, a multiple of 64 from 64 to 8,192.
    #[serde(default = "default_replay_window")]
    pub replay_window: u32,
    /// To what length packets are padded in tunnel mode with ESP: `none`, a multiple of 2 to 1,280 bytes, or `mtu`; default `none`,
    /// since it costs bandwidth.
    #[serde(default, skip_serializing_if = "Padding::is_default")]
    pub padding: Padding,
    /// The DSCP of outer headers in tunnel mode: `copy` of the packet inside, or a number from 0 to 63; default `copy`.
    #[serde(default, skip_serializing_if = "Dscp::is_default")]
    pub dscp: Dscp,
    /// Whether an IKE SA is set up without a child SA, which follows once it stands (RFC 6023); default false, since that costs a
    /// round trip. A peer that does not announce it gets its child SA at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub childless: bool,
    /// Whether SAs move to other addresses (RFC 4555); default `on`.
    #[serde(default, skip_serializing_if = "Mobike::is_default")]
    pub mobike: Mobike,
    /// When a child SA is made; default `eager`. Counts in the profile of a rule. An IKE SA whose rules are all on demand waits for
    /// the first of them.
    #[serde(default, skip_serializing_if = "Activation::is_eager")]
    pub activation: Activation,
}

/// Whether SAs follow changes of addresses (RFC 4555).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mobike {
    /// They do, where the peer does so too.
    #[default]
    On,
    /// They do, but only between addresses that no NAT translates.
    NoNat,
    /// They do not: a changed address needs a new SA.
    Off,
}

impl Mobike {
    const fn is_default(&self) -> bool {
        matches!(self, Self::On)
    }
}

/// A profile that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProfileError {
    /// A list without an element.
    #[error("profile {0}: {1} is empty; name at least one algorithm or leave the field out")]
    Empty(Name, &'static str),
    /// Additional key exchanges that cannot all take place.
    #[error("profile {0}: additional-key-exchange: {1}")]
    Additional(Name, AdditionalError),
    /// A window of another size.
    #[error("profile {0}: replay-window {1} is not a multiple of 64 from 64 to 8192")]
    ReplayWindow(Name, u32),
    /// A lifetime too short to hand over in.
    #[error("profile {0}: {1} must be at least {2} seconds")]
    TooShort(Name, &'static str, u32),
    /// A limit of use too low to hand over in.
    #[error("profile {0}: {1} must be at least {2}")]
    TooFew(Name, &'static str, u64),
    /// A suite that leaves packets readable where they must be secret.
    #[error("profile {0}: esp: {1} does not encrypt; leave it out, or write \"confidentiality: none\"")]
    NotSecret(Name, EspSuite),
    /// A suite that encrypts where none should.
    #[error("profile {0}: esp: {1} encrypts, against \"confidentiality: none\"; name suites such as aes256gmac")]
    Secret(Name, EspSuite),
    /// AH where packets must be secret.
    #[error("profile {0}: protection ah encrypts nothing; write \"confidentiality: none\", or protection ah+esp")]
    AhNotSecret(Name),
    /// Padding where no packet says inside how long it is.
    #[error("profile {0}: padding hides lengths only with ESP in tunnel mode; leave it out")]
    NoPadding(Name),
    /// Another DSCP where packets keep their own header.
    #[error("profile {0}: dscp: packets keep their own in transport mode; write \"dscp: copy\"")]
    OwnDscp(Name),
}

impl Profile {
    /// Returns the profile that is used where none is named.
    #[must_use]
    pub fn standard(name: Name) -> Self {
        Self {
            name,
            mode: Mode::default(),
            protection: Protection::default(),
            confidentiality: Confidentiality::default(),
            ike_encryption: default_ike_encryption(),
            prf: default_prf(),
            key_exchange: default_key_exchange(),
            additional_key_exchange: AdditionalKeyExchanges::standard(),
            esp: default_esp(),
            ah: default_ah(),
            esn: Esn::default(),
            encap: Encap::default(),
            ike_rekey_seconds: default_ike_lifetime(),
            child_rekey_seconds: default_child_lifetime(),
            child_rekey_packets: None,
            child_rekey_bytes: None,
            liveness_seconds: default_liveness(),
            replay_window: default_replay_window(),
            padding: Padding::None,
            dscp: Dscp::Copy,
            childless: false,
            mobike: Mobike::On,
            activation: Activation::Eager,
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
            ("ah", self.ah.is_empty()),
        ];
        if let Some((field, _)) = lists.iter().find(|(_, empty)| *empty) {
            return Err(ProfileError::Empty(self.name.clone(), field));
        }
        let additional = self.additional_key_exchange.check(&self.key_exchange);
        additional.map_err(|error| ProfileError::Additional(self.name.clone(), error))?;
        if !(64..=8192).contains(&self.replay_window) || !self.replay_window.is_multiple_of(64) {
            return Err(ProfileError::ReplayWindow(self.name.clone(), self.replay_window));
        }
        let times = [
            ("ike-rekey-seconds", self.ike_rekey_seconds, 5),
            ("child-rekey-seconds", self.child_rekey_seconds, 2),
            ("liveness-seconds", self.liveness_seconds, 1),
        ];
        if let Some((field, _, least)) = times.iter().find(|(_, value, least)| value < least) {
            return Err(ProfileError::TooShort(self.name.clone(), field, *least));
        }
        let limits = [
            ("child-rekey-packets", self.child_rekey_packets, 1_000),
            ("child-rekey-bytes", self.child_rekey_bytes, 100_000),
        ];
        if let Some((field, _, least)) = limits.iter().find(|(_, limit, least)| limit.is_some_and(|l| l < *least)) {
            return Err(ProfileError::TooFew(self.name.clone(), field, *least));
        }
        self.check_outside()?;
        self.check_confidentiality()
    }

    fn check_outside(&self) -> Result<(), ProfileError> {
        let hides = self.mode == Mode::Tunnel && self.protection != Protection::Ah;
        if self.padding != Padding::None && !hides {
            return Err(ProfileError::NoPadding(self.name.clone()));
        }
        if self.dscp != Dscp::Copy && self.mode == Mode::Transport {
            return Err(ProfileError::OwnDscp(self.name.clone()));
        }
        Ok(())
    }

    fn check_confidentiality(&self) -> Result<(), ProfileError> {
        let name = || self.name.clone();
        let other = |encrypts: bool| self.esp.iter().copied().find(|suite| suite.encrypts() == encrypts);
        match (self.protection, self.confidentiality) {
            (Protection::Ah, Confidentiality::None) => Ok(()),
            (Protection::Ah, Confidentiality::Required) => Err(ProfileError::AhNotSecret(name())),
            (Protection::Esp | Protection::AhEsp, Confidentiality::Required) => {
                other(false).map_or(Ok(()), |suite| Err(ProfileError::NotSecret(name(), suite)))
            }
            (Protection::Esp | Protection::AhEsp, Confidentiality::None) => {
                other(true).map_or(Ok(()), |suite| Err(ProfileError::Secret(name(), suite)))
            }
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

fn default_ah() -> Vec<AhSuite> {
    vec![AhSuite::Sha256, AhSuite::Sha384, AhSuite::Sha512]
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

#[cfg(test)]
mod tests;
