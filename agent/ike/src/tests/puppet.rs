//! A peer whose every message the test writes itself, against one endpoint.
#![expect(clippy::wildcard_enum_match_arm, reason = "the puppet looks at what it needs, whatever else there is")]

use espalier_crypto::KeyShare;

use super::*;
use crate::auth::{HashAlgorithms, SignedOctets};
use crate::content::Content;
use crate::keymat::{self, AuthKeys, IkeSpis, Nonces};
use crate::wire::proposal::{self, ChildExchange};
use crate::wire::sk::{OpeningKey, SealingKey};
use crate::wire::{
    CertificateEncoding, ExchangeType, Flags, Header, Identification, IkeSpi, KeyExchangeData, Message, Nonce, Notify,
    NotifyType, Payload, PayloadType, SpiField,
};

/// The endpoint, and what it has ordered since it was asked last.
pub(super) struct Stage {
    pub(super) node: Node,
    pub(super) now: Now,
    pub(super) sent: Vec<Vec<u8>>,
    /// Where the last datagram was sent to, and from where.
    pub(super) path: Option<UdpPath>,
    /// Which orders came, one after another.
    pub(super) orders: Vec<&'static str>,
    /// Which end it is; the puppet plays the other.
    side: usize,
}

/// The puppet's half of an IKE SA that stands.
pub(super) struct Puppet {
    pub(super) stage: Stage,
    pub(super) spis: IkeSpis,
    initiator: bool,
    seal: SealingKey,
    open: OpeningKey,
    /// The number of the puppet's next request.
    pub(super) next: u32,
}

/// What a scripted peer has of the first exchange.
pub(super) struct First {
    keys: keymat::IkeKeys,
    auth: AuthKeys,
    pub(super) spis: IkeSpis,
    nonces: Nonces,
    request: Vec<u8>,
    pub(super) response: Vec<u8>,
}

impl Stage {
    /// The right end waits for the puppet, the left one calls it.
    pub(super) fn new(side: usize, config: PeerConfig) -> Self {
        Self::of(node(side, None, vec![]), side, config)
    }

    pub(super) fn of(node: Node, side: usize, config: PeerConfig) -> Self {
        let now = Now { instant: Instant::now(), unix: UNIX };
        let mut stage = Self { node, now, sent: vec![], path: None, orders: vec![], side };
        stage.node.endpoint.configure(now, vec![config]);
        stage.collect();
        stage
    }

    /// Gives the endpoint a datagram from the puppet's address.
    pub(super) fn deliver(&mut self, datagram: &[u8]) {
        self.deliver_from(&format!("192.0.2.{}:4500", 1 - self.side), datagram);
    }

    /// Gives it one from another address.
    pub(super) fn deliver_from(&mut self, remote: &str, datagram: &[u8]) {
        let local = format!("192.0.2.{}:4500", self.side).parse().unwrap();
        let remote = remote.parse().unwrap();
        self.node.endpoint.handle_datagram(self.now, UdpPath { local, remote }, datagram);
        self.collect();
    }

    /// Lets time pass.
    pub(super) fn wait(&mut self, time: Duration) {
        self.now.instant += time;
        self.node.endpoint.handle_timeout(self.now);
        self.collect();
    }

    /// Returns what was sent, and forgets it.
    pub(super) fn take(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.sent)
    }

    /// Returns the only message that was sent, unencrypted.
    pub(super) fn take_message(&mut self) -> (Message, Vec<u8>) {
        let sent = self.take();
        let [datagram] = &sent[..] else { panic!("{} datagrams were sent", sent.len()) };
        (Message::parse(datagram).unwrap(), datagram.clone())
    }

    pub(super) fn collect(&mut self) {
        while let Some(output) = self.node.endpoint.poll_output() {
            let node = &mut self.node;
            self.orders.push(match output {
                Output::Door(_) => continue,
                Output::Transmit { path, datagram } => {
                    self.path = Some(path);
                    self.sent.push(datagram);
                    "transmit"
                }
                Output::InstallInbound(sa) => {
                    node.inbound.push(sa.0);
                    "inbound"
                }
                Output::UseOutbound(sa) => {
                    node.outbound.push(sa.0);
                    "outbound"
                }
                Output::Remove(_, direction) => {
                    node.removed.push(direction);
                    "remove"
                }
                Output::Up(..) => {
                    node.up += 1;
                    "up"
                }
                Output::Down(_, reason) | Output::TurnedAway(_, reason) => {
                    node.down.push(reason);
                    "down"
                }
                _ => "other",
            });
        }
    }
}

