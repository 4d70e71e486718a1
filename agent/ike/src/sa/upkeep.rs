//! What an IKE SA does by itself, and when. It compares what is with what should be; so whatever was missed is done later.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use espalier_model::identity::Name;
use espalier_model::sa::{ChildId, SaEvent};

use super::auth_lifetime::SHORTEST;
use super::child::Child;
use super::established::{Established, GRACE, Stage};
use super::exchange::Exchange;
use super::liveness::Sign;
use super::mobility::Errand;
use super::patience::Patience;
use crate::config::ChildConfig;
use crate::context::Context;
use crate::explain::What;
use crate::handshake::Failure;
use crate::wants::{Want, Wants};
use crate::wire::{Delete, ExchangeType, Payload};

/// One thing to do.
enum Step {
    Close,
    ForgetLate,
    DeleteChildren,
    RekeyIke,
    RekeyChild(ChildId),
    CompleteChild(ChildId),
    CreateChild(Box<ChildConfig>),
    Redundant(ChildId),
    /// Something that liveness asks for: what needs no request is done before.
    Sign,
    Errand(Errand),
    TellLifetime,
    TellStray,
}

/// The end that does not lead leaves the other this long before it acts itself.
pub(crate) const TURN: Duration = Duration::from_secs(3);

/// Two pairs of one rule stand side by side this long at most.
const TIDY: Duration = Duration::from_secs(20);

/// Two IKE SAs stand side by side this long at most, while the new one gets its child SAs.
const OVERLAP: Duration = Duration::from_secs(20);

/// A proof that ends sooner is not asked for again.
const SHORTEST_PROOF: Duration = Duration::from_secs(60);

impl Established {
    /// Does the next thing that is due, one request at a time.
    pub(crate) fn act(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        if self.parts.requests.free().is_none() {
            return Ok(());
        }
        while let Some(sign @ (Sign::Measure | Sign::Keepalive)) = self.due_sign(cx.now.instant) {
            if sign == Sign::Measure { self.measure(cx) } else { self.keep_mapping(cx) }
        }
        let due = self.steps(cx.present, cx.wants).into_iter().find(|(at, _)| *at <= cx.now.instant);
        match due.map(|(_, step)| step) {
            Some(Step::Close) => self.close(cx),
            Some(Step::ForgetLate) => {
                self.forget_late(cx.now.instant);
                Ok(())
            }
            Some(Step::DeleteChildren) => self.delete_children(cx),
            Some(Step::RekeyIke) => self.offer_ike(cx, None),
            Some(Step::RekeyChild(id)) => match self.children.iter().find(|c| c.id == id) {
                Some(child) => {
                    //= RFC 7296 §2.8: a child SA is replaced by one of the same rule
                    let config = child.config.clone();
                    self.offer_child(cx, config, Some(id), None)
                }
                None => Ok(()),
            },
            Some(Step::Redundant(id)) => {
                self.children.iter_mut().filter(|c| c.id == id).for_each(|c| c.delete_at = Some(cx.now.instant));
                self.delete_children(cx)
            }
            Some(Step::CompleteChild(id)) => self.offer_outer(cx, id, None),
            Some(Step::CreateChild(config)) => self.offer_child(cx, *config, None, None),
            Some(Step::Errand(errand)) => self.run(cx, errand),
            Some(Step::TellLifetime) => self.tell_lifetime(cx),
            Some(Step::TellStray) => self.tell_stray(cx),
            Some(Step::Sign) => self.check_liveness(cx),
            None => Ok(()),
        }
    }

    /// Returns when there is something to do next, other than to send an open request again.
    pub(crate) fn acts_at(&self, wants: &Wants) -> Option<Instant> {
        // An errand is done by the call that makes it known, or by the one that frees the window.
        let timed = self.steps(None, wants).into_iter().filter(|(_, step)| !matches!(step, Step::Errand(_)));
        timed.map(|(at, _)| at).min()
    }

    fn due_sign(&self, now: Instant) -> Option<Sign> {
        let standing = self.stage == Stage::Standing;
        self.signs().into_iter().find(|(at, _)| standing && *at <= now).map(|(_, sign)| sign)
    }

