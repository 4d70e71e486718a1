//! Fields that lie: protocols, sizes of SPIs, counts and lengths of selectors, SPIs that mean nothing.

use super::super::liar::{self, Liar, notifies};
use super::super::*;
use crate::wire::{Delete, ExchangeType, Flags, Header, IkeSpi, NotifyType, Payload, PayloadType, ProtocolId};

fn up() -> Pair {
    let mut pair = Pair::with_peers([peer(0, psk("secret")), peer(1, psk("secret"))]);
    pair.drive(|_| 1);
    pair.assert_up();
    pair
}

/// Sends a payload with any body from side 0 to side 1; returns what it is told, and whether the SA stands.
fn ask(pair: &mut Pair, exchange: ExchangeType, kind: PayloadType, body: Vec<u8>) -> (Vec<NotifyType>, bool) {
    let payload = Payload::Unknown(kind, body);
    let (path, datagram) = pair.nodes[0].endpoint.request(pair.now, exchange, &[payload]);
    pair.deliver(1, path, &datagram);
    let (_, _, answer) = pair.wire.remove(0);
    let answer = pair.nodes[0].endpoint.read(&answer);
    (notifies(&answer), !pair.nodes[1].endpoint.status().is_empty())
}

#[test]
fn a_delete_of_any_protocol_and_size_deletes_what_it_names_or_is_refused() {
    let delete =
        |protocol: u8, size: u8, count: u16, rest: &[u8]| [&[protocol, size][..], &count.to_be_bytes(), rest].concat();
    for (protocol, size) in (0..=255_u8).map(|p| (p, 4)).chain((0..=255).map(|size| (3, size))) {
        let mut pair = up();
        let body = delete(protocol, size, 1, &vec![0xab; usize::from(size)]);
        let (told, stands) = ask(&mut pair, ExchangeType::INFORMATIONAL, PayloadType::DELETE, body);
        let read = size == 4 && protocol != 1;
        assert_eq!((told.is_empty(), stands), (read, read), "protocol {protocol}, size {size}");
        if stands {
            pair.assert_up();
        }
    }
    for (count, bytes) in [(0, 0), (1, 0), (1, 3), (2, 4), (256, 1_024), (257, 1_028), (65_535, 8), (1, 8)] {
        let mut pair = up();
        let body = delete(3, 4, count, &vec![0xab; bytes]);
        let (_, stands) = ask(&mut pair, ExchangeType::INFORMATIONAL, PayloadType::DELETE, body);
        assert_eq!(stands, bytes == usize::from(count) * 4 && count <= 256, "{count} in {bytes} bytes");
    }
    for spi in [0_u32, 1, 255] {
        let (_, stands) =
            ask(&mut up(), ExchangeType::INFORMATIONAL, PayloadType::DELETE, delete(3, 4, 1, &spi.to_be_bytes()));
        assert!(!stands, "SPI {spi} is reserved");
    }
}

#[test]
fn two_deletes_in_one_message_delete_each_thing_once() {
    let spis = |pair: &Pair| {
        let child = pair.nodes[1].endpoint.status()[0].children[0].clone();
        (child.outbound, child.inbound)
    };
    let mut pair = up();
    let (theirs, ours) = spis(&pair);
    let deletes = [Payload::Delete(Delete::esp(vec![theirs, theirs])), Payload::Delete(Delete::esp(vec![theirs]))];
    let (path, datagram) = pair.nodes[0].endpoint.request(pair.now, ExchangeType::INFORMATIONAL, &deletes);
    pair.deliver(1, path, &datagram);
    let answer = pair.wire.remove(0).2;
    assert_eq!(pair.nodes[0].endpoint.read(&answer).payloads, [Payload::Delete(Delete::esp(vec![ours]))]);
    let children = |pair: &Pair| pair.nodes[1].endpoint.all_kept()[2].1;
    assert_eq!(children(&pair), 0);
    // The same message again is answered again, and nothing is done again.
    pair.wire.clear();
    pair.deliver(1, path, &datagram);
    assert_eq!(pair.wire.remove(0).2, answer);

    // Together with the IKE SA.
    for order in [[0, 1, 0], [1, 0, 1]] {
        let mut pair = up();
        let all = [Payload::Delete(Delete::esp(vec![spis(&pair).0])), Payload::Delete(Delete::ike())];
        let deletes = order.map(|n| all[n].clone());
        let (path, datagram) = pair.nodes[0].endpoint.request(pair.now, ExchangeType::INFORMATIONAL, &deletes);
        pair.deliver(1, path, &datagram);
        assert_eq!(pair.nodes[1].down, [DownReason::DeletedByPeer]);
        assert!(pair.nodes[1].endpoint.status().is_empty());
        assert_eq!(pair.nodes[1].removed.len(), 2, "each half once");
    }
}

