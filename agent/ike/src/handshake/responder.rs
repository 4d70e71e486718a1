//! The responder's side: an `IKE_SA_INIT` request is answered, an `IKE_AUTH` request proves who asked.

mod intermediate;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use espalier_crypto::KeyShare;
use espalier_model::sa::UdpPath;

use super::configuration::{self, Configured};
use super::initiator::{header, key_exchange};
use super::intermediate::{check_announced, supported};
use super::nat::{Ends, Nat};
use super::ppk::{self, Choice, Mixed};
use super::proof::{Covered, Proof};
use super::{Failure, authentic_complaint, childless_notify, complaint, fragmentation_notify};
use crate::auth::HashAlgorithms;
use crate::config::PeerConfig;
use crate::content::Content;
use crate::context::Context;
use crate::explain::no_common_ike;
use crate::int_auth::IntAuth;
use crate::keylog::KeylogLine;
use crate::keymat::{self, AuthKeys, IkeKeys, IkeSpis, Nonces, Shared};
use crate::nat::{Detected, Nat as Sides};
use crate::outbounds::Switch;
use crate::output::Output;
use crate::sa::auth_lifetime;
use crate::sa::child::{self, Agreed, Narrowed, Part, Refused, Seed};
use crate::sa::create_child::{life_notify, told_epoch, told_life};
use crate::sa::established::{Established, Parts};
use crate::sa::form;
use crate::sa::mobility::{self, Mobility};
use crate::sa::opener::Opener;
use crate::sa::pair;
use crate::sa::refusal::Refusal;
use crate::sa::sealer::Sealer;
use crate::sa::window::{Mark, Requests, Responses};
use crate::wire::mobility::untranslated;
use crate::wire::proposal::{self, ChildExchange, ChildSuite, IkeSuite};
use crate::wire::sk::{OpeningKey, SealingKey};
use crate::wire::{
    ExchangeType, Flags, Header, Identification, IkeSpi, Malformed, Message, Notify, NotifyType, Payload, ProtocolId,
    SpiField,
};

use intermediate::Rounds;

/// Has answered `IKE_SA_INIT` and waits for `IKE_AUTH`, or for `IKE_INTERMEDIATE` before it. Anybody can make one, so it is small and
/// does not live long.
pub(crate) struct HalfOpen {
    pub(crate) spis: IkeSpis,
    /// The initiator's SPI and address, as its first message showed them.
    pub(crate) first: (IkeSpi, SocketAddr),
    pub(crate) responses: Responses,
    pub(crate) expires: Instant,
    suite: IkeSuite,
    rounds: Rounds,
    nonces: Nonces,
    keys: IkeKeys,
    auth: AuthKeys,
    sealing: Sealer,
    /// Keeps fragments of the next request, no longer than the state itself lives.
    pub(crate) opening: Opener,
    nat: Nat,
    request: Vec<u8>,
    response: Vec<u8>,
    hashes: HashAlgorithms,
    /// Whether both ends have announced postquantum preshared keys.
    ppk: bool,
    sides: Sides,
}

/// Who has proven to be the initiator, and how.
struct Believed {
    peer: Arc<PeerConfig>,
    proof: Option<Proof>,
    /// The keys with the postquantum preshared key, if it is used.
    mixed: Option<Mixed>,
}

/// Time to prove an identity in.
const LIFETIME: Duration = Duration::from_secs(30);

/// What an `IKE_SA_INIT` request comes to.
pub(crate) enum AfterRequest {
    /// A new half-open SA.
    HalfOpen(Box<HalfOpen>),
    /// Answered without keeping anything.
    Refused,
}

