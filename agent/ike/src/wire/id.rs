//! The identification payload (RFC 7296 §3.5).

use std::net::IpAddr;

use espalier_model::identity::Identity;

use super::registry::IdType;
use super::{Malformed, dn};

/// An identification, kept exactly as it travelled because AUTH covers its bytes (RFC 7296 §2.15).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identification {
    body: Vec<u8>,
}

impl Identification {
    /// Reads the body of an IDi or IDr payload.
    ///
    /// # Errors
    /// `Truncated` without the fixed part, `Length` for an empty or an unreasonably long identity.
    pub fn read(body: &[u8]) -> Result<Self, Malformed> {
        match body.len().checked_sub(FIXED_LEN) {
            None => Err(Malformed::Truncated("ID")),
            Some(n) if n == 0 || n > MAX_DATA => Err(Malformed::Length("ID")),
            Some(_) => Ok(Self { body: body.to_vec() }),
        }
    }

    /// Returns the body of the payload: type, reserved bytes, data. AUTH covers it.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Returns the type.
    #[must_use]
    pub fn id_type(&self) -> IdType {
        IdType(self.body.first().copied().unwrap_or_default())
    }

    /// Returns what follows the fixed part.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        //= RFC 7296 §3.5: the reserved field is sent as zero and ignored
        self.body.get(FIXED_LEN..).unwrap_or_default()
    }

    /// Returns the identity, or `None` for a type that is not used here or a text that is not of its type.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        let data = self.data();
        //= RFC 7296 §3.5: an identity is text that reads as one of its type
        let text = || std::str::from_utf8(data).ok()?.parse::<Identity>().ok();
        match self.id_type() {
            IdType::IPV4_ADDR => Some(Identity::Address(IpAddr::from(<[u8; 4]>::try_from(data).ok()?))),
            IdType::IPV6_ADDR => Some(Identity::Address(IpAddr::from(<[u8; 16]>::try_from(data).ok()?))),
            IdType::FQDN => text().filter(|i| matches!(i, Identity::Fqdn(_))),
            IdType::RFC822_ADDR => text().filter(|i| matches!(i, Identity::Email(_))),
            IdType::KEY_ID => std::str::from_utf8(data).ok().and_then(|id| format!("keyid:{id}").parse().ok()),
            IdType::DER_ASN1_DN => dn::read(data).map(Identity::Distinguished),
            _ => None,
        }
    }
}

impl From<&Identity> for Identification {
    fn from(identity: &Identity) -> Self {
        let (id_type, data) = match identity {
            Identity::Fqdn(name) => (IdType::FQDN, name.as_str().as_bytes().to_vec()),
            Identity::Email(text) => (IdType::RFC822_ADDR, text.as_bytes().to_vec()),
            Identity::Address(IpAddr::V4(a)) => (IdType::IPV4_ADDR, a.octets().to_vec()),
            Identity::Address(IpAddr::V6(a)) => (IdType::IPV6_ADDR, a.octets().to_vec()),
            Identity::Distinguished(name) => (IdType::DER_ASN1_DN, dn::emit(name)),
            Identity::KeyId(id) => (IdType::KEY_ID, id.as_bytes().to_vec()),
        };
        let mut body = vec![id_type.0, 0, 0, 0];
        body.extend(data);
        Self { body }
    }
}

const FIXED_LEN: usize = 4;
/// Longer than any distinguished name in use, short enough to keep.
const MAX_DATA: usize = 2048;