#[test]
fn a_packet_of_an_sa_that_is_gone_is_answered_from_memory_or_not_at_all() {
    let mut pair = up();
    let mut old = Vec::new();
    for _ in 0..3 {
        let (path, datagram) = pair.nodes[0].endpoint.request(pair.now, ExchangeType::INFORMATIONAL, &[]);
        pair.deliver(1, path, &datagram);
        old.push((path, datagram));
        pair.wire.clear();
    }
    let end = [Payload::Delete(Delete::ike())];
    let (path, datagram) = pair.nodes[0].endpoint.request(pair.now, ExchangeType::INFORMATIONAL, &end);
    pair.deliver(1, path, &datagram);
    assert_eq!((pair.wire.len(), pair.nodes[1].down.len()), (1, 1));
    pair.wire.clear();
    for (path, datagram) in &old {
        pair.deliver(1, *path, datagram);
    }
    assert!(pair.wire.is_empty(), "older requests are not answered");
    pair.deliver(1, path, &datagram);
    assert_eq!((pair.wire.len(), pair.nodes[1].down.len()), (1, 1), "the last one is, and it ends nothing more");
    let c = pair.nodes[1].endpoint.counters();
    assert_eq!((c.unknown_spi, c.retransmitted), (3, 1));
}

#[test]
fn selectors_that_lie_are_refused_whole() {
    let one = |kind: u8, length: u16, ports: (u16, u16), ends: [&[u8]; 2]| {
        let [first, last] = ends;
        [&[kind, 0][..], &length.to_be_bytes(), &ports.0.to_be_bytes(), &ports.1.to_be_bytes(), first, last].concat()
    };
    let list = |count: u8, selectors: &[Vec<u8>]| [&[count, 0, 0, 0][..], &selectors.concat()].concat();
    let (low, high) = ([10, 0, 0, 0], [10, 0, 0, 255]);
    let good = one(7, 16, (0, 65_535), [&low, &high]);
    let six = one(8, 40, (0, 65_535), [&[0; 16], &[255; 16]]);
    let bad = [
        list(0, &[]),
        list(2, std::slice::from_ref(&good)),
        list(1, &[good.clone(), good.clone()]),
        list(255, std::slice::from_ref(&good)),
        list(1, &[one(8, 16, (0, 65_535), [&low, &high])]),
        list(1, &[one(7, 40, (0, 65_535), [&[0; 16], &[255; 16]])]),
        list(1, &[one(7, 0, (0, 65_535), [&low, &high])]),
        list(1, &[one(7, 7, (0, 65_535), [&low, &high])]),
        list(1, &[one(7, 15, (0, 65_535), [&low, &high])]),
        list(1, &[one(7, 17, (0, 65_535), [&low, &high])]),
        list(1, &[one(7, 65_535, (0, 65_535), [&low, &high])]),
        list(1, &[one(7, 16, (0, 65_535), [&high, &low])]),
        vec![],
        vec![1],
        vec![1, 0, 0],
    ];
    for (n, body) in bad.into_iter().enumerate() {
        for kind in [PayloadType::TSI, PayloadType::TSR] {
            let mut pair = up();
            let (told, stands) = ask(&mut pair, ExchangeType::CREATE_CHILD_SA, kind, body.clone());
            assert_eq!((told, stands), (vec![NotifyType::INVALID_SYNTAX], false), "row {n}");
            assert_eq!(pair.nodes[1].inbound.len(), 1, "row {n}: no child SA");
        }
    }
    for unknown in [0, 6, 9, 255] {
        let body = list(1, &[one(unknown, 16, (0, 65_535), [&low, &high])]);
        let (told, stands) = ask(&mut up(), ExchangeType::CREATE_CHILD_SA, PayloadType::TSI, body);
        assert_eq!((told, stands), (vec![NotifyType::TS_UNACCEPTABLE], true), "type {unknown} shares no traffic");
    }
    for body in [list(1, std::slice::from_ref(&good)), list(2, &[good.clone(), six]), list(255, &vec![good; 255])] {
        let (told, stands) = ask(&mut up(), ExchangeType::CREATE_CHILD_SA, PayloadType::TSI, body);
        assert!(stands && told != [NotifyType::INVALID_SYNTAX], "{told:?}");
    }
}

