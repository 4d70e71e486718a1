//! The one door: datagrams, time and configuration in, orders out.

mod slot;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use espalier_model::identity::Identity;
use espalier_model::sa::UdpPath;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::certificate::{CertificateError, TrustStore};
use crate::config::{EndpointConfig, Now, PeerConfig};
use crate::context::Context;
use crate::counters::Counters;
use crate::handshake::initiator::{AfterInit, AuthSent, InitSent};
use crate::handshake::responder::{AfterRequest, HalfOpen};
use crate::output::{DownReason, Output};
use crate::sa::established::{Established, Fate};
use crate::sa::window::{Incoming, Timeout};
use crate::status::{ChildStatus, IkeStatus};
use crate::wire::sk::OpenError;
use crate::wire::{ExchangeType, Header, IkeSpi, Message};

pub use slot::Timer;
use slot::{Peer, Sa, chain, path_to, reason};

/// An IKEv2 endpoint: all SAs of a node.
pub struct Endpoint {
    config: EndpointConfig,
    trust: TrustStore,
    rng: StdRng,
    peers: BTreeMap<Identity, Peer>,
    sas: BTreeMap<IkeSpi, Sa>,
    /// Half-open SAs by what the initiator's first message shows, so that its repetition finds them.
    half_open: BTreeMap<(IkeSpi, SocketAddr), IkeSpi>,
    outputs: VecDeque<Output>,
    counters: Counters,
    next_child: u64,
}

/// More than any fleet opens at once; beyond it new requests are dropped.
const MOST_HALF_OPEN: usize = 1_000;
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(60);

macro_rules! context {
    ($self:ident, $now:ident) => {
        &mut Context {
            now: $now,
            config: &$self.config,
            trust: &$self.trust,
            rng: &mut $self.rng,
            out: &mut $self.outputs,
            next_child: &mut $self.next_child,
        }
    };
}

impl Endpoint {
    /// Makes an endpoint without peers. The seed comes from the operating system, except in a simulation.
    ///
    /// # Errors
    /// When a trusted certificate cannot be read.
    pub fn new(config: EndpointConfig, seed: [u8; 32]) -> Result<Self, CertificateError> {
        Ok(Self {
            trust: TrustStore::new(&config.trust)?,
            config,
            rng: StdRng::from_seed(seed),
            peers: BTreeMap::new(),
            sas: BTreeMap::new(),
            half_open: BTreeMap::new(),
            outputs: VecDeque::new(),
            counters: Counters::default(),
            next_child: 0,
        })
    }

    /// Sets the peers, whole: new ones are started, those that are gone are deleted, the others keep their SAs.
    pub fn configure(&mut self, now: Now, peers: Vec<PeerConfig>) {
        let mut before = std::mem::take(&mut self.peers);
        for config in peers {
            let fresh = Peer { config: config.clone(), sa: None, retry: now.instant, failures: 0 };
            let kept = before.remove(&config.id).map(|peer| Peer { config: config.clone(), ..peer });
            self.peers.insert(config.id.clone(), kept.unwrap_or(fresh));
        }
        for spi in before.into_values().filter_map(|peer| peer.sa) {
            self.delete(now, spi);
        }
        self.start_due(now);
    }