    /// Lists what is to be done and when, the most urgent first.
    fn steps(&self, present: Option<&[IpAddr]>, wants: &Wants) -> Vec<(Instant, Step)> {
        let errand = self.errand(present).map(|errand| (self.since, Step::Errand(errand)));
        match self.stage {
            //= RFC 7296 §1.3.2: nothing new is asked for on an IKE SA that is replaced
            Stage::Closing => return vec![(self.since, Step::Close)],
            // The peer may not know the one that has taken its place yet, but it must find us all the same.
            Stage::Replaced(until) => return errand.into_iter().chain([(until, Step::Close)]).collect(),
            // The offer that decides is answered or given up before; nothing waits for ever.
            Stage::Undecided => return vec![(self.since + GRACE, Step::Close)],
            Stage::Standing => {}
        }
        let peer = &self.parts.peer;
        let turn = |at: Instant| if peer.initiate { at } else { at + TURN };
        let aged = |epoch: u64, at: Instant| if epoch < peer.key_epoch { at.min(turn(self.changed)) } else { at };
        let pause = self.awaits_until().map_or(self.pause, |until| self.pause.max(until));
        let mut steps = Vec::new();
        steps.extend(self.forgets_at().map(|at| (at, Step::ForgetLate)));
        if self.parts.requests.is_spent() || self.parts.responses.is_spent() {
            steps.push((self.since, Step::Close));
        } else if self.parts.requests.is_worn() || self.parts.responses.is_worn() {
            //= RFC 7296 §2.2: the message IDs of an SA are never used twice; it is rekeyed, or closed, before they end
            steps.push((self.pause, Step::RekeyIke));
        }
        // An SA never outlives the proof of who the peer is.
        steps.extend(self.parts.proof.as_ref().map(|proof| (proof.ends, Step::Close)));
        let alive = || self.children.iter().filter(|c| c.delete_at.is_none());
        //= RFC 7296 §2.8: where what is worn out cannot be replaced, the IKE SA is closed with all its child SAs
        //= RFC 7296 §2.25: the IKE SA is closed after minutes of temporary failures
        let patience = alive().map(|c| c.patience).chain([self.patience, self.temporary]);
        steps.extend(patience.filter_map(Patience::ended).min().map(|at| (at, Step::Close)));
        steps.extend(self.children.iter().filter_map(|c| c.delete_at).min().map(|at| (at, Step::DeleteChildren)));
        steps.extend(self.unwanted.first().map(|_| (self.since, Step::DeleteChildren)));
        steps.extend(errand);
        steps.extend(self.lifetime_shortened.then_some((self.since, Step::TellLifetime)));
        steps.extend(self.strays.due().map(|at| (at, Step::TellStray)));
        steps.push((aged(self.parts.epoch, self.rekey_at).max(pause), Step::RekeyIke));
        for child in alive() {
            if let Some(waiting) = &child.waiting {
                steps.extend(waiting.is_ours().then_some((child.since.max(pause), Step::CompleteChild(child.id))));
                steps.push((waiting.until, Step::Redundant(child.id)));
            }
        }
        let whole = || alive().filter(|c| c.waiting.is_none());
        let rekeys = whole().map(|c| (aged(c.epoch, c.rekey_at).max(pause), Step::RekeyChild(c.id)));
        steps.extend(rekeys);
        for child in whole() {
            let better = whole().filter(|c| c.config.rule == child.config.rule && c.order() > child.order());
            // Messages crossed in a way that left two: both ends drop the same one.
            steps.extend(
                better.map(|c| (c.since.max(child.since) + TIDY, Step::Redundant(child.id))).min_by_key(|(at, _)| *at),
            );
        }
        for config in peer.children.iter().filter(|config| alive().all(|c| c.config.rule != config.rule)) {
            let again = self.refused.get(&config.rule).map_or(pause, |(_, at)| *at);
            let at = |from: Instant| from.max(again).max(pause);
            let wanted = |want: Want| Some(at(want.from)).filter(|at| *at < want.until);
            let eager = || Some(at(turn(self.changed)));
            let at = if config.is_on_demand() { wants.of(&config.rule).and_then(wanted) } else { eager() };
            steps.extend(at.map(|at| (at, Step::CreateChild(Box::new(config.clone())))));
        }
        steps.extend(self.signs().into_iter().map(|(at, _)| (at, Step::Sign)));
        steps
    }

    /// Takes note of what a data plane has seen of a child.
    pub(crate) fn handle_event(&mut self, cx: &mut Context<'_>, id: ChildId, event: &SaEvent) {
        let Some(child) = self.children.iter_mut().find(|c| c.id == id) else { return };
        match event {
            SaEvent::Soft(_) => child.rekey_at = cx.now.instant,
            SaEvent::Hard(_) => self.exhausted(cx, id),
            SaEvent::FirstAuthentic(_) => {
                self.vitals.hear(cx.now.instant);
                cx.used_by_peer(id);
            }
            SaEvent::NewSource(_, remote) => self.follow_packet(cx, id, *remote),
            SaEvent::Acquire { .. } | SaEvent::UnknownSpi { .. } => {}
        }
    }

