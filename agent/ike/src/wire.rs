//! Messages as they travel (RFC 7296 §3): values that parse and emit, and nothing else.
//!
//! [`Message::parse`] refuses what is truncated, oversized or followed by more bytes, with one typed reason, and never panics.
//! IANA numbers are newtypes, so a value that is unknown here survives and is named in the answer.
//! [`sk`] seals and opens the encrypted payload, [`proposal`] builds and selects proposals.

pub mod buffer;
pub mod cp;
pub(crate) mod dn;
pub mod header;
pub mod id;
pub mod message;
pub mod mobility;
pub mod notify;
pub mod payload;
pub mod ppk;
pub mod proposal;
pub mod registry;
pub mod sa;
pub mod sk;
mod ts;

use thiserror::Error;

pub use cp::Configuration;
pub use header::{Flags, Header, IkeSpi};
pub use id::Identification;
pub use message::Message;
pub use notify::{Delete, Notify};
pub use payload::{Authentication, Certificate, CertificateRequest, Encrypted, KeyExchangeData, Nonce, Payload};
pub use ppk::PpkIdentity;
pub use registry::{
    AttributeType, AuthMethod, CertificateEncoding, ConfigurationType, ExchangeType, IdType, NotifyType, PayloadType,
    PpkIdType, ProtocolId, TransformType,
};
pub use sa::{Proposal, SpiField, Transform};

/// Bytes that are not an IKEv2 message; the text names the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Malformed {
    /// The bytes end inside a field.
    #[error("{0} is truncated")]
    Truncated(&'static str),
    /// Bytes follow where nothing may.
    #[error("bytes follow {0}")]
    Trailing(&'static str),
    /// A length field that cannot be.
    #[error("length of {0} is wrong")]
    Length(&'static str),
    /// More elements than are accepted.
    #[error("too many {0}")]
    TooMany(&'static str),
    /// A value that is not allowed in this place.
    #[error("{0} has a value that is not allowed")]
    Value(&'static str),
    /// Another major version than 2; carries it (RFC 7296 §2.5).
    #[error("major version {0} is not supported")]
    Version(u8),
    /// A payload that is unknown here and marked critical (RFC 7296 §2.5).
    #[error("critical payload {} is not supported", .0.0)]
    UnsupportedCritical(PayloadType),
}

/// A value that does not fit the length field before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{0} is too long to send")]
pub struct Oversized(pub &'static str);

#[cfg(test)]
mod tests;
