//! Who is behind a NAT, as hashes of the addresses tell (RFC 7296 §2.23).

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use espalier_crypto::sha1;
use espalier_model::sa::UdpPath;

use crate::keymat::IkeSpis;
use crate::wire::{Notify, NotifyType};

/// On which sides of a path a NAT translates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nat {
    /// Ours: the peer sees us at another address.
    pub ours: bool,
    /// The peer's: we see it at another address than its own.
    pub theirs: bool,
}

/// What the peer has told about the addresses of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Detected {
    pub(crate) nat: Nat,
    /// Whether the peer says that it is behind a NAT, be that true or not.
    pub(crate) said: bool,
    /// The hash of the address at which the peer sees us.
    pub(crate) seen_as: Vec<u8>,
}

impl Detected {
    /// Reads what came with a message along a path; nothing where the peer does not tell.
    pub(crate) fn read(spis: IkeSpis, path: UdpPath, notifies: &[Notify]) -> Option<Self> {
        let of = |kind| notifies.iter().filter(move |n| n.notify_type == kind);
        let seen_as = of(NotifyType::NAT_DETECTION_DESTINATION_IP).next()?.data.clone();
        of(NotifyType::NAT_DETECTION_SOURCE_IP).next()?;
        let source = hash(spis, path.remote);
        // A source that is made up says nothing, so one that is not, beside it, decides.
        let said = !of(NotifyType::NAT_DETECTION_SOURCE_IP).any(|n| n.data == source);
        let theirs = of(NotifyType::TRUE_SOURCE).next().map_or(said, |told| told.data != source);
        Some(Self { nat: Nat { ours: seen_as != hash(spis, path.local), theirs }, said, seen_as })
    }
}

/// Hashes an address with the SPIs.
pub(crate) fn hash(spis: IkeSpis, address: SocketAddr) -> [u8; 20] {
    let ip = match address.ip() {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    };
    let (spi_i, spi_r) = (spis.initiator.0.to_be_bytes(), spis.responder.0.to_be_bytes());
    sha1(&[&spi_i, &spi_r, &ip, &address.port().to_be_bytes()])
}

impl fmt::Display for Nat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.ours, self.theirs) {
            (false, false) => "none",
            (true, false) => "ours",
            (false, true) => "theirs",
            (true, true) => "both",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::IkeSpi;

    const SPIS: IkeSpis = IkeSpis { initiator: IkeSpi(1), responder: IkeSpi(2) };

    fn path() -> UdpPath {
        UdpPath { local: "192.0.2.1:4500".parse().unwrap(), remote: "[2001:db8::2]:4500".parse().unwrap() }
    }

    fn told(sources: &[&str], destination: &str, truth: Option<&str>) -> Option<Nat> {
        let notify = |kind, address: &str| Notify::new(kind, hash(SPIS, address.parse().unwrap()).to_vec());
        let mut all: Vec<_> = sources.iter().map(|a| notify(NotifyType::NAT_DETECTION_SOURCE_IP, a)).collect();
        all.push(notify(NotifyType::NAT_DETECTION_DESTINATION_IP, destination));
        all.extend(truth.map(|a| notify(NotifyType::TRUE_SOURCE, a)));
        Detected::read(SPIS, path(), &all).map(|detected| detected.nat)
    }

    #[test]
    fn each_side_is_judged_by_its_own_hash() {
        let (ours, theirs) = ("192.0.2.1:4500", "[2001:db8::2]:4500");
        assert_eq!(told(&[theirs], ours, None), Some(Nat { ours: false, theirs: false }));
        assert_eq!(told(&["192.0.2.9:4500", theirs], ours, None), Some(Nat { ours: false, theirs: false }));
        assert_eq!(told(&["192.0.2.9:4500"], ours, None), Some(Nat { ours: false, theirs: true }));
        assert_eq!(told(&[theirs], "192.0.2.1:20000", None), Some(Nat { ours: true, theirs: false }));
        assert_eq!(told(&[], ours, None), None, "a peer without NAT traversal");
    }

    #[test]
    fn a_made_up_source_is_overruled_by_the_true_one() {
        let ours = "192.0.2.1:4500";
        let made_up = &["192.0.2.9:1"];
        assert_eq!(told(made_up, ours, Some("[2001:db8::2]:4500")), Some(Nat { ours: false, theirs: false }));
        assert_eq!(told(made_up, ours, Some("10.0.0.1:4500")), Some(Nat { ours: false, theirs: true }));
    }
}
