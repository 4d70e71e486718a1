//! How a message or a deadline carries an SA from state to state. What is not authentic leaves a state as it is.

use std::collections::VecDeque;
use std::sync::Arc;

use espalier_model::identity::Identity;
use espalier_model::sa::UdpPath;

use super::slot::{Sa, reason};
use super::{Endpoint, context};
use crate::config::Now;
use crate::handshake::Failure;
use crate::handshake::initiator::intermediate::IntermediateSent;
use crate::handshake::initiator::{AfterInit, AuthSent, InitSent};
use crate::handshake::responder::HalfOpen;
use crate::output::{DownReason, Output};
use crate::sa::established::{Established, Fate, Stage};
use crate::sa::opener::{Arrival, Received};
use crate::sa::window::{Incoming, Timeout};
use crate::wire::sk::OpenError;
use crate::wire::{ExchangeType, Header, Identification, Malformed, Message, Payload};

impl Endpoint {
    /// Lets a state take a message.
    pub(super) fn step(&mut self, now: Now, path: UdpPath, sa: Sa, header: &Header, datagram: &[u8]) -> Option<Sa> {
        match sa {
            Sa::InitSent(state) => self.step_init(now, state, header, datagram),
            Sa::IntermediateSent(state) => self.step_intermediate(now, state, header, datagram),
            Sa::AuthSent(state) => self.step_auth(now, state, header, datagram),
            Sa::HalfOpen(state) => self.step_half_open(now, path, state, header, datagram),
            Sa::Established(state) => self.step_established(now, path, state, header, datagram),
        }
    }

    fn step_init(&mut self, now: Now, state: Box<InitSent>, header: &Header, datagram: &[u8]) -> Option<Sa> {
        let answers = header.exchange == ExchangeType::IKE_SA_INIT && header.flags.response;
        let expected = answers && state.requests.expects(header.message_id);
        let Some(message) = expected.then(|| Message::parse(datagram).ok()).flatten() else {
            self.counters.unexpected += 1;
            return Some(Sa::InitSent(state));
        };
        let id = state.peer.id.clone();
        let result = state.handle(context!(self, now), message, datagram);
        if matches!(result, Ok(AfterInit::Stays(..))) {
            self.counters.refused += 1;
        } else {
            self.counters.accepted += 1;
        }
        self.after_init(now, &id, result)
    }

    fn step_intermediate(
        &mut self,
        now: Now,
        mut state: Box<IntermediateSent>,
        header: &Header,
        datagram: &[u8],
    ) -> Option<Sa> {
        let answers = header.exchange == ExchangeType::IKE_INTERMEDIATE && header.flags.response;
        if !answers || !state.pending.auth.requests.expects(header.message_id) {
            self.counters.unexpected += 1;
            return Some(Sa::IntermediateSent(state));
        }
        let Some(Received { payloads, whole, .. }) = self.message(state.pending.auth.opening.open(datagram)) else {
            return Some(Sa::IntermediateSent(state));
        };
        let (Some(payloads), Some(whole)) = (self.readable(payloads), whole) else {
            return Some(Sa::IntermediateSent(state));
        };
        self.counters.accepted += 1;
        let id = state.pending.auth.peer.id.clone();
        let result = state.handle(context!(self, now), payloads, &whole);
        self.after_init(now, &id, result)
    }

    /// Goes on with what a response before `IKE_AUTH` has led to.
    fn after_init(&mut self, now: Now, id: &Identity, result: Result<AfterInit, Failure>) -> Option<Sa> {
        match result {
            Ok(AfterInit::Again(state)) => Some(Sa::InitSent(state)),
            Ok(AfterInit::Intermediate(state)) => Some(Sa::IntermediateSent(state)),
            Ok(AfterInit::Auth(state)) => Some(Sa::AuthSent(state)),
            Ok(AfterInit::Stays(state, failure)) => Some(Sa::InitSent(self.doubtful(state, &failure))),
            Err(failure) => {
                self.failed(now, id, reason(&failure));
                None
            }
        }
    }

