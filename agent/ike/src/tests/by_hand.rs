//! Both ends of `IKE_INTERMEDIATE` by hand: the proof is computed from the formulas of RFC 9242 §3.3.2, and what a peer may get wrong
//! is sent.

use espalier_crypto::{KeyShare, prf};

use super::hybrid::with;
use super::puppet::{Stage, key_share, nonce, notifies};
use super::*;
use crate::content::Content;
use crate::keymat::{self, AuthKeys, IkeKeys, IkeSpis, Nonces};
use crate::wire::proposal::{self, ChildExchange, IkeSuite};
use crate::wire::sk::{OpeningKey, SealingKey};
use crate::wire::{
    AuthMethod, Authentication, ExchangeType, Flags, Header, Identification, IkeSpi, KeyExchangeData, Message, Notify,
    NotifyType, Payload, SpiField,
};

/// One end, played by the test.
struct Hand {
    stage: Stage,
    initiator: bool,
    suite: IkeSuite,
    spis: IkeSpis,
    nonces: Nonces,
    keys: IkeKeys,
    auth: AuthKeys,
    request: Vec<u8>,
    response: Vec<u8>,
    /// `IntAuth_i` and `IntAuth_r`.
    chains: [Vec<u8>; 2],
}

fn nat(kind: NotifyType) -> Payload {
    Payload::Notify(Notify::new(kind, vec![1; 20]))
}

fn announcements() -> [Payload; 3] {
    let announced = Notify::new(NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED, vec![]);
    let (source, there) = (NotifyType::NAT_DETECTION_SOURCE_IP, NotifyType::NAT_DETECTION_DESTINATION_IP);
    [nat(source), nat(there), Payload::Notify(announced)]
}

fn key_exchange(method: u16, data: &[u8]) -> Payload {
    Payload::KeyExchange(KeyExchangeData { method, data: data.to_vec() })
}

impl Hand {
    /// Calls the right end, which demands these key exchanges, and has its first answer.
    fn calls(additional: &str) -> Self {
        let mut stage = Stage::new(1, with(1, additional));
        let (share, ni) = (key_share(), nonce(7));
        let mut payloads = vec![
            Payload::SecurityAssociation(proposal::offer_ike(&with(0, additional).profile, SpiField::None)),
            key_exchange(31, share.public()),
            Payload::Nonce(ni.clone()),
        ];
        payloads.extend(announcements());
        let flags = Flags { initiator: true, response: false };
        let (initiator_spi, responder_spi) = (IkeSpi(0x1234), IkeSpi::ZERO);
        let header = Header { initiator_spi, responder_spi, exchange: ExchangeType::IKE_SA_INIT, flags, message_id: 0 };
        let request = Message { header, payloads }.emit().unwrap();
        stage.deliver(&request);
        let (message, response) = stage.take_message();
        assert!(notifies(&message.payloads).contains(&NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED));
        let spis = IkeSpis { initiator: initiator_spi, responder: message.header.responder_spi };
        let content = Content::read(message.payloads).unwrap();
        let suite = proposal::accept_ike(&with(0, additional).profile, &content.proposals.unwrap()).unwrap().suite;
        let shared = share.agree(&content.key_exchange.unwrap().data).unwrap();
        let nonces = Nonces { initiator: ni, responder: content.nonce.unwrap() };
        Self::new(stage, true, suite, spis, nonces, &shared, [request, response])
    }