/// Builds the first message of an initiator.
pub(super) fn first_request(spi: u64, nonce: &Nonce, share: &KeyShare, before: &[Payload]) -> Vec<u8> {
    let method = proposal::key_exchange_id(share.method());
    let mut payloads = before.to_vec();
    payloads.extend([
        Payload::SecurityAssociation(proposal::offer_ike(&profile(), SpiField::None)),
        Payload::KeyExchange(KeyExchangeData { method, data: share.public().to_vec() }),
        Payload::Nonce(nonce.clone()),
        Payload::Notify(Notify::new(NotifyType::NAT_DETECTION_SOURCE_IP, vec![1; 20])),
        Payload::Notify(Notify::new(NotifyType::NAT_DETECTION_DESTINATION_IP, vec![2; 20])),
    ]);
    let header = Header {
        initiator_spi: IkeSpi(spi),
        responder_spi: IkeSpi::ZERO,
        exchange: ExchangeType::IKE_SA_INIT,
        flags: Flags { initiator: true, response: false },
        message_id: 0,
    };
    Message { header, payloads }.emit().unwrap()
}

pub(super) fn nonce(byte: u8) -> Nonce {
    Nonce::new(vec![byte; 32]).unwrap()
}

pub(super) fn key_share() -> KeyShare {
    KeyShare::generate(KeyExchange::X25519).unwrap()
}

/// Returns the notification types of a message.
pub(super) fn notifies(payloads: &[Payload]) -> Vec<NotifyType> {
    let kind = |payload: &Payload| match payload {
        Payload::Notify(notify) => Some(notify.notify_type),
        _ => None,
    };
    payloads.iter().filter_map(kind).collect()
}

pub(super) fn types(payloads: &[Payload]) -> Vec<PayloadType> {
    payloads.iter().map(Payload::payload_type).collect()
}

impl Puppet {
    /// Sets an IKE SA and a child SA up with the endpoint of the right, as its initiator.
    pub(super) fn initiates() -> Self {
        Self::initiates_with(peer(1, psk("secret")), |_| {})
    }

    /// The same, with another configuration and after a change of the payloads of `IKE_AUTH`.
    pub(super) fn initiates_with(config: PeerConfig, change: impl FnOnce(&mut Vec<Payload>)) -> Self {
        let mut puppet = Self::half_open(config);
        let mut payloads = puppet.1;
        change(&mut payloads);
        puppet.0.request(ExchangeType::IKE_AUTH, &payloads);
        puppet.0
    }

    /// Has `IKE_SA_INIT` behind it, and returns what `IKE_AUTH` is to hold.
    pub(super) fn half_open(config: PeerConfig) -> (Self, Vec<Payload>) {
        let mut stage = Stage::new(1, config);
        let (ni, share) = (nonce(7), key_share());
        let request = first_request(0x1234, &ni, &share, &[]);
        stage.deliver(&request);
        let (message, response) = stage.take_message();
        let first = First::agree(message, request, response, ni, share);
        let [identification, auth] = first.proof(true, &id(0));
        let spi = espalier_model::sa::Spi::try_from(0x5000).unwrap();
        let payloads = vec![
            identification,
            auth,
            Payload::SecurityAssociation(proposal::offer_child(&profile(), ChildExchange::Auth, spi)),
            Payload::SelectorsInitiator(selectors(0)),
            Payload::SelectorsResponder(selectors(1)),
        ];
        (Self::new(stage, &first, true, 1), payloads)
    }

    /// Has an IKE SA and a child SA set up by the endpoint of the left, as its responder.
    pub(super) fn responds() -> Self {
        Self::responds_with(peer(0, psk("secret")))
    }

    /// The same, with another configuration.
    pub(super) fn responds_with(config: PeerConfig) -> Self {
        Self::answers(Stage::new(0, config))
    }

    /// The same, for an endpoint that has called already.
    pub(super) fn answers(stage: Stage) -> Self {
        let (mut puppet, first, asked) = Self::called_by(stage);
        puppet.answer_auth_with(&first, &asked, &[]);
        puppet
    }

