//! CREATE_CHILD_SA for child SAs: new ones, and ones that take the place of others (RFC 7296 §1.3.1, §1.3.3, §2.8).

use std::time::Duration;

use espalier_crypto::{KeyShare, Method};
use espalier_model::identity::Name;
use espalier_model::sa::ChildId;
use espalier_model::suite::KeyExchange;
use rand::RngExt;

use super::child::{self, Agreed, Asked, Narrowed, Part, Refused, Seed};
use super::established::{Established, Fate, Stage};
use super::exchange::{ChildOffer, Exchange};
use super::followup::{PlannedChild, Series, Wanted};
use super::form;
use super::pair::{self, Told};
use super::refusal::{self, Refusal};
use crate::config::ChildConfig;
use crate::content::Content;
use crate::context::Context;
use crate::explain::What;
use crate::handshake::Failure;
use crate::handshake::initiator::key_exchange;
use crate::keymat::{Nonces, Shared};
use crate::output::Output;
use crate::wire::proposal::{self, ChildExchange, ChildSuite};
use crate::wire::{ExchangeType, KeyExchangeData, Notify, NotifyType, Payload, ProtocolId};

/// What to answer a request, and what comes of it.
pub(super) type Answer = (Vec<Payload>, Fate);

impl Established {
    /// Asks for a child SA. `group` is the method that the peer has demanded, if it has.
    pub(super) fn offer_child(
        &mut self,
        cx: &mut Context<'_>,
        config: ChildConfig,
        replaces: Option<ChildId>,
        group: Option<KeyExchange>,
    ) -> Result<(), Failure> {
        if let Some(why) = child::hopeless(&config, &self.ends()) {
            self.refuse(cx, why, Some(&config), ProtocolId::AH, &Content::default());
            self.try_later(cx, config.rule, replaces);
            return Ok(());
        }
        let asked = Asked::first(config, cx.child_spi(), ChildExchange::Create, self.parts.peer.key_epoch);
        self.ask(cx, asked, replaces, group)
    }

    /// Asks for one SA.
    pub(super) fn ask(
        &mut self,
        cx: &mut Context<'_>,
        asked: Asked,
        replaces: Option<ChildId>,
        group: Option<KeyExchange>,
    ) -> Result<(), Failure> {
        let Asked { config, inbound, exchange, epoch, part } = &asked;
        let preferred = config.profile.key_exchange.first().copied();
        //= RFC 7296 §1.3: the KE payload is of the method that the peer has demanded, or else of our first
        let group = group.or(preferred).ok_or(Failure::NothingInCommon("key exchange method"))?;
        let (nonce, share) = (cx.nonce(), KeyShare::generate(group)?);
        let mut payloads = Vec::new();
        let old = replaces.and_then(|id| self.children.iter().find(|c| c.id == id)).map(|c| c.first);
        //= RFC 7296 §1.3.3: REKEY_SA names the inbound half of what is replaced
        payloads.extend(old.map(|sa| Payload::Notify(Notify::about(NotifyType::REKEY_SA, sa.protocol, sa.inbound))));
        payloads.extend(epoch_notify(*epoch));
        payloads.extend(form::notifies(config, None));
        payloads.extend(self.pair_notify(*part));
        let offered = form::offer(&config.profile, asked.protocol(), *exchange, *inbound);
        payloads.push(Payload::SecurityAssociation(offered));
        payloads.push(Payload::Nonce(nonce.clone()));
        //= RFC 7296 §1.3: the offer has the method of the KE payload
        payloads.push(Payload::KeyExchange(key_exchange(group, share.public())));
        payloads.push(Payload::SelectorsInitiator(config.local.clone()));
        payloads.push(Payload::SelectorsResponder(config.remote.clone()));
        let rival = self.child_rival(replaces, &asked);
        let offer = ChildOffer { asked, nonce, share, replaces, rival, deleted: vec![] };
        self.request(cx, ExchangeType::CREATE_CHILD_SA, &payloads, Exchange::Child(Box::new(offer)))
    }

