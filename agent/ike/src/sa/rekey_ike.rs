//! CREATE_CHILD_SA for the IKE SA itself: the new one inherits the children (RFC 7296 §1.3.2, §2.8, §2.18).

use std::sync::Arc;

use espalier_crypto::KeyShare;
use espalier_model::suite::KeyExchange;

use super::create_child::{Answer, LATER, agree, demanded, epoch_notify, refusal, told_epoch};
use super::established::{Established, Fate, Parts, Stage};
use super::exchange::{Exchange, IkeOffer};
use super::followup::{PlannedIke, Series, Wanted};
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
        let offer = IkeOffer { spi, nonce, share, rival: self.ike_rival(), epoch };
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
            let rival = offer.rival.as_ref().and_then(|rival| rival.id);
            match (content.error(), demanded(content, &self.parts.peer.profile.key_exchange, offer.share.method())) {
                _ if rival.is_some() => {}
                (_, Some(group)) => self.offer_ike(cx, Some(group))?,
                (Some(NotifyType::TEMPORARY_FAILURE), _) => self.put_off(cx),
                _ => self.not_replaced(cx),
            }
            return Ok(rival.map_or(Fate::Stays, Fate::GivesWay));
        };
        let IkeOffer { spi, nonce, share, rival, epoch } = offer;
        let fits = share.method() == suite.key_exchange.into();
        let method = proposal::key_exchange_id(suite.key_exchange);
        let data = content.key_exchange.as_ref().filter(|data| fits && data.method == method);
        let shared = data.and_then(|data| share.agree(&data.data).ok());
        let (Some(theirs), Some(shared)) = (content.nonce.clone(), shared) else {
            // Nothing comes of our offer; what the peer has made in the meantime stands all the same.
            self.not_replaced(cx);
            return Ok(rival.and_then(|rival| rival.id).map_or(Fate::Stays, Fate::GivesWay));
        };
        let series = Series::new(Nonces { initiator: nonce, responder: theirs }, shared, &suite.additional);
        let spis = IkeSpis { initiator: spi, responder };
        self.go_on(cx, Wanted::Ike(PlannedIke { suite, spis, epoch }, rival), series, content)
    }

    /// Waits before a successor is asked for again. The SA stays meanwhile, but not for long.
    pub(super) fn not_replaced(&mut self, cx: &Context<'_>) {
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
        let busy = match &self.exchange {
            Some(Exchange::Child(_) | Exchange::DeleteChildren(_) | Exchange::Followup(_)) => true,
            Some(Exchange::Ike(offer)) => offer.rival.is_some(),
            Some(Exchange::DeleteIke | Exchange::Liveness | Exchange::Lifetime) => false,
            Some(Exchange::Update(_) | Exchange::RouteCheck(_) | Exchange::Addresses(_)) | None => false,
        };
        if self.stage != Stage::Standing || busy {
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
        let mut payloads = vec![
            Payload::SecurityAssociation(vec![chosen.suite.answer(chosen.number, SpiField::Ike(spis.responder))]),
            Payload::Nonce(nonces.responder.clone()),
            Payload::KeyExchange(public),
        ];
        let epoch = told_epoch(content).unwrap_or(self.parts.peer.key_epoch);
        let series = Series::new(nonces, shared, &chosen.suite.additional);
        let (link, fate) = self.grant_ike(cx, PlannedIke { suite: chosen.suite, spis, epoch }, series)?;
        payloads.extend(link);
        Ok((payloads, fate))
    }

    /// Makes the SA that takes the place of this one.
    pub(super) fn successor(
        &self,
        cx: &mut Context<'_>,
        planned: &PlannedIke,
        series: &Series,
        initiated: bool,
    ) -> Result<Self, Failure> {
        let PlannedIke { suite, spis, epoch } = *planned;
        let encryption = suite.encryption;
        let keys = self.parts.keys.sk_d.rekeyed(suite.prf, encryption, series.shared(), &series.nonces, spis)?;
        if cx.config.keylog {
            cx.out.push_back(Output::Keylog(KeylogLine::ike(spis, &keys)));
        }
        let (initiator, responder) = ((&keys.sk_ei, &keys.sk_ai), (&keys.sk_er, &keys.sk_ar));
        let (seals, opens) = if initiated { (initiator, responder) } else { (responder, initiator) };
        //= RFC 7383 §2.3: what both ends have announced in IKE_SA_INIT holds for the SAs that follow
        let fragments = self.parts.sealing.fragments();
        let parts = Parts {
            peer: Arc::clone(&self.parts.peer),
            spis,
            //= RFC 7296 §1.3.2: who has asked for the replacement is the original initiator of the new IKE SA
            initiator: initiated,
            suite,
            path: self.parts.path,
            nat: self.parts.nat,
            sealing: Sealer::new(SealingKey::new(encryption, seals.0, seals.1)?, fragments),
            opening: Opener::new(OpeningKey::new(encryption, opens.0, opens.1)?, fragments),
            //= RFC 7296 §2.18: the message counters of the new SA start at 0
            requests: Requests::starting_at(0),
            responses: Responses::starting_at(0),
            lowest: series.nonces.lowest().clone(),
            epoch,
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
        let mut successor = Self::new(cx, parts, self.mobility.inherited());
        successor.allowance = self.allowance;
        Ok(successor)
    }

    /// Gives the children to another SA.
    pub(crate) fn hand_over(&mut self, heir: &mut Self) {
        //= RFC 7296 §1.4: child SAs, and all that is said of them, go to the successor
        heir.children.append(&mut self.children);
        heir.refused.append(&mut self.refused);
        heir.unwanted.append(&mut self.unwanted);
        self.bequeath_paths(heir);
    }
}