    /// Has answered `IKE_SA_INIT`, and returns what `IKE_AUTH` holds.
    pub(super) fn called_by(stage: Stage) -> (Self, First, Vec<Payload>) {
        Self::called_by_and_says(stage, &[])
    }

    /// The same, with more in the answer.
    pub(super) fn called_by_and_says(mut stage: Stage, more: &[Payload]) -> (Self, First, Vec<Payload>) {
        let (message, request) = stage.take_message();
        let first = First::answers(message, request, more);
        stage.deliver(&first.response);
        let mut puppet = Self::new(stage, &first, false, 0);
        let (header, asked) = puppet.receive();
        assert_eq!((header.message_id, header.exchange), (1, ExchangeType::IKE_AUTH));
        (puppet, first, asked)
    }

    /// Answers `IKE_AUTH`: proves itself, and agrees to what it was asked for.
    pub(super) fn answer_auth_with(&mut self, first: &First, asked: &[Payload], errors: &[NotifyType]) {
        let mut payloads = first.proof(false, &id(1)).to_vec();
        for payload in asked {
            match payload {
                Payload::SecurityAssociation(offer) => {
                    let chosen = proposal::choose_child(&profile(), ChildExchange::Auth, offer).unwrap();
                    let spi = espalier_model::sa::Spi::try_from(0x6000).unwrap();
                    payloads.push(Payload::SecurityAssociation(vec![chosen.suite.answer(chosen.number, spi)]));
                }
                Payload::SelectorsInitiator(_) | Payload::SelectorsResponder(_) => payloads.push(payload.clone()),
                Payload::Certificate(c) if c.encoding != CertificateEncoding::X509_SIGNATURE => {
                    payloads.push(payload.clone());
                }
                _ => {}
            }
        }
        payloads.extend(errors.iter().map(|kind| Payload::Notify(Notify::new(*kind, vec![]))));
        self.respond(ExchangeType::IKE_AUTH, 1, &payloads);
    }

    /// Lets the data plane tell something.
    pub(super) fn event(&mut self, event: &espalier_model::sa::SaEvent) {
        self.stage.node.endpoint.handle_event(self.stage.now, event);
        self.stage.collect();
    }

    fn new(stage: Stage, first: &First, initiator: bool, next: u32) -> Self {
        let (seal, open) = first.sealing(initiator);
        Self { stage, spis: first.spis, initiator, seal, open, next }
    }

    /// Seals a request without sending it.
    pub(super) fn sealed(&mut self, exchange: ExchangeType, payloads: &[Payload]) -> Vec<u8> {
        let (flags, message_id) = (Flags { initiator: self.initiator, response: false }, self.next);
        self.next += 1;
        self.seal.seal(&self.header(exchange, flags, message_id), payloads).unwrap()
    }

    /// Seals a message with a header of the test's own.
    pub(super) fn sealed_with(&mut self, header: Header, payloads: &[Payload]) -> Vec<u8> {
        self.seal.seal(&header, payloads).unwrap()
    }

    /// Sends a request and returns what the response holds.
    pub(super) fn request(&mut self, exchange: ExchangeType, payloads: &[Payload]) -> Vec<Payload> {
        let (id, datagram) = (self.next, self.sealed(exchange, payloads));
        self.stage.deliver(&datagram);
        let mut sent = self.stage.take();
        let answers = |d: &Vec<u8>| Header::parse(d).unwrap().0.flags.response;
        let position = sent.iter().position(answers).expect("there is a response");
        let response = sent.remove(position);
        self.stage.sent = sent;
        let message = self.open.open(&response).unwrap();
        assert_eq!((message.header.message_id, message.header.exchange), (id, exchange));
        message.payloads
    }

    /// Returns the only message that was sent, which must be a request.
    pub(super) fn receive(&mut self) -> (Header, Vec<Payload>) {
        let sent = self.stage.take();
        let [datagram] = &sent[..] else { panic!("{} datagrams were sent", sent.len()) };
        let message = self.open.open(datagram).unwrap();
        assert!(!message.header.flags.response, "{:?} is no request", message.header);
        (message.header, message.payloads)
    }

    /// Answers a request.
    pub(super) fn respond(&mut self, exchange: ExchangeType, message_id: u32, payloads: &[Payload]) {
        let flags = Flags { initiator: self.initiator, response: true };
        let datagram = self.seal.seal(&self.header(exchange, flags, message_id), payloads).unwrap();
        self.stage.deliver(&datagram);
    }

