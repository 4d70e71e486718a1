//! Padding that hides how long packets are (RFC 4303 §2.7).

use std::num::NonZeroU16;

/// To what length inner packets are padded. Only in tunnel mode, where they say themselves how long they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Padding {
    /// Not at all.
    #[default]
    None,
    /// To a multiple of so many bytes, but never beyond this length.
    Multiple(NonZeroU16, u16),
    /// All to this length, the MTU of the tunnel.
    Full(u16),
}

impl Padding {
    /// Returns the length that a packet of this length is padded to; a longer one than the longest stays as it is.
    #[must_use]
    pub fn padded(self, length: usize) -> usize {
        match self {
            Self::None => length,
            Self::Multiple(unit, most) => {
                length.max(length.next_multiple_of(usize::from(unit.get())).min(usize::from(most)))
            }
            Self::Full(most) => length.max(usize::from(most)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_grow_to_steps_or_to_the_mtu_and_never_shrink() {
        let steps = Padding::Multiple(NonZeroU16::new(256).unwrap(), 1438);
        let cases = [(0, 0), (1, 256), (256, 256), (257, 512), (1400, 1438), (1438, 1438), (2000, 2000)];
        for (length, expected) in cases {
            assert_eq!(steps.padded(length), expected, "{length}");
            assert_eq!(Padding::Full(1438).padded(length), length.max(1438));
            assert_eq!(Padding::None.padded(length), length);
        }
    }
}