    /// Reads the answer to our offer.
    pub(super) fn child_answered(
        &mut self,
        cx: &mut Context<'_>,
        offer: ChildOffer,
        content: &Content,
    ) -> Result<Fate, Failure> {
        if let Some(error) = content.error() {
            self.child_refused(cx, offer, error, content)?;
            return Ok(Fate::Stays);
        }
        let ChildOffer { asked, nonce, share, replaces, rival, deleted } = offer;
        let (agreed, suite) = match child::accept(&asked, &self.ends(), content) {
            Ok(accepted) => accepted,
            Err(refusal) => {
                self.refuse_answer(cx, asked, replaces, refusal, content);
                return Ok(Fate::Stays);
            }
        };
        let Some(theirs) = content.nonce.clone() else {
            self.refuse_answer(cx, asked, replaces, Refusal::Malformed, content);
            return Ok(Fate::Stays);
        };
        let shared = match (suite.key_exchange, &content.key_exchange) {
            (Some(group), Some(data))
                if share.method() == group.into() && data.method == proposal::key_exchange_id(group) =>
            {
                share.agree(&data.data).ok()
            }
            _ => None,
        };
        let Some(shared) = shared else {
            self.refuse_answer(cx, asked, replaces, Refusal::KeyExchange, content);
            return Ok(Fate::Stays);
        };
        let series = Series::new(Nonces { initiator: nonce, responder: theirs }, shared, &suite.additional);
        self.go_on(cx, Wanted::Child(Box::new(PlannedChild { agreed, replaces }), rival, deleted), series, content)
    }

    /// Asks for nothing for a while, which grows with the time that the peer has not been able to answer.
    //= RFC 7296 §2.25: a temporary failure is tried again after a while
    pub(super) fn put_off(&mut self, cx: &mut Context<'_>) {
        self.temporary.lose(cx.now.instant);
        self.pause = cx.now.instant + short(cx) + (self.temporary.lasted() / 4).min(LONGEST_PAUSE);
    }

    fn child_refused(
        &mut self,
        cx: &mut Context<'_>,
        offer: ChildOffer,
        error: NotifyType,
        content: &Content,
    ) -> Result<(), Failure> {
        match error {
            // RFC 7296 §2.8.1: what the peer has replaced while our offer was open needs no second successor
            _ if error != NotifyType::CHILD_SA_NOT_FOUND
                && self.is_outdone(cx, offer.replaces, offer.rival.as_ref()) => {}
            NotifyType::TEMPORARY_FAILURE => self.put_off(cx),
            //= RFC 7296 §2.25: what the peer does not have is given up here too
            NotifyType::CHILD_SA_NOT_FOUND => self.drop_children(cx, |child| Some(child.id) == offer.replaces),
            NotifyType::INVALID_KE_PAYLOAD => {
                let asked = offer.asked;
                let wanted = demanded(content, &asked.config.profile.key_exchange, offer.share.method());
                match (wanted, asked.part) {
                    (Some(group), Part::Outer(id)) => self.offer_outer(cx, id, Some(group))?,
                    (Some(group), _) => self.offer_child(cx, asked.config, offer.replaces, Some(group))?,
                    (None, _) => self.refuse_answer(cx, asked, offer.replaces, Refusal::KeyExchange, content),
                }
            }
            _ => {
                let Asked { config, part, .. } = offer.asked;
                let (peer, reason) = (self.parts.peer.id.clone(), refusal::told(error, &config.profile));
                cx.out.push_back(Output::ChildRefused { peer, rule: Some(config.rule.clone()), reason });
                self.give_up(cx, part);
                self.try_later(cx, config.rule, offer.replaces);
            }
        }
        Ok(())
    }