    /// Builds a header of this SA.
    pub(super) fn header(&self, exchange: ExchangeType, flags: Flags, message_id: u32) -> Header {
        let IkeSpis { initiator, responder } = self.spis;
        Header { initiator_spi: initiator, responder_spi: responder, exchange, flags, message_id }
    }
}

impl First {
    /// Answers a first message, and says more than it has to.
    pub(super) fn answers(message: Message, request: Vec<u8>, more: &[Payload]) -> Self {
        let spis = IkeSpis { initiator: message.header.initiator_spi, responder: IkeSpi(0x4321) };
        let content = Content::read(message.payloads).unwrap();
        let chosen = proposal::choose_ike(&profile(), &content.proposals.unwrap()).unwrap();
        let method = chosen.suite.key_exchange;
        let (public, shared) = KeyShare::respond(method, &content.key_exchange.unwrap().data).unwrap();
        let nonces = Nonces { initiator: content.nonce.unwrap(), responder: nonce(9) };
        let mut payloads = vec![
            Payload::SecurityAssociation(vec![chosen.suite.answer(chosen.number, SpiField::None)]),
            Payload::KeyExchange(KeyExchangeData { method: proposal::key_exchange_id(method), data: public }),
            Payload::Nonce(nonces.responder.clone()),
            Payload::Notify(Notify::new(NotifyType::NAT_DETECTION_SOURCE_IP, vec![1; 20])),
            Payload::Notify(Notify::new(NotifyType::NAT_DETECTION_DESTINATION_IP, vec![2; 20])),
            Payload::Notify(HashAlgorithms::announce()),
        ];
        payloads.extend_from_slice(more);
        let flags = Flags { initiator: false, response: true };
        let header = Header { responder_spi: spis.responder, flags, ..message.header };
        let response = Message { header, payloads }.emit().unwrap();
        let (keys, auth) = keymat::initial(chosen.suite.prf, chosen.suite.encryption, &shared, &nonces, spis).unwrap();
        Self { keys, auth, spis, nonces, request, response }
    }

    /// Reads the answer to a first message.
    pub(super) fn agree(message: Message, request: Vec<u8>, response: Vec<u8>, ni: Nonce, share: KeyShare) -> Self {
        let spis = IkeSpis { initiator: message.header.initiator_spi, responder: message.header.responder_spi };
        let content = Content::read(message.payloads).unwrap();
        let suite = proposal::accept_ike(&profile(), &content.proposals.unwrap()).unwrap().suite;
        let shared = share.agree(&content.key_exchange.unwrap().data).unwrap();
        let nonces = Nonces { initiator: ni, responder: content.nonce.unwrap() };
        let (keys, auth) = keymat::initial(suite.prf, suite.encryption, &shared, &nonces, spis).unwrap();
        Self { keys, auth, spis, nonces, request, response }
    }

    /// Returns what proves to the other end that this one, which is or is not the initiator, has a name.
    pub(super) fn proof(&self, initiator: bool, name: &Identity) -> [Payload; 2] {
        let id = Identification::from(name);
        let (sk_p, sent, nonce) = if initiator {
            (&self.auth.sk_pi, &self.request, &self.nonces.responder)
        } else {
            (&self.auth.sk_pr, &self.response, &self.nonces.initiator)
        };
        let octets = SignedOctets::new(self.auth.prf, sk_p, sent, nonce, &id);
        let auth = Payload::Authentication(octets.authenticate(self.auth.prf, &Secret::from(SECRET)));
        [if initiator { Payload::IdInitiator(id) } else { Payload::IdResponder(id) }, auth]
    }

    /// Returns what seals messages of one end, and opens those of the other.
    pub(super) fn sealing(&self, initiator: bool) -> (SealingKey, OpeningKey) {
        let keys = &self.keys;
        let (ours, theirs) = ((&keys.sk_ei, &keys.sk_ai), (&keys.sk_er, &keys.sk_ar));
        let (ours, theirs) = if initiator { (ours, theirs) } else { (theirs, ours) };
        let seal = SealingKey::new(keys.encryption, ours.0, ours.1).unwrap();
        (seal, OpeningKey::new(keys.encryption, theirs.0, theirs.1).unwrap())
    }
}

/// What both ends have in common.
const SECRET: &[u8] = b"secret";
