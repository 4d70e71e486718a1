//! What each notification does, where it may come and where it may not (RFC 7296 §3.10.1).

use super::liar::{self, Liar, notifies, notify};
use super::*;
use crate::wire::{
    ExchangeType, Flags, Header, Message, Notify, NotifyType, Payload, PayloadType, ProtocolId, SpiField,
};

/// Every error that has a number, one that has none, and status types known and unknown.
fn all() -> Vec<NotifyType> {
    let errors = [1, 4, 5, 7, 9, 11, 14, 17, 24, 34, 35, 36, 37, 38, 39, 43, 44, 45, 46, 47, 48, 8_191, 16_383];
    let status = (16_384..=16_450).chain([40_959, 40_960, 65_535]);
    errors.into_iter().chain(status).map(NotifyType).collect()
}

fn up() -> Pair {
    let mut pair = Pair::with_peers([peer(0, psk("secret")), peer(1, psk("secret"))]);
    pair.drive(|_| 1);
    pair.assert_up();
    pair.nodes.iter_mut().for_each(|node| node.told.clear());
    pair
}

/// Sends any payloads as a request from side 0 to side 1 and returns the answer.
fn ask(pair: &mut Pair, exchange: ExchangeType, payloads: &[Payload]) -> Message {
    let (path, datagram) = pair.nodes[0].endpoint.request(pair.now, exchange, payloads);
    answer_to(pair, path, &datagram)
}

fn answer_to(pair: &mut Pair, path: UdpPath, datagram: &[u8]) -> Message {
    pair.deliver(1, path, datagram);
    let (_, _, answer) = pair.wire.remove(0);
    pair.nodes[0].endpoint.read(&answer)
}

#[test]
fn an_unauthenticated_notify_in_the_first_exchange_is_no_more_than_a_hint() {
    for kind in all() {
        let mut pair = liar::initiator();
        let (_, path, request) = pair.wire.remove(0);
        let back = UdpPath { local: path.remote, remote: path.local };
        let (header, _) = Header::parse(&request).unwrap();
        let flags = Flags { initiator: false, response: true };
        let data = if kind == NotifyType::INVALID_KE_PAYLOAD { vec![0, 14] } else { vec![] };
        let forged =
            Message { header: Header { flags, ..header }, payloads: vec![notify(kind, &data)] }.emit().unwrap();
        let before = total(pair.nodes[0].endpoint.counters());
        pair.deliver(0, back, &forged);
        pair.deliver(0, back, &forged);
        assert_eq!(total(pair.nodes[0].endpoint.counters()), before + 2, "{kind:?}");
        assert!(pair.wire.is_empty() && pair.nodes[0].down.is_empty(), "{kind:?}: {:?}", pair.nodes[0].down);
        assert_eq!(pair.nodes[0].told.len(), 1, "{kind:?} is told once");
        // The true answer still counts.
        pair.nodes[1].endpoint.configure(pair.now, vec![peer(1, psk("secret"))]);
        pair.deliver(1, path, &request);
        pair.drive(|_| 1);
        pair.assert_up();
    }
}

#[test]
fn an_attempt_that_is_refused_until_its_end_says_why_and_begins_again() {
    let mut right = peer(1, psk("secret"));
    right.profile.ike_encryption = vec![IkeEncryption::ChaCha20Poly1305];
    let mut pair = Pair::with_peers([peer(0, psk("secret")), right]);
    pair.drive(|_| 1);
    let [left, right] = &pair.nodes;
    assert!(left.down.is_empty(), "another answer may come");
    let why = "answer to the first message cannot be used: peer refused: NO_PROPOSAL_CHOSEN (compare ike-encryption, prf \
               and key-exchange, or esp for a child SA, with what the peer takes)";
    assert_eq!(left.told[0].to_string(), why);
    let own = "no common IKE encryption: peer offers aes-gcm16-128, aes-gcm16-256; profile default has ike-encryption: \
               chacha20poly1305";
    assert_eq!(right.down[0].to_string(), own, "the responder says so too");
    for _ in 0..45 {
        pair.wait(Duration::from_secs(1));
        pair.drive(|_| 1);
    }
    assert_eq!(pair.nodes[0].down.last(), Some(&DownReason::Refused("NO_PROPOSAL_CHOSEN".to_owned())));
}

#[test]
fn a_refused_attempt_begins_anew_with_a_changed_configuration() {
    let mut left = peer(0, psk("secret"));
    left.profile.ike_encryption = vec![IkeEncryption::ChaCha20Poly1305];
    let mut pair = Pair::with_peers([left, peer(1, psk("secret"))]);
    pair.drive(|_| 1);
    assert_eq!(pair.nodes[0].up, 0);
    pair.nodes[0].endpoint.configure(pair.now, vec![peer(0, psk("secret"))]);
    pair.collect();
    pair.drive(|_| 1);
    pair.assert_up();
}

