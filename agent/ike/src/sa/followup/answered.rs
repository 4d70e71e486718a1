//! The end that is asked for an SA.

use espalier_crypto::{KeyShare, Method, equal};
use espalier_model::secret::Secret;
use rand::Rng;

use super::{Awaited, MOST_AWAITED, PATIENCE, Planned, PlannedChild, PlannedIke, Series};
use crate::content::Content;
use crate::context::Context;
use crate::handshake::Failure;
use crate::handshake::initiator::key_exchange;
use crate::handshake::intermediate::public_value;
use crate::outbounds::Switch;
use crate::sa::adopt::Adopted;
use crate::sa::child::{Part, Seed};
use crate::sa::create_child::{Answer, refusal};
use crate::sa::established::{Established, Fate, GRACE, Stage};
use crate::sa::exchange::{Exchange, Rival};
use crate::wire::{Notify, NotifyType, Payload};

impl Established {
    /// Makes the child SA that is agreed upon, or waits for its additional key exchanges. Returns what the answer has to tell
    /// besides.
    pub(in crate::sa) fn grant_child(
        &mut self,
        cx: &mut Context<'_>,
        child: PlannedChild,
        series: Series,
    ) -> Result<Option<Payload>, Failure> {
        if series.is_complete() {
            let seed = Seed { nonces: &series.nonces, shared: series.shared() };
            return self.make_child(cx, child, &seed).map(|()| None);
        }
        if let Some(Exchange::Child(offer)) = &mut self.exchange
            && child.is_for(offer.replaces, &offer.asked.config.rule)
            && offer.rivals(&child.agreed.config.rule)
        {
            offer.rival = Some(Rival { id: None, lowest: series.nonces.lowest().clone() });
        }
        self.awaited.retain(|awaited| !awaited.is_child(child.replaces, &child.agreed.config.rule));
        Ok(Some(self.await_next(cx, Planned::Child(Box::new(child)), series)))
    }

    /// The same for a successor.
    pub(in crate::sa) fn grant_ike(
        &mut self,
        cx: &mut Context<'_>,
        ike: PlannedIke,
        series: Series,
    ) -> Result<(Option<Payload>, Fate), Failure> {
        if series.is_complete() {
            return self.make_ike(cx, &ike, &series).map(|fate| (None, fate));
        }
        if let Some(Exchange::Ike(offer)) = &mut self.exchange {
            offer.rival = Some(Rival { id: None, lowest: series.nonces.lowest().clone() });
        }
        self.awaited.retain(|awaited| !awaited.is_ike());
        Ok((Some(self.await_next(cx, Planned::Ike(ike), series)), Fate::Stays))
    }

    /// Keeps a series, and returns the link that leads back to it.
    fn await_next(&mut self, cx: &mut Context<'_>, planned: Planned, series: Series) -> Payload {
        let mut link = vec![0; 16];
        cx.rng.fill_bytes(&mut link);
        if self.awaited.len() == MOST_AWAITED {
            self.awaited.remove(0);
        }
        let expires = cx.now.instant + PATIENCE;
        self.awaited.push(Awaited { link: Secret::from(&link[..]), expires, planned, series });
        //= RFC 9370 §2.2.4: as long as an exchange is to follow, the answer carries a link to it
        Payload::Notify(Notify::new(NotifyType::ADDITIONAL_KEY_EXCHANGE, link))
    }

    /// Answers an additional key exchange.
    pub(in crate::sa) fn answer_followup(
        &mut self,
        cx: &mut Context<'_>,
        content: &Content,
    ) -> Result<Answer, Failure> {
        //= RFC 9370 §2.2.4: what does not go on in reasonable time is forgotten
        self.forget_late(cx.now.instant);
        let link = content.notify(NotifyType::ADDITIONAL_KEY_EXCHANGE).unwrap_or_default();
        let found = self.awaited.iter().position(|awaited| equal(awaited.link.expose(), link));
        let found = found.filter(|_| self.stage == Stage::Standing).map(|at| self.awaited.remove(at));
        let Some(Awaited { planned, mut series, .. }) = found else {
            //= RFC 9370 §2.2.4: a series that is not known is told so, and the IKE SA goes on
            return Ok(refusal(NotifyType::STATE_NOT_FOUND));
        };
        let Some((public, shared)) = series.left.pop_front().and_then(|method| respond(content, method)) else {
            return Ok(refusal(NotifyType::INVALID_SYNTAX));
        };
        series.additional.push(shared);
        let mut payloads = vec![public];
        if !series.is_complete() {
            payloads.push(self.await_next(cx, planned, series));
            return Ok((payloads, Fate::Stays));
        }
        match planned {
            Planned::Child(child) => {
                let seed = Seed { nonces: &series.nonces, shared: series.shared() };
                self.make_child(cx, *child, &seed)?;
                Ok((payloads, Fate::Stays))
            }
            Planned::Ike(ike) => self.make_ike(cx, &ike, &series).map(|fate| (payloads, fate)),
        }
    }

    pub(in crate::sa) fn make_child(
        &mut self,
        cx: &mut Context<'_>,
        child: PlannedChild,
        seed: &Seed<'_>,
    ) -> Result<(), Failure> {
        let PlannedChild { agreed, replaces } = child;
        let (rule, first) = (agreed.config.rule.clone(), !matches!(agreed.part, Part::Outer(_)));
        //= RFC 7296 §2.8: the inbound SA stands before the peer can use it
        let Adopted { id, replaces: replaced } = self.adopt(cx, agreed, seed, Switch::WhenUsed, replaces)?;
        self.tell_rekeyed(cx, replaced, id);
        match &mut self.exchange {
            Some(Exchange::Child(offer)) if first && offer.replaces == replaces && offer.rivals(&rule) => {
                //= RFC 7296 §2.8.1: of two replacements both receive until one is deleted
                //= RFC 7296 §2.25.1: of two replacements one goes once both are made
                offer.rival = Some(Rival { id: Some(id), lowest: seed.nonces.lowest().clone() });
            }
            // The peer deletes what it has replaced; should it not, we do.
            _ => {
                let at = cx.now.instant + GRACE;
                let old = self.children.iter_mut().filter(|c| Some(c.id) == replaced);
                old.for_each(|c| _ = c.delete_at.get_or_insert(at));
            }
        }
        Ok(())
    }

    fn make_ike(&mut self, cx: &mut Context<'_>, ike: &PlannedIke, series: &Series) -> Result<Fate, Failure> {
        let mut successor = self.successor(cx, ike, series, false)?;
        //= RFC 7296 §2.25.2: of two successors one goes once both are made, and the other has the child SAs
        if let Some(Exchange::Ike(offer)) = &mut self.exchange {
            successor.stage = Stage::Undecided;
            let id = Some(ike.spis.responder);
            offer.rival = Some(Rival { id, lowest: series.nonces.lowest().clone() });
        } else {
            self.hand_over(&mut successor);
            self.give_way(cx.now.instant);
        }
        Ok(Fate::Succeeded(Box::new(successor)))
    }
}

/// Takes part in a key exchange, unless the peer's part is not acceptable.
fn respond(content: &Content, method: Method) -> Option<(Payload, Secret)> {
    let theirs = public_value(content, method).ok()?;
    let (public, shared) = KeyShare::respond(method, theirs).ok()?;
    Some((Payload::KeyExchange(key_exchange(method, &public)), shared))
}