    /// Is called by the left end, and has answered its first message.
    fn is_called(additional: &str) -> Self {
        let mut stage = Stage::new(0, with(0, additional));
        let (message, request) = stage.take_message();
        assert!(notifies(&message.payloads).contains(&NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED));
        let spis = IkeSpis { initiator: message.header.initiator_spi, responder: IkeSpi(0x4321) };
        let content = Content::read(message.payloads).unwrap();
        let chosen = proposal::choose_ike(&with(1, additional).profile, &content.proposals.unwrap()).unwrap();
        let (public, shared) = KeyShare::respond(KeyExchange::X25519, &content.key_exchange.unwrap().data).unwrap();
        let nonces = Nonces { initiator: content.nonce.unwrap(), responder: nonce(9) };
        let mut payloads = vec![
            Payload::SecurityAssociation(vec![chosen.suite.answer(chosen.number, SpiField::None)]),
            key_exchange(31, &public),
            Payload::Nonce(nonces.responder.clone()),
        ];
        payloads.extend(announcements());
        let flags = Flags { initiator: false, response: true };
        let header = Header { responder_spi: spis.responder, flags, ..message.header };
        let response = Message { header, payloads }.emit().unwrap();
        stage.deliver(&response);
        Self::new(stage, false, chosen.suite, spis, nonces, &shared, [request, response])
    }

    fn new(
        stage: Stage,
        initiator: bool,
        suite: IkeSuite,
        spis: IkeSpis,
        nonces: Nonces,
        shared: &Secret,
        [request, response]: [Vec<u8>; 2],
    ) -> Self {
        let (keys, auth) = keymat::initial(suite.prf, suite.encryption, shared, &nonces, spis).unwrap();
        let chains = Default::default();
        Self { stage, initiator, suite, spis, nonces, keys, auth, request, response, chains }
    }

    fn header(&self, exchange: ExchangeType, response: bool, message_id: u32) -> Header {
        let IkeSpis { initiator, responder } = self.spis;
        let flags = Flags { initiator: self.initiator, response };
        Header { initiator_spi: initiator, responder_spi: responder, exchange, flags, message_id }
    }

    /// Sends a message under the present keys.
    fn send(&mut self, exchange: ExchangeType, message_id: u32, payloads: &[Payload]) {
        let (sk_e, sk_a) =
            if self.initiator { (&self.keys.sk_ei, &self.keys.sk_ai) } else { (&self.keys.sk_er, &self.keys.sk_ar) };
        let mut seal = SealingKey::new(self.keys.encryption, sk_e, sk_a).unwrap();
        let datagram = seal.seal(&self.header(exchange, !self.initiator, message_id), payloads).unwrap();
        self.stage.deliver(&datagram);
    }

    /// Opens the only message that was sent.
    fn take(&mut self, exchange: ExchangeType) -> Vec<Payload> {
        let sent = self.stage.take();
        let [datagram] = &sent[..] else { panic!("{} datagrams were sent", sent.len()) };
        let (sk_e, sk_a) =
            if self.initiator { (&self.keys.sk_er, &self.keys.sk_ar) } else { (&self.keys.sk_ei, &self.keys.sk_ai) };
        let message = OpeningKey::new(self.keys.encryption, sk_e, sk_a).unwrap().open(datagram).unwrap();
        assert_eq!(message.header.exchange, exchange);
        message.payloads
    }

    /// Chains a message with one KE payload, octet by octet.
    fn chain(&mut self, response: bool, message_id: u32, method: u16, data: &[u8]) {
        let ke = u16::try_from(8 + data.len()).unwrap();
        let mut octets = [self.spis.initiator.0.to_be_bytes(), self.spis.responder.0.to_be_bytes()].concat();
        octets.extend([46, 0x20, 43, if response { 0x20 } else { 0x08 }]);
        octets.extend(message_id.to_be_bytes());
        octets.extend((28 + 4 + u32::from(ke)).to_be_bytes());
        octets.extend([34, 0]);
        octets.extend((4 + ke).to_be_bytes());
        octets.extend([0, 0]);
        octets.extend(ke.to_be_bytes());
        octets.extend(method.to_be_bytes());
        octets.extend([0, 0]);
        octets.extend(data);
        let key = if response { &self.auth.sk_pr } else { &self.auth.sk_pi };
        let chain = &mut self.chains[usize::from(response)];
        *chain = prf(self.auth.prf, key.expose(), &[chain, &octets]).expose().to_vec();
    }

