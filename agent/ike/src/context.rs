//! What every state needs besides its own facts: the present, the configuration, randomness, and the queue of orders.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use espalier_model::identity::{Identity, Name};
use espalier_model::sa::{ChildId, Direction, InboundSa, OutboundSa, Spi, UdpPath};
use rand::rngs::StdRng;
use rand::{Rng, RngExt};

use crate::certificate::TrustStore;
use crate::child_spis::ChildSpis;
use crate::config::{ChildConfig, EndpointConfig, Now};
use crate::door::SpiMark;
use crate::endpoint::given::Given;
use crate::endpoint::leases::Leases;
use crate::explain::{Event, What};
use crate::limits::Limits;
use crate::outbounds::{Outbounds, Switch};
use crate::output::Output;
use crate::wants::Wants;
use crate::wire::{IkeSpi, Nonce};

/// Lent to a state for the handling of one event.
pub(crate) struct Context<'a> {
    pub(crate) now: Now,
    pub(crate) config: &'a EndpointConfig,
    pub(crate) limits: &'a Limits,
    pub(crate) trust: &'a TrustStore,
    pub(crate) rng: &'a mut StdRng,
    /// By which our SPIs are known at the door.
    pub(crate) spi_mark: SpiMark,
    pub(crate) child_spis: &'a mut ChildSpis,
    pub(crate) out: &'a mut VecDeque<Output>,
    pub(crate) next_child: &'a mut u64,
    pub(crate) outbounds: &'a mut Outbounds,
    pub(crate) wants: &'a mut Wants,
    pub(crate) retired: &'a mut VecDeque<(Instant, ChildId)>,
    /// Which SA holds each child that is not given up.
    pub(crate) holders: &'a mut BTreeMap<ChildId, IkeSpi>,
    /// The number of this endpoint's life.
    pub(crate) life: u64,
    /// Which peer has which address of our pools.
    pub(crate) leases: &'a mut Leases,
    /// The addresses that peers have given us.
    pub(crate) given: &'a Given,
    /// Whether a postquantum preshared key is configured for any peer.
    pub(crate) has_ppk: bool,
    /// How often this endpoint's identity has been exchanged.
    pub(crate) identity_epoch: u64,
    /// The node's addresses, once they are known.
    pub(crate) present: Option<&'a [IpAddr]>,
}

/// An inbound half outlives its pair for as long as packets may still be under way.
pub(crate) const LINGER: Duration = Duration::from_secs(5);

impl Context<'_> {
    /// Orders a datagram to be sent.
    pub(crate) fn transmit(&mut self, path: UdpPath, datagram: Vec<u8>) {
        self.out.push_back(Output::Transmit { path, datagram });
    }

    /// Orders the datagrams of a message to be sent.
    pub(crate) fn transmit_all(&mut self, path: UdpPath, datagrams: &[Vec<u8>]) {
        datagrams.iter().for_each(|datagram| self.transmit(path, datagram.clone()));
    }

    /// Has the driver write down what has happened.
    pub(crate) fn tell(&mut self, peer: &Identity, what: What) {
        self.out.push_back(Output::Told(Box::new(Event { peer: peer.clone(), what })));
    }

    /// Orders both halves of a new pair: the inbound one first (RFC 7296 §2.8).
    pub(crate) fn install(&mut self, inbound: InboundSa, outbound: OutboundSa, switch: Switch) {
        self.wants.meet(&outbound.0.rule);
        self.out.push_back(Output::InstallInbound(inbound));
        self.out.extend(self.outbounds.offer(outbound, switch).map(Output::UseOutbound));
    }

    /// Tells whether a child SA is to be made, or made anew in place of one that stands.
    pub(crate) fn is_due(&self, child: &ChildConfig) -> bool {
        let wanted = || self.wants.is_wanted(&child.rule, self.now.instant) || self.outbounds.uses(&child.rule);
        !child.is_on_demand() || wanted()
    }

    /// Follows the peer to another address.
    pub(crate) fn move_path(&mut self, id: ChildId, path: UdpPath) {
        self.outbounds.move_path(id, path);
        self.out.push_back(Output::MovePath(id, path));
    }

    /// Notes that the peer uses a pair.
    pub(crate) fn used_by_peer(&mut self, id: ChildId) {
        self.out.extend(self.outbounds.used_by_peer(id).map(Output::UseOutbound));
    }

    /// Stops to send with a pair that both ends give up, and receives until nothing can be under way any more.
    pub(crate) fn retire(&mut self, rule: &Name, id: ChildId) {
        self.stop_sending(rule, id);
        //= RFC 7296 §1.4.1: both halves of a pair are closed
        self.retired.push_back((self.now.instant + LINGER, id));
    }

    /// Forgets both halves of a pair at once: the peer has lost it.
    pub(crate) fn forget(&mut self, rule: &Name, id: ChildId) {
        self.stop_sending(rule, id);
        self.out.push_back(Output::Remove(id, Direction::Inbound));
    }

    fn stop_sending(&mut self, rule: &Name, id: ChildId) {
        self.holders.remove(&id);
        self.out.extend(self.outbounds.remove(rule, id).map(Output::UseOutbound));
        self.out.push_back(Output::Remove(id, Direction::Outbound));
    }

    /// Returns a length of time less a random tenth, so that a fleet spreads out.
    pub(crate) fn jittered(&mut self, time: Duration) -> Duration {
        time.mul_f64(1.0 - 0.1 * self.rng.random::<f64>())
    }

    /// Draws an SPI of an IKE SA.
    pub(crate) fn ike_spi(&mut self) -> IkeSpi {
        self.spi_mark.draw(self.rng)
    }

    /// Draws an SPI of a child SA.
    pub(crate) fn child_spi(&mut self) -> Spi {
        self.child_spis.draw()
    }

    /// Names a new child SA pair.
    pub(crate) fn child_id(&mut self) -> ChildId {
        *self.next_child += 1;
        ChildId(*self.next_child)
    }

    /// Draws a nonce of 32 bytes, as long as half the key of every PRF in use (RFC 7296 §2.10).
    pub(crate) fn nonce(&mut self) -> Nonce {
        //= RFC 7296 §2.10: nonces are 32 random bytes, half a key of the longest function
        let mut bytes = vec![0; 32];
        self.rng.fill_bytes(&mut bytes);
        Nonce::new(bytes).expect("32 bytes are a nonce")
    }
}
