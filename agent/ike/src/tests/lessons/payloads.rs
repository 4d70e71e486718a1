//! Payloads where none belongs, too many, too few, of another exchange or of another version of IKE.

use super::super::liar::{self, Liar, notifies};
use super::super::*;
use crate::wire::{ExchangeType, Flags, Header, IkeSpi, NotifyType, Payload, PayloadType};

const EXCHANGES: [u8; 9] = [0, 2, 5, 34, 35, 36, 37, 38, 240];

fn bodies() -> [Vec<u8>; 4] {
    [vec![], vec![0; 4], vec![0; 40], vec![0xff; 40]]
}

fn up() -> (Pair, Liar) {
    let mut pair = liar::responder();
    let mut liar = Liar::opens(&mut pair);
    let proof = liar.proof();
    liar.asks(&mut pair, ExchangeType::IKE_AUTH, 1, &proof).expect("an answer");
    assert_eq!(pair.nodes[1].up, 1);
    (pair, liar)
}

/// Writes a message in clear whose only payload is of a kind.
fn clear(exchange: u8, spis: (u64, u64), id: u32, kind: u8, body: &[u8]) -> Vec<u8> {
    let header = Header {
        initiator_spi: IkeSpi(spis.0),
        responder_spi: IkeSpi(spis.1),
        exchange: ExchangeType(exchange),
        flags: Flags { initiator: true, response: false },
        message_id: id,
    };
    let mut w = crate::wire::buffer::Writer::new();
    header.emit(PayloadType(kind), 4 + body.len(), &mut w).unwrap();
    w.bytes(&[0, 0, 0, u8::try_from(4 + body.len()).unwrap()]);
    w.bytes(body);
    w.finish()
}

#[test]
fn every_payload_in_clear_in_every_exchange_leaves_every_state_as_it_was() {
    let (mut standing, liar) = up();
    let mut half = liar::responder();
    let half_open = Liar::opens(&mut half);
    let mut nothing = liar::responder();
    for exchange in EXCHANGES {
        for (kind, body) in (0..=255).flat_map(|kind| bodies().map(|body| (kind, body))) {
            let stands = (liar.spis.initiator.0, liar.spis.responder.0, 2);
            let opens = (half_open.spis.initiator.0, half_open.spis.responder.0, 1);
            let rows = [(&mut standing, stands), (&mut half, opens), (&mut nothing, (0x9999, 0, 0))];
            for (pair, (initiator, responder, id)) in rows {
                let endpoint = &pair.nodes[1].endpoint;
                let before = (endpoint.status(), endpoint.all_kept(), total(endpoint.counters()) + 1);
                pair.deliver(1, liar::path(), &clear(exchange, (initiator, responder), id, kind, &body));
                let endpoint = &pair.nodes[1].endpoint;
                let after = (endpoint.status(), endpoint.all_kept(), total(endpoint.counters()));
                assert_eq!(before, after, "exchange {exchange}, payload {kind}, {} bytes", body.len());
                pair.wire.clear();
            }
        }
    }
    assert_eq!((standing.nodes[1].up, half.nodes[1].up, nothing.nodes[1].up), (1, 0, 0));
    assert_eq!(nothing.nodes[1].endpoint.sa_count(), 0);
}

#[test]
fn every_payload_encrypted_in_every_exchange_lets_nobody_in_and_leaves_nothing() {
    let (mut pair, mut liar, mut id) = {
        let (pair, liar) = up();
        (pair, liar, 1)
    };
    for (exchange, kind, body) in
        EXCHANGES.into_iter().flat_map(|e| (0..=255_u8).flat_map(move |kind| bodies().map(|body| (e, kind, body))))
    {
        id += 1;
        let mut text = vec![0, 0, 0, u8::try_from(4 + body.len()).unwrap()];
        text.extend(&body);
        let text = if kind == 0 { vec![] } else { text };
        let before = (pair.nodes[1].endpoint.all_kept(), total(pair.nodes[1].endpoint.counters()) + 1);
        let datagram = liar.seal_text(ExchangeType(exchange), id, PayloadType(kind), &text);
        liar.delivers(&mut pair, &datagram);
        let what = format!("exchange {exchange}, payload {kind}, {} bytes", body.len());
        assert_eq!(total(pair.nodes[1].endpoint.counters()), before.1, "{what}");
        for ((name, now), (_, then)) in pair.nodes[1].endpoint.all_kept().into_iter().zip(before.0) {
            assert!(now <= then || name == "lingering", "{what}: {name}");
        }
        assert_eq!(pair.nodes[1].inbound.len(), 1, "{what}: a child SA");
        if pair.nodes[1].endpoint.status().is_empty() {
            (pair, liar) = up();
            id = 1;
        }
    }
}

