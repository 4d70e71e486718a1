//! IKE SAs that are set up without a child SA (RFC 6023).

use super::*;
use crate::wire::{ExchangeType, Header, Message, NotifyType, Payload};

/// Delivers until the wire is empty; returns the exchanges of all messages, requests and responses, in order.
fn exchanges(pair: &mut Pair) -> Vec<ExchangeType> {
    let mut seen = Vec::new();
    while !pair.wire.is_empty() {
        let (to, path, datagram) = pair.wire.remove(0);
        seen.push(Header::parse(&datagram).unwrap().0.exchange);
        pair.deliver(to, path, &datagram);
        assert!(seen.len() < 100, "the endpoints never become quiet");
    }
    seen
}

#[test]
fn an_end_whose_profile_says_so_makes_the_child_afterwards() {
    let mut left = peer(0, psk("secret"));
    left.profile.childless = true;
    let mut pair = Pair::with_peers([left, peer(1, psk("secret"))]);
    let seen = exchanges(&mut pair);
    let [init, auth, create] = [ExchangeType::IKE_SA_INIT, ExchangeType::IKE_AUTH, ExchangeType::CREATE_CHILD_SA];
    assert_eq!(seen, [init, init, auth, auth, create, create]);
    pair.assert_up();
}

#[test]
fn without_a_rule_the_ike_sa_stands_and_the_child_comes_with_the_rule() {
    let mut peers = [0, 1].map(|side| peer(side, psk("secret")));
    let children = peers.clone().map(|peer| peer.children);
    peers.iter_mut().for_each(|peer| peer.children.clear());
    let mut pair = Pair::with_peers(peers.clone());
    pair.drive(|_| 1);
    let [left, right] = &pair.nodes;
    assert_eq!((left.up, right.up, left.inbound.len(), right.inbound.len()), (1, 1, 0, 0));
    let spis = left.endpoint.status()[0].spis;
    for (peer, children) in peers.iter_mut().zip(children) {
        peer.children = children;
    }
    pair.configure(peers);
    pair.drive(|_| 1);
    pair.assert_up();
    assert_eq!(pair.nodes[0].endpoint.status()[0].spis, spis, "on the same IKE SA");
}

/// Takes the announcement out of the response; nothing has proven it before AUTH, which covers it.
fn silenced(datagram: &[u8]) -> Vec<u8> {
    let mut message = Message::parse(datagram).unwrap();
    let announces =
        |p: &Payload| matches!(p, Payload::Notify(n) if n.notify_type == NotifyType::CHILDLESS_IKEV2_SUPPORTED);
    assert_eq!(message.payloads.iter().filter(|p| announces(p)).count(), 1, "the responder announces it, once");
    message.payloads.retain(|p| !announces(p));
    message.emit().unwrap()
}

#[test]
fn a_peer_that_does_not_announce_it_is_not_asked_to_do_without_a_child() {
    for rules in [0, 1] {
        let mut left = peer(0, psk("secret"));
        left.profile.childless = true;
        left.children.truncate(rules);
        let mut pair = Pair::with_peers([left, peer(1, psk("secret"))]);
        let (to, path, request) = pair.wire.remove(0);
        pair.deliver(to, path, &request);
        let (to, path, response) = pair.wire.remove(0);
        pair.deliver(to, path, &silenced(&response));
        if rules == 0 {
            let why = "no rule demands a child SA with the peer, and it sets no IKE SA up without one";
            assert_eq!(pair.nodes[0].down, [DownReason::Failed(why.to_owned())]);
            assert!(pair.wire.is_empty(), "no IKE_AUTH request");
        } else {
            // The responder does not know this response, so the proof that covers it does not hold.
            pair.drive(|_| 1);
            assert!(pair.nodes[1].inbound.len() == 1 && pair.nodes[0].up == 0, "the child SA was asked for at once");
        }
    }
}