#[test]
fn a_notify_in_a_request_changes_nothing_but_what_it_is_for() {
    for kind in all() {
        let mut pair = up();
        let answer = ask(&mut pair, ExchangeType::INFORMATIONAL, &[notify(kind, &[])]);
        // An update of addresses that forbids NATs is answered with what is wrong with it.
        assert!(kind == NotifyType::NO_NATS_ALLOWED || answer.payloads.is_empty(), "{kind:?}: {answer:?}");
        let stands = kind != NotifyType::AUTHENTICATION_FAILED;
        assert_eq!(pair.nodes[1].endpoint.status().len(), usize::from(stands), "{kind:?}");
        if stands {
            assert_eq!(pair.nodes[1].told.len(), usize::from(kind.is_error()), "{kind:?} is told");
            pair.assert_up();
        }
    }
}

#[test]
fn an_error_in_a_response_ends_the_sa_only_where_it_must() {
    for kind in all() {
        let mut pair = up();
        pair.wait(Duration::from_secs(31));
        let (_, path, request) = pair.wire.remove(0);
        let to = usize::from(path.local.ip() != path_of(0));
        let answer = pair.nodes[1 - to].endpoint.response_to(&request, &[notify(kind, &[])]);
        pair.wire.clear();
        pair.deliver(to, UdpPath { local: path.remote, remote: path.local }, &answer);
        let ends = [NotifyType::AUTHENTICATION_FAILED, NotifyType::INVALID_SYNTAX].contains(&kind);
        assert_eq!(pair.nodes[to].endpoint.status().is_empty(), ends, "{kind:?}: {:?}", pair.nodes[to].down);
    }
}

fn path_of(side: usize) -> std::net::IpAddr {
    format!("192.0.2.{side}").parse().unwrap()
}

#[test]
fn an_error_in_the_answer_to_an_offer_of_a_child_leaves_the_ike_sa() {
    for kind in all().into_iter().filter(|kind| kind.is_error()) {
        let mut pair = liar::initiator();
        let mut liar = Liar::answers(&mut pair);
        let mut proof = liar.proof();
        proof.truncate(2);
        proof.push(notify(kind, &[]));
        let datagram = liar.seal(ExchangeType::IKE_AUTH, true, 1, &proof);
        liar.delivers(&mut pair, &datagram);
        let node = &pair.nodes[0];
        assert_eq!((node.up, node.inbound.len()), (1, 0), "{kind:?}: {:?}", node.down);
        assert_eq!(node.refused.len(), 1, "{kind:?} is told");
    }
}

#[test]
fn a_critical_payload_that_is_unknown_fails_the_request_and_not_the_sa() {
    // What is known is taken however it is marked; what is not is skipped unless it is critical.
    for (kind, critical) in (0..=255).flat_map(|kind| [(kind, false), (kind, true)]) {
        let known = (33..=48).contains(&kind) || kind == 53 || kind == 0;
        if known {
            continue;
        }
        let mut pair = up();
        let text = [0, if critical { 0x80 } else { 0 }, 0, 8, 1, 2, 3, 4];
        let (path, datagram) =
            pair.nodes[0].endpoint.request_of(pair.now, ExchangeType::INFORMATIONAL, PayloadType(kind), &text);
        let answer = answer_to(&mut pair, path, &datagram);
        if critical {
            let unsupported = notify(NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, &[kind]);
            assert_eq!(answer.payloads, [unsupported], "{kind}");
        } else {
            assert!(answer.payloads.is_empty(), "{kind}");
        }
        pair.assert_up();
    }
    let mut pair = up();
    let known = [0, 0x80 | 0x7f, 0, 8, 0, 0, 0x40, 0x01];
    let (path, datagram) =
        pair.nodes[0].endpoint.request_of(pair.now, ExchangeType::INFORMATIONAL, PayloadType::NOTIFY, &known);
    assert!(answer_to(&mut pair, path, &datagram).payloads.is_empty(), "the mark on a known payload says nothing");
    pair.assert_up();
}

