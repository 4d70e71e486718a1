//! CREATE_CHILD_SA for the IKE SA itself: the new one inherits the children (RFC 7296 §1.3.2, §2.8, §2.18).

use std::sync::Arc;

use espalier_crypto::KeyShare;
use espalier_model::secret::Secret;
use espalier_model::suite::KeyExchange;

use super::create_child::{Answer, LATER, agree, demanded, epoch_notify, refusal, short, told_epoch};
use super::established::{Established, Fate, Parts, Stage};
use super::exchange::{Exchange, IkeOffer, Rival};
use super::opener::Opener;
use super::sealer::Sealer;
use super::window::{Requests, Responses};
use crate::content::Content;
use crate::context::Context;
use crate::handshake::Failure;
use crate::handshake::initiator::key_exchange;
use crate::keylog::KeylogLine;
use crate::keymat::{IkeSpis, Nonces};
use crate::output::Output;
use crate::wire::proposal::{self, IkeSuite};
use crate::wire::sk::{OpeningKey, SealingKey};
use crate::wire::{ExchangeType, IkeSpi, NotifyType, Payload, SpiField};

/// What a new IKE SA is made of.
struct Made<'a> {
    suite: IkeSuite,
    spis: IkeSpis,
    nonces: &'a Nonces,
    shared: &'a Secret,
    initiator: bool,
    epoch: u64,
}

impl Established {
    /// Asks for a successor. `group` is the method that the peer has demanded, if it has.
    pub(super) fn offer_ike(&mut self, cx: &mut Context<'_>, group: Option<KeyExchange>) -> Result<(), Failure> {
        let profile = &self.parts.peer.profile;
        let preferred = profile.key_exchange.first().copied();
        //= RFC 7296 §1.3: the KE payload is of the method that the peer has demanded, or else of our first
        let group = group.or(preferred).ok_or(Failure::NothingInCommon("key exchange method"))?;
        let epoch = self.parts.peer.key_epoch;
        let (spi, nonce, share) = (cx.ike_spi(), cx.nonce(), KeyShare::generate(group)?);
        let mut payloads: Vec<_> = epoch_notify(epoch).into_iter().collect();
        payloads.push(Payload::SecurityAssociation(proposal::offer_ike(profile, SpiField::Ike(spi))));
        payloads.push(Payload::Nonce(nonce.clone()));
        //= RFC 7296 §1.3.2: an IKE SA is replaced with a key exchange
        payloads.push(Payload::KeyExchange(key_exchange(group, share.public())));
        let offer = IkeOffer { spi, nonce, share, rival: None, epoch };
        self.request(cx, ExchangeType::CREATE_CHILD_SA, &payloads, Exchange::Ike(Box::new(offer)))
    }

    /// Reads the answer to our offer.
    pub(super) fn ike_answered(
        &mut self,
        cx: &mut Context<'_>,
        offer: IkeOffer,
        content: &Content,
    ) -> Result<Fate, Failure> {
        let Some((suite, responder)) = self.accepted(content) else {
            let rival = offer.rival.as_ref().map(|rival| rival.id);
            match (content.error(), demanded(content, &self.parts.peer.profile.key_exchange, offer.share.method())) {
                _ if rival.is_some() => {}
                (_, Some(group)) => self.offer_ike(cx, Some(group))?,
                (Some(NotifyType::TEMPORARY_FAILURE), _) => {
                    self.temporary.lose(cx.now.instant);
                    self.pause = cx.now.instant + short(cx);
                }
                _ => self.not_replaced(cx),
            }
            return Ok(rival.map_or(Fate::Stays, Fate::GivesWay));
        };
        let (Some(theirs), Some(data)) = (content.nonce.clone(), &content.key_exchange) else {
            self.not_replaced(cx);
            return Ok(Fate::Stays);
        };
        if offer.share.method() != suite.key_exchange.into()
            || data.method != proposal::key_exchange_id(suite.key_exchange)
        {
            self.not_replaced(cx);
            return Ok(Fate::Stays);
        }
        let nonces = Nonces { initiator: offer.nonce, responder: theirs };
        let shared = offer.share.agree(&data.data)?;
        let spis = IkeSpis { initiator: offer.spi, responder };
        let epoch = offer.epoch;
        let made = Made { suite, spis, nonces: &nonces, shared: &shared, initiator: true, epoch };
        let mut successor = self.successor(cx, &made)?;
        match offer.rival {
            Some(rival) if rival.wins(nonces.lowest()) => {
                successor.begin_close();
                Ok(Fate::Yields(rival.id, Box::new(successor)))
            }
            rival => {
                self.hand_over(&mut successor);
                self.begin_close();
                let successor = Box::new(successor);
                Ok(match rival {
                    Some(rival) => Fate::Wins(rival.id, successor),
                    None => Fate::Succeeded(successor),
                })
            }
        }
    }

    /// Waits before a successor is asked for again. The SA stays meanwhile, but not for long.
    fn not_replaced(&mut self, cx: &Context<'_>) {
        self.rekey_at = cx.now.instant + LATER;
        self.patience.lose(cx.now.instant);
    }

