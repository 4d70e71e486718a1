//! Whether a NAT is on the path, and what follows for ESP and AH (RFC 7296 §2.23).

use espalier_model::profile::Encap;
use espalier_model::sa::{Encapsulation, UdpPath};
use rand::Rng;

use super::{Failure, floated};
use crate::content::Content;
use crate::context::Context;
use crate::keymat::IkeSpis;
use crate::nat::hash;
use crate::wire::{Notify, NotifyType};

/// What both ends said of their addresses in `IKE_SA_INIT`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Nat {
    /// The peer knows of NATs.
    supported: bool,
    /// The peer sees us at another address than ours, or says so.
    pub(crate) before_us: bool,
    /// We see the peer at another address than its own, or it says so.
    pub(crate) before_peer: bool,
    /// We said so whatever is true.
    forced: bool,
}

/// Where the two ends of an IKE SA are: what transport mode and encapsulation depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    pub(crate) path: UdpPath,
    pub(crate) nat: Nat,
}

impl Nat {
    /// Compares what the peer says with what we see. `spis` are those of the header of its message.
    pub(crate) fn of(content: &Content, spis: IkeSpis, path: UdpPath, encap: Encap) -> Self {
        let told = |kind| content.notifies.iter().filter(move |n| n.notify_type == kind).map(|n| n.data.as_slice());
        let mut sources = told(NotifyType::NAT_DETECTION_SOURCE_IP).peekable();
        let mut destinations = told(NotifyType::NAT_DETECTION_DESTINATION_IP).peekable();
        if sources.peek().is_none() || destinations.peek().is_none() {
            return Self::default();
        }
        //= RFC 7296 §2.23: of several source hashes one has to match, since the sender may not know its address
        let (peer, us) = (hash(spis, path.remote), hash(spis, path.local));
        Self {
            supported: true,
            before_us: !destinations.any(|told| told == us.as_slice()),
            before_peer: !sources.any(|told| told == peer.as_slice()),
            forced: encap == Encap::Always,
        }
    }

    /// Tells whether a NAT is on the path, or either end says so.
    pub(crate) const fn is_there(&self) -> bool {
        self.before_us || self.before_peer || (self.supported && self.forced)
    }

    /// Returns what is around ESP.
    pub(crate) const fn encapsulation(&self) -> Encapsulation {
        //= RFC 7296 §2.23: with a NAT between the ends ESP is in UDP
        if self.is_there() { Encapsulation::Udp } else { Encapsulation::Ip }
    }

    /// Returns where the messages after the first exchange go.
    pub(crate) fn path(&self, path: UdpPath, moves: bool) -> UdpPath {
        //= RFC 7296 §2.23: after the first exchange both ends use port 4500
        //= RFC 4555 §3.3: with MOBIKE they do so without a NAT, too: the next path may have one
        if self.is_there() || (self.supported && moves) { floated(path) } else { path }
    }

    /// Takes what the peer says on another path. Tells whether what is around ESP has to change.
    pub(crate) fn moved(&mut self, before_us: bool, before_peer: bool) -> bool {
        let was_there = self.is_there();
        (self.before_us, self.before_peer) = (before_us, before_peer);
        was_there != self.is_there()
    }

    /// Checks that ESP can travel as the profile demands.
    pub(crate) const fn check(&self, encap: Encap) -> Result<(), Failure> {
        match encap {
            Encap::Always if !self.is_there() => Err(Failure::NoEncapsulation),
            Encap::Never if self.is_there() => Err(Failure::Encapsulated),
            Encap::Always | Encap::Never | Encap::Auto => Ok(()),
        }
    }
}

impl Context<'_> {
    /// Builds the NAT detection notifications. Where encapsulation is forced our source never matches, so that both ends use UDP
    /// 4500: raw ESP has no segmentation offload, and clouds drop it. Our own agents read the true one
    /// beside it. Otherwise both are true.
    pub(crate) fn nat_detection(&mut self, spis: IkeSpis, path: UdpPath, encap: Encap) -> Vec<Notify> {
        let here = if encap == Encap::Always {
            let mut never = vec![0; 20];
            self.rng.fill_bytes(&mut never);
            never
        } else {
            hash(spis, path.local).to_vec()
        };
        let mut notifies = vec![
            //= RFC 7296 §2.23: both ends send NAT_DETECTION_SOURCE_IP and NAT_DETECTION_DESTINATION_IP in IKE_SA_INIT, after the nonce
            Notify::new(NotifyType::NAT_DETECTION_SOURCE_IP, here),
            Notify::new(NotifyType::NAT_DETECTION_DESTINATION_IP, hash(spis, path.remote).to_vec()),
        ];
        let made_up = encap == Encap::Always;
        notifies.extend(made_up.then(|| Notify::new(NotifyType::TRUE_SOURCE, hash(spis, path.local).to_vec())));
        notifies
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{IkeSpi, Payload};

    const SPIS: IkeSpis = IkeSpis { initiator: IkeSpi(1), responder: IkeSpi(2) };

    fn told(sources: &[&str], destination: &str) -> Content {
        let notify = |kind, end: &str| Payload::Notify(Notify::new(kind, hash(SPIS, end.parse().unwrap()).to_vec()));
        let mut payloads: Vec<_> = sources.iter().map(|s| notify(NotifyType::NAT_DETECTION_SOURCE_IP, s)).collect();
        payloads.push(notify(NotifyType::NAT_DETECTION_DESTINATION_IP, destination));
        Content::read(payloads).unwrap()
    }

    #[test]
    fn a_nat_is_where_a_hash_does_not_match() {
        let (us, peer) = ("192.0.2.1:500", "192.0.2.2:500");
        let path = UdpPath { local: us.parse().unwrap(), remote: peer.parse().unwrap() };
        let seen = |sources: &[&str], destination| {
            let nat = Nat::of(&told(sources, destination), SPIS, path, Encap::Auto);
            (nat.before_peer, nat.before_us)
        };
        assert_eq!(seen(&[peer], us), (false, false));
        assert_eq!(seen(&["10.0.0.1:500", peer], us), (false, false), "one of several is enough");
        assert_eq!(seen(&["10.0.0.1:500", "10.0.0.2:500"], us), (true, false));
        assert_eq!(seen(&["192.0.2.2:501"], us), (true, false), "the port counts too");
        assert_eq!(seen(&[peer], "198.51.100.1:500"), (false, true));
        let other = IkeSpis { responder: IkeSpi(3), ..SPIS };
        assert!(Nat::of(&told(&[peer], us), other, path, Encap::Auto).is_there(), "the SPIs count too");
        let silent = Nat::of(&Content::default(), SPIS, path, Encap::Always);
        assert!(!silent.is_there() && silent.check(Encap::Always).is_err() && silent.check(Encap::Auto).is_ok());
    }
}