impl HalfOpen {
    /// Answers a first message. `peer` is any peer that may speak from this address; who it is remains to be proven.
    pub(crate) fn answer(
        cx: &mut Context<'_>,
        peer: &PeerConfig,
        path: UdpPath,
        datagram: &[u8],
    ) -> Result<AfterRequest, Failure> {
        let message = match Message::parse(datagram) {
            Ok(message) => message,
            Err(reason) => return complain(cx, path, datagram, reason),
        };
        let initiator = message.header.initiator_spi;
        if message.header.responder_spi != IkeSpi::ZERO || initiator == IkeSpi::ZERO || message.header.message_id != 0 {
            return Err(Failure::Malformed(Malformed::Value("header of a first message")));
        }
        let content = Content::read(message.payloads)?;
        let offer = content.proposals.as_ref().ok_or(Failure::Missing("SA"))?;
        let theirs = content.key_exchange.as_ref().ok_or(Failure::Missing("KE"))?;
        let nonce = content.nonce.clone().ok_or(Failure::Missing("nonce"))?;
        let Some(selected) = proposal::choose_ike(&peer.profile, offer) else {
            //= RFC 7296 §2.7: where no proposal can be accepted, the answer is NO_PROPOSAL_CHOSEN
            refuse(cx, initiator, path, Notify::new(NotifyType::NO_PROPOSAL_CHOSEN, Vec::new()))?;
            return Err(Failure::no_common_suite(no_common_ike(&peer.profile, offer)));
        };
        if check_announced(&selected.suite, &content).is_err() {
            return refuse(cx, initiator, path, Notify::new(NotifyType::NO_PROPOSAL_CHOSEN, Vec::new()));
        }
        let group = proposal::key_exchange_id(selected.suite.key_exchange);
        if theirs.method != group {
            //= RFC 7296 §1.3: a share of another method is refused with the number of the one that is wanted
            let wanted = Notify::new(NotifyType::INVALID_KE_PAYLOAD, group.to_be_bytes().to_vec());
            return refuse(cx, initiator, path, wanted);
        }
        let hashes = content.notify(NotifyType::SIGNATURE_HASH_ALGORITHMS);
        let hashes = hashes.map(HashAlgorithms::read).transpose()?.unwrap_or_default();
        // The hashes of a first request cover a responder's SPI of zero.
        let first = IkeSpis { initiator, responder: IkeSpi::ZERO };
        let detected = Detected::read(first, path, &content.notifies);
        let spis = IkeSpis { initiator, responder: cx.ike_spi() };
        let method = selected.suite.key_exchange;
        let (public, shared) = KeyShare::respond(method, &theirs.data)?;
        let nonces = Nonces { initiator: nonce, responder: cx.nonce() };
        let mut payloads = vec![
            Payload::SecurityAssociation(vec![selected.suite.answer(selected.number, SpiField::None)]),
            Payload::KeyExchange(key_exchange(method, &public)),
            Payload::Nonce(nonces.responder.clone()),
        ];
        payloads.extend(cx.nat_detection(spis, path, peer.profile.encap).into_iter().map(Payload::Notify));
        let nat = Nat::of(&content, first, path, peer.profile.encap);
        if !cx.config.trust.is_empty() {
            payloads.push(Payload::CertificateRequest(cx.trust.request()));
        }
        payloads.push(Payload::Notify(HashAlgorithms::announce()));
        //= RFC 7383 §2.3: the responder announces fragmentation to an initiator that has done so
        let fragments = content.notify(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED).is_some();
        payloads.extend(fragments.then(fragmentation_notify));
        //= RFC 6023 §3: a responder announces that an IKE SA may stand without a child SA
        payloads.push(childless_notify());
        //= RFC 8784 §3: a responder that has a PPK answers USE_PPK with USE_PPK; for which initiator is not known before IKE_AUTH
        let ppk = cx.has_ppk && content.notify(NotifyType::USE_PPK).is_some();
        payloads.extend(ppk.then(ppk::announcement));
        let left: VecDeque<_> = selected.suite.additional.methods().collect();
        //= RFC 9370 §2.2.1: a responder that chooses an additional key exchange announces IKE_INTERMEDIATE
        payloads.extend((!left.is_empty()).then(supported));
        let flags = Flags { initiator: false, response: true };
        let response = Message { header: header(spis, ExchangeType::IKE_SA_INIT, flags, 0), payloads }.emit()?;
        let (keys, auth) = keymat::initial(selected.suite.prf, selected.suite.encryption, &shared, &nonces, spis)?;
        if cx.config.keylog {
            cx.out.push_back(Output::Keylog(KeylogLine::ike(spis, &keys)));
        }
        let mut responses = Responses::starting_at(0);
        responses.answered(Mark::of(datagram), std::slice::from_ref(&response));
        //= RFC 7296 §2.11: a response takes the path of its request back
        cx.transmit(path, response.clone());
        Ok(AfterRequest::HalfOpen(Box::new(Self {
            sealing: Sealer::new(SealingKey::new(keys.encryption, &keys.sk_er, &keys.sk_ar)?, fragments),
            opening: Opener::new(OpeningKey::new(keys.encryption, &keys.sk_ei, &keys.sk_ai)?, fragments),
            expires: cx.now.instant + LIFETIME,
            request: datagram.to_vec(),
            first: (initiator, path.remote),
            nat,
            suite: selected.suite,
            rounds: Rounds { left, int_auth: IntAuth::default(), before: None },
            spis,
            responses,
            nonces,
            keys,
            auth,
            response,
            hashes,
            ppk,
            sides: detected.map(|detected| detected.nat).unwrap_or_default(),
        })))
    }