    /// Does not take the SA that the peer has made of our offer: it is deleted, and asked for again later.
    fn refuse_answer(
        &mut self,
        cx: &mut Context<'_>,
        asked: Asked,
        replaces: Option<ChildId>,
        refusal: Refusal,
        content: &Content,
    ) {
        self.refuse(cx, refusal, Some(&asked.config), asked.protocol(), content);
        if content.proposals.is_some() {
            self.unwanted.push((asked.protocol(), asked.inbound));
        }
        self.give_up(cx, asked.part);
        self.try_later(cx, asked.config.rule, replaces);
    }

    /// Does not take, or does not get, the child SA of `IKE_AUTH`.
    pub(crate) fn refuse_first(&mut self, cx: &mut Context<'_>, asked: Asked, refusal: Refusal, content: &Content) {
        if content.proposals.is_some() {
            return self.refuse_answer(cx, asked, None, refusal, content);
        }
        let profile = &asked.config.profile;
        let error = content.error().unwrap_or(NotifyType::NO_PROPOSAL_CHOSEN);
        let (peer, reason) = (self.parts.peer.id.clone(), refusal::told(error, profile));
        cx.out.push_back(Output::ChildRefused { peer, rule: Some(asked.config.rule.clone()), reason });
        self.refuse_again(cx, asked.config.rule);
    }

    /// Gives up the inner SA of a pair whose outer one does not come.
    pub(super) fn give_up(&mut self, cx: &Context<'_>, part: Part) {
        if let Part::Outer(id) = part {
            self.children.iter_mut().filter(|c| c.id == id).for_each(|c| c.delete_at = Some(cx.now.instant));
        }
    }

    /// Notes when to ask again: for a successor later than for the first child of a rule.
    pub(super) fn try_later(&mut self, cx: &mut Context<'_>, rule: Name, replaces: Option<ChildId>) {
        match replaces.and_then(|id| self.children.iter_mut().find(|c| c.id == id)) {
            Some(child) => {
                child.rekey_at = cx.now.instant + LATER;
                child.patience.lose(cx.now.instant);
            }
            None => self.refuse_again(cx, rule),
        }
    }

    /// Waits longer each time the peer refuses a rule: it may not have the policy yet.
    pub(crate) fn refuse_again(&mut self, cx: &mut Context<'_>, rule: Name) {
        let count = self.refused.get(&rule).map_or(0, |(count, _)| *count);
        let wait = (FIRST_AGAIN * 2_u32.saturating_pow(count)).min(LATER);
        self.refused.insert(rule, (count.saturating_add(1), cx.now.instant + cx.jittered(wait)));
    }

    pub(super) fn tell_rekeyed(&self, cx: &mut Context<'_>, replaces: Option<ChildId>, new: ChildId) {
        if let Some(old) = self.children.iter().find(|c| Some(c.id) == replaces) {
            cx.tell(&self.parts.peer.id, What::ChildRekeyed { rule: old.config.rule.clone(), old: old.id, new });
        }
    }

    /// Answers a CREATE_CHILD_SA request, of whichever kind.
    pub(super) fn answer_create(&mut self, cx: &mut Context<'_>, content: &Content) -> Result<Answer, Failure> {
        if let Some(refused) = self.too_many(cx.now.instant, cx.limits, content) {
            return Ok(refusal(refused));
        }
        let proposals = content.proposals.as_deref().unwrap_or_default();
        if proposals.iter().any(|p| p.protocol == ProtocolId::IKE) {
            return self.answer_ike(cx, content);
        }
        //= RFC 7296 §2.25.2: no child SA comes or goes while the IKE SA itself is replaced or deleted
        if self.stage != Stage::Standing || self.is_being_replaced() {
            return Ok(refusal(NotifyType::TEMPORARY_FAILURE));
        }
        let rekeyed = content.notifies.iter().find(|n| n.notify_type == NotifyType::REKEY_SA);
        let Some(rekeyed) = rekeyed else { return self.answer_child(cx, content, None) };
        let named = |c: &&child::Child| rekeyed.spi.child().is_some_and(|spi| c.has_outbound(rekeyed.protocol, spi));
        match self.children.iter().find(named) {
            // It may be the very SA that the answer to our open offer will bring.
            None if matches!(self.exchange, Some(Exchange::Child(_) | Exchange::Followup(_))) => {
                Ok(refusal(NotifyType::TEMPORARY_FAILURE))
            }
            //= RFC 7296 §2.25: the SPI is that of the sender's inbound SA
            None => {
                let spi = rekeyed.spi;
                let notify =
                    Notify { spi, protocol: rekeyed.protocol, ..Notify::new(NotifyType::CHILD_SA_NOT_FOUND, vec![]) };
                Ok((vec![Payload::Notify(notify)], Fate::Stays))
            }
            //= RFC 7296 §2.25.1: a request to replace a child SA that is being closed is answered with TEMPORARY_FAILURE
            Some(child) if child.delete_at.is_some_and(|at| at <= cx.now.instant) => {
                Ok(refusal(NotifyType::TEMPORARY_FAILURE))
            }
            Some(child) => {
                let id = child.id;
                self.answer_child(cx, content, Some(id))
            }
        }
    }

