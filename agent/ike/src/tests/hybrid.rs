//! Additional key exchanges in `IKE_INTERMEDIATE` (RFC 9242, RFC 9370 §2.2.2).

use super::puppet::notifies;
use super::*;
use crate::wire::sk::fragment::datagram_limit;
use crate::wire::{ExchangeType, Header, KeyExchangeData, Message, Notify, NotifyType, Payload, TransformType};

/// Rounds of a profile, as in `mlkem768 none, p384`.
pub(super) fn rounds(text: &str) -> AdditionalKeyExchanges {
    let lists: Vec<Vec<String>> = text.split(", ").map(|r| r.split(' ').map(str::to_owned).collect()).collect();
    AdditionalKeyExchanges::from_names(&lists).unwrap()
}

pub(super) fn with(side: usize, additional: &str) -> PeerConfig {
    let mut peer = peer(side, psk("secret"));
    peer.profile.key_exchange = vec![KeyExchange::X25519];
    peer.profile.additional_key_exchange = rounds(additional);
    peer.children[0].profile = peer.profile.clone();
    peer
}

pub(super) fn pair(additional: &str) -> Pair {
    Pair::with_peers([with(0, additional), with(1, additional)])
}

pub(super) fn kind(datagram: &[u8]) -> ExchangeType {
    Header::parse(datagram).unwrap().0.exchange
}

/// Delivers what is on the wire until a message of this exchange comes first.
fn drive_to(pair: &mut Pair, exchange: ExchangeType) {
    while kind(&pair.wire[0].2) != exchange {
        let (to, path, datagram) = pair.wire.remove(0);
        pair.deliver(to, path, &datagram);
    }
}

fn key_exchanges(pair: &Pair) -> [String; 2] {
    [0, 1].map(|side| pair.nodes[side].endpoint.status()[0].key_exchange.clone())
}

#[test]
fn any_number_of_additional_key_exchanges_goes_before_the_proof() {
    for (additional, names) in [
        ("none", "x25519"),
        ("mlkem768", "x25519+mlkem768"),
        ("mlkem1024", "x25519+mlkem1024"),
        ("mlkem768 none", "x25519+mlkem768"),
        ("mlkem768, mlkem1024", "x25519+mlkem768+mlkem1024"),
        ("mlkem1024, p384, mlkem768", "x25519+mlkem1024+p384+mlkem768"),
        (
            "p256, p384, p521, mlkem768, mlkem1024, modp2048, modp3072",
            "x25519+p256+p384+p521+mlkem768+mlkem1024+modp2048+modp3072",
        ),
    ] {
        let mut pair = pair(additional);
        let mut intermediate = 0;
        while !pair.wire.is_empty() {
            let (to, path, datagram) = pair.wire.remove(0);
            let header = Header::parse(&datagram).unwrap().0;
            if header.exchange == ExchangeType::IKE_INTERMEDIATE {
                intermediate = intermediate.max(header.message_id);
                assert_eq!((path.local.port(), path.remote.port()), (4500, 4500));
            } else if header.exchange == ExchangeType::IKE_AUTH {
                assert_eq!(header.message_id, intermediate + 1);
            }
            pair.deliver(to, path, &datagram);
        }
        pair.assert_up();
        assert_eq!(key_exchanges(&pair), [names, names]);
        assert_eq!(usize::try_from(intermediate).unwrap(), names.matches('+').count());
    }
}

#[test]
fn certificates_prove_what_was_said_before() {
    let root = Authority::new();
    let nodes = [0, 1].map(|side| node(side, Some(root.issue(&id(side))), vec![root.der.clone()]));
    let mut pair = Pair::new(nodes);
    pair.configure([0, 1].map(|side| PeerConfig { auth: Auth::Certificate, ..with(side, "mlkem768, mlkem1024") }));
    pair.drive(|_| 1);
    pair.assert_up();
}

#[test]
fn a_postquantum_preshared_key_is_mixed_into_what_the_last_key_exchange_left() {
    let ppk = Ppk { id: "ppk-1".parse().unwrap(), secret: Secret::new(vec![1; 32]), required: true };
    let peers = [0, 1].map(|side| PeerConfig { ppk: Some(ppk.clone()), ..with(side, "mlkem768, p384") });
    let mut pair = Pair::with_peers(peers);
    pair.drive(|_| 1);
    pair.assert_up();
    assert!(pair.nodes.iter().all(|node| node.endpoint.status()[0].ppk.is_some()));
}

