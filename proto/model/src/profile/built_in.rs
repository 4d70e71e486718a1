//! The profiles that need not be written.

use super::{AdditionalKeyExchanges, Confidentiality, Esn, Profile};
use crate::identity::Name;
use crate::suite::{EspSuite, IkeEncryption, KeyExchange, Prf};

/// Names of the profiles that every plan has. One that is written takes the place of that of its name.
pub const BUILT_IN: [&str; 3] = ["default", "compat", "integrity-only"];

impl Profile {
    /// Returns the profile that is built in under this name.
    #[must_use]
    pub fn built_in(name: &Name) -> Option<Self> {
        match name.as_str() {
            "default" => Some(Self::standard(name.clone())),
            "compat" => Some(Self::compat(name.clone())),
            "integrity-only" => Some(Self::integrity_only(name.clone())),
            _ => None,
        }
    }

    /// What gear of the last fifteen years takes, the strongest first.
    fn compat(name: Name) -> Self {
        use KeyExchange::{Modp2048, Modp3072, Modp4096, P256, P384, X25519};
        Self {
            ike_encryption: vec![
                IkeEncryption::Aes256Gcm16,
                IkeEncryption::Aes128Gcm16,
                IkeEncryption::Aes256CbcSha256,
                IkeEncryption::Aes256CbcSha384,
                IkeEncryption::Aes256CbcSha512,
                IkeEncryption::Aes128CbcSha256,
            ],
            prf: vec![Prf::HmacSha256, Prf::HmacSha384, Prf::HmacSha512],
            key_exchange: vec![P256, P384, X25519, Modp4096, Modp3072, Modp2048],
            esp: vec![
                EspSuite::Aes256Gcm16,
                EspSuite::Aes128Gcm16,
                EspSuite::Aes256CbcSha256,
                EspSuite::Aes256CbcSha384,
                EspSuite::Aes256CbcSha512,
                EspSuite::Aes128CbcSha256,
            ],
            additional_key_exchange: AdditionalKeyExchanges::NONE,
            esn: Esn::Off,
            ..Self::standard(name)
        }
    }

    /// Packets are authentic, but not secret.
    fn integrity_only(name: Name) -> Self {
        Self {
            confidentiality: Confidentiality::None,
            esp: vec![EspSuite::Aes256Gmac, EspSuite::Aes128Gmac, EspSuite::NullSha256],
            ..Self::standard(name)
        }
    }
}
