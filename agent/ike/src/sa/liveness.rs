//! Whether the peer is there: what counts as a sign of life, and when it is asked for one (RFC 7296 §2.4); and whether a NAT has
//! to be reminded of us (RFC 3948 §4).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use espalier_model::sa::ChildId;

use super::established::Established;
use super::exchange::Exchange;
use crate::context::Context;
use crate::handshake::Failure;
use crate::output::Output;
use crate::wire::{ExchangeType, Payload};

/// Signs of life of both ends.
pub(crate) struct Vitals {
    /// When the peer was last heard: a message or packet that is authentic and was not there before.
    pub(super) heard: Instant,
    /// Whether packets have left since for which none came back.
    unanswered: bool,
    /// When we have last sent something, at the earliest.
    sent: Instant,
    /// When was last asked what the children have carried, and when before that.
    measured: Instant,
    before: Instant,
    counts: BTreeMap<ChildId, Count>,
    /// Since when something that nobody has proven speaks against the peer.
    suspected: Option<Instant>,
    /// When such a thing was last heeded.
    heeded: Option<Instant>,
}

#[derive(Clone, Copy, Default)]
struct Count {
    inbound: u64,
    outbound: u64,
    /// Whether its newest packets come from another address than they should.
    strays: bool,
}

/// A pair that carries nothing either way is asked about more rarely, by this factor: nobody waits for it, but a tunnel that is
/// down is shown as down.
const IDLE: u32 = 3;
/// Time for the data plane to say what the children have carried.
const ANSWER: Duration = Duration::from_millis(50);
/// Behind a NAT, packets of ours are looked for this often.
const LOOK: Duration = Duration::from_secs(5);
/// A mapping that is not used for longer may be forgotten by the NAT.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// Hints make an SA ask for a sign of life this often at most.
const HINTS: Duration = Duration::from_secs(10);

/// What liveness asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// What the children have carried.
    Measure,
    /// A byte for the NAT.
    Keepalive,
    /// A sign of life of the peer.
    Ask,
}

impl Vitals {
    pub(super) const fn new(now: Instant) -> Self {
        let (suspected, heeded) = (None, None);
        let counts = BTreeMap::new();
        Self { heard: now, unanswered: false, sent: now, measured: now, before: now, counts, suspected, heeded }
    }

    /// Notes an authentic message that is new.
    pub(super) const fn hear(&mut self, now: Instant) {
        self.heard = now;
        self.unanswered = false;
        self.suspected = None;
    }

    /// Notes a message of ours.
    pub(super) const fn send(&mut self, now: Instant) {
        self.sent = now;
    }

    /// Notes that the newest packets of a pair do not come from where they should.
    //= RFC 4555 §3.12: such packets do not show that the peer can be reached
    pub(super) fn stray(&mut self, id: ChildId) {
        self.counts.entry(id).or_default().strays = true;
    }
}

impl Established {
    /// Asks the peer for a sign of life as soon as may be.
    pub(super) const fn ask_now(&mut self, now: Instant) {
        self.vitals.suspected = Some(now);
    }

    /// Takes a hint that nobody has proven.
    pub(crate) fn suspect(&mut self, now: Instant) {
        if self.vitals.heeded.is_none_or(|at| at + HINTS <= now) {
            self.vitals.heeded = Some(now);
            self.ask_now(now);
        }
    }

    /// Takes how many packets a child has carried, inbound and outbound.
    //= RFC 7296 §2.4: only packets that are authentic and were not there before are signs of life: the data plane counts no others
    pub(crate) fn handle_usage(&mut self, now: Instant, id: ChildId, (inbound, outbound): (u64, u64)) {
        let before = self.vitals.counts.get(&id).copied().unwrap_or_default();
        self.vitals.counts.insert(id, Count { inbound, outbound, ..before });
        let received = inbound > before.inbound && !before.strays;
        if outbound > before.outbound {
            self.vitals.sent = self.vitals.sent.max(self.vitals.before);
            self.vitals.unanswered |= !received;
        }
        if received {
            self.vitals.heard = now;
            self.vitals.unanswered = false;
        }
    }

    /// Lists what liveness asks for, and when.
    pub(super) fn signs(&self) -> Vec<(Instant, Sign)> {
        let vitals = &self.vitals;
        let (nat, liveness) = (self.mobility.nat.ours, self.parts.peer.profile.liveness());
        //= RFC 7296 §2.4: a peer that has not been heard for a while is asked whether it is there
        let wait = if vitals.unanswered { liveness } else { liveness * IDLE };
        //= RFC 4555 §3.11: the end that follows leaves the other time to notice first
        let wait = if self.mobile() && !self.leads() { wait + wait / 2 } else { wait };
        let ask = vitals.heard + wait;
        let regular = vitals.measured + if nat { LOOK.min(liveness / 2) } else { liveness / 2 };
        let measure = if vitals.measured < ask { regular.min(ask) } else { regular };
        let mut signs = Vec::new();
        if !self.children.is_empty() {
            signs.push((measure, Sign::Measure));
        }
        //= RFC 7296 §2.23: keepalives go out while nothing else does
        //= RFC 3948 §4: only the end behind the NAT sends keepalives, and only while it sends nothing else
        signs.extend(nat.then_some((vitals.sent + KEEPALIVE, Sign::Keepalive)));
        signs.push((vitals.suspected.unwrap_or(ask + ANSWER), Sign::Ask));
        signs
    }

    /// Asks how much the children have carried.
    pub(super) fn measure(&mut self, cx: &mut Context<'_>) {
        self.vitals.before = self.vitals.measured;
        self.vitals.measured = cx.now.instant;
        let children = &self.children;
        self.vitals.counts.retain(|id, _| children.iter().any(|child| child.id == *id));
        cx.out.extend(self.children.iter().map(|child| Output::Measure(child.id)));
    }

    /// Asks the peer for a sign of life. The end that leads asks where it is seen as well.
    pub(super) fn check_liveness(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.vitals.suspected = None;
        let mut payloads = Vec::new();
        if self.mobile() && self.leads() {
            //= RFC 4555 §3.8: the initiator adds NAT detection, and sees in the answer whether a mapping has changed
            let encap = self.parts.peer.profile.encap;
            let notifies = cx.nat_detection(self.parts.spis, self.parts.path, encap);
            payloads.extend(notifies.into_iter().map(Payload::Notify));
        }
        self.request(cx, ExchangeType::INFORMATIONAL, &payloads, Exchange::Liveness)
    }

    /// Reminds the NAT of us.
    pub(super) fn keep_mapping(&mut self, cx: &mut Context<'_>) {
        self.vitals.send(cx.now.instant);
        cx.out.push_back(Output::Keepalive(self.parts.path));
    }
}
