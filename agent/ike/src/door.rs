//! The door of an endpoint: who is let in at once, who is asked to show its address first, and who is turned away unread.
//!
//! A [`Doorkeeper`] stands where datagrams arrive, in the receiver's own thread, so that a flood of forged first messages never
//! reaches the [`Endpoint`](crate::Endpoint). It keeps no state for anybody. The endpoint tells it by [`DoorPolicy`] when cookies
//! are demanded, and both make the same cookies.

mod budget;
mod cookie;
mod glance;
mod spi;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::ops::{Add, Sub};
use std::sync::Arc;
use std::time::Instant;

use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::handshake::initiator::header;
use crate::keymat::IkeSpis;
use crate::wire::header::MAJOR;
use crate::wire::{ExchangeType, Flags, IkeSpi, Malformed, Message, Notify, NotifyType, Oversized, Payload};

use budget::{Budget, Rate, Sources};
pub(crate) use cookie::{Cookies, Sender};
pub(crate) use glance::{First, Glance};
pub(crate) use spi::SpiMark;

/// What an endpoint wants of its doorkeepers at the moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DoorPolicy {
    /// Whether each sender of a first message must show its address.
    pub cookies: bool,
    /// Addresses of peers: strangers do not use up what is left for them.
    pub known: Arc<BTreeSet<IpAddr>>,
}

/// What becomes of a datagram at the door.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is for an IKE SA: to be handled before all first messages.
    ForSa,
    /// It asks for an IKE SA.
    First,
    /// Its sender is to show its address: send this back, without the non-ESP marker, and forget it.
    Ask(Vec<u8>),
    /// Nothing.
    Drop,
}

/// What happened to the datagrams that came no further. Each is counted in exactly one field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DoorCounters {
    /// First messages answered with a cookie.
    pub asked: u64,
    /// Beyond what a source, or all of them, may send.
    pub throttled: u64,
    /// Not an IKE message.
    pub malformed: u64,
    /// For an SA that is not there.
    pub unknown_spi: u64,
}

impl DoorCounters {
    /// Returns how many came no further.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.asked + self.throttled + self.malformed + self.unknown_spi
    }
}

impl Add for DoorCounters {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            asked: self.asked + other.asked,
            throttled: self.throttled + other.throttled,
            malformed: self.malformed + other.malformed,
            unknown_spi: self.unknown_spi + other.unknown_spi,
        }
    }
}

impl Sub for DoorCounters {
    type Output = Self;

    /// Returns what has been added since an earlier count.
    fn sub(self, earlier: Self) -> Self {
        Self {
            asked: self.asked.saturating_sub(earlier.asked),
            throttled: self.throttled.saturating_sub(earlier.throttled),
            malformed: self.malformed.saturating_sub(earlier.malformed),
            unknown_spi: self.unknown_spi.saturating_sub(earlier.unknown_spi),
        }
    }
}

/// Judges datagrams.
pub struct Doorkeeper {
    cookies: Cookies,
    mark: SpiMark,
    /// First messages that pass without a cookie while none is demanded.
    free: Budget,
    /// Answers to strangers, and to peers.
    answers: [Budget; 2],
    /// Messages for SAs that cannot be there.
    lost: Budget,
    peers: Sources,
    strangers: Sources,
    speakers: Sources,
    counters: DoorCounters,
}

/// Beyond this a cookie is demanded even while the endpoint has room. A whole mesh may call at once.
const FREE: Rate = Rate { per_second: 500, burst: 1_000 };
/// Answers: sending them must not take all of a processor, whatever comes.
const TO_STRANGERS: Rate = Rate { per_second: 30_000, burst: 3_000 };
const TO_PEERS: Rate = Rate { per_second: 10_000, burst: 1_000 };
/// First messages from one address: a whole site may sit behind it.
const FROM_ONE: Rate = Rate { per_second: 100, burst: 200 };
/// Messages of IKE SAs from one address, fragments included.
const OF_SAS: Rate = Rate { per_second: 2_000, burst: 4_000 };
/// Messages for SAs that are not there; what is to be said about them is the endpoint's.
const LOST: Rate = Rate { per_second: 20, burst: 20 };

