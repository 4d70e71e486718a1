//! An IKE SA that stands: what it is made of, and how a message passes through it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use espalier_model::identity::Name;
use espalier_model::plan::PpkId;
use espalier_model::profile::Profile;
use espalier_model::sa::{Spi, UdpPath};

use super::assigned::Assigned;
use super::child::{Child, sooner};
use super::create_child::refusal;
use super::exchange::Exchange;
use super::followup::Awaited;
use super::liveness::Vitals;
use super::mobility::Mobility;
use super::opener::{Opener, Received};
use super::patience::Patience;
use super::sealer::Sealer;
use super::strays::Strays;
use super::window::{Incoming, Mark, Requests, Responses};
use crate::config::PeerConfig;
use crate::content::Content;
use crate::context::Context;
use crate::explain::What;
use crate::handshake::initiator::header;
use crate::handshake::nat::{Ends, Nat};
use crate::handshake::proof::Proof;
use crate::handshake::{Failure, authentic_complaint};
use crate::keymat::{IkeKeys, IkeSpis};
use crate::limits::Allowance;
use crate::output::DownReason;
use crate::wire::proposal::IkeSuite;
use crate::wire::{ExchangeType, Flags, Header, IkeSpi, Malformed, Nonce, Notify, NotifyType, Payload, ProtocolId};

/// What a handshake or a predecessor hands over.
pub(crate) struct Parts {
    pub(crate) peer: Arc<PeerConfig>,
    pub(crate) spis: IkeSpis,
    /// Whether this end started the exchange that made the SA.
    pub(crate) initiator: bool,
    /// The path of messages; packets may still take another.
    pub(crate) path: UdpPath,
    /// What both ends said of NATs.
    pub(crate) nat: Nat,
    /// The algorithms, with the key exchanges that made it.
    pub(crate) suite: IkeSuite,
    pub(crate) keys: IkeKeys,
    pub(crate) sealing: Sealer,
    pub(crate) opening: Opener,
    pub(crate) requests: Requests,
    pub(crate) responses: Responses,
    /// The lower nonce of the exchange that made it: decides which of two SAs made at once goes.
    pub(crate) lowest: Nonce,
    /// The rotation of keys under which it was set up.
    pub(crate) epoch: u64,
    /// Which of our identities it was set up with.
    pub(crate) identity_epoch: u64,
    /// Whether its initiator had another SA with us that it takes the place of.
    pub(crate) renewal: bool,
    /// The number of the peer's life, where it tells it.
    pub(crate) life: Option<u64>,
    /// When the responder wants the initiator, us, to prove itself anew at the latest.
    pub(crate) prove_by: Option<Instant>,
    /// The certificate with which the peer has proven itself.
    pub(crate) proof: Option<Proof>,
    /// The postquantum preshared key that is mixed into its keys.
    pub(crate) ppk: Option<PpkId>,
    /// The addresses that one end has given the other.
    pub(crate) assigned: Assigned,
}

/// The SA.
pub(crate) struct Established {
    pub(crate) parts: Parts,
    pub(crate) children: Vec<Child>,
    pub(crate) since: Instant,
    pub(super) exchange: Option<Exchange>,
    pub(crate) stage: Stage,
    pub(super) vitals: Vitals,
    /// How it moves.
    pub(crate) mobility: Mobility,
    /// When the configuration last changed: the end that does not lead waits a while from then.
    pub(super) changed: Instant,
    pub(super) rekey_at: Instant,
    /// No `CREATE_CHILD_SA` before.
    pub(super) pause: Instant,
    /// With a peer that refuses to replace the SA.
    pub(super) patience: Patience,
    /// With a peer that can do nothing now, whatever it is asked.
    pub(super) temporary: Patience,
    /// Rules for which the peer refused a child SA: how often, and when to ask again.
    pub(super) refused: BTreeMap<Name, (u32, Instant)>,
    /// Inbound SPIs of SAs that the peer has made of our offer, but not as we want them: they are deleted.
    pub(super) unwanted: Vec<(ProtocolId, Spi)>,
    /// What the peer has asked for, and has to go on with.
    pub(super) awaited: Vec<Awaited>,
    /// How many of our series in a row the peer has forgotten.
    pub(super) lost_series: u32,
    /// When the peer has last told for how long it believes us.
    pub(super) lifetime_told: Instant,
    /// Whether the peer, which began, does not know yet that we believe it for a shorter time.
    pub(super) lifetime_shortened: bool,
    /// What is left of the SAs that the peer may ask for; a successor inherits it.
    pub(super) allowance: Allowance,
    /// Packets of the peer that belong to no SA here.
    pub(super) strays: Strays,
}

/// Where in its life an SA is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// In use.
    Standing,
    /// Made by the peer while our own offer of a successor was open: the answer to that decides.
    Undecided,
    /// Another has taken its place. The peer deletes it, or, from this moment on, we do.
    Replaced(Instant),
    /// We delete it.
    Closing,
}

