//! The one door: datagrams, time, events and configuration in, orders out.

mod addresses;
mod demand;
mod door;
mod doubts;
mod farewell;
#[cfg(test)]
mod forge;
pub(crate) mod given;
mod half_open;
mod hints;
pub(crate) mod leases;
mod peers;
#[cfg(test)]
pub(crate) mod probe;
mod slot;
mod step;
mod strangers;
mod timers;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Instant;

use espalier_model::identity::Identity;
use espalier_model::sa::{ChildId, Direction, SaEvent, UdpPath};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::certificate::{CertificateError, RevocationLists, TrustStore};
use crate::child_spis::ChildSpis;
use crate::config::{EndpointConfig, LocalIdentity, Now, PeerConfig};
use crate::counters::Counters;
use crate::door::{Cookies, DoorPolicy, SpiMark};
use crate::hint::Hint;
use crate::limits::{Allowance, Limits};
use crate::outbounds::Outbounds;
use crate::output::Output;
use crate::status::{ChildStatus, IkeStatus};
use crate::wants::Wants;
use crate::wire::{Header, IkeSpi};

use farewell::Farewells;
use given::Given;
use half_open::HalfOpens;
use leases::Leases;
use slot::{Peer, Sa};
use timers::Timers;

/// An IKEv2 endpoint: all SAs of a node.
pub struct Endpoint {
    config: EndpointConfig,
    trust: TrustStore,
    rng: StdRng,
    peers: BTreeMap<Identity, Peer>,
    by_address: BTreeMap<IpAddr, Identity>,
    sas: BTreeMap<IkeSpi, Sa>,
    /// Which SA holds each child.
    holders: BTreeMap<ChildId, IkeSpi>,
    /// Half-open SAs by what the initiator's first message shows, so that its repetition finds them.
    half_open: HalfOpens,
    /// Made with the first look at the clock.
    cookies: Option<Cookies>,
    door: DoorPolicy,
    spi_mark: SpiMark,
    child_spis: ChildSpis,
    limits: Limits,
    lists: RevocationLists,
    strangers: Allowance,
    sa_timers: Timers<IkeSpi>,
    peer_timers: Timers<Identity>,
    outputs: VecDeque<Output>,
    outbounds: Outbounds,
    wants: Wants,
    retired: VecDeque<(Instant, ChildId)>,
    farewells: Farewells,
    counters: Counters,
    next_child: u64,
    life: u64,
    identity_epoch: u64,
    leases: Leases,
    given: Given,
    has_ppk: bool,
    /// The node's addresses, once the driver has told them.
    present: Option<Vec<IpAddr>>,
    /// When a hint that nobody has proven was last taken.
    hinted: Option<Instant>,
}

/// Why the driver is woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// An SA sends again, keeps itself up, or is given up.
    Sa,
    /// A peer is called.
    Peer,
    /// An inbound SA has lingered for long enough.
    Linger,
}

macro_rules! context {
    ($self:ident, $now:ident) => {
        &mut $crate::context::Context {
            now: $now,
            config: &$self.config,
            limits: &$self.limits,
            trust: &$self.trust,
            rng: &mut $self.rng,
            spi_mark: $self.spi_mark,
            child_spis: &mut $self.child_spis,
            out: &mut $self.outputs,
            next_child: &mut $self.next_child,
            outbounds: &mut $self.outbounds,
            wants: &mut $self.wants,
            retired: &mut $self.retired,
            holders: &mut $self.holders,
            life: $self.life,
            identity_epoch: $self.identity_epoch,
            leases: &mut $self.leases,
            given: &$self.given,
            has_ppk: $self.has_ppk,
            present: $self.present.as_deref(),
        }
    };
}
use context;