#[test]
fn a_rekey_of_any_protocol_names_an_sa_of_that_protocol_or_none() {
    for protocol in 0..=255_u8 {
        let mut pair = up();
        let child = pair.nodes[1].endpoint.status()[0].children[0].clone();
        let spi = if protocol == ProtocolId::ESP.0 { 0xdead_beef } else { child.outbound.get() };
        let body = [&[protocol, 4, 0x40, 0x09][..], &spi.to_be_bytes()].concat();
        let (told, stands) = ask(&mut pair, ExchangeType::CREATE_CHILD_SA, PayloadType::NOTIFY, body);
        assert_eq!((told, stands), (vec![NotifyType::CHILD_SA_NOT_FOUND], true), "protocol {protocol}");
        pair.assert_up();
    }
}

#[test]
fn a_message_with_the_flag_or_the_spi_of_the_other_side_is_for_no_sa() {
    let mut pair = up();
    let spis = pair.nodes[1].endpoint.status()[0].spis;
    let flags = [(true, false), (false, false), (true, true), (false, true)];
    let swapped =
        [(spis.initiator, spis.responder), (spis.responder, spis.initiator), (spis.initiator, spis.initiator)];
    let odd = [(spis.responder, spis.responder), (IkeSpi(1), spis.responder), (spis.initiator, IkeSpi::ZERO)];
    for ((initiator, response), spis) in
        flags.into_iter().flat_map(|f| swapped.into_iter().chain(odd).map(move |s| (f, s)))
    {
        if (initiator, response, spis) == (true, false, swapped[0]) {
            continue;
        }
        let header = Header {
            initiator_spi: spis.0,
            responder_spi: spis.1,
            exchange: ExchangeType::INFORMATIONAL,
            flags: Flags { initiator, response },
            message_id: 2,
        };
        let endpoint = &mut pair.nodes[0].endpoint;
        let datagram = endpoint.only_sa().parts.sealing.key().seal(&header, &[Payload::Delete(Delete::ike())]).unwrap();
        let before = total(pair.nodes[1].endpoint.counters());
        pair.deliver(1, liar::path(), &datagram);
        assert_eq!(total(pair.nodes[1].endpoint.counters()), before + 1);
        assert!(pair.wire.is_empty(), "{header:?} is answered");
        pair.assert_up();
    }
}

#[test]
fn message_ids_come_to_their_end_and_the_sa_is_replaced_before() {
    let mut pair = up();
    let spis = pair.nodes[0].endpoint.status()[0].spis;
    for side in [0, 1] {
        let sa = pair.nodes[side].endpoint.only_sa();
        sa.parts.requests = crate::sa::window::Requests::starting_at(0xf000_0000);
        sa.parts.responses = crate::sa::window::Responses::starting_at(0xf000_0000);
    }
    for _ in 0..30 {
        pair.wait(Duration::from_secs(1));
        pair.drive(|_| 1);
    }
    let status = pair.nodes[0].endpoint.status();
    assert_ne!(status[0].spis, spis, "it has been rekeyed");
    assert_eq!(status[0].children.len(), 1);
    assert!(pair.nodes.iter().all(|node| node.down.is_empty()));
}