/// What becomes of the SA after a message.
pub(crate) enum Fate {
    /// It stays.
    Stays,
    /// It is over.
    Over(DownReason),
    /// It stays for a while; a new SA has taken its children, unless that is still open.
    Succeeded(Box<Established>),
    /// The same, and the SA that the peer made has lost.
    Wins(IkeSpi, Box<Established>),
    /// It gives way to the SA that the peer made; so does the one that we made in its place.
    Yields(IkeSpi, Box<Established>),
    /// It gives way to the SA that the peer made, and ours has come to nothing.
    GivesWay(IkeSpi),
}

/// Time for the peer to delete what it should, before we do: longer than it repeats a request whose answer is lost.
pub(super) const GRACE: Duration = Duration::from_secs(150);

impl Parts {
    /// Judges a request by its ID and its bytes. It is opened only where it may repeat the last one in other fragments.
    pub(crate) fn judge(&self, id: u32, datagram: &[u8]) -> Incoming<'_> {
        let judged = self.responses.judge(id, datagram);
        if judged != Incoming::Unexpected {
            return judged;
        }
        //= RFC 7383 §2.6.1: the first fragment of an earlier request has its response sent again, however it was cut before
        let answer = self.responses.answer(id).filter(|_| self.opening.is_first_fragment(datagram));
        answer.map_or(judged, Incoming::Repeated)
    }
}

impl Established {
    pub(crate) fn new(cx: &mut Context<'_>, parts: Parts, mobility: Mobility) -> Self {
        let now = cx.now.instant;
        let lifetime = parts.peer.profile.ike_rekey();
        let rekey_at = now + Self::own_lifetime(cx, lifetime, parts.peer.initiate);
        let (children, refused, unwanted) = (Vec::new(), BTreeMap::new(), Vec::new());
        let (exchange, stage) = (None, Stage::Standing);
        let (since, changed, pause, lifetime_told) = (now, now, now, now);
        let (patience, temporary, allowance) = (Patience::default(), Patience::default(), Allowance::default());
        let (awaited, lost_series) = (Vec::new(), 0);
        let (vitals, lifetime_shortened) = (Vitals::new(now), false);
        Self {
            parts,
            children,
            since,
            exchange,
            stage,
            vitals,
            mobility,
            changed,
            rekey_at,
            pause,
            patience,
            temporary,
            refused,
            unwanted,
            awaited,
            lost_series,
            lifetime_told,
            lifetime_shortened,
            allowance,
            strays: Strays::default(),
        }
    }

    /// Returns how long until this end rekeys: the other one is the first to do so where it leads.
    pub(super) fn own_lifetime(cx: &mut Context<'_>, lifetime: Duration, leads: bool) -> Duration {
        //= RFC 7296 §2.8.1: the moments at which SAs are replaced are jittered
        cx.jittered(if leads { lifetime } else { lifetime.mul_f64(1.25) })
    }

    /// Returns when the peer was last heard.
    pub(crate) const fn heard(&self) -> Instant {
        self.vitals.heard
    }

    /// Returns where both ends are.
    pub(crate) const fn ends(&self) -> Ends {
        Ends { path: self.parts.path, nat: self.parts.nat }
    }

    /// Returns the SPI by which this end finds the SA.
    pub(crate) const fn spi(&self) -> IkeSpi {
        if self.parts.initiator { self.parts.spis.initiator } else { self.parts.spis.responder }
    }

    /// Takes a changed configuration of the peer.
    pub(crate) fn reconfigure(&mut self, now: Instant, peer: &Arc<PeerConfig>) {
        let peer = &self.parts.assigned.narrow(peer);
        for child in &mut self.children {
            child.reconfigure(now, peer);
        }
        self.rekey_at = sooner(self.rekey_at, now, &self.parts.peer.profile, &peer.profile, Profile::ike_rekey);
        self.parts.peer = Arc::clone(peer);
        self.changed = now;
        self.refused.clear();
        self.pause = now;
    }

    /// Takes a request that is new and authentic.
    pub(crate) fn handle_request(
        &mut self,
        cx: &mut Context<'_>,
        path: UdpPath,
        request: Received,
    ) -> Result<Fate, Failure> {
        self.vitals.hear(cx.now.instant);
        self.follow_message(cx, path);
        let Received { header, mark, payloads, .. } = request;
        let (payloads, fate) = match (payloads.and_then(Content::read), header.exchange) {
            //= RFC 7296 §2.21.3: an authentic message that cannot be read is answered, and the SA closed
            (Err(reason), _) => {
                let over =
                    || Fate::Over(DownReason::Failed(format!("peer sent a message that cannot be read: {reason}")));
                //= RFC 7296 §2.5: a critical payload that is not supported fails the request, not the SA
                let fate = if matches!(reason, Malformed::UnsupportedCritical(_)) { Fate::Stays } else { over() };
                (vec![Payload::Notify(authentic_complaint(reason))], fate)
            }
            (Ok(content), ExchangeType::INFORMATIONAL) => self.inform(cx, path, &content),
            // A public value that is none, like whatever else cannot be used, is answered too.
            (Ok(content), ExchangeType::CREATE_CHILD_SA) => {
                self.answer_create(cx, &content).unwrap_or_else(|_| refusal(NotifyType::INVALID_SYNTAX))
            }
            (Ok(content), ExchangeType::IKE_FOLLOWUP_KE) => {
                self.answer_followup(cx, &content).unwrap_or_else(|_| refusal(NotifyType::INVALID_SYNTAX))
            }
            (Ok(_), _) => (vec![Payload::Notify(Notify::new(NotifyType::INVALID_SYNTAX, Vec::new()))], Fate::Stays),
        };
        //= RFC 7296 §1.4: every request is answered
        self.respond(cx, path, &header, mark, &payloads)?;
        Ok(fate)
    }