    fn accepted(&self, content: &Content) -> Option<(IkeSuite, IkeSpi)> {
        let answer = content.proposals.as_deref().filter(|_| content.error().is_none())?;
        let chosen = proposal::accept_ike(&self.parts.peer.profile, answer)?;
        match chosen.spi {
            SpiField::Ike(spi) if spi != IkeSpi::ZERO => Some((chosen.suite, spi)),
            SpiField::Ike(_) | SpiField::Child(_) | SpiField::None => None,
        }
    }

    /// Answers the peer's offer of a successor.
    pub(super) fn answer_ike(&mut self, cx: &mut Context<'_>, content: &Content) -> Result<Answer, Failure> {
        //= RFC 7296 §2.25.2: not while this SA or one of its children is being replaced or deleted
        let busy = matches!(self.exchange, Some(Exchange::Child(_) | Exchange::DeleteChildren(_)));
        if self.stage != Stage::Standing || busy || self.rival().is_some() {
            return Ok(refusal(NotifyType::TEMPORARY_FAILURE));
        }
        let offer = content.proposals.as_deref().unwrap_or_default();
        let Some(chosen) = proposal::choose_ike(&self.parts.peer.profile, offer) else {
            return Ok(refusal(NotifyType::NO_PROPOSAL_CHOSEN));
        };
        let initiator = match chosen.spi {
            SpiField::Ike(spi) if spi != IkeSpi::ZERO => spi,
            SpiField::Ike(_) | SpiField::Child(_) | SpiField::None => return Ok(refusal(NotifyType::INVALID_SYNTAX)),
        };
        let Some(theirs) = content.nonce.clone() else { return Ok(refusal(NotifyType::INVALID_SYNTAX)) };
        let (public, shared) = match agree(Some(chosen.suite.key_exchange), content)? {
            Ok(Some(agreed)) => agreed,
            Ok(None) => return Ok(refusal(NotifyType::INVALID_SYNTAX)),
            Err(answer) => return Ok(answer),
        };
        let spis = IkeSpis { initiator, responder: cx.ike_spi() };
        let nonces = Nonces { initiator: theirs, responder: cx.nonce() };
        let payloads = vec![
            Payload::SecurityAssociation(vec![chosen.suite.answer(chosen.number, SpiField::Ike(spis.responder))]),
            Payload::Nonce(nonces.responder.clone()),
            Payload::KeyExchange(public),
        ];
        let epoch = told_epoch(content).unwrap_or(self.parts.peer.key_epoch);
        let made = Made { suite: chosen.suite, spis, nonces: &nonces, shared: &shared, initiator: false, epoch };
        let mut successor = self.successor(cx, &made)?;
        //= RFC 7296 §2.25.2: of two successors one goes once both are made, and the other has the child SAs
        if let Some(Exchange::Ike(offer)) = &mut self.exchange {
            successor.stage = Stage::Undecided;
            offer.rival = Some(Rival { id: spis.responder, lowest: nonces.lowest().clone() });
        } else {
            self.hand_over(&mut successor);
            self.give_way(cx.now.instant);
        }
        Ok((payloads, Fate::Succeeded(Box::new(successor))))
    }

    fn successor(&self, cx: &mut Context<'_>, made: &Made<'_>) -> Result<Self, Failure> {
        let IkeSuite { prf, encryption, .. } = made.suite;
        let keys = self.parts.keys.sk_d.rekeyed(prf, encryption, made.shared, made.nonces, made.spis)?;
        if cx.config.keylog {
            cx.out.push_back(Output::Keylog(KeylogLine::ike(made.spis, &keys)));
        }
        let (initiator, responder) = ((&keys.sk_ei, &keys.sk_ai), (&keys.sk_er, &keys.sk_ar));
        let (seals, opens) = if made.initiator { (initiator, responder) } else { (responder, initiator) };
        //= RFC 7383 §2.3: what both ends have announced in IKE_SA_INIT holds for the SAs that follow
        let fragments = self.parts.sealing.fragments();
        let parts = Parts {
            peer: Arc::clone(&self.parts.peer),
            spis: made.spis,
            //= RFC 7296 §1.3.2: who has asked for the replacement is the original initiator of the new IKE SA
            initiator: made.initiator,
            path: self.parts.path,
            nat: self.parts.nat,
            sealing: Sealer::new(SealingKey::new(encryption, seals.0, seals.1)?, fragments),
            opening: Opener::new(OpeningKey::new(encryption, opens.0, opens.1)?, fragments),
            //= RFC 7296 §2.18: the message counters of the new SA start at 0
            requests: Requests::starting_at(0),
            responses: Responses::starting_at(0),
            lowest: made.nonces.lowest().clone(),
            epoch: made.epoch,
            identity_epoch: self.parts.identity_epoch,
            renewal: false,
            life: self.parts.life,
            prove_by: self.parts.prove_by,
            proof: self.parts.proof.clone(),
            //= RFC 8784 §3: what was mixed into SK_d lives on in the keys of the SAs that follow
            ppk: self.parts.ppk.clone(),
            assigned: self.parts.assigned.clone(),
            keys,
        };
        Ok(Self::new(cx, parts))
    }

    /// Gives the children to another SA.
    pub(crate) fn hand_over(&mut self, heir: &mut Self) {
        //= RFC 7296 §1.4: child SAs, and all that is said of them, go to the successor
        heir.children.append(&mut self.children);
        heir.refused.append(&mut self.refused);
        heir.unwanted.append(&mut self.unwanted);
    }
}
