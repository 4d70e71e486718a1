//! An IKE SA that stands: it keeps its children, answers the peer, and finds out when the peer is gone.

use std::time::Instant;

use espalier_model::identity::Name;
use espalier_model::sa::{ChildSa, Direction, InboundSa, OutboundSa, Spi, UdpPath, UsageLimits};

use super::child::{Agreed, Child};
use super::window::{Requests, Responses};
use crate::config::{Now, PeerConfig};
use crate::content::Content;
use crate::context::Context;
use crate::handshake::Failure;
use crate::handshake::initiator::header;
use crate::keylog::KeylogLine;
use crate::keymat::{IkeKeys, IkeSpis, Nonces};
use crate::output::{DownReason, Output};
use crate::wire::sk::{OpenError, OpeningKey, SealingKey};
use crate::wire::{Delete, ExchangeType, Flags, Message, Notify, NotifyType, Payload, ProtocolId};

/// What a handshake hands over.
pub(crate) struct Parts {
    pub(crate) peer: PeerConfig,
    pub(crate) spis: IkeSpis,
    pub(crate) initiator: bool,
    pub(crate) path: UdpPath,
    pub(crate) keys: IkeKeys,
    pub(crate) sealing: SealingKey,
    pub(crate) opening: OpeningKey,
    pub(crate) requests: Requests,
    pub(crate) responses: Responses,
}

/// The SA.
pub(crate) struct Established {
    pub(crate) parts: Parts,
    pub(crate) children: Vec<Child>,
    heard: Instant,
    closing: bool,
}

/// What becomes of the SA after an event.
pub(crate) enum Fate {
    /// It stays.
    Stays,
    /// It is over.
    Over(DownReason),
}

impl Established {
    pub(crate) fn new(now: Now, parts: Parts) -> Self {
        Self { parts, children: Vec::new(), heard: now.instant, closing: false }
    }

    /// Tells the driver that the SA stands.
    pub(crate) fn announce(&self, cx: &mut Context<'_>) {
        cx.out.push_back(Output::Up(self.parts.peer.id.clone(), self.parts.spis));
    }

    /// Derives the keys of a child SA pair and orders both halves: the inbound one first (RFC 7296 §2.8).
    pub(crate) fn adopt(&mut self, cx: &mut Context<'_>, agreed: &Agreed, nonces: &Nonces) -> Result<(), Failure> {
        let keys = self.parts.keys.sk_d.child(agreed.suite, None, nonces)?;
        let (inbound, outbound) =
            if agreed.initiated { (keys.responder, keys.initiator) } else { (keys.initiator, keys.responder) };
        let id = cx.child_id();
        let sa = |spi: Spi, keymat| ChildSa {
            id,
            rule: agreed.config.rule.clone(),
            spi,
            suite: agreed.suite,
            keymat,
            selectors: agreed.selectors.clone(),
            path: self.parts.path,
            replay_window: agreed.config.profile.replay_window,
            limits: LIMITS,
        };
        let (inbound, outbound) = (sa(agreed.inbound, inbound), sa(agreed.outbound, outbound));
        if cx.config.keylog {
            cx.out.push_back(Output::Keylog(KeylogLine::esp(&inbound, Direction::Inbound)));
            cx.out.push_back(Output::Keylog(KeylogLine::esp(&outbound, Direction::Outbound)));
        }
        let rule = agreed.config.rule.clone();
        self.children.push(Child { id, rule, inbound: agreed.inbound, outbound: agreed.outbound });
        cx.out.push_back(Output::InstallInbound(InboundSa(inbound)));
        cx.out.push_back(Output::UseOutbound(OutboundSa(outbound)));
        Ok(())
    }

    /// Takes a request that is new. It changes nothing unless it is authentic.
    pub(crate) fn handle_request(
        &mut self,
        cx: &mut Context<'_>,
        path: UdpPath,
        datagram: &[u8],
    ) -> Result<Fate, Failure> {
        let message = match self.parts.opening.open(datagram) {
            Ok(message) => message,
            //= RFC 7296 §2.21.3: an authentic message that cannot be read is answered, and the SA closed
            Err(OpenError::Inner(_)) => return self.answer_and_close(cx, path, datagram, NotifyType::INVALID_SYNTAX),
            Err(error) => return Err(error.into()),
        };
        self.heard = cx.now.instant;
        let (exchange, id) = (message.header.exchange, message.header.message_id);
        let Ok(content) = Content::read(message.payloads) else {
            return self.answer_and_close(cx, path, datagram, NotifyType::INVALID_SYNTAX);
        };
        let (payloads, fate) = match exchange {
            ExchangeType::INFORMATIONAL => self.inform(cx, &content),
            ExchangeType::CREATE_CHILD_SA => {
                (vec![Payload::Notify(Notify::new(NotifyType::NO_ADDITIONAL_SAS, Vec::new()))], Fate::Stays)
            }
            _ => (vec![Payload::Notify(Notify::new(NotifyType::INVALID_SYNTAX, Vec::new()))], Fate::Stays),
        };
        self.respond(cx, path, exchange, id, datagram, &payloads)?;
        Ok(fate)
    }

