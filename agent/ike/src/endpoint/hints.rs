//! What is heard of a peer without proof: it makes us ask whether the peer is there, and no more (RFC 7296 §2.4).

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use espalier_model::sa::{Spi, UdpPath};

use super::Endpoint;
use super::slot::Sa;
use crate::config::Now;
use crate::hint::Hint;
use crate::sa::established::Established;
use crate::wire::{Header, IkeSpi};

/// Hints are heeded this often at most; each SA is asked for its liveness more rarely still.
const EVERY: Duration = Duration::from_millis(100);

impl Endpoint {
    /// Takes note that the network, which anybody can pretend to be, says that an address cannot be reached.
    pub fn handle_unreachable(&mut self, now: Now, remote: SocketAddr) {
        if self.may_heed(now.instant) {
            self.suspect(now, |sa| sa.parts.path.remote == remote);
        }
    }

    /// Takes note of a message in the clear.
    //= RFC 7296 §1.5: an INVALID_SPI outside of an SA is a hint alone, whose sender may be anybody
    pub(super) fn heed(&mut self, now: Now, path: UdpPath, header: &Header, hint: Hint) {
        if !self.may_heed(now.instant) {
            return;
        }
        let from = |sa: &Established| sa.parts.path.remote.ip() == path.remote.ip();
        match hint {
            Hint::Ike => {
                let spis = [header.initiator_spi, header.responder_spi];
                self.suspect(now, |sa| from(sa) && [sa.parts.spis.initiator, sa.parts.spis.responder] == spis);
            }
            Hint::Esp(spi) => {
                self.suspect(now, |sa| from(sa) && sa.children.iter().any(|c| c.first.outbound.get() == spi));
            }
        }
    }

    /// Takes note of a packet with an SPI that no SA has, where one SA in use is with its address and no other is being set up.
    pub(super) fn note_stray(&mut self, now: Now, spi: Spi, remote: IpAddr) {
        let from = |spi: &IkeSpi| matches!(self.sas.get(spi), Some(Sa::Established(sa)) if sa.parts.path.remote.ip() == remote);
        let settled = self.peers.values().filter(|peer| peer.attempt.is_none());
        let found: Vec<_> = settled.filter_map(|peer| peer.sa).filter(from).collect();
        if let [sa] = found[..]
            && self.may_heed(now.instant)
        {
            self.with_established(now, sa, |sa, cx| sa.note_stray(cx.now.instant, spi));
        }
    }

    fn may_heed(&mut self, now: Instant) -> bool {
        let may = self.hinted.is_none_or(|at| at + EVERY <= now);
        if may {
            self.hinted = Some(now);
        }
        may
    }

    /// Asks the peers of some SAs whether they are there.
    fn suspect(&mut self, now: Now, which: impl Fn(&Established) -> bool) {
        let found = self.sas.iter().filter_map(|(spi, sa)| match sa {
            Sa::Established(sa) if which(sa) => Some(*spi),
            Sa::Established(_) | Sa::InitSent(_) | Sa::IntermediateSent(_) | Sa::AuthSent(_) | Sa::HalfOpen(_) => None,
        });
        for spi in found.collect::<Vec<IkeSpi>>() {
            self.with_established(now, spi, |sa, cx| sa.suspect(cx.now.instant));
        }
    }
}