    fn renew(&mut self, shared: &Secret) {
        (self.keys, self.auth) =
            self.keys.sk_d.intermediate(self.suite.encryption, shared, &self.nonces, self.spis).unwrap();
    }

    /// Exchanges keys as initiator.
    fn exchange(&mut self, message_id: u32, method: u16, share: KeyShare) {
        let public = share.public().to_vec();
        self.send(ExchangeType::IKE_INTERMEDIATE, message_id, &[key_exchange(method, &public)]);
        let answer = self.take(ExchangeType::IKE_INTERMEDIATE);
        let [Payload::KeyExchange(theirs)] = &answer[..] else { panic!("{answer:?}") };
        assert_eq!(theirs.method, method);
        self.chain(false, message_id, method, &public);
        self.chain(true, message_id, method, &theirs.data);
        self.renew(&share.agree(&theirs.data).unwrap());
    }

    /// The proof of a side whose name is its own.
    fn proof(&self, response: bool, int_auth: &[u8]) -> Vec<u8> {
        let function = self.auth.prf;
        let id = Identification::from(&id(usize::from(response)));
        let (key, message, nonce) = if response {
            (&self.auth.sk_pr, &self.response, &self.nonces.initiator)
        } else {
            (&self.auth.sk_pi, &self.request, &self.nonces.responder)
        };
        let maced = prf(function, key.expose(), &[id.body()]);
        let padded = prf(function, b"secret", &[b"Key Pad for IKEv2"]);
        prf(function, padded.expose(), &[message, nonce.as_bytes(), maced.expose(), int_auth]).expose().to_vec()
    }

    fn int_auth(&self, message_id: u32) -> Vec<u8> {
        [&self.chains[0][..], &self.chains[1], &message_id.to_be_bytes()].concat()
    }

    fn authenticate(&mut self, message_id: u32, int_auth: &[u8]) -> Vec<Payload> {
        let data = self.proof(false, int_auth);
        let spi = espalier_model::sa::Spi::try_from(0x5000).unwrap();
        let profile = with(0, "none").profile;
        let payloads = [
            Payload::IdInitiator(Identification::from(&id(0))),
            Payload::Authentication(Authentication { method: AuthMethod::SHARED_KEY, data }),
            Payload::SecurityAssociation(proposal::offer_child(&profile, ChildExchange::Auth, spi)),
            Payload::SelectorsInitiator(selectors(0)),
            Payload::SelectorsResponder(selectors(1)),
        ];
        self.send(ExchangeType::IKE_AUTH, message_id, &payloads);
        self.take(ExchangeType::IKE_AUTH)
    }
}

fn two_rounds() -> Hand {
    let mut hand = Hand::calls("mlkem768, p384");
    hand.exchange(1, 36, KeyShare::generate(espalier_model::suite::Kem::MlKem768).unwrap());
    hand.exchange(2, 20, KeyShare::generate(KeyExchange::P384).unwrap());
    hand
}

#[test]
fn the_proof_of_both_ends_covers_all_that_was_said_before_as_the_formulas_have_it() {
    let mut hand = two_rounds();
    let int_auth = hand.int_auth(3);
    let answer = Content::read(hand.authenticate(3, &int_auth)).unwrap();
    assert_eq!((hand.stage.node.up, hand.stage.node.inbound.len()), (1, 1), "{:?}", hand.stage.node.down);
    assert_eq!(answer.authentication.unwrap().data, hand.proof(true, &int_auth));
}

#[test]
fn a_proof_that_leaves_out_or_alters_what_was_said_before_is_refused() {
    for case in ["nothing", "another message ID", "first bit", "last bit", "no message ID"] {
        let mut hand = two_rounds();
        let mut int_auth = hand.int_auth(3);
        match case {
            "nothing" => int_auth.clear(),
            "another message ID" => int_auth = hand.int_auth(1),
            "first bit" => int_auth[0] ^= 1,
            "last bit" => int_auth[2 * 48 - 1] ^= 1,
            _ => int_auth.truncate(2 * 48),
        }
        let answer = hand.authenticate(3, &int_auth);
        assert_eq!(notifies(&answer), [NotifyType::AUTHENTICATION_FAILED], "{case}");
        assert_eq!((hand.stage.node.up, hand.stage.node.endpoint.sa_count()), (0, 0), "{case}");
    }
}

