//! A scripted peer of a whole pair: it does all that the handshake demands, and whatever else a test wants of it. For one endpoint
//! alone there is the puppet, whose first exchange it has.

use espalier_crypto::KeyShare;

use super::puppet::{First, key_share};
use super::*;
use crate::auth::HashAlgorithms;
use crate::keymat::IkeSpis;
use crate::wire::proposal::{self, ChildExchange};
use crate::wire::sk::{OpeningKey, SealingKey};
use crate::wire::{
    ExchangeType, Flags, Header, IkeSpi, KeyExchangeData, Message, Notify, NotifyType, Payload, PayloadType, SpiField,
};

pub(super) use super::puppet::nonce;

/// The scripted end of an SA whose other end is a real endpoint.
pub(super) struct Liar {
    pub(super) spis: IkeSpis,
    pub(super) initiator: bool,
    pub(super) sealing: SealingKey,
    opening: OpeningKey,
    first: First,
}

/// Where the scripted end of side 0 speaks from.
pub(super) fn path() -> UdpPath {
    UdpPath { local: "192.0.2.0:500".parse().unwrap(), remote: "192.0.2.1:500".parse().unwrap() }
}

/// A real endpoint at side 1 that nobody calls; it answers side 0.
pub(super) fn responder() -> Pair {
    let mut pair = Pair::new([node(0, None, vec![]), node(1, None, vec![])]);
    pair.nodes[1].endpoint.configure(pair.now, vec![peer(1, psk("secret"))]);
    pair.collect();
    pair
}

/// A real endpoint at side 0 that has sent its first message to side 1; the message is on the wire.
pub(super) fn initiator() -> Pair {
    let mut pair = Pair::new([node(0, None, vec![]), node(1, None, vec![])]);
    pair.nodes[0].endpoint.configure(pair.now, vec![peer(0, psk("secret"))]);
    pair.collect();
    pair
}

pub(super) fn notify(kind: NotifyType, data: &[u8]) -> Payload {
    Payload::Notify(Notify::new(kind, data.to_vec()))
}

/// The payloads of a usual first message with a share.
pub(super) fn hello(share: &KeyShare) -> Vec<Payload> {
    let data = KeyExchangeData { method: proposal::key_exchange_id(share.method()), data: share.public().to_vec() };
    vec![
        Payload::SecurityAssociation(proposal::offer_ike(&profile(), SpiField::None)),
        Payload::KeyExchange(data),
        Payload::Nonce(nonce(7)),
        notify(NotifyType::NAT_DETECTION_SOURCE_IP, &[0; 20]),
        notify(NotifyType::NAT_DETECTION_DESTINATION_IP, &[0; 20]),
        Payload::Notify(HashAlgorithms::announce()),
    ]
}

/// Writes a first message.
pub(super) fn first(spi: u64, payloads: Vec<Payload>) -> Vec<u8> {
    let header = Header {
        initiator_spi: IkeSpi(spi),
        responder_spi: IkeSpi::ZERO,
        exchange: ExchangeType::IKE_SA_INIT,
        flags: Flags { initiator: true, response: false },
        message_id: 0,
    };
    Message { header, payloads }.emit().unwrap()
}

impl Liar {
    /// Opens an SA with the endpoint of side 1, as far as `IKE_SA_INIT`.
    pub(super) fn opens(pair: &mut Pair) -> Self {
        let share = key_share();
        let sent = first(0x1111, hello(&share));
        pair.deliver(1, path(), &sent);
        let (_, _, answer) = pair.wire.pop().expect("a first message is answered");
        let message = Message::parse(&answer).unwrap();
        Self::new(First::agree(message, sent, answer, nonce(7), share), true)
    }

    /// Answers the first message of the endpoint of side 0, which is on the wire.
    pub(super) fn answers(pair: &mut Pair) -> Self {
        let (_, path, request) = pair.wire.remove(0);
        let first = First::answers(Message::parse(&request).unwrap(), request, &[]);
        pair.deliver(0, UdpPath { local: path.remote, remote: path.local }, &first.response);
        Self::new(first, false)
    }

    fn new(first: First, initiator: bool) -> Self {
        let (sealing, opening) = first.sealing(initiator);
        Self { spis: first.spis, initiator, sealing, opening, first }
    }

