//! Changes of an Internet checksum without its packet (RFC 1624).

use std::net::IpAddr;

/// What changes in the words under a checksum: the sum of the new ones less that of the old ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference(u64);

impl Difference {
    /// Adds a change of bytes that start on a word. Both have the same, even length.
    #[must_use]
    pub(crate) fn bytes(self, old: &[u8], new: &[u8]) -> Self {
        let inverted = old.as_chunks().0.iter().map(|word| u64::from(!u16::from_be_bytes(*word))).sum::<u64>();
        Self(self.0 + inverted + sum(new))
    }

    /// Returns the checksum after the change.
    #[must_use]
    pub(crate) fn apply(self, checksum: [u8; 2]) -> [u8; 2] {
        //= RFC 1624 §3: HC' = ~(~HC + ~m + m')
        fold(self.0 + u64::from(!u16::from_be_bytes(checksum)))
    }
}

/// Returns the checksum of bytes in which the field itself is 0.
#[must_use]
pub(crate) fn checksum(bytes: &[u8]) -> [u8; 2] {
    fold(sum(bytes))
}

/// Returns the checksum of an upper layer in which the field itself is 0; with a pseudo-header where addresses are given.
#[must_use]
pub(crate) fn upper_checksum(pseudo: Option<((IpAddr, IpAddr), u8)>, bytes: &[u8]) -> [u8; 2] {
    let octets = |address| match address {
        IpAddr::V4(address) => sum(&address.octets()),
        IpAddr::V6(address) => sum(&address.octets()),
    };
    let length = u64::try_from(bytes.len()).unwrap_or_default();
    fold(sum(bytes) + pseudo.map_or(0, |((from, to), upper)| octets(from) + octets(to) + u64::from(upper) + length))
}

fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<2>();
    let last = rest.first().map_or(0, |byte| u64::from(*byte) << 8);
    words.iter().map(|word| u64::from(u16::from_be_bytes(*word))).sum::<u64>() + last
}

fn fold(mut sum: u64) -> [u8; 2] {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let folded = u16::try_from(sum).unwrap_or_default();
    (!folded).to_be_bytes()
}