impl Doorkeeper {
    pub(crate) fn new(cookies: Cookies, mark: SpiMark, seed: [u8; 32]) -> Self {
        let mut rng = StdRng::from_seed(seed);
        Self {
            cookies,
            mark,
            free: Budget::default(),
            answers: [Budget::default(); 2],
            lost: Budget::default(),
            peers: Sources::new(&mut rng, FROM_ONE),
            strangers: Sources::new(&mut rng, FROM_ONE),
            speakers: Sources::new(&mut rng, OF_SAS),
            counters: DoorCounters::default(),
        }
    }

    /// Judges a datagram, without the non-ESP marker, by a look at it.
    pub fn judge(&mut self, now: Instant, policy: &DoorPolicy, remote: SocketAddr, datagram: &[u8]) -> Verdict {
        match Glance::at(datagram) {
            // Who speaks a higher major version is told which one is spoken here: by the endpoint, and seldom.
            Err(Malformed::Version(version)) if version > MAJOR && self.lost.take(now, LOST) => Verdict::First,
            Err(_) => {
                self.counters.malformed += 1;
                Verdict::Drop
            }
            Ok(Glance::Of(spi)) => self.judge_message(now, remote.ip(), spi),
            Ok(Glance::First(first)) => self.judge_first(now, policy, remote.ip(), &first),
        }
    }

    /// Returns what happened to the datagrams that came no further.
    #[must_use]
    pub const fn counters(&self) -> DoorCounters {
        self.counters
    }

    fn judge_message(&mut self, now: Instant, source: IpAddr, spi: IkeSpi) -> Verdict {
        if !self.mark.bears(spi) {
            if self.lost.take(now, LOST) {
                return Verdict::First;
            }
            self.counters.unknown_spi += 1;
            return Verdict::Drop;
        }
        if self.speakers.take(now, source) {
            return Verdict::ForSa;
        }
        self.counters.throttled += 1;
        Verdict::Drop
    }

    fn judge_first(&mut self, now: Instant, policy: &DoorPolicy, source: IpAddr, first: &First<'_>) -> Verdict {
        let known = policy.known.contains(&source);
        let sources = if known { &mut self.peers } else { &mut self.strangers };
        if !sources.take(now, source) {
            self.counters.throttled += 1;
            return Verdict::Drop;
        }
        let sender = Sender { spi: first.spi, address: source, nonce: first.nonce };
        let shown = first.cookie.is_some_and(|cookie| self.cookies.check(now, sender, cookie));
        if shown || (!policy.cookies && self.free.take(now, FREE)) {
            return Verdict::First;
        }
        // Nothing is kept for the sender.
        let [strangers, peers] = &mut self.answers;
        if if known { peers.take(now, TO_PEERS) } else { strangers.take(now, TO_STRANGERS) }
            && let Ok(answer) = ask(&mut self.cookies, now, sender)
        {
            self.counters.asked += 1;
            return Verdict::Ask(answer);
        }
        self.counters.throttled += 1;
        Verdict::Drop
    }
}

/// Builds the response that asks a sender for its cookie.
pub(crate) fn ask(cookies: &mut Cookies, now: Instant, sender: Sender<'_>) -> Result<Vec<u8>, Oversized> {
    let spis = IkeSpis { initiator: sender.spi, responder: IkeSpi::ZERO };
    let header = header(spis, ExchangeType::IKE_SA_INIT, Flags { initiator: false, response: true }, 0);
    let cookie = cookies.make(now, sender).to_vec();
    Message { header, payloads: vec![Payload::Notify(Notify::new(NotifyType::COOKIE, cookie))] }.emit()
}

#[cfg(test)]
mod tests;