#[test]
fn every_payload_encrypted_before_the_proof_lets_nobody_in() {
    for (exchange, kind) in EXCHANGES.into_iter().flat_map(|e| (0..=255_u8).map(move |kind| (e, kind))) {
        for body in bodies() {
            let mut pair = liar::responder();
            let mut liar = Liar::opens(&mut pair);
            let mut text = vec![0, 0, 0, u8::try_from(4 + body.len()).unwrap()];
            text.extend(&body);
            let datagram = liar.seal_text(ExchangeType(exchange), 1, PayloadType(kind), &text);
            liar.delivers(&mut pair, &datagram);
            assert_eq!((pair.nodes[1].up, pair.nodes[1].inbound.len()), (0, 0), "exchange {exchange}, payload {kind}");
            assert!(pair.nodes[1].endpoint.status().is_empty());
        }
    }
}

#[test]
fn one_payload_more_than_a_message_may_hold_is_refused_and_not_asserted() {
    for (count, good) in [(1, true), (63, true), (64, true), (65, false), (66, false), (1_000, false)] {
        let (mut pair, mut liar) = up();
        // Each is of an unknown kind and empty; the last says that none follows.
        let mut text: Vec<u8> = (0..count).flat_map(|_| [200, 0, 0, 4]).collect();
        let last = 4 * (count - 1);
        text[last] = 0;
        let datagram = liar.seal_text(ExchangeType::INFORMATIONAL, 2, PayloadType(200), &text);
        let answer = liar.delivers(&mut pair, &datagram).expect("an answer");
        assert_eq!(answer.payloads.is_empty(), good, "{count}: {answer:?}");
        assert_eq!(pair.nodes[1].endpoint.status().len(), usize::from(good), "{count}");
        // The same in clear, before any SA.
        let share = espalier_crypto::KeyShare::generate(KeyExchange::X25519).unwrap();
        let mut nothing = liar::responder();
        let first = liar::first(1, liar::hello(&share));
        let mut long = first[..28].to_vec();
        long[16] = 200;
        long.extend(&text[..text.len() - 4]);
        long.extend([33, 0, 0, 4]);
        long.extend(&first[28..]);
        let length = u32::try_from(long.len()).unwrap().to_be_bytes();
        long[24..28].copy_from_slice(&length);
        nothing.deliver(1, liar::path(), &long);
        let c = nothing.nodes[1].endpoint.counters();
        assert_eq!((c.accepted == 1, c.malformed == 1), (count <= 58, count > 58), "{count} before six of the usual");
    }
}

#[test]
fn fragments_around_their_number_and_with_payloads_before_or_behind_are_put_together_or_dropped() {
    for total in [0_u16, 1, 63, 64, 65, 66, 255, 65_535] {
        for number in [0, 1, total, total.saturating_add(1)] {
            let (mut pair, mut liar) = up();
            let sealed = liar.seal_text(ExchangeType::INFORMATIONAL, 2, PayloadType(200), &[0, 0, 0, 4]);
            let mut forged = sealed[..28].to_vec();
            forged[16] = 53;
            let rest = [&number.to_be_bytes()[..], &total.to_be_bytes(), &sealed[32..]].concat();
            forged.extend([200, 0]);
            forged.extend(u16::try_from(4 + rest.len()).unwrap().to_be_bytes());
            forged.extend(rest);
            for behind in [false, true] {
                let mut forged = forged.clone();
                if behind {
                    forged.extend([0, 0, 0, 4]);
                }
                let length = u32::try_from(forged.len()).unwrap().to_be_bytes();
                forged[24..28].copy_from_slice(&length);
                let before = (pair.nodes[1].endpoint.all_kept(), self::total(pair.nodes[1].endpoint.counters()) + 1);
                pair.deliver(1, liar::path(), &forged);
                let after = (pair.nodes[1].endpoint.all_kept(), self::total(pair.nodes[1].endpoint.counters()));
                assert_eq!(before, after, "{number} of {total}");
            }
            assert_eq!(pair.nodes[1].endpoint.status().len(), 1);
        }
    }
}

#[test]
fn a_payload_that_is_missing_in_the_handshake_sets_nothing_up() {
    let share = || espalier_crypto::KeyShare::generate(KeyExchange::X25519).unwrap();
    for without in 0..3 {
        let mut pair = liar::responder();
        let mut payloads = liar::hello(&share());
        payloads.remove(without);
        pair.deliver(1, liar::path(), &liar::first(1, payloads));
        assert_eq!(pair.nodes[1].endpoint.sa_count(), 0, "payload {without}");
        assert_eq!(pair.nodes[1].endpoint.counters().malformed, 1);
    }
    for without in 0..2 {
        let mut pair = liar::responder();
        let mut liar = Liar::opens(&mut pair);
        let mut proof = liar.proof();
        proof.remove(without);
        let answer = liar.asks(&mut pair, ExchangeType::IKE_AUTH, 1, &proof).expect("an answer");
        assert_eq!(notifies(&answer), [NotifyType::AUTHENTICATION_FAILED], "payload {without}");
        assert_eq!((pair.nodes[1].up, pair.nodes[1].endpoint.sa_count()), (0, 0));
    }
    for without in 2..5 {
        let mut pair = liar::responder();
        let mut liar = Liar::opens(&mut pair);
        let mut proof = liar.proof();
        proof.remove(without);
        liar.asks(&mut pair, ExchangeType::IKE_AUTH, 1, &proof).expect("an answer");
        assert_eq!((pair.nodes[1].up, pair.nodes[1].inbound.len()), (1, 0), "payload {without}: no child SA");
    }
    for without in 0..5 {
        let mut pair = liar::initiator();
        let mut liar = Liar::answers(&mut pair);
        let mut proof = liar.proof();
        proof[2] = liar::one_child();
        proof.remove(without);
        let datagram = liar.seal(ExchangeType::IKE_AUTH, true, 1, &proof);
        liar.delivers(&mut pair, &datagram);
        assert_eq!(
            (pair.nodes[0].up, pair.nodes[0].inbound.len()),
            (usize::from(without >= 2), 0),
            "payload {without}"
        );
    }
}

