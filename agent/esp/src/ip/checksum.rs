//! Checksums of headers, and changes of one without its packet (RFC 1624).

use std::net::IpAddr;

use crate::offload::Checksum;

/// What changes in the words under a checksum: the sum of the new ones less that of the old ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference(Checksum);

impl Difference {
    /// Adds a change of bytes that start on a word. Both have the same, even length.
    #[must_use]
    pub(crate) fn bytes(self, old: &[u8], new: &[u8]) -> Self {
        Self(self.0.remove_word(Checksum::default().with(old).sum()).with(new))
    }

    /// Adds a change of an address of a pseudo-header. Both have the same family.
    #[must_use]
    pub(crate) fn address(self, old: IpAddr, new: IpAddr) -> Self {
        match (old, new) {
            (IpAddr::V4(old), IpAddr::V4(new)) => self.bytes(&old.octets(), &new.octets()),
            (IpAddr::V6(old), IpAddr::V6(new)) => self.bytes(&old.octets(), &new.octets()),
            _ => self,
        }
    }

    /// Returns the checksum after the change.
    #[must_use]
    pub(crate) fn apply(self, checksum: [u8; 2]) -> [u8; 2] {
        //= RFC 1624 §3: HC' = ~(~HC + ~m + m')
        self.0.remove_word(u16::from_be_bytes(checksum)).finish().to_be_bytes()
    }
}

/// Returns the checksum of bytes in which the field itself is 0.
#[must_use]
pub(crate) fn checksum(bytes: &[u8]) -> [u8; 2] {
    Checksum::default().with(bytes).finish().to_be_bytes()
}

/// Returns the checksum of an upper layer in which the field itself is 0; with a pseudo-header where addresses are given.
#[must_use]
pub(crate) fn upper_checksum(pseudo: Option<((IpAddr, IpAddr), u8)>, bytes: &[u8]) -> [u8; 2] {
    let mut sum = Checksum::default();
    if let Some(((from, to), upper)) = pseudo {
        for address in [from, to] {
            sum = match address {
                IpAddr::V4(address) => sum.with(&address.octets()),
                IpAddr::V6(address) => sum.with(&address.octets()),
            };
        }
        let length = u32::try_from(bytes.len()).unwrap_or_default();
        sum = sum.with(&length.to_be_bytes()).add_word(u16::from(upper));
    }
    sum.with(bytes).finish().to_be_bytes()
}
