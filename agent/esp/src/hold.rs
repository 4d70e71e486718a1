//! Frames of rules on demand that wait for their SA (RFC 4301 §5.1): bounded, in order, and not for long.
//!
//! Nothing is allocated before the first of them. Whoever drives it does so: [`Hold::keep`] a frame that no SA carries, and send the
//! [`Hold::question`]; [`Hold::release`] when SAs have come; [`Hold::look`] every [`Hold::LOOK`] while it is not empty.

mod ring;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use espalier_model::identity::Name;
use espalier_model::sa::SaEvent;
use espalier_model::selector::Flow;

use crate::counters::DropReason;

use ring::Ring;

/// The frames, by rule.
#[derive(Debug, Default)]
pub struct Hold {
    numbers: BTreeMap<Name, u64>,
    rules: BTreeMap<u64, Held>,
    ring: Ring,
    /// Of the next rule.
    next: u64,
    packets: usize,
    looked: Option<Instant>,
}

/// What waits of a rule, and what was asked for it.
#[derive(Debug)]
struct Held {
    rule: Name,
    /// Of its first packet.
    flow: Flow,
    frames: usize,
    bytes: usize,
    asked: Option<Instant>,
}

/// Frames of one rule; one connection begins with few.
const MOST_FRAMES: usize = 32;
/// Bytes of one rule: what the longest frame has.
const MOST_BYTES: usize = 10 + 65_535;
/// Rules of which frames wait.
const MOST_RULES: usize = 1_024;
/// A frame waits no longer than this: its sender has given it up, or sent it again.
const LONGEST: Duration = Duration::from_secs(10);
/// A question is asked again after this time, whatever has become of it.
const AGAIN: Duration = Duration::from_secs(1);

impl Hold {
    /// How often what waits is looked at.
    pub const LOOK: Duration = Duration::from_millis(500);

    /// Tells whether nothing waits, and no question was asked a moment ago.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Returns how many packets wait.
    #[must_use]
    pub const fn packets(&self) -> usize {
        self.packets
    }

    /// Keeps a frame of so many packets until the SA of its rule is there.
    ///
    /// # Errors
    /// `HoldFull` where as much waits as may.
    pub fn keep(
        &mut self,
        now: Instant,
        rule: &Name,
        flow: &Flow,
        frame: &[u8],
        packets: usize,
    ) -> Result<(), DropReason> {
        let number = self.number(rule, flow).ok_or(DropReason::HoldFull)?;
        let held = self.rules.get_mut(&number).ok_or(DropReason::HoldFull)?;
        let fits = held.frames < MOST_FRAMES && held.bytes + frame.len() <= MOST_BYTES;
        // The oldest stay: they are the first of what was sent.
        if !fits || !self.ring.push(number, now, frame, packets) {
            return Err(DropReason::HoldFull);
        }
        (held.frames, held.bytes) = (held.frames + 1, held.bytes + frame.len());
        self.packets += packets;
        Ok(())
    }

    /// Returns what to ask IKE for a rule, unless that was done a moment ago.
    pub fn question(&mut self, now: Instant, rule: &Name) -> Option<SaEvent> {
        let held = self.numbers.get(rule).and_then(|number| self.rules.get_mut(number))?;
        held.question(now)
    }

    /// Notes that the question for a rule could not be sent: the next packet asks it again.
    pub fn not_asked(&mut self, rule: &Name) {
        if let Some(held) = self.numbers.get(rule).and_then(|number| self.rules.get_mut(number)) {
            held.asked = None;
        }
    }

    /// Gives back, in order, the frames of rules that have an SA now.
    pub fn release(&mut self, has_sa: impl Fn(&Name) -> bool, mut take: impl FnMut(&[u8], usize)) {
        for (number, held) in self.rules.iter_mut().filter(|(_, held)| held.frames > 0 && has_sa(&held.rule)) {
            (held.frames, held.bytes) = (0, 0);
            self.ring.take(*number, |frame, packets| {
                self.packets -= packets;
                take(frame, packets);
            });
        }
    }

    /// Gives up what has waited for too long, and asks again for what waits on: `ask` tells whether a question was sent. Returns the
    /// number of packets that were given up.
    pub fn look(&mut self, now: Instant, mut ask: impl FnMut(SaEvent) -> bool) -> usize {
        if self.looked.is_some_and(|at| now < at + Self::LOOK) {
            return 0;
        }
        self.looked = Some(now);
        let (rules, mut late) = (&mut self.rules, 0);
        self.ring.drop_before(now.checked_sub(LONGEST), |number, bytes, packets| {
            late += packets;
            if let Some(held) = rules.get_mut(&number) {
                (held.frames, held.bytes) = (held.frames - 1, held.bytes - bytes);
            }
        });
        self.packets -= late;
        for held in self.rules.values_mut().filter(|held| held.frames > 0) {
            if let Some(question) = held.question(now)
                && !ask(question)
            {
                held.asked = None;
            }
        }
        let numbers = &mut self.numbers;
        self.rules.retain(|_, held| {
            let stays = held.frames > 0 || !held.may_ask(now);
            if !stays {
                numbers.remove(&held.rule);
            }
            stays
        });
        late
    }

    fn number(&mut self, rule: &Name, flow: &Flow) -> Option<u64> {
        if let Some(number) = self.numbers.get(rule) {
            return Some(*number);
        }
        if self.rules.len() >= MOST_RULES {
            return None;
        }
        let number = self.next;
        self.next += 1;
        self.numbers.insert(rule.clone(), number);
        self.rules.insert(number, Held { rule: rule.clone(), flow: *flow, frames: 0, bytes: 0, asked: None });
        Some(number)
    }
}

impl Held {
    fn may_ask(&self, now: Instant) -> bool {
        self.asked.is_none_or(|at| at + AGAIN <= now)
    }

    fn question(&mut self, now: Instant) -> Option<SaEvent> {
        self.may_ask(now).then(|| {
            self.asked = Some(now);
            SaEvent::Acquire { rule: self.rule.clone(), flow: self.flow }
        })
    }
}

#[cfg(test)]
mod tests;
