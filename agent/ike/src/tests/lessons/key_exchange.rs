//! Public values that are not of their group, and secrets that begin with zeros.

use espalier_crypto::KeyShare;

use super::super::liar::{self, notify};
use super::super::*;
use crate::wire::proposal::{self, key_exchange_id};
use crate::wire::{Flags, Header, IkeSpi, KeyExchangeData, Message, NotifyType, Payload, SpiField};

/// Points of X25519 of small order, which lead to a secret that anybody knows (RFC 7748 §6.1), and the same beyond the prime.
fn small_points() -> Vec<Vec<u8>> {
    let prime = |least: u8| [vec![least], vec![0xff; 30], vec![0x7f]].concat();
    let one = [vec![1], vec![0; 31]].concat();
    let eighths = [
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    ];
    let eighths = eighths.map(|text| {
        let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..64).step_by(2).map(digit).collect::<Vec<u8>>()
    });
    let mut points = vec![vec![0; 32], one, prime(0xec), prime(0xed), prime(0xee)];
    points.extend(eighths);
    points
}

/// Values that are of no use in X25519.
fn bad_values() -> Vec<Vec<u8>> {
    let lengths = (0..32).chain(33..70).chain([132, 256, 1_184]).map(|length| vec![9; length]);
    small_points().into_iter().chain(lengths).collect()
}

fn key_exchange(data: Vec<u8>) -> Payload {
    Payload::KeyExchange(KeyExchangeData { method: key_exchange_id(KeyExchange::X25519), data })
}

#[test]
fn a_public_value_that_is_not_of_its_group_opens_nothing() {
    let share = KeyShare::generate(KeyExchange::X25519).unwrap();
    for value in bad_values() {
        let mut pair = liar::responder();
        let what = format!("{value:02x?}");
        let mut payloads = liar::hello(&share);
        payloads[1] = key_exchange(value);
        let before = total(pair.nodes[1].endpoint.counters()) + 1;
        pair.deliver(1, liar::path(), &liar::first(1, payloads));
        assert_eq!((pair.nodes[1].endpoint.sa_count(), pair.nodes[1].up), (0, 0), "{what}");
        assert_eq!(total(pair.nodes[1].endpoint.counters()), before, "{what}");
    }
}

#[test]
fn an_answer_with_a_public_value_that_is_not_of_its_group_is_not_used_and_the_peer_called_anew() {
    for value in bad_values() {
        let mut pair = liar::initiator();
        let what = format!("{value:02x?}");
        let (_, path, request) = pair.wire.remove(0);
        let asked = Message::parse(&request).unwrap().header;
        let suite = proposal::choose_ike(&profile(), &proposal::offer_ike(&profile(), SpiField::None)).unwrap().suite;
        let payloads = vec![
            Payload::SecurityAssociation(vec![suite.answer(1, SpiField::None)]),
            key_exchange(value),
            Payload::Nonce(liar::nonce(9)),
            notify(NotifyType::NAT_DETECTION_SOURCE_IP, &[0; 20]),
            notify(NotifyType::NAT_DETECTION_DESTINATION_IP, &[0; 20]),
        ];
        let flags = Flags { initiator: false, response: true };
        let forged = Message { header: Header { responder_spi: IkeSpi(0x2222), flags, ..asked }, payloads };
        pair.deliver(0, UdpPath { local: path.remote, remote: path.local }, &forged.emit().unwrap());
        assert!(pair.wire.is_empty(), "{what}: nothing follows");
        let left = &pair.nodes[0];
        // What cannot be read at all is not even taken for an answer.
        assert_eq!((left.up, left.endpoint.sa_count() + left.down.len()), (0, 1), "{what}");
        pair.nodes[1].endpoint.configure(pair.now, vec![peer(1, psk("secret"))]);
        for _ in 0..4 {
            pair.wait(Duration::from_secs(1));
            pair.drive(|_| 1);
        }
        assert_eq!((pair.nodes[0].up, pair.nodes[1].up), (1, 1), "{what}");
    }
}

#[test]
fn two_thousand_handshakes_agree_whatever_their_secrets_begin_with() {
    for method in [KeyExchange::X25519, KeyExchange::P256] {
        for number in 0..1_000 {
            let mut pair = Pair::new([node(0, None, vec![]), node(1, None, vec![])]);
            for side in [1, 0] {
                let mut config = peer(side, psk("secret"));
                config.profile.key_exchange = vec![method];
                pair.nodes[side].endpoint.configure(pair.now, vec![config]);
            }
            pair.collect();
            pair.drive(|_| 1);
            assert_eq!((pair.nodes[0].up, pair.nodes[1].up), (1, 1), "{method}, handshake {number}");
        }
    }
}

/// The peer is right once about the method, and then never content.
#[test]
fn a_peer_that_demands_one_method_after_another_is_followed_once() {
    let several = |side| {
        let mut config = peer(side, psk("secret"));
        let methods = vec![KeyExchange::X25519, KeyExchange::P256, KeyExchange::P384];
        config.children[0].profile.key_exchange.clone_from(&methods);
        config.profile.key_exchange = methods;
        config
    };
    let child = |pair: &mut Pair| {
        let id = pair.nodes[0].endpoint.status()[0].children[0].id;
        pair.nodes[0].endpoint.handle_event(pair.now, &espalier_model::sa::SaEvent::Soft(id));
    };
    let ike = |pair: &mut Pair| pair.nodes[0].endpoint.rekey_ike_now(pair.now);
    for replace in [&child as &dyn Fn(&mut Pair), &ike] {
        let mut pair = Pair::with_peers([several(0), several(1)]);
        pair.drive(|_| 1);
        replace(&mut pair);
        pair.collect();
        for (demanded, requests) in [(KeyExchange::P256, 1), (KeyExchange::P384, 0)] {
            let (_, path, request) = pair.wire.pop().expect("an offer");
            assert!(pair.wire.is_empty());
            let wanted = notify(NotifyType::INVALID_KE_PAYLOAD, &key_exchange_id(demanded).to_be_bytes());
            let answer = pair.nodes[1].endpoint.response_to(&request, &[wanted]);
            pair.deliver(0, UdpPath { local: path.remote, remote: path.local }, &answer);
            assert_eq!(pair.wire.len(), requests, "{demanded}");
        }
        assert_eq!(pair.nodes[0].endpoint.status().len(), 1, "the IKE SA stands");
    }
}