    /// Gives up a child that carries nothing more: the peer has not let us replace it in all the time since its soft limit. A new
    /// one of its rule follows at once, or with the next packet.
    fn exhausted(&mut self, cx: &mut Context<'_>, id: ChildId) {
        let now = cx.now.instant;
        let due = |child: &&mut Child| child.id == id && child.delete_at.is_none_or(|at| at > now);
        if let Some(child) = self.children.iter_mut().find(due) {
            child.delete_at = Some(now);
            let rule = child.config.rule.clone();
            self.refused.remove(&rule);
            cx.tell(&self.parts.peer.id, What::ChildExhausted { rule, child: id });
        }
    }

    /// Tells whether a rule has a child, made or about to be.
    pub(crate) fn holds(&self, rule: &Name) -> bool {
        self.children.iter().any(|child| child.delete_at.is_none() && child.config.rule == *rule)
    }

    /// Returns when both have to prove anew who they are: while a quarter of the time is left for which the peer's certificate is
    /// good, or for which the peer believes us.
    pub(crate) fn renews_at(&self) -> Option<Instant> {
        let soon = |from: Instant, ends: Instant| {
            let left = ends.saturating_duration_since(from);
            (left >= SHORTEST).then(|| from + left.mul_f64(0.75))
        };
        let told = self.parts.prove_by.and_then(|ends| soon(self.lifetime_told, ends));
        let certificate = self.parts.proof.as_ref().map(|proof| proof.ends);
        let certificate = certificate.filter(|ends| ends.saturating_duration_since(self.since) > SHORTEST_PROOF);
        certificate.and_then(|ends| soon(self.since, ends)).into_iter().chain(told).min()
    }

    /// Lets another SA take this one's place; the peer deletes it, or we do after a while.
    pub(crate) fn give_way(&mut self, now: Instant) {
        self.stage = Stage::Replaced(now + GRACE);
    }

    /// Lets another SA take this one's place and deletes it: at once, or after the time that the other needs to make the pairs
    /// which it does not have yet.
    pub(crate) fn make_room(&mut self, now: Instant, heir: &Self) {
        let held = |rule: &Name| heir.children.iter().any(|c| c.config.rule == *rule && c.waiting.is_none());
        let whole = self.children.iter().all(|c| c.delete_at.is_some() || held(&c.config.rule));
        self.stage = if whole { Stage::Closing } else { Stage::Replaced(now + OVERLAP) };
    }

    /// Lets the winner of two that were made at once take this one's place. Only who made the winner knows that both ends have it, and
    /// deletes this one; the other answers on both, since its last answer may be lost.
    pub(crate) fn lose_to(&mut self, now: Instant, winner: &Self) {
        self.stage = Stage::Replaced(now + if winner.parts.initiator { OVERLAP } else { GRACE });
    }

    /// Goes once the SA that is in use has had the time to make the pairs that this one holds: whoever made it deletes it.
    pub(crate) fn step_aside(&mut self, now: Instant) {
        self.stage = Stage::Replaced(now + if self.parts.initiator { OVERLAP } else { GRACE });
    }

    /// Deletes the SA with the next request.
    pub(crate) fn begin_close(&mut self) {
        self.stage = Stage::Closing;
    }

    /// Asks the peer to delete the SA at once, whatever is open.
    pub(crate) fn close(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.stage = Stage::Closing;
        self.parts.requests.close();
        //= RFC 7296 §2.4: an IKE SA that is closed is deleted at the peer, unless it does not answer any more
        self.request(cx, ExchangeType::INFORMATIONAL, &[Payload::Delete(Delete::ike())], Exchange::DeleteIke)
    }

    fn delete_children(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= cx.now.instant);
        let going = || self.children.iter().filter(|c| due(c.delete_at));
        let ids = going().map(|c| c.id).collect();
        let mut sas: Vec<_> = going().flat_map(|c| c.sas().map(|sa| (sa.protocol, sa.inbound))).collect();
        sas.append(&mut self.unwanted);
        //= RFC 7296 §1.4.1: the SPIs are those of the sender's inbound SAs
        let payloads: Vec<_> = Delete::children(&sas).into_iter().map(Payload::Delete).collect();
        self.request(cx, ExchangeType::INFORMATIONAL, &payloads, Exchange::DeleteChildren(ids))
    }
}