#[test]
fn the_default_is_hybrid_and_its_large_message_comes_in_fragments_that_fit_every_path() {
    let mut pair = Pair::with_peers([0, 1].map(|side| {
        let mut peer = peer(side, psk("secret"));
        peer.profile = Profile::standard("default".parse().unwrap());
        peer.children[0].profile = peer.profile.clone();
        peer
    }));
    let mut intermediate = 0;
    while !pair.wire.is_empty() {
        let (to, path, datagram) = pair.wire.remove(0);
        assert!(datagram.len() <= datagram_limit(path.remote.ip()));
        intermediate += usize::from(kind(&datagram) == ExchangeType::IKE_INTERMEDIATE);
        pair.deliver(to, path, &datagram);
    }
    assert_eq!(intermediate, 3, "a request in two fragments, and its response");
    pair.assert_up();
    assert_eq!(key_exchanges(&pair), ["x25519+mlkem768", "x25519+mlkem768"]);
}

#[test]
fn every_message_may_be_lost_or_come_twice_with_additional_key_exchanges() {
    let mut messages = 0;
    pair("mlkem768, mlkem1024").drive(|n| {
        messages = n + 1;
        1
    });
    assert!(messages >= 10, "{messages}");
    for copies in [0, 2, 3] {
        for hit in 0..messages {
            let mut pair = pair("mlkem768, mlkem1024");
            pair.drive(|n| if n == hit { copies } else { 1 });
            for _ in 0..4 {
                pair.wait(Duration::from_secs(1));
                pair.drive(|_| 1);
            }
            pair.assert_up();
        }
    }
}

#[test]
fn a_repeated_intermediate_request_has_the_same_response_sent_again() {
    let mut pair = pair("p384, p521");
    drive_to(&mut pair, ExchangeType::IKE_INTERMEDIATE);
    let (to, path, request) = pair.wire.remove(0);
    pair.deliver(to, path, &request);
    let response = std::mem::take(&mut pair.wire);
    for _ in 0..3 {
        pair.deliver(to, path, &request);
        assert!(std::mem::take(&mut pair.wire) == response);
    }
    assert_eq!(pair.nodes[1].endpoint.counters().retransmitted, 3);
    let mut forged = request.clone();
    forged[40] ^= 1;
    pair.deliver(to, path, &forged);
    assert!(pair.wire.is_empty() && pair.nodes[1].endpoint.counters().unexpected == 1);
    pair.wire = response;
    pair.drive(|_| 1);
    pair.assert_up();
}

#[test]
fn altered_intermediate_messages_change_nothing_and_count_once() {
    let mut pair = pair("mlkem768, p384");
    let mut altered = 0;
    while !pair.wire.is_empty() {
        let (to, path, datagram) = pair.wire.remove(0);
        if kind(&datagram) == ExchangeType::IKE_INTERMEDIATE {
            for bit in (0..8 * datagram.len()).step_by(5) {
                let mut copy = datagram.clone();
                copy[bit / 8] ^= 1 << (bit % 8);
                let before = total(pair.nodes[to].endpoint.counters());
                pair.deliver(to, path, &copy);
                assert_eq!(total(pair.nodes[to].endpoint.counters()), before + 1, "bit {bit}");
                altered += 1;
            }
        }
        pair.deliver(to, path, &datagram);
    }
    assert!(altered > 1_000);
    pair.assert_up();
}

/// Alters a first message on its way as who sits between the ends would.
fn meddle(datagram: &[u8], mut change: impl FnMut(&mut Payload)) -> Vec<u8> {
    let mut message = Message::parse(datagram).unwrap();
    message.payloads.iter_mut().for_each(&mut change);
    message.emit().unwrap()
}

fn strip(payload: &mut Payload) {
    if let Payload::SecurityAssociation(proposals) = payload {
        proposals.iter_mut().for_each(|p| p.transforms.retain(|t| t.kind < TransformType::ADDKE1));
        proposals.truncate(1);
    }
}

