//! The initiator's states: `IKE_SA_INIT` sent, `IKE_AUTH` sent, and between them `IKE_INTERMEDIATE`.

pub(crate) mod intermediate;

use std::sync::Arc;

use espalier_crypto::{KeyShare, Method};
use espalier_model::profile::{Encap, Mobike};
use espalier_model::sa::UdpPath;
use espalier_model::suite::KeyExchange;

use super::configuration;
use super::intermediate::{announce, check_announced, refused, why_not};
use super::nat::{Ends, Nat};
use super::ppk::{self, Mixed};
use super::proof::Covered;
use super::{Failure, fragmentation_notify};
use crate::auth::HashAlgorithms;
use crate::config::{ChildConfig, PeerConfig};
use crate::content::Content;
use crate::context::Context;
use crate::int_auth::IntAuth;
use crate::keylog::KeylogLine;
use crate::keymat::{self, AuthKeys, IkeKeys, IkeSpis, Nonces, Shared};
use crate::nat::{Detected, Nat as Sides};
use crate::outbounds::Switch;
use crate::output::{DownReason, Output};
use crate::sa::auth_lifetime;
use crate::sa::child::{self, Asked, Seed};
use crate::sa::create_child::{epoch_notify, life_notify, told_life};
use crate::sa::established::{Established, Parts};
use crate::sa::form;
use crate::sa::mobility::{self, Announced, Mobility};
use crate::sa::opener::Opener;
use crate::sa::pair;
use crate::sa::refusal::Refusal;
use crate::sa::sealer::Sealer;
use crate::sa::window::{Requests, Responses};
use crate::wire::proposal::{self, ChildExchange, IkeSuite};
use crate::wire::sk::{OpeningKey, SealingKey};
use crate::wire::{
    Delete, ExchangeType, Flags, Header, Identification, IkeSpi, KeyExchangeData, Malformed, Message, Nonce, Notify,
    NotifyType, Payload, ProtocolId, SpiField,
};

use intermediate::{IntermediateSent, Pending};

/// Waits for the response to `IKE_SA_INIT`.
pub(crate) struct InitSent {
    pub(crate) peer: Arc<PeerConfig>,
    pub(crate) requests: Requests,
    spi: IkeSpi,
    share: KeyShare,
    nonce: Nonce,
    cookie: Option<Vec<u8>>,
    nat: Vec<Notify>,
    message: Vec<u8>,
    path: UdpPath,
    trips: u8,
    /// Whether no SA with the peer stands.
    alone: bool,
    /// Why the last answer was of no use.
    pub(crate) doubt: Option<DownReason>,
}

/// Waits for the response to `IKE_AUTH`.
pub(crate) struct AuthSent {
    pub(crate) peer: Arc<PeerConfig>,
    pub(crate) requests: Requests,
    pub(crate) spis: IkeSpis,
    nonces: Nonces,
    keys: IkeKeys,
    auth: AuthKeys,
    /// The same with the postquantum preshared key, if both ends may use one.
    mixed: Option<Mixed>,
    sealing: Sealer,
    pub(crate) opening: Opener,
    response: Vec<u8>,
    path: UdpPath,
    nat: Nat,
    suite: IkeSuite,
    int_auth: IntAuth,
    sides: Sides,
    announced: Option<Announced>,
    child: Option<Asked>,
    epoch: u64,
    identity_epoch: u64,
    pub(crate) alone: bool,
}

/// Where the response to `IKE_SA_INIT` leads.
pub(crate) enum AfterInit {
    /// Asked again, with a cookie or another method.
    Again(Box<InitSent>),
    /// On to an additional key exchange.
    Intermediate(Box<IntermediateSent>),
    /// On to `IKE_AUTH`.
    Auth(Box<AuthSent>),
    /// Nowhere: the answer is of no use, and another one may come.
    Stays(Box<InitSent>, Failure),
}