#[test]
fn a_critical_payload_in_the_handshake_is_refused_by_its_type() {
    let share = espalier_crypto::KeyShare::generate(KeyExchange::X25519).unwrap();
    let mut payloads = liar::hello(&share);
    payloads.push(Payload::Unknown(PayloadType(200), vec![1, 2]));
    let mut datagram = liar::first(1, payloads);
    let critical = datagram.len() - 5;
    datagram[critical] = 0x80;
    let mut pair = liar::responder();
    pair.deliver(1, liar::path(), &datagram);
    let answer = Message::parse(&pair.wire.remove(0).2).unwrap();
    assert_eq!(answer.payloads, [notify(NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, &[200])]);
    assert_eq!(pair.nodes[1].endpoint.sa_count(), 0);

    let mut liar = Liar::opens(&mut pair);
    let sealed = liar.seal_text(ExchangeType::IKE_AUTH, 1, PayloadType(201), &[0, 0x80, 0, 4]);
    let answer = liar.delivers(&mut pair, &sealed).expect("an answer");
    assert_eq!(answer.payloads, [notify(NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, &[201])]);
    assert_eq!((pair.nodes[1].endpoint.sa_count(), pair.nodes[1].up), (0, 0));
}

#[test]
fn an_authentic_message_that_cannot_be_read_ends_the_sa_by_name() {
    let mut pair = up();
    let (path, datagram) =
        pair.nodes[0].endpoint.request_of(pair.now, ExchangeType::INFORMATIONAL, PayloadType::NOTIFY, &[0, 0, 0, 9, 1]);
    let answer = answer_to(&mut pair, path, &datagram);
    assert_eq!(notifies(&answer), [NotifyType::INVALID_SYNTAX]);
    let reason = "peer sent a message that cannot be read: payload is truncated";
    assert_eq!(pair.nodes[1].down, [DownReason::Failed(reason.to_owned())]);
    // Without authentication the same bytes are counted, and nobody is told.
    let mut pair = up();
    let (to, path, mut forged) = (1, liar::path(), datagram);
    let last = forged.len() - 1;
    forged[last] ^= 1;
    pair.deliver(to, path, &forged);
    assert!(pair.wire.is_empty());
    pair.assert_up();
}

#[test]
fn a_higher_major_version_is_told_the_one_that_is_spoken_and_no_more_than_a_few_times() {
    let mut pair = liar::responder();
    let share = espalier_crypto::KeyShare::generate(KeyExchange::X25519).unwrap();
    let mut datagram = liar::first(5, liar::hello(&share));
    for (version, told) in [(0x30, true), (0xf0, true), (0x10, false), (0x00, false)] {
        datagram[17] = version;
        pair.deliver(1, liar::path(), &datagram);
        assert_eq!(!pair.wire.is_empty(), told, "{version:#x}");
        for (_, _, answer) in pair.wire.drain(..) {
            let answer = Message::parse(&answer).unwrap();
            assert_eq!(notifies(&answer), [NotifyType::INVALID_MAJOR_VERSION]);
            assert!(answer.header.flags.response && answer.header.initiator_spi.0 == 5);
        }
    }
    datagram[17] = 0x30;
    (0..1_000).for_each(|_| pair.deliver(1, liar::path(), &datagram));
    assert!(pair.wire.len() <= 20, "{}", pair.wire.len());
    datagram[19] |= 0x20;
    pair.wait(Duration::from_secs(60));
    pair.wire.clear();
    pair.deliver(1, liar::path(), &datagram);
    assert!(pair.wire.is_empty(), "a response is never answered");
    assert_eq!(pair.nodes[1].endpoint.counters().malformed, 1_005);
    // A higher minor version, and bits that are reserved, say nothing.
    let share = espalier_crypto::KeyShare::generate(KeyExchange::X25519).unwrap();
    let mut newer = liar::first(6, liar::hello(&share));
    (newer[17], newer[19]) = (0x2f, newer[19] | 0b1101_0111);
    pair.deliver(1, liar::path(), &newer);
    assert_eq!(pair.nodes[1].endpoint.counters().accepted, 1);
}

#[test]
fn whoever_asks_for_an_sa_that_is_not_there_is_told_only_where_that_is_wanted() {
    for tell in [false, true] {
        let mut pair = up();
        pair.nodes[1].endpoint.set_limits(Limits { tell_strangers: tell, ..Limits::default() });
        let (path, mut datagram) = pair.nodes[0].endpoint.request(pair.now, ExchangeType::INFORMATIONAL, &[]);
        datagram[8] ^= 1;
        (0..1_000).for_each(|_| pair.deliver(1, path, &datagram));
        let told = pair.wire.len();
        assert!(if tell { (1..=20).contains(&told) } else { told == 0 }, "{told}");
        for (_, _, answer) in pair.wire.drain(..) {
            let answer = Message::parse(&answer).unwrap();
            assert_eq!(notifies(&answer), [NotifyType::INVALID_IKE_SPI]);
            assert_eq!(answer.header.exchange, ExchangeType::INFORMATIONAL);
        }
        assert_eq!(pair.nodes[1].endpoint.counters().unknown_spi, 1_000);
    }
}

