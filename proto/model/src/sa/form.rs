//! In what form the packets of a child SA pair travel: what both ends have agreed on, besides keys and traffic.

use std::fmt;
use std::net::IpAddr;

use super::Spi;
use crate::profile::Mode;
use crate::secret::Secret;
use crate::suite::{AhSuite, EspSuite};

/// How packets are protected. Of ESP inside AH there are two SAs of one pair: a data plane uses both or none.
#[derive(Clone)]
pub enum Transform {
    /// ESP (RFC 4303).
    Esp(Keyed<EspSuite>),
    /// AH (RFC 4302).
    Ah(Keyed<AhSuite>),
    /// ESP inside AH.
    AhEsp {
        /// What the wire shows first.
        ah: Keyed<AhSuite>,
        /// What is inside.
        esp: Keyed<EspSuite>,
    },
}

/// One half of one SA: its SPI, algorithm and keys.
#[derive(Clone)]
pub struct Keyed<S> {
    /// The SPI on the wire: ours inbound, the peer's outbound.
    pub spi: Spi,
    /// The algorithm.
    pub suite: S,
    /// Key and salt, as long as the suite demands.
    pub keymat: Secret,
    /// Whether sequence numbers have 64 bits, of which the wire shows the lower half (RFC 4303 §2.2.1, RFC 4302 §2.5.1).
    pub esn: bool,
}

/// The form of a pair as people read it. Both halves have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// ESP, where packets have it.
    pub esp: Option<EspSuite>,
    /// AH, where packets have it.
    pub ah: Option<AhSuite>,
    /// Whether sequence numbers have 64 bits, in both where there are both.
    pub esn: bool,
    /// What of a packet is carried.
    pub mode: Mode,
    /// What is around it.
    pub encapsulation: Encapsulation,
}

/// What is around ESP or AH.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Encapsulation {
    /// UDP from and to port 4500 (RFC 3948); never with AH.
    Udp,
    /// Nothing: IP protocol 50 or 51.
    Ip,
}

/// The addresses that the peer's transport checksums are made of, where a NAT has put others in their place: only in transport mode
/// (RFC 7296 §2.23.1, RFC 3948 §3.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OriginalAddresses {
    /// Ours, as the peer sees it.
    pub local: IpAddr,
    /// The peer's own.
    pub remote: IpAddr,
}

impl Transform {
    /// Returns the SPI that the wire shows first, by which a packet finds its SA.
    #[must_use]
    pub const fn spi(&self) -> Spi {
        match self {
            Self::Esp(esp) => esp.spi,
            Self::Ah(ah) | Self::AhEsp { ah, .. } => ah.spi,
        }
    }

    /// Returns the part that is ESP.
    #[must_use]
    pub const fn esp(&self) -> Option<&Keyed<EspSuite>> {
        match self {
            Self::Esp(esp) | Self::AhEsp { esp, .. } => Some(esp),
            Self::Ah(_) => None,
        }
    }

    /// Returns the part that is AH.
    #[must_use]
    pub const fn ah(&self) -> Option<&Keyed<AhSuite>> {
        match self {
            Self::Ah(ah) | Self::AhEsp { ah, .. } => Some(ah),
            Self::Esp(_) => None,
        }
    }

    /// Tells whether sequence numbers have 64 bits, in both where there are both.
    #[must_use]
    pub fn esn(&self) -> bool {
        self.esp().is_none_or(|esp| esp.esn) && self.ah().is_none_or(|ah| ah.esn)
    }
}

impl fmt::Debug for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        list.entries(self.ah().map(|ah| (ah.spi, ah.suite)));
        list.entries(self.esp().map(|esp| (esp.spi, esp.suite))).finish()
    }
}

impl Form {
    /// Returns the algorithms as one word, such as `aes256gcm16`, `ah-sha256` or `ah-sha256+aes256gcm16`.
    #[must_use]
    pub fn suite(&self) -> String {
        let ah = self.ah.map(|ah| format!("ah-{ah}"));
        let parts: Vec<_> = ah.into_iter().chain(self.esp.map(|esp| esp.to_string())).collect();
        parts.join("+")
    }

    /// Returns what is around the packets as one word: `udp`, `esp` or `ah`.
    #[must_use]
    pub const fn around(&self) -> &'static str {
        match (self.encapsulation, self.ah) {
            (Encapsulation::Udp, _) => "udp",
            (Encapsulation::Ip, Some(_)) => "ah",
            (Encapsulation::Ip, None) => "esp",
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let esn = if self.esn { "esn" } else { "no esn" };
        write!(f, "{}, {}, {esn}, in {}", self.suite(), self.mode, self.around())
    }
}