    fn step_auth(&mut self, now: Now, mut state: Box<AuthSent>, header: &Header, datagram: &[u8]) -> Option<Sa> {
        let answers = header.exchange == ExchangeType::IKE_AUTH && header.flags.response;
        if !answers || !state.requests.expects(header.message_id) {
            self.counters.unexpected += 1;
            return Some(Sa::AuthSent(state));
        }
        let Some(Received { payloads, .. }) = self.message(state.opening.open(datagram)) else {
            return Some(Sa::AuthSent(state));
        };
        self.counters.accepted += 1;
        let (id, alone) = (state.peer.id.clone(), state.alone);
        let switch = self.switch_of(now, &id, state.lowest(), alone);
        match state.handle(context!(self, now), payloads, switch) {
            Ok(established) => self.settle(now, Box::new(established), alone),
            Err(failure) => {
                self.failed(now, &id, reason(&failure));
                None
            }
        }
    }

    fn step_half_open(
        &mut self,
        now: Now,
        path: UdpPath,
        mut state: Box<HalfOpen>,
        header: &Header,
        datagram: &[u8],
    ) -> Option<Sa> {
        match state.judge(header.message_id, datagram) {
            //= RFC 7296 §1: nothing but IKE_AUTH follows IKE_SA_INIT, and nothing else comes before it has succeeded
            Incoming::New if header.exchange == state.awaits() && !header.flags.response => {}
            Incoming::Repeated(answer) if !header.flags.response => {
                let answer = answer.to_vec();
                self.counters.retransmitted += 1;
                self.transmit_all(path, answer);
                return Some(Sa::HalfOpen(state));
            }
            Incoming::New | Incoming::Repeated(_) | Incoming::Unexpected => {
                self.counters.unexpected += 1;
                return Some(Sa::HalfOpen(state));
            }
        }
        let Some(request) = self.message(state.opening.open(datagram)) else {
            return Some(Sa::HalfOpen(state));
        };
        if state.awaits() == ExchangeType::IKE_INTERMEDIATE {
            return self.step_half_open_on(now, path, state, request);
        }
        let Received { mark, payloads, .. } = request;
        self.half_open.remove(&state.first);
        let peers = &self.peers;
        let find = |id: &Identification| id.identity().and_then(|id| peers.get(&id)).map(|p| Arc::clone(&p.config));
        match state.handle(context!(self, now), find, path, payloads, mark) {
            Ok((established, alone)) => {
                self.counters.accepted += 1;
                self.settle(now, Box::new(established), alone)
            }
            Err(failure) => {
                self.counters.refused += 1;
                self.outputs.push_back(Output::TurnedAway(path.remote, reason(&failure)));
                None
            }
        }
    }