#[test]
fn an_invalid_spi_from_a_stranger_has_the_peer_asked_and_no_more() {
    let mut pair = up();
    pair.now.instant += Duration::from_secs(2);
    let header = Header {
        initiator_spi: crate::wire::IkeSpi(3),
        responder_spi: crate::wire::IkeSpi(4),
        exchange: ExchangeType::INFORMATIONAL,
        flags: Flags { initiator: true, response: false },
        message_id: 0,
    };
    let spi = pair.nodes[1].endpoint.status()[0].children[0].outbound.get().to_be_bytes();
    let hint = Message { header, payloads: vec![notify(NotifyType::INVALID_SPI, &spi)] }.emit().unwrap();
    (0..1_000).for_each(|_| pair.deliver(1, liar::path(), &hint));
    assert_eq!(pair.wire.len(), 1, "its liveness is checked once");
    pair.drive(|_| 1);
    pair.assert_up();
    let stranger = UdpPath { local: "198.51.100.9:500".parse().unwrap(), ..liar::path() };
    pair.now.instant += Duration::from_secs(2);
    pair.deliver(1, stranger, &hint);
    assert!(pair.wire.is_empty(), "no SA is with that address");
}

#[test]
fn an_authentic_invalid_spi_replaces_the_child_that_the_peer_has_lost() {
    let mut pair = up();
    let before = pair.nodes[1].endpoint.status()[0].children[0].clone();
    ask(
        &mut pair,
        ExchangeType::INFORMATIONAL,
        &[notify(NotifyType::INVALID_SPI, &before.outbound.get().to_be_bytes())],
    );
    pair.nodes[0].endpoint.only_sa().parts.requests.close();
    for _ in 0..10 {
        pair.drive(|_| 1);
        pair.wait(Duration::from_secs(1));
    }
    let after = &pair.nodes[1].endpoint.status()[0].children;
    assert_eq!(after.len(), 1, "{after:?}");
    assert_ne!(after[0].id, before.id);
}

#[test]
fn a_window_size_is_understood_and_the_window_stays_one() {
    let mut pair = up();
    let answer =
        ask(&mut pair, ExchangeType::INFORMATIONAL, &[notify(NotifyType::SET_WINDOW_SIZE, &8_u32.to_be_bytes())]);
    assert!(answer.payloads.is_empty());
    let (path, datagram) = pair.nodes[0].endpoint.request(pair.now, ExchangeType::INFORMATIONAL, &[]);
    let unexpected = pair.nodes[1].endpoint.counters().unexpected;
    let (_, beyond) = pair.nodes[0].endpoint.request(pair.now, ExchangeType::INFORMATIONAL, &[]);
    pair.deliver(1, path, &beyond);
    assert_eq!(pair.nodes[1].endpoint.counters().unexpected, unexpected + 1, "the one after the next is outside");
    pair.deliver(1, path, &datagram);
    assert_eq!(pair.wire.len(), 1);
}

#[test]
fn a_notify_about_an_sa_of_any_protocol_and_size_is_read_or_refused() {
    for (protocol, size) in (0..=255_u8).map(|n| (n, 4)).chain((0..=255).map(|n| (3, n))) {
        let mut pair = up();
        let mut text = vec![0, 0, 0, 0, protocol, size, 0x40, 0x09];
        text.extend(vec![0xab; usize::from(size)]);
        text[3] = u8::try_from(text.len().min(255)).unwrap();
        text[2] = u8::try_from(text.len() >> 8).unwrap();
        if text.len() > 255 {
            text[3] = u8::try_from(text.len() & 0xff).unwrap();
        }
        let (path, datagram) =
            pair.nodes[0].endpoint.request_of(pair.now, ExchangeType::CREATE_CHILD_SA, PayloadType::NOTIFY, &text);
        let answer = answer_to(&mut pair, path, &datagram);
        let expected = if [0, 4, 8].contains(&size) { vec![] } else { vec![NotifyType::INVALID_SYNTAX] };
        if expected.is_empty() {
            assert!(
                notifies(&answer).iter().all(|kind| kind.is_error() && *kind != NotifyType::INVALID_SYNTAX),
                "{answer:?}"
            );
        } else {
            assert_eq!(notifies(&answer), expected, "protocol {protocol}, size {size}");
        }
        let about = Notify { protocol: ProtocolId(protocol), ..Notify::new(NotifyType::REKEY_SA, vec![]) };
        assert_eq!(about.spi, SpiField::None);
    }
}
