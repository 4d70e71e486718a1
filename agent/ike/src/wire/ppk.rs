//! The data of a `PPK_IDENTITY` notify (RFC 8784 §5.1).

use super::Malformed;
use super::buffer::Reader;
use super::registry::PpkIdType;

/// Which postquantum preshared key an initiator means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PpkIdentity {
    /// How the bytes are to be read.
    pub kind: PpkIdType,
    /// The name of the key.
    pub name: Vec<u8>,
}

impl PpkIdentity {
    /// Names a key that does not change.
    #[must_use]
    pub fn fixed(name: &str) -> Self {
        Self { kind: PpkIdType::FIXED, name: name.as_bytes().to_vec() }
    }

    /// Reads the data of the notify.
    ///
    /// # Errors
    /// `Truncated` without a type, `Length` without a name or with one longer than any in use.
    pub fn read(data: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(data);
        let kind = PpkIdType(r.u8("PPK_IDENTITY")?);
        match r.rest() {
            [] => Err(Malformed::Length("PPK_IDENTITY")),
            name if name.len() > MAX_NAME => Err(Malformed::Length("PPK_IDENTITY")),
            name => Ok(Self { kind, name: name.to_vec() }),
        }
    }

    /// Returns the data of the notify.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        [&[self.kind.0], self.name.as_slice()].concat()
    }
}

const MAX_NAME: usize = 512;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_identity_is_read_as_it_was_written(kind: u8, name in proptest::collection::vec(any::<u8>(), 1..=MAX_NAME)) {
            let identity = PpkIdentity { kind: PpkIdType(kind), name };
            prop_assert_eq!(PpkIdentity::read(&identity.emit()), Ok(identity));
        }
    }

    #[test]
    fn an_identity_without_a_name_or_with_an_endless_one_is_none() {
        assert_eq!(PpkIdentity::read(&[]), Err(Malformed::Truncated("PPK_IDENTITY")));
        assert_eq!(PpkIdentity::read(&[2]), Err(Malformed::Length("PPK_IDENTITY")));
        assert_eq!(PpkIdentity::read(&[2; MAX_NAME + 2]), Err(Malformed::Length("PPK_IDENTITY")));
        assert_eq!(PpkIdentity::fixed("a").emit(), [2, b'a']);
    }
}
