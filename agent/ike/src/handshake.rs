//! `IKE_SA_INIT` and `IKE_AUTH` (RFC 7296 §1.2). States are structs that are consumed: what a state no longer needs is gone.

pub(crate) mod configuration;
pub(crate) mod initiator;
pub(crate) mod intermediate;
pub(crate) mod nat;
pub(crate) mod ppk;
pub(crate) mod proof;
pub(crate) mod responder;

use std::net::SocketAddr;

use espalier_crypto::{CryptoError, Method};
use espalier_model::identity::Identity;
use espalier_model::sa::UdpPath;
use thiserror::Error;

use crate::auth::AuthError;
use crate::certificate::CertificateError;
use crate::explain::{NoCommonSuite, Why, WrongIdentity};
use crate::wire::sk::{OpenError, SealError};
use crate::wire::{Identification, Malformed, Notify, NotifyType, Oversized, Payload};

/// Why a message did not carry the handshake on.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// Not a message, or not one of this exchange.
    #[error("message is malformed")]
    Malformed(#[from] Malformed),
    /// A payload that the exchange demands is not there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// The encrypted part cannot be opened.
    #[error("message cannot be opened")]
    Open(#[from] OpenError),
    /// The peer's proof does not hold.
    #[error("peer does not prove its identity")]
    Proof(#[from] AuthError),
    /// The peer's certificate is not accepted.
    #[error("peer's certificate is not accepted")]
    Certificate(#[from] CertificateError),
    /// The peer is another one.
    #[error(transparent)]
    WrongIdentity(Box<WrongIdentity>),
    /// No common algorithms, with what both have.
    #[error(transparent)]
    NoCommonSuite(Box<NoCommonSuite>),
    /// The peer demands a proof that we have no key for.
    #[error("no certificate is configured for a peer that needs one")]
    NoCertificate,
    /// No common algorithms or traffic.
    #[error("no common {0}")]
    NothingInCommon(&'static str),
    /// The peer answered without an additional key exchange, or somebody between has taken it out.
    #[error("peer answered without the additional key exchange that is demanded: {0}")]
    WithoutAdditional(String),
    /// The peer refused all that we offer with additional key exchanges.
    #[error("peer answered {0:?}; we demand an additional key exchange: {1}")]
    RefusedDemand(NotifyType, String),
    /// A public value of another method than the one whose turn it is.
    #[error("key exchange is not the one agreed upon, {0}")]
    OutOfTurn(Method),
    /// ESP is to travel in UDP, and the peer does not know of that or has not agreed to it.
    #[error("ESP is to travel in UDP (encap always), but the peer does not support NAT traversal")]
    NoEncapsulation,
    /// One of both ends may not do without a postquantum preshared key.
    #[error(transparent)]
    Ppk(#[from] ppk::PpkError),
    /// There is no address for one of both ends.
    #[error(transparent)]
    Address(#[from] configuration::AddressError),
    /// No rule demands a child SA, and the peer sets no IKE SA up without one.
    #[error("no rule demands a child SA with the peer, and it sets no IKE SA up without one")]
    NeedsChild,
    /// ESP is never to travel in UDP, and it has to.
    #[error("a NAT is on the path or the peer says so, and encap never is configured")]
    Encapsulated,
    /// No rule of the peer can have the form that it wants on this path.
    #[error("no rule fits the path: {0}")]
    Hopeless(String),
    /// The peer allows no NAT, and one is on the path.
    #[error("peer allows no NAT, and one is on the path: the profile's `mobike: no-nat` decides")]
    Translated,
    /// The peer answered with an error.
    #[error("peer answered {0:?}")]
    Refused(NotifyType),
    /// The public value is wrong, or the provider failed.
    #[error("cryptography failed")]
    Crypto(#[from] CryptoError),
    /// Our message cannot be sent.
    #[error("message cannot be sealed")]
    Seal(#[from] SealError),
    /// Our message is too long.
    #[error("message is too long")]
    Oversized(#[from] Oversized),
}

impl Failure {
    /// Says that there is no common suite.
    pub(crate) fn no_common_suite(why: Why) -> Self {
        match why {
            Why::Suites(why) => Self::NoCommonSuite(why),
            Why::Told(_) | Why::Other(_) => Self::NothingInCommon("suite"),
        }
    }

    /// Says that a peer claims to be somebody else.
    pub(crate) fn wrong_identity(claimed: &Identification, expected: Option<&Identity>) -> Self {
        let claimed = claimed.identity().map_or_else(|| unreadable(claimed), |id| id.to_string());
        Self::WrongIdentity(Box::new(WrongIdentity { claimed, expected: expected.cloned() }))
    }
}

fn unreadable(id: &Identification) -> String {
    format!("somebody with an identification of type {:?}, which is not supported", id.id_type())
}

/// Builds the notification that answers an authentic message, or a first one, which cannot be read.
pub(crate) fn complaint(reason: Malformed) -> Option<Notify> {
    let Malformed::UnsupportedCritical(kind) = reason else { return None };
    //= RFC 7296 §2.5: a message with a critical payload that is not supported is rejected, and the answer names its type
    Some(Notify::new(NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, vec![kind.0]))
}

/// The same for an authentic message: whatever is wrong with it is told.
pub(crate) fn authentic_complaint(reason: Malformed) -> Notify {
    //= RFC 7296 §3.10.1: INVALID_SYNTAX is told only in answer to a message whose ID and checksum are right
    complaint(reason).unwrap_or_else(|| Notify::new(NotifyType::INVALID_SYNTAX, Vec::new()))
}

/// Announces that we put fragments together.
//= RFC 7383 §2.3: the announcement has neither protocol nor SPI nor data
pub(crate) const fn fragmentation_notify() -> Payload {
    Payload::Notify(Notify::new(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED, Vec::new()))
}

/// Announces that an IKE SA may stand without a child SA.
pub(crate) const fn childless_notify() -> Payload {
    Payload::Notify(Notify::new(NotifyType::CHILDLESS_IKEV2_SUPPORTED, Vec::new()))
}

/// Returns the same path between the ports of NAT traversal; one that begins there stays as it is.
pub(crate) fn floated(path: UdpPath) -> UdpPath {
    if path.local.port() == NAT_TRAVERSAL_PORT {
        return path;
    }
    let port = |address: SocketAddr| SocketAddr::new(address.ip(), NAT_TRAVERSAL_PORT);
    UdpPath { local: port(path.local), remote: port(path.remote) }
}

/// The port of IKE and ESP where a NAT may be on the path (RFC 3948).
pub(crate) const NAT_TRAVERSAL_PORT: u16 = 4500;