#[test]
fn the_last_message_id_is_answered_once_and_none_follows() {
    let mut pair = up();
    let last = pair.nodes[1].endpoint.only_sa();
    last.parts.responses = crate::sa::window::Responses::starting_at(u32::MAX);
    let sa = pair.nodes[0].endpoint.only_sa();
    let flags = Flags { initiator: sa.parts.initiator, response: false };
    let header = crate::handshake::initiator::header(sa.parts.spis, ExchangeType::INFORMATIONAL, flags, u32::MAX);
    let path = sa.parts.path;
    let send = |pair: &mut Pair, header: &Header| {
        let datagram = pair.nodes[0].endpoint.only_sa().parts.sealing.key().seal(header, &[]).unwrap();
        pair.wire.clear();
        pair.deliver(1, path, &datagram);
        let answered = |sent: &[u8]| Header::parse(sent).is_ok_and(|(h, _)| h.flags.response);
        pair.wire.iter().any(|(_, _, sent)| answered(sent))
    };
    assert!(send(&mut pair, &header));
    assert!(!send(&mut pair, &header), "the number is used up");
    assert!(!send(&mut pair, &Header { message_id: 0, ..header }), "and does not begin again");
}

#[test]
fn a_first_message_with_the_spis_of_nobody_opens_nothing() {
    let share = espalier_crypto::KeyShare::generate(KeyExchange::X25519).unwrap();
    let good = liar::first(1, liar::hello(&share));
    let mut pair = liar::responder();
    for (range, value) in
        [(0..8, 0_u64), (8..16, 7), (20..28, 0x0000_0001_0000_0000 | u64::try_from(good.len()).unwrap())]
    {
        let mut bad = good.clone();
        bad[range].copy_from_slice(&value.to_be_bytes());
        pair.deliver(1, liar::path(), &bad);
    }
    assert_eq!((pair.nodes[1].endpoint.sa_count(), pair.wire.len()), (0, 0));
    assert_eq!(pair.nodes[1].endpoint.counters().malformed, 3);
}

#[test]
fn a_peer_with_another_identity_than_its_own_is_refused_before_anything_is_made() {
    for wrong in [id(0), "other.node.mesh.example".parse().unwrap(), "192.0.2.1".parse().unwrap()] {
        let mut pair = liar::initiator();
        let mut liar = Liar::answers(&mut pair);
        let mut proof = liar.proof_as(&wrong);
        proof[2] = liar::one_child();
        let datagram = liar.seal(ExchangeType::IKE_AUTH, true, 1, &proof);
        liar.delivers(&mut pair, &datagram);
        let node = &pair.nodes[0];
        assert_eq!((node.up, node.inbound.len(), node.endpoint.status().len()), (0, 0, 0));
        let expected = format!("peer claims to be {wrong}, but peers.id is right.node.mesh.example");
        assert_eq!(node.down[0].to_string(), expected);
    }
    // As an initiator that claims to be the responder itself, or nobody that is known.
    for wrong in [id(1), "other.node.mesh.example".parse().unwrap()] {
        let mut pair = liar::responder();
        let mut liar = Liar::opens(&mut pair);
        let proof = liar.proof_as(&wrong);
        let answer = liar.asks(&mut pair, ExchangeType::IKE_AUTH, 1, &proof).expect("an answer");
        assert_eq!(notifies(&answer), [NotifyType::AUTHENTICATION_FAILED]);
        assert_eq!(pair.nodes[1].down[0].to_string(), format!("peer claims to be {wrong}, and no peers.id is that"));
        assert_eq!((pair.nodes[1].up, pair.nodes[1].endpoint.sa_count()), (0, 0));
    }
}