/// What an answer to the first message is good for.
enum Verdict {
    /// To be sent back.
    Cookie(Vec<u8>),
    /// To try another method.
    Method(KeyExchange),
    /// To go on.
    Good,
}

/// A cookie, another method and a fresh cookie; more is a peer that plays with us.
//= RFC 7296 §2.6.1: a cookie, another method and a fresh cookie may be demanded
const MOST_TRIPS: u8 = 4;
//= RFC 7296 §2.6: a cookie has 1 to 64 bytes
const COOKIE_LEN: std::ops::RangeInclusive<usize> = 1..=64;

impl InitSent {
    /// Sends the first message to a peer. `alone` says that no SA with it stands.
    pub(crate) fn start(
        cx: &mut Context<'_>,
        peer: Arc<PeerConfig>,
        path: UdpPath,
        alone: bool,
    ) -> Result<(IkeSpi, Self), Failure> {
        //= RFC 7296 §3.3.6: the first KE payload is of the method that the responder is most likely to accept
        let group = *peer.profile.key_exchange.first().ok_or(Failure::NothingInCommon("key exchange method"))?;
        let (spi, nonce) = (cx.ike_spi(), cx.nonce());
        let share = KeyShare::generate(group)?;
        let requests = Requests::starting_at(0);
        let nat = cx.nat_detection(IkeSpis { initiator: spi, responder: IkeSpi::ZERO }, path, peer.profile.encap);
        let (cookie, message, trips) = (None, Vec::new(), 0);
        let state = Self { peer, requests, spi, share, nonce, cookie, nat, message, path, trips, alone, doubt: None };
        Ok((spi, state.send(cx)?))
    }

    fn send(mut self, cx: &mut Context<'_>) -> Result<Self, Failure> {
        //= RFC 7296 §3.1: the responder's SPI is zero in the first message, and in its repetitions with a cookie
        let spis = IkeSpis { initiator: self.spi, responder: IkeSpi::ZERO };
        let mut payloads = Vec::new();
        //= RFC 7296 §2.6: the cookie comes first, all else stays as it was
        payloads.extend(self.cookie.iter().map(|c| Payload::Notify(Notify::new(NotifyType::COOKIE, c.clone()))));
        //= RFC 7296 §1.2: the whole offer is made again after a wrong guess, so that nobody can make it weaker
        //= RFC 7296 §3.3.1: in the first exchange proposals have no SPI
        payloads.push(Payload::SecurityAssociation(proposal::offer_ike(&self.peer.profile, SpiField::None)));
        payloads.push(Payload::KeyExchange(key_exchange(self.share.method(), self.share.public())));
        payloads.push(Payload::Nonce(self.nonce.clone()));
        payloads.extend(self.nat.iter().cloned().map(Payload::Notify));
        payloads.push(Payload::Notify(HashAlgorithms::announce()));
        //= RFC 7383 §2.3: each end announces in IKE_SA_INIT that it can put fragments together
        payloads.push(fragmentation_notify());
        //= RFC 8784 §3: an initiator that has a PPK for the peer says so in IKE_SA_INIT
        payloads.extend(self.peer.ppk.as_ref().map(|_| ppk::announcement()));
        payloads.extend(announce(&self.peer.profile));
        let header = header(spis, ExchangeType::IKE_SA_INIT, Flags { initiator: true, response: false }, 0);
        self.message = Message { header, payloads }.emit()?;
        //= RFC 7296 §2.2: the message ID is 0 in every IKE_SA_INIT and 1 in IKE_AUTH
        self.requests = Requests::starting_at(0);
        self.requests.open(cx.now.instant, self.path, vec![self.message.clone()]);
        self.trips += 1;
        cx.transmit(self.path, self.message.clone());
        Ok(self)
    }