    fn answer_child(
        &mut self,
        cx: &mut Context<'_>,
        content: &Content,
        replaces: Option<ChildId>,
    ) -> Result<Answer, Failure> {
        let Narrowed { config, selectors, originals, chosen, part } = match self.narrowed(content, replaces) {
            Ok(found) => found,
            //= RFC 7296 §1.3.1: a child SA that is refused does not end the IKE SA
            Err((why, config)) => {
                let protocol = config.as_ref().map_or(ProtocolId::ESP, |config| form::protocol(&config.profile));
                return Ok(refusal(self.refuse(cx, why, config.as_deref(), protocol, content)));
            }
        };
        let (Some(outbound), Some(theirs)) = (chosen.spi.child(), content.nonce.clone()) else {
            return Ok(refusal(NotifyType::INVALID_SYNTAX));
        };
        //= RFC 9370 §2.2.4: what we are replacing ourselves, as far as additional key exchanges, is not replaced by the peer
        if self.is_followed_up(replaces, &config.rule, part) {
            return Ok(refusal(NotifyType::TEMPORARY_FAILURE));
        }
        let exchanged = match agree(chosen.suite.key_exchange, content)? {
            Ok(exchanged) => exchanged,
            Err(answer) => return Ok(answer),
        };
        let (inbound, nonce) = (cx.child_spi(), cx.nonce());
        let nonces = Nonces { initiator: theirs, responder: nonce.clone() };
        let mut payloads = vec![
            Payload::SecurityAssociation(vec![chosen.suite.answer(chosen.number, inbound)]),
            Payload::Nonce(nonce),
        ];
        let (public, shared) = exchanged.unzip();
        payloads.extend(public.map(Payload::KeyExchange));
        payloads.extend(form::notifies(&config, Some(content)));
        payloads.extend(self.pair_notify(part));
        payloads.push(Payload::SelectorsInitiator(selectors.remote.clone()));
        payloads.push(Payload::SelectorsResponder(selectors.local.clone()));
        let epoch = told_epoch(content).unwrap_or(self.parts.peer.key_epoch);
        let ChildSuite { protection: suite, esn, additional, .. } = chosen.suite;
        let (padding, initiated) = (form::takes_padding(content), false);
        let agreed =
            Agreed { config, suite, esn, inbound, outbound, selectors, originals, padding, initiated, epoch, part };
        let child = PlannedChild { agreed, replaces };
        match shared {
            Some(shared) => payloads.extend(self.grant_child(cx, child, Series::new(nonces, shared, &additional))?),
            None => self.make_child(cx, child, &Seed { nonces: &nonces, shared: Shared::NONE })?,
        }
        Ok((payloads, Fate::Stays))
    }