impl Endpoint {
    /// Makes an endpoint without peers. The seed comes from the operating system, except in a simulation.
    ///
    /// # Errors
    /// When a trusted certificate cannot be read.
    pub fn new(config: EndpointConfig, seed: [u8; 32]) -> Result<Self, CertificateError> {
        let mut rng = StdRng::from_seed(seed);
        Ok(Self {
            trust: TrustStore::new(&config.trust)?,
            config,
            peers: BTreeMap::new(),
            by_address: BTreeMap::new(),
            sas: BTreeMap::new(),
            holders: BTreeMap::new(),
            half_open: HalfOpens::default(),
            cookies: None,
            door: DoorPolicy::default(),
            spi_mark: SpiMark::new(&mut rng),
            child_spis: ChildSpis::new(&mut rng),
            limits: Limits::default(),
            lists: RevocationLists::default(),
            strangers: Allowance::default(),
            sa_timers: Timers::default(),
            peer_timers: Timers::default(),
            outputs: VecDeque::new(),
            outbounds: Outbounds::default(),
            wants: Wants::default(),
            retired: VecDeque::new(),
            farewells: Farewells::default(),
            counters: Counters::default(),
            next_child: 0,
            life: rng.random(),
            identity_epoch: 0,
            leases: Leases::default(),
            given: Given::default(),
            has_ppk: false,
            present: None,
            hinted: None,
            rng,
        })
    }

    /// Sets the peers, whole: new ones are called, those that are gone are deleted, the others keep their SAs and get or give
    /// up child SAs.
    pub fn configure(&mut self, now: Now, peers: Vec<PeerConfig>) {
        self.set_peers(now, peers);
        self.call_due(now);
    }

    /// Changes who this endpoint is and whom it trusts. SAs with peers that demand certificates are set up anew, each before the
    /// old one goes (make before break).
    ///
    /// # Errors
    /// When a trusted certificate cannot be read; nothing has changed then.
    pub fn set_identity(&mut self, now: Now, config: EndpointConfig) -> Result<(), CertificateError> {
        self.trust = TrustStore::new(&config.trust)?.with_lists(&self.lists)?;
        let before = std::mem::replace(&mut self.config, config);
        if chain_of(&before.identity) != chain_of(&self.config.identity) {
            self.identity_epoch += 1;
            self.renew_all(now);
        }
        Ok(())
    }

    /// Changes whom this endpoint trusts, and whose certificates are revoked. An SA whose peer has
    /// proven itself by a certificate that is revoked now ends at once.
    ///
    /// # Errors
    /// When a trusted certificate cannot be read; nothing has changed then.
    pub fn set_trust(
        &mut self,
        now: Now,
        trust: Vec<Vec<u8>>,
        revoked: BTreeSet<String>,
    ) -> Result<(), CertificateError> {
        self.trust = TrustStore::new(&trust)?.with_lists(&self.lists)?;
        (self.config.trust, self.config.revoked) = (trust, revoked);
        self.end_revoked(now);
        self.judge_anew(now);
        Ok(())
    }

    /// Changes the revocation lists. An SA whose peer is on one of them now ends at once.
    ///
    /// # Errors
    /// When a list cannot be used; nothing has changed then.
    pub fn set_revocation_lists(&mut self, now: Now, lists: RevocationLists) -> Result<(), CertificateError> {
        self.trust = self.trust.clone().with_lists(&lists)?;
        self.lists = lists;
        self.end_revoked(now);
        self.judge_anew(now);
        Ok(())
    }

    /// Changes what strangers and peers may make this endpoint keep.
    pub const fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Takes a datagram, without the non-ESP marker.
    pub fn handle_datagram(&mut self, now: Now, path: UdpPath, datagram: &[u8]) {
        let header = match Header::parse(datagram) {
            Ok((header, _)) => header,
            Err(reason) => return self.unreadable(now, path, datagram, reason),
        };
        if let Some(hint) = Hint::read(&header, datagram) {
            self.counters.unauthentic += 1;
            return self.heed(now, path, &header, hint);
        }
        //= RFC 7296 §2.6: the SA of a message is found by the SPI that its recipient has chosen, wherever it comes from
        let ours = if header.flags.initiator { header.responder_spi } else { header.initiator_spi };
        if header.opens_sa() {
            self.handle_first(now, path, &header, datagram);
            self.review_door();
        } else if self.sas.get(&ours).is_some_and(|sa| !sa.is_meant_by(&header)) {
            //= RFC 7296 §3.1: the flag tells who has opened the SA, both SPIs are those of the SA
            self.counters.unexpected += 1;
        } else if let Some(sa) = self.sas.remove(&ours) {
            let next = self.step(now, path, sa, &header, datagram);
            self.keep(ours, next);
            self.review_door();
        } else if let Some(answer) = self.farewells.repeat(now.instant, ours, &header, datagram) {
            self.counters.retransmitted += 1;
            self.transmit_all(path, answer);
        } else {
            //= RFC 7296 §1.5: an unprotected message about an error is not answered
            self.unknown(now, path, &header);
        }
    }