#[test]
fn a_payload_that_comes_twice_is_refused() {
    let share = espalier_crypto::KeyShare::generate(KeyExchange::X25519).unwrap();
    for twice in 0..3 {
        let mut pair = liar::responder();
        let mut payloads = liar::hello(&share);
        payloads.push(payloads[twice].clone());
        pair.deliver(1, liar::path(), &liar::first(1, payloads));
        assert_eq!((pair.nodes[1].endpoint.sa_count(), pair.nodes[1].endpoint.counters().malformed), (0, 1));
    }
    for twice in 0..5 {
        let mut pair = liar::responder();
        let mut liar = Liar::opens(&mut pair);
        let mut proof = liar.proof();
        proof.push(proof[twice].clone());
        let answer = liar.asks(&mut pair, ExchangeType::IKE_AUTH, 1, &proof).expect("an answer");
        assert_eq!(notifies(&answer), [NotifyType::INVALID_SYNTAX], "payload {twice}");
        assert_eq!((pair.nodes[1].up, pair.nodes[1].endpoint.sa_count()), (0, 0));
    }
}

#[test]
fn the_proof_counts_in_its_one_place_alone() {
    let kinds =
        [ExchangeType::IKE_SA_INIT, ExchangeType::CREATE_CHILD_SA, ExchangeType::INFORMATIONAL, ExchangeType(43)];
    let early =
        kinds.into_iter().map(|kind| (kind, 1)).chain([0, 2, 3, u32::MAX].map(|id| (ExchangeType::IKE_AUTH, id)));
    for (exchange, id) in early {
        let mut pair = liar::responder();
        let mut liar = Liar::opens(&mut pair);
        let proof = liar.proof();
        assert!(liar.asks(&mut pair, exchange, id, &proof).is_none(), "{exchange:?} {id}");
        assert_eq!((pair.nodes[1].up, pair.nodes[1].inbound.len()), (0, 0), "{exchange:?} {id}");
    }
    // Once more on an SA that stands: neither another SA nor another child SA.
    let (mut pair, mut liar) = up();
    let proof = liar.proof();
    let answer = liar.asks(&mut pair, ExchangeType::IKE_AUTH, 2, &proof).expect("an answer");
    assert_eq!(notifies(&answer), [NotifyType::INVALID_SYNTAX]);
    assert_eq!((pair.nodes[1].up, pair.nodes[1].inbound.len()), (1, 1));
    // As an answer of another exchange, or before its time.
    for (exchange, id) in
        [(ExchangeType::CREATE_CHILD_SA, 1), (ExchangeType::INFORMATIONAL, 1), (ExchangeType::IKE_AUTH, 2)]
    {
        let mut pair = liar::initiator();
        let mut liar = Liar::answers(&mut pair);
        let proof = liar.proof();
        let datagram = liar.seal(exchange, true, id, &proof);
        liar.delivers(&mut pair, &datagram);
        assert_eq!(pair.nodes[0].up, 0, "{exchange:?} {id}");
    }
}

#[test]
fn a_peer_of_the_extensible_authentication_is_refused_however_early_it_succeeds() {
    // Success, failure, identity request; an SA never stands without AUTH.
    for code in [[3, 1, 0, 4].to_vec(), [4, 1, 0, 4].to_vec(), [1, 1, 0, 5, 1].to_vec()] {
        let mut pair = liar::responder();
        let mut liar = Liar::opens(&mut pair);
        let mut proof = liar.proof();
        proof[1] = Payload::Unknown(PayloadType(48), code.clone());
        let answer = liar.asks(&mut pair, ExchangeType::IKE_AUTH, 1, &proof).expect("an answer");
        assert_eq!(notifies(&answer), [NotifyType::AUTHENTICATION_FAILED]);
        assert_eq!(pair.nodes[1].endpoint.sa_count(), 0);

        let mut pair = liar::initiator();
        let mut liar = Liar::answers(&mut pair);
        let mut proof = liar.proof();
        proof[1] = Payload::Unknown(PayloadType(48), code);
        let datagram = liar.seal(ExchangeType::IKE_AUTH, true, 1, &proof);
        liar.delivers(&mut pair, &datagram);
        assert_eq!((pair.nodes[0].up, pair.nodes[0].inbound.len()), (0, 0));
    }
}