    /// Reads the response, which is `message` as it travelled in `datagram`. Nothing in it is authentic: what is of no use is no
    /// more than a hint.
    pub(crate) fn handle(
        mut self,
        cx: &mut Context<'_>,
        message: Message,
        datagram: &[u8],
    ) -> Result<AfterInit, Failure> {
        let responder = message.header.responder_spi;
        let content = match Content::read(message.payloads) {
            Ok(content) => content,
            Err(reason) => return Ok(AfterInit::Stays(Box::new(self), reason.into())),
        };
        match self.judge(responder, &content) {
            Ok(Verdict::Good) => {}
            Ok(Verdict::Cookie(cookie)) => {
                self.cookie = Some(cookie);
                return Ok(AfterInit::Again(Box::new(self.send(cx)?)));
            }
            Ok(Verdict::Method(method)) => {
                self.share = KeyShare::generate(method)?;
                return Ok(AfterInit::Again(Box::new(self.send(cx)?)));
            }
            Err(failure) => return Ok(AfterInit::Stays(Box::new(self), failure)),
        }
        self.agreed(cx, responder, &content, datagram)
    }

    /// Tells what an answer is good for, without giving anything up for it.
    fn judge(&self, responder: IkeSpi, content: &Content) -> Result<Verdict, Failure> {
        let again = self.trips < MOST_TRIPS;
        if let Some(cookie) = content.notify(NotifyType::COOKIE).filter(|_| again) {
            let usable = COOKIE_LEN.contains(&cookie.len()) && self.cookie.as_deref() != Some(cookie);
            return if usable {
                Ok(Verdict::Cookie(cookie.to_vec()))
            } else {
                Err(Failure::Refused(NotifyType::COOKIE))
            };
        }
        //= RFC 7296 §1.2: a method that was guessed wrong is corrected to the one that the responder wants
        if let Some(data) = content.notify(NotifyType::INVALID_KE_PAYLOAD).filter(|_| again) {
            return self.wanted(data).map(Verdict::Method);
        }
        if let Some(error) = content.error() {
            return Err(refused(&self.peer.profile, error));
        }
        let answer = content.proposals.as_ref().ok_or(Failure::Missing("SA"))?;
        let selected = proposal::accept_ike(&self.peer.profile, answer);
        let selected = selected.ok_or_else(|| why_not(&self.peer.profile, answer))?;
        let theirs = content.key_exchange.as_ref().ok_or(Failure::Missing("KE"))?;
        content.nonce.as_ref().ok_or(Failure::Missing("nonce"))?;
        let group = selected.suite.key_exchange;
        let sent = self.share.method() == group.into();
        if !sent || theirs.method != proposal::key_exchange_id(group) || responder == IkeSpi::ZERO {
            return Err(Failure::NothingInCommon("key exchange method"));
        }
        let hashes = content.notify(NotifyType::SIGNATURE_HASH_ALGORITHMS);
        hashes.map(HashAlgorithms::read).transpose()?;
        check_announced(&selected.suite, content)?;
        // Whoever forges an answer of this form can end the attempt anyway, by a share of its own.
        Ok(Verdict::Good)
    }

    /// Reads which method the responder wants; only one that we offer counts (RFC 7296 §1.3).
    fn wanted(&self, data: &[u8]) -> Result<KeyExchange, Failure> {
        let number = data.try_into().map(u16::from_be_bytes).ok();
        let method = number.and_then(proposal::key_exchange_from_id);
        let tried = self.share.method();
        let offered = method.filter(|m| self.peer.profile.key_exchange.contains(m) && Method::from(*m) != tried);
        offered.ok_or(Failure::NothingInCommon("key exchange method"))
    }

