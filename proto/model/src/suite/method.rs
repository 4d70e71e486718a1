//! Ways to a shared secret: a key exchange in which both ends send a public value, or a key encapsulation mechanism.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::{Kem, KeyExchange};

/// How two ends come to a shared secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// Both send a public value.
    KeyExchange(KeyExchange),
    /// The initiator sends an encapsulation key, the responder a ciphertext.
    Kem(Kem),
}

/// A name that no method has.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("there is no key exchange method {0}")]
pub struct UnknownMethod(pub String);

impl Method {
    /// Returns the name that operators write.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::KeyExchange(method) => method.name(),
            Self::Kem(kem) => kem.name(),
        }
    }
}

impl From<KeyExchange> for Method {
    fn from(method: KeyExchange) -> Self {
        Self::KeyExchange(method)
    }
}

impl From<Kem> for Method {
    fn from(kem: Kem) -> Self {
        Self::Kem(kem)
    }
}

impl FromStr for Method {
    type Err = UnknownMethod;

    fn from_str(name: &str) -> Result<Self, UnknownMethod> {
        let kems = Kem::ALL.iter().copied().map(Self::from);
        let mut all = kems.chain(KeyExchange::ALL.iter().copied().map(Self::from));
        all.find(|method| method.name() == name).ok_or_else(|| UnknownMethod(name.to_owned()))
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