    /// Takes a response. Returns an error for what is not authentic.
    pub(crate) fn handle_response(&mut self, now: Now, datagram: &[u8]) -> Result<Fate, Failure> {
        let Message { payloads, .. } = self.parts.opening.open(datagram)?;
        self.heard = now.instant;
        self.parts.requests.close();
        if self.closing {
            return Ok(Fate::Over(DownReason::DeletedByUs));
        }
        match Content::read(payloads)?.error() {
            Some(error) => Ok(Fate::Over(DownReason::Refused(format!("{error:?}")))),
            None => Ok(Fate::Stays),
        }
    }

    /// Asks whether the peer is there, once it has been silent for long enough (RFC 7296 §2.4).
    pub(crate) fn check_liveness(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        if self.silent_at() <= cx.now.instant && self.parts.requests.free().is_some() {
            self.request(cx, &[])?;
        }
        Ok(())
    }

    /// Returns when the peer's silence becomes suspect.
    pub(crate) fn silent_at(&self) -> Instant {
        self.heard + self.parts.peer.profile.liveness()
    }

    /// Deletes the SA: asks the peer once, without waiting for its answer, when the driver goes away.
    pub(crate) fn close(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.closing = true;
        self.parts.requests.close();
        self.request(cx, &[Payload::Delete(Delete::ike())])
    }

    /// Orders all children to be forgotten.
    pub(crate) fn remove_children(&mut self, cx: &mut Context<'_>) {
        for child in self.children.drain(..) {
            cx.out.push_back(Output::Remove(child.id, Direction::Outbound));
            cx.out.push_back(Output::Remove(child.id, Direction::Inbound));
        }
    }

    /// Returns the rules that have a child SA.
    pub(crate) fn rules(&self) -> impl Iterator<Item = (&Name, Spi, Spi)> {
        self.children.iter().map(|c| (&c.rule, c.inbound, c.outbound))
    }

    fn request(&mut self, cx: &mut Context<'_>, payloads: &[Payload]) -> Result<(), Failure> {
        let Some(id) = self.parts.requests.free() else { return Ok(()) };
        let flags = Flags { initiator: self.parts.initiator, response: false };
        let header = header(self.parts.spis, ExchangeType::INFORMATIONAL, flags, id);
        let datagram = self.parts.sealing.seal(&header, payloads)?;
        self.parts.requests.open(cx.now.instant, self.parts.path, datagram.clone());
        cx.transmit(self.parts.path, datagram);
        Ok(())
    }

    fn respond(
        &mut self,
        cx: &mut Context<'_>,
        path: UdpPath,
        exchange: ExchangeType,
        id: u32,
        request: &[u8],
        payloads: &[Payload],
    ) -> Result<(), Failure> {
        let flags = Flags { initiator: self.parts.initiator, response: true };
        let header = header(self.parts.spis, exchange, flags, id);
        let datagram = self.parts.sealing.seal(&header, payloads)?;
        self.parts.responses.answered(request, &datagram);
        cx.transmit(path, datagram);
        Ok(())
    }

    fn answer_and_close(
        &mut self,
        cx: &mut Context<'_>,
        path: UdpPath,
        request: &[u8],
        kind: NotifyType,
    ) -> Result<Fate, Failure> {
        let (header, _) = crate::wire::Header::parse(request)?;
        let payloads = [Payload::Notify(Notify::new(kind, Vec::new()))];
        self.respond(cx, path, header.exchange, header.message_id, request, &payloads)?;
        Ok(Fate::Over(DownReason::Failed("peer sent a message that cannot be read".to_owned())))
    }

    /// Carries out an INFORMATIONAL request and returns what to answer (RFC 7296 §1.4).
    fn inform(&mut self, cx: &mut Context<'_>, content: &Content) -> (Vec<Payload>, Fate) {
        if content.deletes.iter().any(|d| d.protocol == ProtocolId::IKE) {
            return (Vec::new(), Fate::Over(DownReason::DeletedByPeer));
        }
        let mut ours = Vec::new();
        for spi in content.deletes.iter().flat_map(|d| &d.spis) {
            //= RFC 7296 §1.4.1: the SPIs are those of the sender's inbound SAs, the answer names the other halves
            if let Some(place) = self.children.iter().position(|c| c.outbound == *spi) {
                let child = self.children.remove(place);
                cx.out.push_back(Output::Remove(child.id, Direction::Outbound));
                cx.out.push_back(Output::Remove(child.id, Direction::Inbound));
                ours.push(child.inbound);
            }
        }
        let payloads = if ours.is_empty() { Vec::new() } else { vec![Payload::Delete(Delete::esp(ours))] };
        (payloads, Fate::Stays)
    }
}

/// Without extended sequence numbers an SA ends at 2^32 - 1 packets; three quarters leave time to rekey at any speed.
const LIMITS: UsageLimits =
    UsageLimits { soft_packets: 3 << 30, hard_packets: (1 << 32) - 1, soft_bytes: u64::MAX, hard_bytes: u64::MAX };