    fn agreed(
        self,
        cx: &mut Context<'_>,
        responder: IkeSpi,
        content: &Content,
        response: &[u8],
    ) -> Result<AfterInit, Failure> {
        let answer = content.proposals.as_ref().ok_or(Failure::Missing("SA"))?;
        let selected = proposal::accept_ike(&self.peer.profile, answer);
        let selected = selected.ok_or_else(|| why_not(&self.peer.profile, answer))?;
        let theirs = content.key_exchange.as_ref().ok_or(Failure::Missing("KE"))?;
        let nonce = content.nonce.clone().ok_or(Failure::Missing("nonce"))?;
        let hashes = content.notify(NotifyType::SIGNATURE_HASH_ALGORITHMS);
        let hashes = hashes.map(HashAlgorithms::read).transpose()?.unwrap_or_default();
        let spis = IkeSpis { initiator: self.spi, responder };
        let sides = Detected::read(spis, self.path, &content.notifies).map(|detected| detected.nat).unwrap_or_default();
        let nat = Nat::of(content, spis, self.path, self.peer.profile.encap);
        nat.check(self.peer.profile.encap)?;
        let nonces = Nonces { initiator: self.nonce, responder: nonce };
        let shared = self.share.agree(&theirs.data)?;
        let suite = selected.suite;
        check_announced(&suite, content)?;
        let (keys, auth) = keymat::initial(suite.prf, suite.encryption, &shared, &nonces, spis)?;
        if cx.config.keylog {
            cx.out.push_back(Output::Keylog(KeylogLine::ike(spis, &keys)));
        }
        let fragments = content.notify(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED).is_some();
        let profile = &self.peer.profile;
        let moves = profile.mobike != Mobike::Off && profile.encap != Encap::Never;
        let path = nat.path(self.path, moves);
        let child = first_child(cx, &self.peer, &Ends { path, nat }, content)?;
        let ppk = ppk::wanted(&self.peer, content)?.is_some();
        let state = AuthSent {
            suite,
            int_auth: IntAuth::default(),
            sealing: Sealer::new(SealingKey::new(keys.encryption, &keys.sk_ei, &keys.sk_ai)?, fragments),
            opening: Opener::new(OpeningKey::new(keys.encryption, &keys.sk_er, &keys.sk_ar)?, fragments),
            path,
            nat,
            sides,
            announced: None,
            requests: Requests::starting_at(1),
            response: response.to_vec(),
            epoch: self.peer.key_epoch,
            identity_epoch: cx.identity_epoch,
            alone: self.alone,
            peer: self.peer,
            spis,
            nonces,
            keys,
            auth,
            mixed: None,
            child,
        };
        let rounds = suite.additional.methods().collect();
        Pending { auth: state, rounds, first: self.message, hashes, ppk }.proceed(cx)
    }
}

impl AuthSent {
    fn send(&mut self, cx: &mut Context<'_>, first: &[u8], hashes: &HashAlgorithms) -> Result<(), Failure> {
        let id = self.requests.following();
        let (nonce, int_auth) = (&self.nonces.responder, &self.int_auth.octets(id));
        let sk_p = self.mixed.as_ref().map_or(&self.auth.sk_pi, |mixed| &mixed.auth.sk_pi);
        let covered = Covered { sk_p, message: first, nonce, int_auth };
        let mut proof = covered.prove(cx, &self.auth, &self.peer, hashes)?;
        let authentication = proof.pop();
        //= RFC 7296 §2.5: payloads are sent in the order of its figures
        let mut payloads = vec![Payload::IdInitiator(Identification::from(&cx.config.identity.id))];
        payloads.extend(proof);
        if !cx.config.trust.is_empty() {
            payloads.push(Payload::CertificateRequest(cx.trust.request()));
        }
        payloads.push(Payload::IdResponder(Identification::from(&self.peer.id)));
        payloads.extend(authentication);
        if let (Some(_), Some(ppk)) = (&self.mixed, &self.peer.ppk) {
            let plain = Covered { sk_p: &self.auth.sk_pi, ..covered };
            payloads.extend(ppk::name(ppk, || plain.prove(cx, &self.auth, &self.peer, hashes))?);
        }
        //= RFC 7296 §2.19: the configuration payload stands before the SA payload
        payloads.extend(configuration::request(&self.peer, cx.given.by(&self.peer.id)));
        if let Some(asked) = &self.child {
            let config = &asked.config;
            payloads.extend(form::notifies(config, None));
            payloads.extend(pair::notify(asked.part, |_| None));
            let offered = form::offer(&config.profile, asked.protocol(), asked.exchange, asked.inbound);
            payloads.push(Payload::SecurityAssociation(offered));
            payloads.push(Payload::SelectorsInitiator(config.local.clone()));
            payloads.push(Payload::SelectorsResponder(config.remote.clone()));
        }
        //= RFC 7296 §2.4: the peer may forget what we have lost
        payloads.extend(self.alone.then(|| Payload::Notify(Notify::new(NotifyType::INITIAL_CONTACT, Vec::new()))));
        payloads.extend(epoch_notify(self.epoch));
        payloads.push(life_notify(cx.life));
        self.announced = mobility::announce(cx, &self.peer, self.path);
        payloads.extend(self.announced.iter().flat_map(|announced| announced.payloads.clone()));
        self.request(cx, ExchangeType::IKE_AUTH, &payloads)
    }