    /// Takes what a data plane has seen.
    pub fn handle_event(&mut self, now: Now, event: &SaEvent) {
        if let SaEvent::UnknownSpi { spi, remote } = event {
            return self.note_stray(now, *spi, *remote);
        }
        if let SaEvent::Acquire { rule, .. } = event {
            return self.acquire(now, rule);
        }
        let (SaEvent::Soft(id) | SaEvent::Hard(id) | SaEvent::FirstAuthentic(id) | SaEvent::NewSource(id, _)) = event
        else {
            return;
        };
        let Some(spi) = self.holders.get(id).copied() else { return };
        self.with_established(now, spi, |sa, cx| sa.handle_event(cx, *id, event));
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some((_, id)) = self.retired.front().copied().filter(|(at, _)| *at <= now.instant) {
            self.retired.pop_front();
            self.outputs.push_back(Output::Remove(id, Direction::Inbound));
        }
        for spi in self.sa_timers.take_due(now.instant) {
            if let Some(sa) = self.sas.remove(&spi) {
                let next = self.expire(now, sa);
                self.keep(spi, next);
            }
        }
        self.call_due(now);
        self.review_door();
    }

    /// Returns the next order.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Returns when to call [`Endpoint::handle_timeout`] next, and why.
    #[must_use]
    pub fn next_timeout(&self) -> Option<(Instant, Timer)> {
        let sa = self.sa_timers.next().map(|at| (at, Timer::Sa));
        let peer = self.peer_timers.next().map(|at| (at, Timer::Peer));
        let linger = self.retired.front().map(|(at, _)| (*at, Timer::Linger));
        sa.into_iter().chain(peer).chain(linger).min()
    }

    /// Returns the SAs in use, one for each peer that has one.
    #[must_use]
    pub fn status(&self) -> Vec<IkeStatus> {
        let standing = self.peers.values().filter_map(|peer| match self.sas.get(&peer.sa?) {
            Some(Sa::Established(sa)) => Some(sa),
            Some(Sa::InitSent(_) | Sa::IntermediateSent(_) | Sa::AuthSent(_) | Sa::HalfOpen(_)) | None => None,
        });
        let status = standing.map(|sa| {
            let alive = sa.children.iter().filter(|c| c.delete_at.is_none() && c.waiting.is_none());
            let child = |c: &crate::sa::child::Child| ChildStatus {
                id: c.id,
                rule: c.config.rule.clone(),
                inbound: c.first.inbound,
                outbound: c.first.outbound,
                form: c.form,
                key_epoch: c.epoch,
            };
            IkeStatus {
                peer: sa.parts.peer.id.clone(),
                spis: sa.parts.spis,
                initiator: sa.parts.initiator,
                path: sa.parts.path,
                since: sa.since,
                key_exchange: sa.parts.suite.key_exchanges(),
                mobike: sa.mobile(),
                nat: sa.mobility.nat,
                key_epoch: sa.parts.epoch,
                ppk: sa.parts.ppk.clone(),
                addresses: sa.parts.assigned.addresses.clone(),
                dns: sa.parts.assigned.dns.clone(),
                children: alive.map(child).collect(),
            }
        });
        status.collect()
    }

    /// Returns how many SAs there are in all, with those that are being set up or given up.
    #[must_use]
    pub fn sa_count(&self) -> usize {
        self.sas.len()
    }

    /// Returns what happened to the datagrams so far.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    fn transmit_all(&mut self, path: UdpPath, datagrams: Vec<Vec<u8>>) {
        self.outputs.extend(datagrams.into_iter().map(|datagram| Output::Transmit { path, datagram }));
    }

    fn keep(&mut self, spi: IkeSpi, sa: Option<Sa>) {
        self.sa_timers.set(&spi, sa.as_ref().and_then(|sa| sa.due(&self.wants)));
        if let Some(sa) = sa {
            if let Sa::Established(sa) = &sa {
                self.holders.extend(sa.children.iter().map(|child| (child.id, spi)));
                self.note_replaced(sa);
            }
            self.sas.insert(spi, sa);
        }
    }
}

fn chain_of(identity: &LocalIdentity) -> Option<&[Vec<u8>]> {
    identity.certificate.as_ref().map(|c| c.chain.as_slice())
}