    /// Reads the `IKE_AUTH` request: who asks, the proof, and only then the child SA. Also tells whether the peer says that it
    /// has no other SA with us.
    pub(crate) fn handle(
        mut self,
        cx: &mut Context<'_>,
        peers: impl Fn(&Identification) -> Option<Arc<PeerConfig>>,
        path: UdpPath,
        payloads: Result<Vec<Payload>, Malformed>,
        mark: Mark,
    ) -> Result<(Established, bool), Failure> {
        let content = payloads.and_then(Content::read);
        let mut content = content.or_else(|reason| self.object(cx, path, mark, reason))?;
        let kind = ExchangeType::IKE_AUTH;
        let int_auth = self.rounds.int_auth.octets(self.responses.awaited());
        let Believed { peer, proof, mixed } = match self.believe(cx, &mut content, &int_auth, peers) {
            Ok(believed) => believed,
            //= RFC 7296 §2.21.2: why is not told to somebody who has proven nothing
            Err(why) => return Err(self.turn_away(cx, path, mark, NotifyType::AUTHENTICATION_FAILED, why)),
        };
        if let Err((notify, why)) = self.check_path(path, &peer, &content) {
            return Err(self.turn_away(cx, path, mark, notify, why));
        }
        let configured = match configuration::answer(cx, &peer, &content) {
            Ok(configured) => configured,
            Err(why) => return Err(self.turn_away(cx, path, mark, NotifyType::AUTHENTICATION_FAILED, why)),
        };
        let (nonce, message) = (&self.nonces.initiator, &self.response[..]);
        let sk_p = mixed.as_ref().map_or(&self.auth.sk_pr, |mixed| &mixed.auth.sk_pr);
        let covered = Covered { sk_p, message, nonce, int_auth: &int_auth };
        let mut payloads = vec![Payload::IdResponder(Identification::from(&cx.config.identity.id))];
        payloads.extend(covered.prove(cx, &self.auth, &peer, &self.hashes)?);
        payloads.extend(mixed.as_ref().map(|_| ppk::confirmation()));
        let ppk = mixed.map(|mixed| {
            self.keys.sk_d = mixed.sk_d;
            mixed.id
        });
        payloads.push(life_notify(cx.life));
        payloads.extend(auth_lifetime::notify(cx.now.instant, proof.as_ref()));
        let epoch = told_epoch(&content).unwrap_or(peer.key_epoch);
        let ends = Ends { path, nat: self.nat };
        //= RFC 7296 §2.19: the configuration payload stands before the SA payload
        payloads.extend(configured.payload.clone());
        let (agreed, refused) = match answer_child(cx, &peer, &configured, &ends, epoch, &content) {
            Ok(None) => (None, None),
            Ok(Some((agreed, answer))) => {
                payloads.extend(answer);
                (Some(agreed), None)
            }
            Err(refused) => {
                payloads.push(Payload::Notify(Notify::new(refused.0.notify(), Vec::new())));
                (None, Some(refused))
            }
        };
        //= RFC 4555 §3.2: the responder says that it moves where the initiator has said so
        let moves = content.notify(NotifyType::MOBIKE_SUPPORTED).is_some();
        let announced = if moves { mobility::announce(cx, &peer, path) } else { None };
        payloads.extend(announced.iter().flat_map(|announced| announced.payloads.clone()));
        let response = self.respond(cx, path, kind, mark, &payloads)?;
        let alone = content.notify(NotifyType::INITIAL_CONTACT).is_some();
        let parts = Parts {
            peer: configured.assigned.narrow(&peer),
            spis: self.spis,
            initiator: false,
            path,
            nat: self.nat,
            suite: self.suite,
            keys: self.keys,
            sealing: self.sealing,
            opening: self.opening,
            requests: Requests::starting_at(0),
            responses: self.responses,
            lowest: self.nonces.lowest().clone(),
            identity_epoch: cx.identity_epoch,
            epoch,
            renewal: !alone,
            life: told_life(&content),
            prove_by: None,
            proof,
            ppk,
            assigned: configured.assigned,
        };
        let mobility = Mobility::new(path, false, self.sides, announced, &content);
        let mut established = Established::new(cx, parts, mobility);
        if let Some(agreed) = agreed {
            let seed = Seed { nonces: &self.nonces, shared: Shared::NONE };
            established.adopt(cx, agreed, &seed, Switch::WhenUsed, None)?;
        }
        if let Some((refusal, config)) = refused {
            let protocol = config.as_ref().map_or(ProtocolId::ESP, |config| form::protocol(&config.profile));
            established.refuse(cx, refusal, config.as_deref(), protocol, &content);
        }
        //= RFC 7296 §2.8: the inbound SA stands before the peer can use it
        cx.transmit_all(path, &response);
        Ok((established, alone))
    }