    /// Mixes the postquantum preshared key into the keys of the last key exchange.
    fn mix(&mut self) -> Result<(), Failure> {
        let mix = |ppk| Mixed::new(ppk, &self.auth, &self.keys);
        self.mixed = self.peer.ppk.as_ref().map(mix).transpose()?;
        Ok(())
    }

    fn request(&mut self, cx: &mut Context<'_>, kind: ExchangeType, payloads: &[Payload]) -> Result<(), Failure> {
        let header = self.request_header(kind);
        let datagrams = self.sealing.seal(self.path, &header, payloads)?;
        cx.transmit_all(self.path, &datagrams);
        self.requests.open(cx.now.instant, self.path, datagrams);
        Ok(())
    }

    /// Returns the header of the next request.
    const fn request_header(&self, kind: ExchangeType) -> Header {
        header(self.spis, kind, Flags { initiator: true, response: false }, self.requests.following())
    }

    /// Tells the responder, for which the SA stands, that we give it up. Should this be lost, its sign of life will be.
    fn disown(&mut self, cx: &mut Context<'_>, why: Payload) -> Result<(), Failure> {
        let header = self.request_header(ExchangeType::INFORMATIONAL);
        let datagrams = self.sealing.seal(self.path, &header, &[why])?;
        cx.transmit_all(self.path, &datagrams);
        Ok(())
    }

    /// Returns the lower nonce of the exchange.
    pub(crate) fn lowest(&self) -> &Nonce {
        self.nonces.lowest()
    }