    /// The payloads of a right `IKE_AUTH` message that asks for, or gives, a child SA.
    pub(super) fn proof(&self) -> Vec<Payload> {
        self.proof_as(&id(usize::from(!self.initiator)))
    }

    /// The same in another's name.
    pub(super) fn proof_as(&self, name: &Identity) -> Vec<Payload> {
        let [identification, auth] = self.first.proof(self.initiator, name);
        let spi = espalier_model::sa::Spi::try_from(0x1234).unwrap();
        vec![
            identification,
            auth,
            Payload::SecurityAssociation(proposal::offer_child(&profile(), ChildExchange::Auth, spi)),
            Payload::SelectorsInitiator(selectors(0)),
            Payload::SelectorsResponder(selectors(1)),
        ]
    }

    fn header(&self, exchange: ExchangeType, response: bool, message_id: u32) -> Header {
        Header {
            initiator_spi: self.spis.initiator,
            responder_spi: self.spis.responder,
            exchange,
            flags: Flags { initiator: self.initiator, response },
            message_id,
        }
    }

    pub(super) fn seal(&mut self, exchange: ExchangeType, response: bool, id: u32, payloads: &[Payload]) -> Vec<u8> {
        let header = self.header(exchange, response, id);
        self.sealing.seal(&header, payloads).unwrap()
    }

    /// Seals any bytes as a request.
    pub(super) fn seal_text(&mut self, exchange: ExchangeType, id: u32, first: PayloadType, text: &[u8]) -> Vec<u8> {
        let header = self.header(exchange, false, id);
        self.sealing.seal_text(&header, first, text.to_vec())
    }

    /// Sends a request to the endpoint of side 1 and returns what it answers.
    pub(super) fn asks(
        &mut self,
        pair: &mut Pair,
        exchange: ExchangeType,
        id: u32,
        payloads: &[Payload],
    ) -> Option<Message> {
        let datagram = self.seal(exchange, false, id, payloads);
        self.delivers(pair, &datagram)
    }

    /// Sends a datagram to the other end and returns what it answers.
    pub(super) fn delivers(&mut self, pair: &mut Pair, datagram: &[u8]) -> Option<Message> {
        let (to, path) =
            if self.initiator { (1, path()) } else { (0, UdpPath { local: path().remote, remote: path().local }) };
        pair.wire.clear();
        pair.deliver(to, path, datagram);
        let position = pair.wire.iter().position(|(_, _, sent)| {
            Header::parse(sent).is_ok_and(|(header, _)| header.flags.response == self.initiator || !self.initiator)
        });
        let (_, _, answer) = position.map(|at| pair.wire.remove(at))?;
        self.opening.open(&answer).ok()
    }
}

/// Returns the notifications of a message.
pub(super) fn notifies(message: &Message) -> Vec<NotifyType> {
    puppet::notifies(&message.payloads)
}

#[test]
fn the_scripted_peer_sets_up_a_tunnel_in_both_roles() {
    let mut pair = responder();
    let mut liar = Liar::opens(&mut pair);
    let proof = liar.proof();
    let answer = liar.asks(&mut pair, ExchangeType::IKE_AUTH, 1, &proof).expect("an answer");
    assert!(answer.payloads.iter().any(|p| p.payload_type() == PayloadType::TSR), "{answer:?}");
    assert_eq!((pair.nodes[1].up, pair.nodes[1].inbound.len()), (1, 1), "{:?}", pair.nodes[1].down);

    let mut pair = initiator();
    let mut liar = Liar::answers(&mut pair);
    let mut proof = liar.proof();
    proof[2] = one_child();
    let datagram = liar.seal(ExchangeType::IKE_AUTH, true, 1, &proof);
    liar.delivers(&mut pair, &datagram);
    assert_eq!((pair.nodes[0].up, pair.nodes[0].inbound.len()), (1, 1), "{:?}", pair.nodes[0].down);
}

/// An answer that chooses one suite of a child SA.
pub(super) fn one_child() -> Payload {
    let esn = espalier_model::profile::Esn::Off;
    let one = Profile { esp: vec![EspSuite::Aes256Gcm16], esn, ..profile() };
    let spi = espalier_model::sa::Spi::try_from(0x1234).unwrap();
    Payload::SecurityAssociation(proposal::offer_child(&one, ChildExchange::Auth, spi))
}