    /// Takes a datagram, without the non-ESP marker.
    pub fn handle_datagram(&mut self, now: Now, path: UdpPath, datagram: &[u8]) {
        let Ok((header, _)) = Header::parse(datagram) else {
            self.counters.malformed += 1;
            return;
        };
        let ours = if header.flags.initiator { header.responder_spi } else { header.initiator_spi };
        if header.exchange == ExchangeType::IKE_SA_INIT && header.flags.initiator && !header.flags.response {
            self.handle_first(now, path, &header, datagram);
        } else if let Some(sa) = self.sas.remove(&ours) {
            let next = self.step(now, path, ours, sa, &header, datagram);
            self.keep(ours, next);
        } else {
            self.counters.unknown_spi += 1;
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        let late = |sa: &Sa| sa.due().is_some_and(|(at, _)| at <= now.instant);
        let due: Vec<_> = self.sas.iter().filter(|(_, sa)| late(sa)).map(|(spi, _)| *spi).collect();
        for spi in due {
            if let Some(sa) = self.sas.remove(&spi) {
                let next = self.expire(now, spi, sa);
                self.keep(spi, next);
            }
        }
        self.start_due(now);
    }

    /// Returns the next order.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Returns when to call [`Endpoint::handle_timeout`] next, and why.
    #[must_use]
    pub fn next_timeout(&self) -> Option<(Instant, Timer)> {
        let retries = self.peers.values().filter(|p| p.waits()).map(|p| (p.retry, Timer::Retry));
        self.sas.values().filter_map(Sa::due).chain(retries).min()
    }

    /// Returns the standing SAs.
    #[must_use]
    pub fn status(&self) -> Vec<IkeStatus> {
        let standing = self.sas.values().filter_map(|sa| match sa {
            Sa::Established(sa) => Some(&**sa),
            Sa::InitSent(_) | Sa::AuthSent(_) | Sa::HalfOpen(_) => None,
        });
        let child = |(rule, inbound, outbound): (&_, _, _)| ChildStatus { rule: Clone::clone(rule), inbound, outbound };
        let status = |sa: &Established| IkeStatus {
            peer: sa.parts.peer.id.clone(),
            spis: sa.parts.spis,
            path: sa.parts.path,
            children: sa.rules().map(child).collect(),
        };
        standing.map(status).collect()
    }

    /// Returns what happened to the datagrams so far.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Deletes every SA and tells the peers. Nothing is started afterwards.
    pub fn shutdown(&mut self, now: Now) {
        self.peers.clear();
        let all: Vec<_> = self.sas.keys().copied().collect();
        all.into_iter().for_each(|spi| self.delete(now, spi));
    }

    fn delete(&mut self, now: Now, spi: IkeSpi) {
        if let Some(Sa::Established(mut sa)) = self.sas.remove(&spi) {
            let cx = context!(self, now);
            // A message that cannot be sealed any more leaves the peer to its own liveness check.
            let told = sa.close(cx);
            sa.remove_children(cx);
            drop(told);
            self.outputs.push_back(Output::Down(sa.parts.peer.id, DownReason::DeletedByUs));
        }
    }

    fn start_due(&mut self, now: Now) {
        let due: Vec<_> =
            self.peers.values().filter(|p| p.waits() && p.retry <= now.instant).map(|p| p.config.clone()).collect();
        for config in due {
            let id = config.id.clone();
            let Some(path) = path_to(&config) else { continue };
            match InitSent::start(context!(self, now), config, path) {
                Ok((spi, state)) => {
                    self.sas.insert(spi, Sa::InitSent(Box::new(state)));
                    if let Some(peer) = self.peers.get_mut(&id) {
                        peer.sa = Some(spi);
                    }
                }
                Err(failure) => self.down(now, &id, DownReason::Failed(chain(&failure))),
            }
        }
    }

    /// Answers a first message, or repeats the answer.
    fn handle_first(&mut self, now: Now, path: UdpPath, header: &Header, datagram: &[u8]) {
        let key = (header.initiator_spi, path.remote);
        if let Some(Sa::HalfOpen(sa)) = self.half_open.get(&key).and_then(|spi| self.sas.get(spi)) {
            if let Incoming::Repeated(answer) = sa.responses.judge(0, datagram) {
                self.counters.retransmitted += 1;
                self.outputs.push_back(Output::Transmit { path, datagram: answer.to_vec() });
            } else {
                self.counters.unexpected += 1;
            }
            return;
        }
        let from = |p: &&Peer| p.config.endpoints.iter().any(|e| e.ip() == path.remote.ip());
        let peer = self.peers.values().find(from).or_else(|| self.peers.values().next());
        let Some(peer) = peer.filter(|_| self.half_open.len() < MOST_HALF_OPEN).map(|p| p.config.clone()) else {
            self.counters.refused += 1;
            return;
        };
        match HalfOpen::answer(context!(self, now), &peer, path, datagram) {
            Ok(AfterRequest::HalfOpen(state)) => {
                self.counters.accepted += 1;
                self.half_open.insert(key, state.spis.responder);
                self.sas.insert(state.spis.responder, Sa::HalfOpen(state));
            }
            Ok(AfterRequest::Refused) => self.counters.refused += 1,
            Err(_) => self.counters.malformed += 1,
        }
    }

    /// Lets a state take a message. What is not authentic leaves the state as it is.
    fn step(&mut self, now: Now, path: UdpPath, ours: IkeSpi, sa: Sa, header: &Header, datagram: &[u8]) -> Option<Sa> {
        match sa {
            Sa::InitSent(state) => self.step_init(now, ours, state, header, datagram),
            Sa::AuthSent(state) => self.step_auth(now, ours, state, header, datagram),
            Sa::HalfOpen(state) => self.step_half_open(now, path, state, header, datagram),
            Sa::Established(state) => self.step_established(now, path, state, header, datagram),
        }
    }

    fn step_init(
        &mut self,
        now: Now,
        ours: IkeSpi,
        state: Box<InitSent>,
        header: &Header,
        datagram: &[u8],
    ) -> Option<Sa> {
        let answers = header.exchange == ExchangeType::IKE_SA_INIT && header.flags.response;
        if !answers || !state.requests.expects(header.message_id) || Message::parse(datagram).is_err() {
            self.counters.unexpected += 1;
            return Some(Sa::InitSent(state));
        }
        self.counters.accepted += 1;
        let id = state.peer.id.clone();
        match state.handle(context!(self, now), datagram) {
            Ok(AfterInit::Again(state)) => Some(Sa::InitSent(state)),
            Ok(AfterInit::Auth(state)) => Some(Sa::AuthSent(state)),
            Err(failure) => {
                debug_assert!(self.peers.get(&id).is_none_or(|p| p.sa.is_none_or(|spi| spi == ours)));
                self.down(now, &id, reason(&failure));
                None
            }
        }
    }

    fn step_auth(
        &mut self,
        now: Now,
        ours: IkeSpi,
        state: Box<AuthSent>,
        header: &Header,
        datagram: &[u8],
    ) -> Option<Sa> {
        let answers = header.exchange == ExchangeType::IKE_AUTH && header.flags.response;
        if !answers || !state.requests.expects(header.message_id) {
            self.counters.unexpected += 1;
            return Some(Sa::AuthSent(state));
        }
        let Ok(message) = state.open(datagram) else {
            self.counters.unauthentic += 1;
            return Some(Sa::AuthSent(state));
        };
        self.counters.accepted += 1;
        let id = state.peer.id.clone();
        match state.handle(context!(self, now), message) {
            Ok(established) => {
                self.stands(&id, ours);
                Some(Sa::Established(Box::new(established)))
            }
            Err(failure) => {
                self.down(now, &id, reason(&failure));
                None
            }
        }
    }

    fn step_half_open(
        &mut self,
        now: Now,
        path: UdpPath,
        state: Box<HalfOpen>,
        header: &Header,
        datagram: &[u8],
    ) -> Option<Sa> {
        let asks = header.exchange == ExchangeType::IKE_AUTH && !header.flags.response;
        if !asks || state.responses.judge(header.message_id, datagram) != Incoming::New {
            self.counters.unexpected += 1;
            return Some(Sa::HalfOpen(state));
        }
        let message = match state.open(datagram) {
            Ok(message) => message,
            Err(OpenError::Outer(_) | OpenError::Unauthentic | OpenError::Inner(_)) => {
                self.counters.unauthentic += 1;
                return Some(Sa::HalfOpen(state));
            }
        };
        let ours = state.spis.responder;
        self.half_open.retain(|_, spi| *spi != ours);
        let peers = &self.peers;
        let find =
            |id: &crate::wire::Identification| id.identity().and_then(|id| peers.get(&id)).map(|p| p.config.clone());
        match state.handle(context!(self, now), find, path, message, datagram) {
            Ok(established) => {
                self.counters.accepted += 1;
                self.replace(now, &established.parts.peer.id.clone(), ours);
                Some(Sa::Established(Box::new(established)))
            }
            Err(_) => {
                self.counters.refused += 1;
                None
            }
        }
    }

    fn step_established(
        &mut self,
        now: Now,
        path: UdpPath,
        mut state: Box<Established>,
        header: &Header,
        datagram: &[u8],
    ) -> Option<Sa> {
        let id = header.message_id;
        let result = if header.flags.response {
            if !state.parts.requests.expects(id) {
                self.counters.unexpected += 1;
                return Some(Sa::Established(state));
            }
            state.handle_response(now, datagram)
        } else {
            match state.parts.responses.judge(id, datagram) {
                Incoming::New => state.handle_request(context!(self, now), path, datagram),
                Incoming::Repeated(answer) => {
                    self.counters.retransmitted += 1;
                    self.outputs.push_back(Output::Transmit { path, datagram: answer.to_vec() });
                    return Some(Sa::Established(state));
                }
                Incoming::Unexpected => {
                    self.counters.unexpected += 1;
                    return Some(Sa::Established(state));
                }
            }
        };
        match result {
            Ok(Fate::Stays) => self.counters.accepted += 1,
            Ok(Fate::Over(reason)) => {
                self.counters.accepted += 1;
                self.over(now, state, reason);
                return None;
            }
            Err(_) => self.counters.unauthentic += 1,
        }
        Some(Sa::Established(state))
    }

    /// Sends again, asks for a sign of life, or gives up.
    fn expire(&mut self, now: Now, spi: IkeSpi, mut sa: Sa) -> Option<Sa> {
        let (requests, peer) = match &mut sa {
            Sa::InitSent(state) => (&mut state.requests, &state.peer.id),
            Sa::AuthSent(state) => (&mut state.requests, &state.peer.id),
            Sa::Established(state) => (&mut state.parts.requests, &state.parts.peer.id),
            Sa::HalfOpen(_) => {
                self.half_open.retain(|_, half| *half != spi);
                return None;
            }
        };
        let peer = peer.clone();
        match (requests.handle_timeout(now.instant), sa) {
            (Some(Timeout::Resend(path, datagram)), sa) => {
                self.outputs.push_back(Output::Transmit { path, datagram });
                Some(sa)
            }
            (Some(Timeout::GiveUp), Sa::Established(state)) => {
                self.over(now, state, DownReason::NoAnswer);
                None
            }
            (Some(Timeout::GiveUp), _) => {
                self.down(now, &peer, DownReason::NoAnswer);
                None
            }
            (None, Sa::Established(mut state)) => match state.check_liveness(context!(self, now)) {
                Ok(()) => Some(Sa::Established(state)),
                Err(failure) => {
                    self.over(now, state, reason(&failure));
                    None
                }
            },
            (None, sa) => Some(sa),
        }
    }

    fn keep(&mut self, spi: IkeSpi, sa: Option<Sa>) {
        if let Some(sa) = sa {
            self.sas.insert(spi, sa);
        }
    }

    fn stands(&mut self, id: &Identity, spi: IkeSpi) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.sa = Some(spi);
            peer.failures = 0;
        }
    }

    /// Makes a new SA the one of its peer. The one before belonged to a peer that has started anew, or to our own attempt.
    fn replace(&mut self, now: Now, id: &Identity, spi: IkeSpi) {
        let before = self.peers.get(id).and_then(|peer| peer.sa).filter(|before| *before != spi);
        match before.and_then(|before| self.sas.remove(&before)) {
            Some(Sa::Established(mut sa)) => sa.remove_children(context!(self, now)),
            Some(Sa::InitSent(_) | Sa::AuthSent(_) | Sa::HalfOpen(_)) | None => {}
        }
        self.stands(id, spi);
    }

    fn over(&mut self, now: Now, mut sa: Box<Established>, reason: DownReason) {
        sa.remove_children(context!(self, now));
        self.down(now, &sa.parts.peer.id, reason);
    }

    /// Notes that a peer has no SA any more, and when to try again.
    fn down(&mut self, now: Now, id: &Identity, reason: DownReason) {
        if let Some(peer) = self.peers.get_mut(id) {
            let wait = (FIRST_RETRY * 2_u32.saturating_pow(peer.failures)).min(LONGEST_RETRY);
            peer.sa = None;
            peer.failures = peer.failures.saturating_add(1);
            peer.retry = now.instant + wait;
        }
        self.outputs.push_back(Output::Down(id.clone(), reason));
    }
}