    /// Reads the authentic response: the peer's proof first, then the child SA.
    pub(crate) fn handle(
        mut self,
        cx: &mut Context<'_>,
        payloads: Result<Vec<Payload>, Malformed>,
        switch: Switch,
    ) -> Result<Established, Failure> {
        let content = Content::read(payloads?)?;
        let Some(id) = &content.responder else {
            return Err(content.error().map_or(Failure::Missing("IDr"), Failure::Refused));
        };
        let (nonce, message) = (&self.nonces.initiator, &self.response[..]);
        let int_auth = &self.int_auth.octets(self.requests.following().saturating_sub(1));
        let mixed = ppk::confirmed(self.peer.ppk.as_ref(), self.mixed.take(), &content);
        let believed = mixed.map_err(Failure::from).and_then(|mixed| {
            let sk_p = mixed.as_ref().map_or(&self.auth.sk_pr, |mixed| &mixed.auth.sk_pr);
            let covered = Covered { sk_p, message, nonce, int_auth };
            Ok((covered.check(cx, &self.auth, &self.peer, id, &content)?, mixed))
        });
        let (proof, mixed) = match believed {
            Ok(believed) => believed,
            Err(failure) => {
                //= RFC 7296 §2.21.2: the initiator may tell so in a separate INFORMATIONAL exchange
                self.disown(cx, Payload::Notify(Notify::new(NotifyType::AUTHENTICATION_FAILED, Vec::new())))?;
                return Err(failure);
            }
        };
        let assigned = match configuration::accept(&self.peer, &content) {
            Ok(assigned) => assigned,
            Err(error) => {
                self.disown(cx, Payload::Delete(Delete::ike()))?;
                return Err(error.into());
            }
        };
        self.requests.close();
        let ppk = mixed.map(|mixed| {
            self.keys.sk_d = mixed.sk_d;
            mixed.id
        });
        let epoch = self.epoch;
        let peer = assigned.narrow(&self.peer);
        let asked = self.child.take().and_then(|asked| {
            let config = peer.children.iter().find(|child| child.rule == asked.config.rule)?.clone();
            Some(Asked { config, ..asked })
        });
        let parts = Parts {
            peer,
            spis: self.spis,
            initiator: true,
            path: self.path,
            nat: self.nat,
            suite: self.suite,
            keys: self.keys,
            sealing: self.sealing,
            opening: self.opening,
            requests: self.requests,
            responses: Responses::starting_at(0),
            lowest: self.nonces.lowest().clone(),
            identity_epoch: self.identity_epoch,
            epoch,
            renewal: !self.alone,
            life: told_life(&content),
            prove_by: auth_lifetime::told(cx.now.instant, &content),
            proof,
            ppk,
            assigned,
        };
        let mobility = Mobility::new(self.path, true, self.sides, self.announced, &content);
        let mut established = Established::new(cx, parts, mobility);
        //= RFC 7296 §1.2: without a child SA the IKE SA stands all the same
        if let Some(asked) = asked {
            match child::accept(&asked, &established.ends(), &content) {
                Ok((agreed, _)) => {
                    let seed = Seed { nonces: &self.nonces, shared: Shared::NONE };
                    established.adopt(cx, agreed, &seed, switch, None)?;
                }
                Err(refusal) => established.refuse_first(cx, asked, refusal, &content),
            }
        }
        Ok(established)
    }
}

/// Returns what to ask for in `IKE_AUTH`: the child of the first rule that is due and fits the path.
fn first_child(
    cx: &mut Context<'_>,
    peer: &PeerConfig,
    ends: &Ends,
    response: &Content,
) -> Result<Option<Asked>, Failure> {
    //= RFC 6023 §3: IKE_AUTH goes without a child SA only to a responder that has announced it
    let childless = response.notify(NotifyType::CHILDLESS_IKEV2_SUPPORTED).is_some();
    let all = || peer.children.iter();
    let due: Vec<_> = all().filter(|config| cx.is_due(config)).collect();
    // Where no rule is, and the peer must have a child SA, it is one that waits for a packet.
    let due = if due.is_empty() && !childless { all().collect() } else { due };
    let fits = due.iter().find(|config| child::hopeless(config, ends).is_none());
    match (fits, due.first()) {
        (None, None) if !childless => Err(Failure::NeedsChild),
        (Some(_), _) if childless && peer.profile.childless => Ok(None),
        (Some(config), _) => {
            let (inbound, exchange) = (cx.child_spi(), ChildExchange::Auth);
            Ok(Some(Asked::first(ChildConfig::clone(config), inbound, exchange, peer.key_epoch)))
        }
        (None, Some(config)) => {
            let why = Refusal::Nat.explain(&config.profile, ProtocolId::AH, &Content::default());
            Err(Failure::Hopeless(format!("rule {}: {why}", config.rule)))
        }
        (None, None) => Ok(None),
    }
}

/// Builds the KE payload of our public value.
pub(crate) fn key_exchange(method: impl Into<Method>, public: &[u8]) -> KeyExchangeData {
    KeyExchangeData { method: proposal::key_exchange_id(method), data: public.to_vec() }
}

/// Builds a header.
pub(crate) const fn header(spis: IkeSpis, exchange: ExchangeType, flags: Flags, message_id: u32) -> Header {
    Header { initiator_spi: spis.initiator, responder_spi: spis.responder, exchange, flags, message_id }
}