    /// Takes an authentic response that came along a path.
    pub(crate) fn handle_response(
        &mut self,
        cx: &mut Context<'_>,
        path: UdpPath,
        response: Received,
    ) -> Result<Fate, Failure> {
        self.vitals.hear(cx.now.instant);
        self.answered_along(cx, path);
        let along = self.parts.requests.tried().to_vec();
        let content = match response.payloads.and_then(Content::read) {
            Ok(content) => content,
            Err(reason) => return Ok(self.unreadable_response(cx, reason)),
        };
        self.parts.requests.close();
        //= RFC 7296 §2.21.3: no error is told about a response
        if let Some(reason) = Self::fatal(&content) {
            return Ok(Fate::Over(reason));
        }
        match self.exchange.take() {
            Some(Exchange::DeleteIke) => Ok(Fate::Over(DownReason::DeletedByUs)),
            Some(Exchange::DeleteChildren(ids)) => {
                self.drop_children(cx, |child| ids.contains(&child.id));
                Ok(Fate::Stays)
            }
            Some(Exchange::Child(offer)) => self.child_answered(cx, *offer, &content),
            Some(Exchange::Ike(offer)) => self.ike_answered(cx, *offer, &content),
            Some(Exchange::Followup(followup)) => self.followup_answered(cx, *followup, &content),
            Some(Exchange::Update(sent)) => self.updated(cx, sent, &content, path),
            Some(Exchange::RouteCheck(check)) => self.route_checked(cx, &check, &content, &along),
            Some(Exchange::Addresses(told)) => {
                self.addresses_told(told, &along);
                Ok(Fate::Stays)
            }
            Some(Exchange::Liveness | Exchange::Lifetime) | None => {
                self.compare_mapping(cx.now.instant, &content, path);
                Ok(Fate::Stays)
            }
        }
    }

    /// Gives up children that both ends agree to give up.
    pub(super) fn drop_children(&mut self, cx: &mut Context<'_>, mut goes: impl FnMut(&Child) -> bool) {
        for child in self.children.extract_if(.., |child| goes(child)) {
            cx.tell(&self.parts.peer.id, What::ChildDown { rule: child.config.rule.clone(), child: child.id });
            child.end(cx, false);
        }
    }

    /// Gives up all children: with packets under way still received, or at once where the peer has lost them.
    pub(crate) fn remove_children(&mut self, cx: &mut Context<'_>, at_once: bool) {
        for child in self.children.drain(..) {
            cx.tell(&self.parts.peer.id, What::ChildDown { rule: child.config.rule.clone(), child: child.id });
            child.end(cx, at_once);
        }
    }

    /// Sends a request; the window must be free.
    pub(super) fn request(
        &mut self,
        cx: &mut Context<'_>,
        kind: ExchangeType,
        payloads: &[Payload],
        exchange: Exchange,
    ) -> Result<(), Failure> {
        let Some(id) = self.parts.requests.free() else { return Ok(()) };
        let flags = Flags { initiator: self.parts.initiator, response: false };
        let path = self.parts.path;
        //= RFC 7296 §1.4: what concerns an IKE SA is sent under that IKE SA
        let datagrams = self.parts.sealing.seal(path, &header(self.parts.spis, kind, flags, id), payloads)?;
        cx.transmit_all(path, &datagrams);
        self.parts.requests.open(cx.now.instant, path, datagrams);
        self.vitals.send(cx.now.instant);
        self.exchange = Some(exchange);
        Ok(())
    }

    fn respond(
        &mut self,
        cx: &mut Context<'_>,
        path: UdpPath,
        request: &Header,
        mark: Mark,
        payloads: &[Payload],
    ) -> Result<(), Failure> {
        let flags = Flags { initiator: self.parts.initiator, response: true };
        //= RFC 7296 §2.11: a response takes the path of its request back
        let header = header(self.parts.spis, request.exchange, flags, request.message_id);
        let datagrams = self.parts.sealing.seal(path, &header, payloads)?;
        self.parts.responses.answered(mark, &datagrams);
        self.vitals.send(cx.now.instant);
        cx.transmit_all(path, &datagrams);
        Ok(())
    }
}