    /// Checks that the SA may stand on this path.
    fn check_path(&self, path: UdpPath, peer: &PeerConfig, content: &Content) -> Result<(), (NotifyType, Failure)> {
        self.nat.check(peer.profile.encap).map_err(|why| (NotifyType::NO_PROPOSAL_CHOSEN, why))?;
        //= RFC 4555 §3.9: an initiator that allows no NAT gets no SA through one
        match content.notify(NotifyType::NO_NATS_ALLOWED) {
            Some(data) if !untranslated(path, data) => Err((NotifyType::UNEXPECTED_NAT_DETECTED, Failure::Translated)),
            Some(_) | None => Ok(()),
        }
    }

    fn believe(
        &self,
        cx: &Context<'_>,
        content: &mut Content,
        int_auth: &[u8],
        peers: impl Fn(&Identification) -> Option<Arc<PeerConfig>>,
    ) -> Result<Believed, Failure> {
        let id = content.initiator.as_ref().ok_or(Failure::Missing("IDi"))?;
        let peer = peers(id).ok_or_else(|| Failure::wrong_identity(id, None))?;
        let mixed = match ppk::choose(&peer, self.ppk, content)? {
            Choice::Mix(ppk) => Some(Mixed::new(ppk, &self.auth, &self.keys)?),
            Choice::Plain => None,
            Choice::Instead(proof) => {
                content.authentication.iter_mut().for_each(|auth| auth.data.clone_from(&proof));
                None
            }
        };
        let id = content.initiator.as_ref().ok_or(Failure::Missing("IDi"))?;
        let (nonce, message) = (&self.nonces.responder, &self.request[..]);
        let sk_p = mixed.as_ref().map_or(&self.auth.sk_pi, |mixed| &mixed.auth.sk_pi);
        let covered = Covered { sk_p, message, nonce, int_auth };
        let proof = covered.check(cx, &self.auth, &peer, id, content)?;
        Ok(Believed { peer, proof, mixed })
    }

    /// Tells the initiator that there is no SA; returns why.
    fn turn_away(
        &mut self,
        cx: &mut Context<'_>,
        path: UdpPath,
        request: Mark,
        told: NotifyType,
        why: impl Into<Failure>,
    ) -> Failure {
        let told = [Payload::Notify(Notify::new(told, Vec::new()))];
        let told = self.respond(cx, path, ExchangeType::IKE_AUTH, request, &told);
        told.map_or_else(|failure| failure, |_| why.into())
    }

