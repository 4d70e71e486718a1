//! First messages: who gets a half-open SA, and what the keepers of the door are told.

use std::sync::Arc;
use std::time::Instant;

use espalier_model::sa::UdpPath;
use rand::Rng;

use super::slot::{Sa, reason};
use super::{Endpoint, context};
use crate::config::Now;
use crate::door::{Cookies, DoorPolicy, Doorkeeper, First, Sender, ask};
use crate::handshake::Failure;
use crate::handshake::responder::{AfterRequest, HalfOpen};
use crate::output::Output;
use crate::sa::window::Incoming;
use crate::wire::{Header, Malformed};

/// With so many half-open SAs, a sender must show its address first.
const COOKIES_FROM: usize = 100;
/// Not before so few are left does it not have to any more.
const COOKIES_UNTIL: usize = 50;

impl Endpoint {
    /// Makes a keeper of the door, which judges datagrams before they are handled. There may be several; each is to be told of
    /// every [`Output::Door`].
    pub fn doorkeeper(&mut self, now: Now) -> Doorkeeper {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        Doorkeeper::new(self.cookies(now.instant).clone(), self.spi_mark, seed)
    }

    /// Answers a first message, or repeats the answer.
    pub(super) fn handle_first(&mut self, now: Now, path: UdpPath, header: &Header, datagram: &[u8]) {
        //= RFC 7296 §2.1: a first message is known by its SPI, its address, its port and its hash
        let key = (header.initiator_spi, path.remote);
        if let Some(spi) = self.half_open.get(&key).copied() {
            if let Some(Sa::HalfOpen(sa)) = self.sas.get(&spi)
                && let Incoming::Repeated(answer) = sa.responses.judge(0, datagram)
            {
                let answer = answer.to_vec();
                self.counters.retransmitted += 1;
                self.transmit_all(path, answer);
                return;
            }
            if !matches!(self.look(now, path, datagram), Ok((_, true))) {
                self.counters.unexpected += 1;
                return;
            }
            // Its first message was answered, and its repetition met a demand for a cookie: the sender goes on with this one.
            self.half_open.remove(&key);
            self.sas.remove(&spi);
            self.keep(spi, None);
        //= RFC 7296 §2.6: with many half-open SAs a sender must return a cookie first
        } else if self.door.cookies && !self.shows_address(now, path, datagram) {
            return;
        }
        let known = self.by_address.get(&path.remote.ip()).and_then(|id| self.peers.get(id));
        let room = self.half_open.have_room(&self.limits, path.remote.ip(), known.is_some());
        let peer = known.or_else(|| self.peers.values().next()).filter(|_| room);
        let Some(peer) = peer.map(|p| Arc::clone(&p.config)) else {
            self.counters.refused += 1;
            return;
        };
        match HalfOpen::answer(context!(self, now), &peer, path, datagram) {
            Ok(AfterRequest::HalfOpen(state)) => {
                self.counters.accepted += 1;
                let spi = state.spis.responder;
                self.half_open.insert(key, spi);
                self.keep(spi, Some(Sa::HalfOpen(state)));
            }
            Ok(AfterRequest::Refused) => self.counters.refused += 1,
            Err(failure @ Failure::NoCommonSuite(_)) => {
                self.counters.refused += 1;
                self.outputs.push_back(Output::TurnedAway(path.remote, reason(&failure)));
            }
            Err(_) => self.counters.malformed += 1,
        }
    }

    /// Tells the keepers of the door when the demand for cookies begins or ends.
    pub(super) fn review_door(&mut self) {
        let least = if self.door.cookies { COOKIES_UNTIL } else { COOKIES_FROM };
        let demanded = self.half_open.len() >= least;
        self.tell_door(|door| door.cookies = demanded);
    }

    /// Changes what the keepers of the door are told.
    pub(super) fn tell_door(&mut self, change: impl FnOnce(&mut DoorPolicy)) {
        let before = self.door.clone();
        change(&mut self.door);
        if self.door != before {
            self.outputs.push_back(Output::Door(self.door.clone()));
        }
    }

    /// Tells whether a first message brings the cookie of its sender; asks for it otherwise.
    fn shows_address(&mut self, now: Now, path: UdpPath, datagram: &[u8]) -> bool {
        let Ok((sender, shown)) = self.look(now, path, datagram) else {
            self.counters.malformed += 1;
            return false;
        };
        if !shown {
            self.counters.refused += 1;
            if let Ok(datagram) = ask(self.cookies(now.instant), now.instant, sender) {
                self.outputs.push_back(Output::Transmit { path, datagram });
            }
        }
        shown
    }

    /// Looks who has sent a first message, and whether it brings the sender's cookie.
    fn look<'a>(&mut self, now: Now, path: UdpPath, datagram: &'a [u8]) -> Result<(Sender<'a>, bool), Malformed> {
        let First { spi, nonce, cookie } = First::at(datagram)?;
        let sender = Sender { spi, address: path.remote.ip(), nonce };
        Ok((sender, cookie.is_some_and(|cookie| self.cookies(now.instant).check(now.instant, sender, cookie))))
    }

    fn cookies(&mut self, now: Instant) -> &mut Cookies {
        let Self { cookies, rng, .. } = self;
        cookies.get_or_insert_with(|| Cookies::new(rng, now))
    }
}
