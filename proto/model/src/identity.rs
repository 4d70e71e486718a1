//! Who a node is: the name it is known by, and the identity that IKE and TLS prove.

mod distinguished;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use distinguished::{Attribute, AttributeKind, DistinguishedName};

/// An IKE identity (RFC 7296 §3.5): an address, a distinguished name, an e-mail address, a domain name or a key ID.
///
/// Its text form decides the kind: what begins with `keyid:` is a key ID, what parses as an address or a distinguished name is
/// one, what else holds an `@` is an e-mail address, anything else must be a domain name. Domain names are kept in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Identity {
    /// `ID_FQDN`, compared without case.
    Fqdn(DomainName),
    /// `ID_RFC822_ADDR`.
    Email(String),
    /// `ID_IPV4_ADDR` or `ID_IPV6_ADDR`.
    Address(IpAddr),
    /// `ID_DER_ASN1_DN`: the subject of the certificate.
    Distinguished(DistinguishedName),
    /// `ID_KEY_ID`, the name of a shared secret: 1 to 255 printable ASCII characters, written behind `keyid:`.
    KeyId(String),
}

/// A domain name of at most 253 bytes, labels of letters, digits, `-` and `_`, in lower case, without a final dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DomainName(String);

/// The name of a node, a policy, a profile or a rule: 1 to 63 bytes of lower-case letters, digits and inner `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// A name or an identity that is not one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// Not a DNS label in lower case.
    #[error("\"{0}\" is not a name: use 1 to 63 lower-case letters, digits and inner hyphens")]
    Name(String),
    /// Not a domain name.
    #[error("\"{0}\" is not a domain name")]
    Domain(String),
    /// Not an e-mail address that an IKE identity can carry.
    #[error("\"{0}\" is not an e-mail address")]
    Email(String),
    /// Not a distinguished name of attributes that are known.
    #[error("\"{0}\" is not a distinguished name: write it as in C=CH, O=Example, CN=gateway")]
    Distinguished(String),
    /// Not a key ID.
    #[error("\"{0}\" is not a key ID: write 1 to 255 printable ASCII characters behind keyid:")]
    KeyId(String),
}

impl Name {
    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the identity of the node with this name: `<name>.node.<trust domain>`.
    #[must_use]
    pub fn node_identity(&self, trust_domain: &DomainName) -> Identity {
        Identity::Fqdn(DomainName(format!("{}.node.{}", self.0, trust_domain.0)))
    }
}

impl DomainName {
    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let good =
            (1..=63).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-');
        if good { Ok(Self(text.to_owned())) } else { Err(NameError::Name(text.to_owned())) }
    }
}

impl FromStr for DomainName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let label = |l: &str| {
            (1..=63).contains(&l.len())
                && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                && !l.starts_with('-')
                && !l.ends_with('-')
        };
        if (1..=253).contains(&text.len()) && text.split('.').all(label) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(NameError::Domain(text.to_owned()))
        }
    }
}

impl FromStr for Identity {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if let Some(id) = text.strip_prefix(KEY_ID) {
            let good = (1..=255).contains(&id.len()) && id.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
            return if good { Ok(Self::KeyId(id.to_owned())) } else { Err(NameError::KeyId(text.to_owned())) };
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        match (text.parse().map(Self::Distinguished), text.split_once('@')) {
            (Ok(name), _) => Ok(name),
            (Err(_), Some((user, domain))) => Self::mailbox(text, user, domain),
            (Err(error), None) if text.contains('=') => Err(error),
            (Err(_), None) => text.parse().map(Self::Fqdn),
        }
    }
}

impl Identity {
    /// Makes an e-mail address of its two halves.
    fn mailbox(text: &str, user: &str, domain: &str) -> Result<Self, NameError> {
        let printable = user.bytes().all(|b| b.is_ascii_graphic());
        if user.is_empty() || !printable || domain.parse::<DomainName>().is_err() {
            return Err(NameError::Email(text.to_owned()));
        }
        Ok(Self::Email(text.to_owned()))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fqdn(name) => name.fmt(f),
            Self::Email(text) => text.fmt(f),
            Self::Address(address) => address.fmt(f),
            Self::Distinguished(name) => name.fmt(f),
            Self::KeyId(id) => write!(f, "{KEY_ID}{id}"),
        }
    }
}

impl From<Identity> for String {
    fn from(identity: Identity) -> Self {
        identity.to_string()
    }
}

impl TryFrom<String> for Identity {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

macro_rules! text_form {
    ($type:ty) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }
    };
}

/// What a key ID begins with.
const KEY_ID: &str = "keyid:";

text_form!(Name);
text_form!(DomainName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_read_by_its_form() {
        assert_eq!("10.0.0.1".parse(), Ok(Identity::Address("10.0.0.1".parse().unwrap())));
        assert_eq!("a@b.example".parse(), Ok(Identity::Email("a@b.example".to_owned())));
        assert_eq!("Left.Example".parse::<Identity>().unwrap().to_string(), "left.example");
        assert_eq!("a=b@c.example".parse(), Ok(Identity::Email("a=b@c.example".to_owned())));
        assert_eq!("C=CH, CN=a@b".parse::<Identity>().unwrap().to_string(), "C=CH, CN=a@b");
        assert_eq!("keyid:group 7".parse(), Ok(Identity::KeyId("group 7".to_owned())));
        assert_eq!("keyid:group 7".parse::<Identity>().unwrap().to_string(), "keyid:group 7");
        assert!("keyid:".parse::<Identity>().is_err());
        assert!("keyid:\u{7}".parse::<Identity>().is_err());
        assert!("".parse::<Identity>().is_err());
        assert!("a b".parse::<Identity>().is_err());
        assert!("@b".parse::<Identity>().is_err());
    }

    #[test]
    fn a_name_is_a_dns_label() {
        for bad in ["", "-a", "a-", "A", "a.b", "a_b", &"a".repeat(64)] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
        let node: Name = "node-1".parse().unwrap();
        assert_eq!(node.node_identity(&"mesh.example".parse().unwrap()).to_string(), "node-1.node.mesh.example");
    }
}