#[test]
fn an_offer_from_which_the_additional_key_exchange_is_taken_out_is_refused() {
    let mut pair = pair("mlkem768");
    let (to, path, datagram) = pair.wire.remove(0);
    pair.deliver(to, path, &meddle(&datagram, strip));
    assert_eq!((pair.nodes[1].endpoint.counters().refused, pair.nodes[1].endpoint.sa_count()), (1, 0));
    pair.drive(|_| 1);
    let told: Vec<_> = pair.nodes[0].told.iter().map(ToString::to_string).collect();
    let wanted = "NO_PROPOSAL_CHOSEN; we demand an additional key exchange: mlkem768 (additional-key-exchange of profile default)";
    assert!(told.len() == 1 && told[0].ends_with(wanted), "{told:?}");
    survives(pair);
}

/// Whoever meddles with one message does not end the attempt: it is sent again, and the right answer counts.
fn survives(mut pair: Pair) {
    assert!(pair.nodes[0].down.is_empty());
    pair.wait(Duration::from_secs(1));
    pair.drive(|_| 1);
    pair.assert_up();
    assert_eq!(key_exchanges(&pair), ["x25519+mlkem768", "x25519+mlkem768"]);
}

#[test]
fn an_answer_from_which_the_additional_key_exchange_is_taken_out_is_refused_by_name() {
    let mut pair = pair("mlkem768");
    let (to, path, datagram) = pair.wire.remove(0);
    pair.deliver(to, path, &datagram);
    let (to, path, datagram) = pair.wire.remove(0);
    pair.deliver(to, path, &meddle(&datagram, strip));
    let told: Vec<_> = pair.nodes[0].told.iter().map(ToString::to_string).collect();
    assert!(told[0].contains("without the additional key exchange that is demanded: mlkem768"), "{told:?}");
    assert!(pair.wire.is_empty(), "no proof is sent");
    survives(pair);
}

#[test]
fn an_announcement_that_is_taken_out_of_either_message_weakens_nothing() {
    for hit in 0..2 {
        let mut pair = pair("mlkem768");
        for n in 0..=hit {
            let (to, path, mut datagram) = pair.wire.remove(0);
            if n == hit {
                let mut message = Message::parse(&datagram).unwrap();
                let announces = |p: &Payload| matches!(p, Payload::Notify(n) if n.notify_type == NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED);
                let bare = Payload::Notify(Notify::new(NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED, vec![]));
                assert!(message.payloads.contains(&bare), "it has neither protocol nor SPI nor data");
                message.payloads.retain(|p| !announces(p));
                datagram = message.emit().unwrap();
            }
            pair.deliver(to, path, &datagram);
        }
        pair.drive(|_| 1);
        assert_eq!((pair.nodes[0].told.len(), pair.nodes[0].up, pair.nodes[1].up), (1, 0, 0), "message {hit}");
        survives(pair);
    }
}

#[test]
fn a_downgrade_that_both_ends_would_allow_breaks_the_proof() {
    let mut pair = pair("mlkem768 none");
    let (to, path, datagram) = pair.wire.remove(0);
    pair.deliver(
        to,
        path,
        &meddle(&datagram, |payload| {
            if let Payload::SecurityAssociation(proposals) = payload {
                proposals.retain(|p| p.transforms.iter().all(|t| t.kind < TransformType::ADDKE1));
            }
        }),
    );
    pair.drive(|_| 1);
    assert_eq!((pair.nodes[0].up, pair.nodes[1].up), (0, 0));
    assert_eq!(pair.nodes[0].down, [DownReason::Refused("AUTHENTICATION_FAILED".to_owned())]);
}

