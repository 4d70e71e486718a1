//! What an endpoint is told: who it is, whom it trusts, whom it speaks with.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use espalier_crypto::SigningKey;
use espalier_model::identity::{Identity, Name};
use espalier_model::plan::{PpkId, VirtualAddresses};
use espalier_model::profile::{Activation, Profile};
use espalier_model::secret::Secret;
use espalier_model::selector::TrafficSelector;

/// The present, on both clocks. Protocol timers follow `instant` alone; `unix` is for certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The monotonic clock.
    pub instant: Instant,
    /// Seconds since 1970.
    pub unix: u64,
}

/// Who this endpoint is.
pub struct LocalIdentity {
    /// What it proves to be.
    pub id: Identity,
    /// How it proves it to peers that demand a certificate.
    pub certificate: Option<CertificateIdentity>,
}

/// A certificate and its key.
pub struct CertificateIdentity {
    /// The certificate and those that lead to the root, in DER, its own first.
    pub chain: Vec<Vec<u8>>,
    /// Its private key.
    pub key: SigningKey,
}

/// What holds for every peer.
pub struct EndpointConfig {
    /// Who this endpoint is.
    pub identity: LocalIdentity,
    /// Certificates that may end a peer's chain, in DER.
    pub trust: Vec<Vec<u8>>,
    /// Serial numbers that are refused, in lower-case hexadecimal.
    pub revoked: BTreeSet<String>,
    /// Whether keys are given out for Wireshark.
    pub keylog: bool,
}

/// One peer.
#[derive(Clone)]
pub struct PeerConfig {
    /// What it must prove to be.
    pub id: Identity,
    /// Its addresses with the port of IKE, in order of preference.
    pub endpoints: Vec<SocketAddr>,
    /// Our addresses, of which the first of the endpoint's family is used.
    pub local: Vec<IpAddr>,
    /// Whether this endpoint starts. The other takes over when it does not.
    pub initiate: bool,
    /// How both prove who they are.
    pub auth: Auth,
    /// Algorithms and lifetimes of the IKE SA.
    pub profile: Profile,
    /// Raised by a rotation of keys: SAs set up under a lower number are replaced.
    pub key_epoch: u64,
    /// The postquantum preshared key that both mix into their keys.
    pub ppk: Option<Ppk>,
    /// Addresses that one of both gives the other.
    pub virtual_addresses: Option<VirtualAddresses>,
    /// The child SAs to hold, one for each rule.
    pub children: Vec<ChildConfig>,
}

impl PeerConfig {
    /// Tells whether there is no IKE SA with it before a packet asks for one. Who is given an address has no packets before.
    pub(crate) fn waits(&self) -> bool {
        let asks = matches!(self.virtual_addresses, Some(VirtualAddresses::Request(_)));
        !asks && !self.children.is_empty() && self.children.iter().all(ChildConfig::is_on_demand)
    }
}

/// How a pair proves identities.
#[derive(Clone)]
pub enum Auth {
    /// By certificates.
    Certificate,
    /// By a shared secret.
    Psk(Secret),
}

/// A postquantum preshared key (RFC 8784).
#[derive(Clone)]
pub struct Ppk {
    /// By which both ends find it.
    pub id: PpkId,
    /// The key.
    pub secret: Secret,
    /// Whether no SA with the peer may do without.
    pub required: bool,
}

/// One child SA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildConfig {
    /// The policy rule that demands it.
    pub rule: Name,
    /// Our side of the traffic.
    pub local: Vec<TrafficSelector>,
    /// The peer's side.
    pub remote: Vec<TrafficSelector>,
    /// Suites and lifetimes.
    pub profile: Profile,
}

impl ChildConfig {
    /// Tells whether it is made for the first packet, and not before.
    pub(crate) fn is_on_demand(&self) -> bool {
        self.profile.activation == Activation::OnDemand
    }
}
