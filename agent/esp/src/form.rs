//! In what form packets of an SA travel, and what of that a driver has to do.

use std::net::IpAddr;

use espalier_crypto::CryptoError;
use espalier_model::profile::Mode;
use espalier_model::sa::{ChildSa, Encapsulation, Form, OriginalAddresses};
use thiserror::Error;

use crate::ip::protocol;

/// An SA that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SaError {
    /// Its keys do not fit its suite.
    #[error("the keys do not fit the suite")]
    Keys(#[from] CryptoError),
    /// AH inside UDP, which does not exist (RFC 3948 §1): it covers addresses that a NAT changes.
    #[error("AH does not travel inside UDP")]
    AhInUdp,
    /// Two families of addresses at the ends of one path.
    #[error("the ends of the path are not of one family")]
    Family,
}

/// How the packets of an SA are handed to the system, and taken from it.
///
/// | | out: what is sealed is | in: what is opened has |
/// |---|---|---|
/// | `Udp` | the payload of a datagram between the ports of the path | its IP and UDP headers taken off |
/// | `Payload` | the payload of an IP packet; the system writes the header | its IP header, or [`restore_header`](crate::restore_header) |
/// | `Packet` | a whole IP packet, sent as it is | the same |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carriage {
    /// ESP inside UDP: the socket of IKE (RFC 3948).
    Udp,
    /// ESP in tunnel mode as IP protocol 50: a raw socket of that protocol.
    Payload,
    /// AH, and ESP in transport mode: a raw socket that takes the IP header from us, since AH covers it, and since transport mode
    /// keeps that of the sender.
    Packet,
}

impl Carriage {
    /// Returns how packets of this form are carried.
    #[must_use]
    pub const fn of(form: &Form) -> Self {
        match (form.encapsulation, form.ah, form.mode) {
            (Encapsulation::Udp, ..) => Self::Udp,
            (Encapsulation::Ip, None, Mode::Tunnel) => Self::Payload,
            (Encapsulation::Ip, ..) => Self::Packet,
        }
    }
}

/// What of the form of an SA packets are made by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) mode: Mode,
    pub(crate) carriage: Carriage,
    /// What the first header of ours is: ESP or AH.
    pub(crate) outermost: u8,
    pub(crate) originals: Option<OriginalAddresses>,
}

impl Shape {
    pub(crate) fn of(sa: &ChildSa) -> Result<Self, SaError> {
        let form = sa.form();
        if form.ah.is_some() && form.encapsulation == Encapsulation::Udp {
            return Err(SaError::AhInUdp);
        }
        if sa.path.local.is_ipv4() != sa.path.remote.is_ipv4() {
            return Err(SaError::Family);
        }
        let outermost = if form.ah.is_some() { protocol::AH } else { protocol::ESP };
        Ok(Self { mode: form.mode, carriage: Carriage::of(&form), outermost, originals: sa.originals })
    }

    /// Tells whether its packets are ESP with a whole packet inside, and nothing of ours around it.
    pub(crate) fn is_plain_tunnel(&self) -> bool {
        self.mode == Mode::Tunnel && self.outermost == protocol::ESP
    }

    /// Returns source and destination of which the peer has made its checksums, where they are others than packets show.
    pub(crate) fn peers_ends(&self) -> Option<(IpAddr, IpAddr)> {
        self.originals.map(|originals| (originals.remote, originals.local))
    }
}