#[test]
fn a_peer_without_additional_key_exchanges_is_accepted_where_the_profile_says_so() {
    for (left, right) in [("mlkem768 none", "none"), ("none", "mlkem768 none")] {
        let mut pair = Pair::with_peers([with(0, left), with(1, right)]);
        pair.drive(|_| 1);
        pair.assert_up();
        assert_eq!(key_exchanges(&pair), ["x25519", "x25519"]);
    }
    for (left, right) in [("mlkem768", "none"), ("none", "mlkem768")] {
        let mut pair = Pair::with_peers([with(0, left), with(1, right)]);
        pair.drive(|_| 1);
        for _ in 0..45 {
            pair.wait(Duration::from_secs(1));
            pair.drive(|_| 1);
        }
        assert_eq!((pair.nodes[0].up, pair.nodes[1].up), (0, 0), "{left} with {right}");
        let refused = |r: &DownReason| matches!(r, DownReason::Refused(why) if why.starts_with("NO_PROPOSAL_CHOSEN"));
        assert!(pair.nodes[0].down.iter().any(refused), "{:?}", pair.nodes[0].down);
    }
}

#[test]
fn another_first_method_and_a_cookie_go_before_the_additional_ones() {
    let mut peers = [with(0, "mlkem768, mlkem1024"), with(1, "mlkem768, mlkem1024")];
    peers[0].profile.key_exchange = vec![KeyExchange::X25519, KeyExchange::P384];
    peers[1].profile.key_exchange = vec![KeyExchange::P384];
    let mut pair = Pair::with_peers(peers);
    let (_, path, first) = pair.wire[0].clone();
    // So many half-open SAs that a cookie is demanded of whoever comes next.
    let p384 = espalier_crypto::KeyShare::generate(KeyExchange::P384).unwrap();
    let flood = meddle(&first, |payload| {
        if let Payload::KeyExchange(ke) = payload {
            *ke = KeyExchangeData { method: 20, data: p384.public().to_vec() };
        }
    });
    for number in 1..=100_u64 {
        let mut copy = flood.clone();
        copy[..8].copy_from_slice(&number.to_be_bytes());
        let path = UdpPath { local: "192.0.2.77:500".parse().unwrap(), ..path };
        pair.deliver(1, path, &copy);
    }
    assert_eq!(pair.nodes[1].endpoint.sa_count(), 100);
    pair.wire.truncate(1);
    let mut answers = Vec::new();
    while !pair.wire.is_empty() {
        let (to, path, datagram) = pair.wire.remove(0);
        if to == 0 && kind(&datagram) == ExchangeType::IKE_SA_INIT {
            answers.extend(notifies(&Message::parse(&datagram).unwrap().payloads).first().copied());
        }
        pair.deliver(to, path, &datagram);
    }
    assert_eq!(answers[..2], [NotifyType::COOKIE, NotifyType::INVALID_KE_PAYLOAD]);
    pair.assert_up();
    assert_eq!(key_exchanges(&pair)[0], "x25519+mlkem768+mlkem1024".replace("x25519", "p384"));
}

#[test]
fn a_half_open_sa_with_additional_key_exchanges_does_not_live_longer() {
    let mut pair = pair("mlkem768, mlkem1024");
    drive_to(&mut pair, ExchangeType::IKE_INTERMEDIATE);
    let started = pair.now.instant;
    pair.now.instant += Duration::from_secs(25);
    while kind(&pair.wire[0].2) == ExchangeType::IKE_INTERMEDIATE {
        let (to, path, datagram) = pair.wire.remove(0);
        pair.deliver(to, path, &datagram);
    }
    pair.now.instant = started + Duration::from_secs(31);
    pair.nodes[1].endpoint.handle_timeout(pair.now);
    let (to, path, proof) = pair.wire.remove(0);
    assert_eq!(kind(&proof), ExchangeType::IKE_AUTH);
    pair.deliver(to, path, &proof);
    assert_eq!(pair.nodes[1].endpoint.counters().unknown_spi, 1, "it ends as early as without");
}

#[test]
fn a_proof_that_comes_before_all_key_exchanges_is_not_taken() {
    let mut pair = pair("p384, p521");
    drive_to(&mut pair, ExchangeType::IKE_INTERMEDIATE);
    let (to, path, request) = pair.wire.remove(0);
    let mut early = request.clone();
    early[18] = ExchangeType::IKE_AUTH.0;
    pair.deliver(to, path, &early);
    assert_eq!((pair.nodes[1].endpoint.counters().unexpected, pair.wire.len()), (1, 0));
    pair.deliver(to, path, &request);
    pair.drive(|_| 1);
    pair.assert_up();
}