    /// Lets a half-open SA take an additional key exchange.
    fn step_half_open_on(&mut self, now: Now, path: UdpPath, state: Box<HalfOpen>, request: Received) -> Option<Sa> {
        if request.payloads.is_err() {
            self.counters.unauthentic += 1;
            return Some(Sa::HalfOpen(state));
        }
        let first = state.first;
        match state.exchange_keys(context!(self, now), path, request) {
            Ok(state) => {
                self.counters.accepted += 1;
                Some(Sa::HalfOpen(state))
            }
            Err(failure) => {
                self.half_open.remove(&first);
                self.counters.refused += 1;
                self.outputs.push_back(Output::TurnedAway(path.remote, reason(&failure)));
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
        if header.flags.response {
            //= RFC 7296 §3.1: a response is not answered
            if !state.parts.requests.expects(id) {
                self.counters.unexpected += 1;
                return Some(Sa::Established(state));
            }
        } else {
            //= RFC 7296 §2.2: requests of the two ends are counted apart, and a response has the number of its request
            //= RFC 7296 §2.3: requests of the peer are carried out while one of ours is open
            match state.parts.judge(id, datagram) {
                Incoming::New => {}
                Incoming::Repeated(answer) => {
                    let answer = answer.to_vec();
                    self.counters.retransmitted += 1;
                    self.transmit_all(path, answer);
                    return Some(Sa::Established(state));
                }
                //= RFC 7296 §2.3: a request outside the window is not acknowledged
                Incoming::Unexpected => {
                    self.counters.unexpected += 1;
                    return Some(Sa::Established(state));
                }
            }
        }
        let Some(message) = self.message(state.parts.opening.open(datagram)) else {
            return Some(Sa::Established(state));
        };
        let result = if header.flags.response {
            state.handle_response(context!(self, now), path, message)
        } else {
            state.handle_request(context!(self, now), path, message)
        };
        match result {
            Ok(fate) => {
                self.counters.accepted += 1;
                self.follow(now, state, fate)
            }
            Err(_) => {
                self.counters.unauthentic += 1;
                Some(Sa::Established(state))
            }
        }
    }

    /// Returns the message that a datagram has brought, if there is one, and counts the datagram otherwise.
    fn message(&mut self, arrival: Result<Arrival, OpenError>) -> Option<Received> {
        match arrival {
            Ok(Arrival::Message(message)) => return Some(message),
            Ok(Arrival::Fragment) => self.counters.fragments += 1,
            Err(_) => self.counters.unauthentic += 1,
        }
        None
    }

    /// Returns what a message holds, and counts its datagram when that cannot be read.
    fn readable(&mut self, payloads: Result<Vec<Payload>, Malformed>) -> Option<Vec<Payload>> {
        self.counters.unauthentic += u64::from(payloads.is_err());
        payloads.ok()
    }

    /// Carries out what a message has led to.
    fn follow(&mut self, now: Now, mut state: Box<Established>, fate: Fate) -> Option<Sa> {
        match fate {
            Fate::Stays => self.renew_in_time(now, &state),
            Fate::Over(reason) => {
                let responses = std::mem::take(&mut state.parts.responses);
                self.farewells.keep(now.instant, state.spi(), responses);
                let answer = self.take_answer();
                self.over(now, state, reason);
                // Who is answered takes nothing on the old SA any more: what goes out uses another before.
                self.outputs.extend(answer);
                return None;
            }
            Fate::Succeeded(mut successor) => {
                if state.stage != Stage::Standing {
                    self.succeed(now, state.spi(), &mut successor);
                }
                self.keep_acting(now, successor);
            }
            Fate::Wins(rival, mut successor) => {
                self.succeed(now, state.spi(), &mut successor);
                self.keep_acting(now, successor);
                if let Some(Sa::Established(mut loser)) = self.sas.remove(&rival) {
                    loser.give_way(now.instant);
                    self.keep_acting(now, loser);
                }
            }
            Fate::Yields(rival, ours) => {
                self.keep_acting(now, ours);
                self.yield_to(now, &mut state, rival);
            }
            Fate::GivesWay(rival) => self.yield_to(now, &mut state, rival),
        }
        self.act(now, Sa::Established(state))
    }

    /// Takes back what is about to be sent last.
    fn take_answer(&mut self) -> VecDeque<Output> {
        let before = self.outputs.iter().rposition(|output| !matches!(output, Output::Transmit { .. }));
        self.outputs.split_off(before.map_or(0, |at| at + 1))
    }

    fn keep_acting(&mut self, now: Now, sa: Box<Established>) {
        let spi = sa.spi();
        let next = self.act(now, Sa::Established(sa));
        self.keep(spi, next);
    }

    /// Sends again, does what is due, or gives up.
    pub(super) fn expire(&mut self, now: Now, mut sa: Sa) -> Option<Sa> {
        let (requests, peer) = match &mut sa {
            Sa::InitSent(state) => (&mut state.requests, &state.peer.id),
            Sa::IntermediateSent(state) => (&mut state.pending.auth.requests, &state.pending.auth.peer.id),
            Sa::AuthSent(state) => (&mut state.requests, &state.peer.id),
            Sa::Established(state) => (&mut state.parts.requests, &state.parts.peer.id),
            Sa::HalfOpen(state) => {
                self.half_open.remove(&state.first);
                return None;
            }
        };
        let peer = peer.clone();
        match (requests.handle_timeout(now.instant), sa) {
            (Some(Timeout::Resend(path, datagrams)), Sa::Established(mut state)) => {
                for path in state.retry_along(self.present.as_deref(), path) {
                    self.transmit_all(path, datagrams.clone());
                }
                Some(Sa::Established(state))
            }
            (Some(Timeout::Resend(path, datagrams)), sa) => {
                self.transmit_all(path, datagrams);
                Some(sa)
            }
            (Some(Timeout::GiveUp), Sa::Established(mut state)) => {
                let heard = state.heard();
                if state.parts.requests.extend(heard) {
                    return Some(Sa::Established(state));
                }
                //= RFC 7296 §2.1: a request is sent again until it is answered, or all of the IKE SA is given up
                self.over(now, state, DownReason::NoAnswer);
                None
            }
            (Some(Timeout::GiveUp), Sa::InitSent(state)) => {
                self.failed(now, &peer, state.doubt.unwrap_or(DownReason::NoAnswer));
                None
            }
            (Some(Timeout::GiveUp), _) => {
                self.failed(now, &peer, DownReason::NoAnswer);
                None
            }
            (None, sa) => self.act(now, sa),
        }
    }
}
