//! Explicit congestion notification across a tunnel (RFC 6040).

/// The ECN field of an IP header (RFC 3168 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ecn {
    /// The transport does not understand it.
    NotEct,
    /// The transport understands it; experimental.
    Ect1,
    /// The transport understands it.
    Ect0,
    /// Congestion was met.
    Ce,
}

impl Ecn {
    /// The bits of TOS or traffic class that it takes.
    pub const MASK: u8 = 0b11;

    /// Reads it from TOS or traffic class.
    #[must_use]
    pub const fn of(class: u8) -> Self {
        match class & Self::MASK {
            0 => Self::NotEct,
            1 => Self::Ect1,
            2 => Self::Ect0,
            _ => Self::Ce,
        }
    }

    /// Returns its bits.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::NotEct => 0,
            Self::Ect1 => 1,
            Self::Ect0 => 2,
            Self::Ce => 3,
        }
    }

    /// Returns what an inner packet with this field has after the tunnel; `None` when it is dropped.
    #[must_use]
    pub const fn decapsulated(self, outer: Self) -> Option<Self> {
        //= RFC 6040 §4.2: the table of figure 4
        match (self, outer) {
            (Self::NotEct, Self::Ce) => None,
            (Self::NotEct, _) => Some(Self::NotEct),
            (Self::Ce, _) | (_, Self::Ce) => Some(Self::Ce),
            (_, Self::Ect1) => Some(Self::Ect1),
            (inner, Self::NotEct | Self::Ect0) => Some(inner),
        }
    }
}
