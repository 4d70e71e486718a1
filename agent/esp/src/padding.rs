//! Padding that hides how long packets are (RFC 4303 §2.7).

use std::num::NonZeroU16;

use espalier_model::profile;

/// To what length inner packets are padded. Only in tunnel mode, where they say themselves how long they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Padding {
    /// Not at all.
    #[default]
    None,
    /// To a multiple of so many bytes, but never beyond the MTU of the tunnel.
    Multiple(NonZeroU16),
    /// All to the MTU of the tunnel.
    Full,
}

impl Padding {
    /// Returns the length that a packet of this length is padded to in a tunnel of this MTU; a longer one stays as it is.
    #[must_use]
    pub fn padded(self, length: usize, mtu: u16) -> usize {
        match self {
            Self::None => length,
            Self::Multiple(unit) => length.max(length.next_multiple_of(usize::from(unit.get())).min(usize::from(mtu))),
            Self::Full => length.max(usize::from(mtu)),
        }
    }
}

impl From<profile::Padding> for Padding {
    fn from(padding: profile::Padding) -> Self {
        match padding {
            profile::Padding::None => Self::None,
            profile::Padding::Multiple(unit) => Self::Multiple(unit),
            profile::Padding::Mtu => Self::Full,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_grow_to_steps_or_to_the_mtu_and_never_shrink() {
        let steps = Padding::Multiple(NonZeroU16::new(256).unwrap());
        let cases = [(0, 0), (1, 256), (256, 256), (257, 512), (1400, 1438), (1438, 1438), (2000, 2000)];
        for (length, expected) in cases {
            assert_eq!(steps.padded(length, 1438), expected, "{length}");
            assert_eq!(Padding::Full.padded(length, 1438), length.max(1438));
            assert_eq!(Padding::None.padded(length, 1438), length);
        }
    }
}