    /// Answers a request that cannot be read.
    fn object(
        &mut self,
        cx: &mut Context<'_>,
        path: UdpPath,
        mark: Mark,
        reason: Malformed,
    ) -> Result<Content, Failure> {
        let complaint = [Payload::Notify(authentic_complaint(reason))];
        self.respond(cx, path, ExchangeType::IKE_AUTH, mark, &complaint)?;
        Err(reason.into())
    }

    /// Seals the answer and keeps it; an error answer is also sent here, since no SA follows it.
    fn respond(
        &mut self,
        cx: &mut Context<'_>,
        path: UdpPath,
        kind: ExchangeType,
        request: Mark,
        payloads: &[Payload],
    ) -> Result<Vec<Vec<u8>>, Failure> {
        let flags = Flags { initiator: false, response: true };
        let header = header(self.spis, kind, flags, self.responses.awaited());
        let datagrams = self.sealing.seal(path, &header, payloads)?;
        self.responses.answered(request, &datagrams);
        if let [Payload::Notify(_)] = payloads {
            cx.transmit_all(path, &datagrams);
        }
        Ok(datagrams)
    }
}

/// Answers the child SA of the request, if there is one: returns what is agreed, and the payloads that say so.
fn answer_child(
    cx: &mut Context<'_>,
    peer: &Arc<PeerConfig>,
    configured: &Configured,
    ends: &Ends,
    epoch: u64,
    content: &Content,
) -> Result<Option<(Agreed, Vec<Payload>)>, Refused> {
    if configured.refused {
        return Err((Refusal::NoAddress, None));
    }
    if content.proposals.is_none() {
        //= RFC 6023 §3: an IKE_AUTH request without SA and TS payloads makes an IKE SA alone
        return Ok(None);
    }
    let given = configured.assigned.narrow(peer);
    let find = |peer: &PeerConfig| {
        //= RFC 7296 §5.1: a peer has child SAs for the traffic that is configured for its name, and no other
        let narrowed = child::narrow(peer.children.iter(), ChildExchange::Auth, Part::Whole, ends, content);
        narrowed.map_err(child::owned)
    };
    let narrowed = find(&given).map_err(|refused| {
        let unasked = refused.0 == Refusal::Traffic && configured.assigned.addresses.is_empty() && find(peer).is_ok();
        if unasked { (Refusal::NotAsked, None) } else { refused }
    });
    let Narrowed { config, selectors, originals, chosen, part } = narrowed?;
    let outbound = chosen.spi.child().ok_or((Refusal::Malformed, None))?;
    let inbound = cx.child_spi();
    let mut payloads = form::notifies(&config, Some(content));
    payloads.extend(pair::notify(part, |_| None));
    payloads.push(Payload::SecurityAssociation(vec![chosen.suite.answer(chosen.number, inbound)]));
    payloads.push(Payload::SelectorsInitiator(selectors.remote.clone()));
    payloads.push(Payload::SelectorsResponder(selectors.local.clone()));
    let ChildSuite { protection: suite, esn, .. } = chosen.suite;
    let (padding, initiated) = (form::takes_padding(content), false);
    let agreed =
        Agreed { config, suite, esn, inbound, outbound, selectors, originals, padding, initiated, epoch, part };
    Ok(Some((agreed, payloads)))
}

/// Answers a first message that cannot be read where that may be told to anybody.
fn complain(cx: &mut Context<'_>, path: UdpPath, datagram: &[u8], reason: Malformed) -> Result<AfterRequest, Failure> {
    if let Some(notify) = complaint(reason) {
        let (header, _) = Header::parse(datagram)?;
        refuse(cx, header.initiator_spi, path, notify)?;
    }
    Err(reason.into())
}

fn refuse(cx: &mut Context<'_>, initiator: IkeSpi, path: UdpPath, notify: Notify) -> Result<AfterRequest, Failure> {
    let spis = IkeSpis { initiator, responder: IkeSpi::ZERO };
    let flags = Flags { initiator: false, response: true };
    let header = header(spis, ExchangeType::IKE_SA_INIT, flags, 0);
    let response = Message { header, payloads: vec![Payload::Notify(notify)] }.emit()?;
    cx.transmit(path, response);
    Ok(AfterRequest::Refused)
}