#[test]
fn a_key_exchange_that_is_not_the_one_agreed_upon_ends_the_attempt_of_an_initiator() {
    let kem = KeyShare::generate(espalier_model::suite::Kem::MlKem768).unwrap();
    let good = kem.public();
    for (what, payloads) in [
        ("another method", vec![key_exchange(37, good)]),
        ("the method of the first exchange", vec![key_exchange(31, &[9; 32])]),
        ("a short key", vec![key_exchange(36, &good[1..])]),
        ("a long key", vec![key_exchange(36, &[good, &[0]].concat())]),
        ("a key that is none", vec![key_exchange(36, &[0xff; 1184])]),
        ("nothing", vec![]),
        ("two of them", vec![key_exchange(36, good), key_exchange(36, good)]),
    ] {
        let mut hand = Hand::calls("mlkem768, p384");
        hand.send(ExchangeType::IKE_INTERMEDIATE, 1, &payloads);
        assert_eq!(notifies(&hand.take(ExchangeType::IKE_INTERMEDIATE)), [NotifyType::INVALID_SYNTAX], "{what}");
        assert_eq!((hand.stage.node.endpoint.sa_count(), hand.stage.node.down.len()), (0, 1), "{what}");
        assert_eq!(hand.stage.node.endpoint.counters().refused, 1, "{what}");
    }
}

#[test]
fn a_key_exchange_that_is_not_the_one_agreed_upon_ends_our_attempt() {
    let (good, _) = {
        let kem = KeyShare::generate(espalier_model::suite::Kem::MlKem768).unwrap();
        KeyShare::respond(espalier_model::suite::Kem::MlKem768, kem.public()).unwrap()
    };
    let error = Payload::Notify(Notify::new(NotifyType::INVALID_SYNTAX, vec![]));
    for (payloads, reason) in [
        (vec![key_exchange(37, &good)], "key exchange is not the one agreed upon, mlkem768"),
        (vec![key_exchange(36, &good[1..])], "cryptography failed"),
        (vec![key_exchange(36, &[&good[..], &[0]].concat())], "cryptography failed"),
        (vec![], "KE is missing"),
        (vec![error], "INVALID_SYNTAX"),
    ] {
        let mut hand = Hand::is_called("mlkem768");
        hand.stage.take();
        hand.send(ExchangeType::IKE_INTERMEDIATE, 1, &payloads);
        let down = hand.stage.node.down.first().unwrap().to_string();
        assert!(down.contains(reason), "{down} instead of {reason}");
        assert_eq!(hand.stage.node.endpoint.sa_count(), 0);
    }
}

#[test]
fn a_ciphertext_of_somebody_else_leads_to_keys_that_open_nothing() {
    let mut hand = Hand::is_called("mlkem768");
    hand.stage.take();
    let other = KeyShare::generate(espalier_model::suite::Kem::MlKem768).unwrap();
    let (ciphertext, shared) = KeyShare::respond(espalier_model::suite::Kem::MlKem768, other.public()).unwrap();
    hand.send(ExchangeType::IKE_INTERMEDIATE, 1, &[key_exchange(36, &ciphertext)]);
    hand.renew(&shared);
    let sent = hand.stage.take();
    let opening = OpeningKey::new(hand.keys.encryption, &hand.keys.sk_ei, &hand.keys.sk_ai).unwrap();
    assert!(sent.iter().all(|datagram| opening.open(datagram).is_err()));
    hand.send(ExchangeType::IKE_AUTH, 2, &[]);
    assert_eq!((hand.stage.node.up, hand.stage.node.endpoint.counters().unauthentic), (0, 1));
}
