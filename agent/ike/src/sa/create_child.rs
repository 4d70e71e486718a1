//! CREATE_CHILD_SA for child SAs: new ones, and ones that take the place of others (RFC 7296 §1.3.1, §1.3.3, §2.8).

use std::time::Duration;

use espalier_crypto::{KeyShare, Method};
use espalier_model::identity::Name;
use espalier_model::sa::ChildId;
use espalier_model::suite::KeyExchange;
use rand::RngExt;

use super::child::{self, Agreed, Seed};
use super::established::{Established, Fate, GRACE, Stage};
use super::exchange::{ChildOffer, Exchange, Rival};
use crate::config::ChildConfig;
use crate::content::Content;
use crate::context::Context;
use crate::handshake::Failure;
use crate::handshake::initiator::key_exchange;
use crate::keymat::Nonces;
use crate::outbounds::Switch;
use crate::wire::proposal::{self, ChildExchange};
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
        let preferred = config.profile.key_exchange.first().copied();
        //= RFC 7296 §1.3: the KE payload is of the method that the peer has demanded, or else of our first
        let group = group.or(preferred).ok_or(Failure::NothingInCommon("key exchange method"))?;
        let epoch = self.parts.peer.key_epoch;
        let (inbound, nonce, share) = (cx.child_spi(), cx.nonce(), KeyShare::generate(group)?);
        let mut payloads = Vec::new();
        let old = replaces.and_then(|id| self.children.iter().find(|c| c.id == id));
        //= RFC 7296 §1.3.3: REKEY_SA names the inbound half of what is replaced
        payloads.extend(old.map(|c| Payload::Notify(Notify::about_esp(NotifyType::REKEY_SA, c.inbound))));
        payloads.extend(epoch_notify(epoch));
        let exchange = ChildExchange::Create;
        payloads.push(Payload::SecurityAssociation(proposal::offer_child(&config.profile, exchange, inbound)));
        payloads.push(Payload::Nonce(nonce.clone()));
        //= RFC 7296 §1.3: the offer has the method of the KE payload
        payloads.push(Payload::KeyExchange(key_exchange(group, share.public())));
        payloads.push(Payload::SelectorsInitiator(config.local.clone()));
        payloads.push(Payload::SelectorsResponder(config.remote.clone()));
        let offer = ChildOffer { config, inbound, nonce, share, replaces, rival: None, deleted: vec![], epoch };
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
        let ChildOffer { config, inbound, nonce, share, replaces, rival, deleted, epoch } = offer;
        let rule = config.rule.clone();
        let agreed = child::accept(config, inbound, ChildExchange::Create, epoch, content);
        let (Some((agreed, group)), Some(theirs)) = (agreed, content.nonce.clone()) else {
            self.not_agreed(cx, replaces, rule);
            return Ok(Fate::Stays);
        };
        if deleted.contains(&agreed.outbound) {
            // Made and deleted again before the answer came: the next step decides anew.
            return Ok(Fate::Stays);
        }
        let shared = match (group, &content.key_exchange) {
            (Some(group), Some(data))
                if share.method() == group.into() && data.method == proposal::key_exchange_id(group) =>
            {
                share.agree(&data.data)?
            }
            _ => {
                self.not_agreed(cx, replaces, rule);
                return Ok(Fate::Stays);
            }
        };
        let nonces = Nonces { initiator: nonce, responder: theirs };
        let seed = Seed { nonces: &nonces, shared: Some(&shared) };
        let now = cx.now.instant;
        let late = |id: ChildId, at, children: &mut Vec<child::Child>| {
            children.iter_mut().filter(|c| c.id == id).for_each(|c| _ = c.delete_at.get_or_insert(at));
        };
        if rival.as_ref().is_some_and(|rival| rival.wins(nonces.lowest())) {
            let id = self.adopt(cx, agreed, &seed, Switch::Never)?;
            late(id, now, &mut self.children);
            // The peer deletes what the winner replaces; should it not, we do.
            replaces.iter().for_each(|id| late(*id, now + GRACE, &mut self.children));
        } else {
            self.adopt(cx, agreed, &seed, Switch::AtOnce)?;
            replaces.iter().for_each(|id| late(*id, now, &mut self.children));
            rival.iter().for_each(|rival| late(rival.id, now + GRACE, &mut self.children));
        }
        Ok(Fate::Stays)
    }

    fn child_refused(
        &mut self,
        cx: &mut Context<'_>,
        offer: ChildOffer,
        error: NotifyType,
        content: &Content,
    ) -> Result<(), Failure> {
        match error {
            //= RFC 7296 §2.25: a temporary failure is tried again after a while
            NotifyType::TEMPORARY_FAILURE => {
                self.temporary.lose(cx.now.instant);
                self.pause = cx.now.instant + short(cx);
            }
            //= RFC 7296 §2.25: what the peer does not have is given up here too
            NotifyType::CHILD_SA_NOT_FOUND => self.drop_children(cx, |child| Some(child.id) == offer.replaces),
            NotifyType::INVALID_KE_PAYLOAD => {
                let wanted = demanded(content, &offer.config.profile.key_exchange, offer.share.method());
                match wanted {
                    Some(group) => self.offer_child(cx, offer.config, offer.replaces, Some(group))?,
                    None => self.not_agreed(cx, offer.replaces, offer.config.rule),
                }
            }
            _ => self.not_agreed(cx, offer.replaces, offer.config.rule),
        }
        Ok(())
    }

    /// Waits before the child SA is asked for again. What was to be replaced stays meanwhile, but not for long.
    fn not_agreed(&mut self, cx: &mut Context<'_>, replaces: Option<ChildId>, rule: Name) {
        match replaces.and_then(|id| self.children.iter_mut().find(|c| c.id == id)) {
            Some(child) => {
                child.rekey_at = cx.now.instant + LATER;
                child.patience.lose(cx.now.instant);
            }
            None => self.refuse_again(cx, rule),
        }
    }

    /// Waits longer each time the peer refuses a rule: it may not have the policy yet.
    fn refuse_again(&mut self, cx: &mut Context<'_>, rule: Name) {
        let count = self.refused.get(&rule).map_or(0, |(count, _)| *count);
        let wait = (FIRST_AGAIN * 2_u32.saturating_pow(count)).min(LATER);
        self.refused.insert(rule, (count.saturating_add(1), cx.now.instant + cx.jittered(wait)));
    }

    /// Answers a CREATE_CHILD_SA request, of whichever kind.
    pub(super) fn answer_create(&mut self, cx: &mut Context<'_>, content: &Content) -> Result<Answer, Failure> {
        let proposals = content.proposals.as_deref().unwrap_or_default();
        if proposals.iter().any(|p| p.protocol == ProtocolId::IKE) {
            return self.answer_ike(cx, content);
        }
        //= RFC 7296 §2.25.2: no child SA comes or goes while the IKE SA itself is replaced or deleted
        if self.stage != Stage::Standing || matches!(self.exchange, Some(Exchange::Ike(_))) {
            return Ok(refusal(NotifyType::TEMPORARY_FAILURE));
        }
        let rekeyed = content.notifies.iter().find(|n| n.notify_type == NotifyType::REKEY_SA);
        let Some(rekeyed) = rekeyed else { return self.answer_child(cx, content, None) };
        match self.children.iter().find(|c| Some(c.outbound) == rekeyed.spi.child()) {
            // It may be the very SA that the answer to our open offer will bring.
            None if matches!(self.exchange, Some(Exchange::Child(_))) => Ok(refusal(NotifyType::TEMPORARY_FAILURE)),
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
        let old = self.children.iter().filter(|c| Some(c.id) == replaces).map(|c| &c.config);
        let narrowed = match replaces {
            //= RFC 7296 §2.9.2: a replacement is narrowed to the rule of what it replaces
            Some(_) => child::narrow(old, ChildExchange::Create, content),
            None => child::narrow(self.parts.peer.children.iter(), ChildExchange::Create, content),
        };
        let (config, selectors, chosen) = match narrowed {
            Ok(found) => found,
            //= RFC 7296 §1.3.1: a child SA that is refused does not end the IKE SA
            Err(reason) => return Ok(refusal(reason.notify())),
        };
        let (Some(outbound), Some(theirs)) = (chosen.spi.child(), content.nonce.clone()) else {
            return Ok(refusal(NotifyType::INVALID_SYNTAX));
        };
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
        payloads.push(Payload::SelectorsInitiator(selectors.remote.clone()));
        payloads.push(Payload::SelectorsResponder(selectors.local.clone()));
        let epoch = told_epoch(content).unwrap_or(self.parts.peer.key_epoch);
        let rule = config.rule.clone();
        let suite = chosen.suite.protection;
        let agreed = Agreed { config, suite, inbound, outbound, selectors, initiated: false, epoch };
        let seed = Seed { nonces: &nonces, shared: shared.as_ref() };
        //= RFC 7296 §2.8: the inbound SA stands before the peer can use it
        let id = self.adopt(cx, agreed, &seed, Switch::WhenUsed)?;
        match &mut self.exchange {
            Some(Exchange::Child(offer)) if offer.replaces == replaces && offer.config.rule == rule => {
                //= RFC 7296 §2.8.1: of two replacements both receive until one is deleted
                //= RFC 7296 §2.25.1: of two replacements one goes once both are made
                offer.rival = Some(Rival { id, lowest: nonces.lowest().clone() });
            }
            // The peer deletes what it has replaced; should it not, we do.
            _ => {
                let at = cx.now.instant + GRACE;
                let old = self.children.iter_mut().filter(|c| Some(c.id) == replaces);
                old.for_each(|c| _ = c.delete_at.get_or_insert(at));
            }
        }
        Ok((payloads, Fate::Stays))
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

/// Reads which method the peer demands; only one that we offer, and have not just tried, counts.
pub(super) fn demanded(content: &Content, offered: &[KeyExchange], tried: Method) -> Option<KeyExchange> {
    let data = content.notify(NotifyType::INVALID_KE_PAYLOAD)?;
    let group = proposal::key_exchange_from_id(u16::from_be_bytes(data.try_into().ok()?))?;
    (offered.contains(&group) && Method::from(group) != tried).then_some(group)
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

const FIRST_AGAIN: Duration = Duration::from_millis(200);
/// After a refusal that will not pass by itself soon.
pub(super) const LATER: Duration = Duration::from_secs(30);