    /// Finds what the peer's offer means: a successor, AH around ESP that waits, or a new child.
    fn narrowed(&self, content: &Content, replaces: Option<ChildId>) -> Result<Narrowed, Refused> {
        if let Some(Told::Outer(inner)) = pair::told(content) {
            return self.narrow_outer(inner, content);
        }
        let (exchange, part, ends) = (ChildExchange::Create, Part::Whole, self.ends());
        let old = self.children.iter().filter(|c| Some(c.id) == replaces).map(|c| &c.config);
        let narrowed = match replaces {
            //= RFC 7296 §2.9.2: a replacement is narrowed to the rule of what it replaces
            Some(_) => child::narrow(old, exchange, part, &ends, content),
            None => child::narrow(self.parts.peer.children.iter(), exchange, part, &ends, content),
        };
        narrowed.map_err(child::owned)
    }
}

type Agreement = Option<(KeyExchangeData, espalier_model::secret::Secret)>;

/// Takes part in the key exchange that was chosen; refuses a share of another method, and says which is wanted.
pub(super) fn agree(group: Option<KeyExchange>, content: &Content) -> Result<Result<Agreement, Answer>, Failure> {
    //= RFC 7296 §3.3.6: where no key exchange is chosen, the KE payload is ignored and none is answered
    let Some(group) = group else { return Ok(Ok(None)) };
    let wanted = proposal::key_exchange_id(group);
    match &content.key_exchange {
        Some(data) if data.method == wanted => {
            let (public, shared) = KeyShare::respond(group, &data.data)?;
            Ok(Ok(Some((key_exchange(group, &public), shared))))
        }
        Some(_) | None => {
            //= RFC 7296 §1.3: a share of another method is refused with the number of the one that is wanted
            let notify = Notify::new(NotifyType::INVALID_KE_PAYLOAD, wanted.to_be_bytes().to_vec());
            Ok(Err((vec![Payload::Notify(notify)], Fate::Stays)))
        }
    }
}

/// Reads which method the peer demands; only one that we offer counts, and only in place of our own guess: who has been followed
/// once and demands yet another has us ask for ever.
pub(super) fn demanded(content: &Content, offered: &[KeyExchange], tried: Method) -> Option<KeyExchange> {
    let data = content.notify(NotifyType::INVALID_KE_PAYLOAD)?;
    let group = proposal::key_exchange_from_id(u16::from_be_bytes(data.try_into().ok()?))?;
    let (guess, others) = offered.split_first()?;
    (Method::from(*guess) == tried && others.contains(&group)).then_some(group)
}

/// Builds an answer that is one error.
pub(super) fn refusal(kind: NotifyType) -> Answer {
    (vec![Payload::Notify(Notify::new(kind, Vec::new()))], Fate::Stays)
}

/// Tells the peer under which rotation of keys an SA is set up. Before the first rotation there is nothing to tell.
pub(crate) fn epoch_notify(epoch: u64) -> Option<Payload> {
    (epoch > 0).then(|| Payload::Notify(Notify::new(NotifyType::KEY_EPOCH, epoch.to_be_bytes().to_vec())))
}

/// Reads under which rotation of keys the peer sets an SA up.
pub(crate) fn told_epoch(content: &Content) -> Option<u64> {
    content.notify(NotifyType::KEY_EPOCH)?.try_into().ok().map(u64::from_be_bytes)
}

/// Tells the peer which life of ours this is.
pub(crate) fn life_notify(life: u64) -> Payload {
    Payload::Notify(Notify::new(NotifyType::LIFE, life.to_be_bytes().to_vec()))
}

/// Reads which life of the peer this is.
pub(crate) fn told_life(content: &Content) -> Option<u64> {
    content.notify(NotifyType::LIFE)?.try_into().ok().map(u64::from_be_bytes)
}

/// Returns a short wait, different at both ends of a collision.
pub(super) fn short(cx: &mut Context<'_>) -> Duration {
    Duration::from_millis(cx.rng.random_range(50..300))
}

/// Added to [`short`] at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const FIRST_AGAIN: Duration = Duration::from_millis(200);
/// After a refusal that will not pass by itself soon.
pub(super) const LATER: Duration = Duration::from_secs(30);
