//! What counts as a sign of life, what does not, and what a peer's belief in us is worth.

use espalier_model::sa::SaUsage;

use super::roaming::{Forger, Roaming, away, between, home, peers};
use super::*;
use crate::wire::{ExchangeType, Flags, Header, Message, Notify, NotifyType, Payload};

fn at_home() -> Roaming {
    Roaming::up(peers(), [vec![home(0)], vec![home(1)]])
}

fn count(net: &mut Roaming, inbound: u64, outbound: u64) {
    let child = net.pair.nodes[0].outbound.last().unwrap().id;
    let usage = |packets| Some(SaUsage { packets, replayed: 5 * packets, ..SaUsage::default() });
    let now = net.pair.now;
    net.pair.nodes[0].endpoint.handle_usage(now, child, usage(inbound), usage(outbound));
    net.pair.collect();
}

/// Lets seconds pass in which nothing arrives; returns after how many tenths the first end has asked whether the other is there.
fn asked_after(net: &mut Roaming, tenths: u32, mut each: impl FnMut(&mut Roaming)) -> Option<u32> {
    for tenth in 1..=tenths {
        net.pair.wait(Duration::from_millis(100));
        each(net);
        if net.pair.wire.iter().any(|(to, ..)| *to == 1) {
            return Some(tenth);
        }
        net.pair.wire.clear();
    }
    None
}

#[test]
fn a_peer_is_asked_when_packets_leave_and_none_come_back() {
    let mut net = at_home();
    let mut sent = 0;
    let asked = asked_after(&mut net, 600, |net| {
        sent += 1;
        count(net, 0, sent);
    });
    assert!((100..=150).contains(&asked.unwrap()), "{asked:?}");
}

#[test]
fn a_peer_whose_packets_arrive_is_not_asked() {
    let mut net = at_home();
    let mut packets = 0;
    let asked = asked_after(&mut net, 600, |net| {
        packets += 1;
        count(net, packets, packets);
    });
    assert_eq!(asked, None);
}

#[test]
fn an_idle_peer_is_asked_more_rarely() {
    let asked = asked_after(&mut at_home(), 600, |_| {}).unwrap();
    assert!((300..=310).contains(&asked), "{asked}");
}

#[test]
fn replayed_packets_and_messages_are_no_sign_of_life() {
    let mut net = at_home();
    let mut forger = Forger::of(&net, 1);
    let (first, second) = (forger.seal(false, 0, vec![]), forger.seal(false, 1, vec![]));
    for message in [&first, &second] {
        net.pair.nodes[0].endpoint.handle_datagram(net.pair.now, between(home(0), home(1)), message);
    }
    net.pair.collect();
    net.pair.wire.clear();
    // The data plane drops a replayed packet and does not count it; a replayed message is answered, or not at all.
    let mut sent = 0;
    let mut asked = None;
    for tenth in 1..=300 {
        net.pair.wait(Duration::from_millis(100));
        if net.pair.wire.iter().any(|(to, ..)| *to == 1) {
            asked = Some(tenth);
            break;
        }
        sent += 1;
        count(&mut net, 0, sent);
        for message in [&first, &second] {
            net.pair.nodes[0].endpoint.handle_datagram(net.pair.now, between(home(0), home(1)), message);
        }
        net.pair.collect();
        net.pair.wire.clear();
    }
    assert!((100..=150).contains(&asked.unwrap()), "{asked:?}");
}

#[test]
fn packets_from_where_the_peer_should_not_be_are_no_sign_of_life() {
    let mut net = at_home();
    let child = net.pair.nodes[0].outbound[0].id;
    let elsewhere = std::net::SocketAddr::new(away(1), 4500);
    let event = espalier_model::sa::SaEvent::NewSource(child, elsewhere);
    net.pair.nodes[0].endpoint.handle_event(net.pair.now, &event);
    let mut packets = 0;
    let asked = asked_after(&mut net, 600, |net| {
        packets += 1;
        count(net, packets, packets);
    });
    assert!(asked.is_some_and(|tenth| tenth <= 150), "{asked:?}");
}

fn in_the_clear(spis: crate::keymat::IkeSpis, kind: NotifyType, data: Vec<u8>) -> Vec<u8> {
    let header = Header {
        initiator_spi: spis.initiator,
        responder_spi: spis.responder,
        exchange: ExchangeType::INFORMATIONAL,
        flags: Flags { initiator: false, response: true },
        message_id: 2,
    };
    Message { header, payloads: vec![Payload::Notify(Notify::new(kind, data))] }.emit().unwrap()
}

#[test]
fn a_hint_in_the_clear_asks_for_a_sign_of_life_at_most_and_not_often() {
    let mut net = at_home();
    let status = net.pair.nodes[0].endpoint.status().remove(0);
    let outbound = net.pair.nodes[0].outbound[0].transform.esp().unwrap().spi.get().to_be_bytes().to_vec();
    let lost_ike = in_the_clear(status.spis, NotifyType::INVALID_IKE_SPI, vec![]);
    let lost_child = in_the_clear(status.spis, NotifyType::INVALID_SPI, outbound);
    let mut asked = 0;
    for tenth in 0..100 {
        net.pair.wait(Duration::from_millis(100));
        for message in [&lost_ike, &lost_child] {
            let before = total(net.pair.nodes[0].endpoint.counters());
            net.pair.nodes[0].endpoint.handle_datagram(net.pair.now, between(home(0), home(1)), message);
            assert_eq!(total(net.pair.nodes[0].endpoint.counters()), before + 1);
        }
        net.pair.nodes[0].endpoint.handle_unreachable(net.pair.now, between(home(0), home(1)).remote);
        net.pair.collect();
        let requests = net.pair.wire.iter().filter(|(to, ..)| *to == 1).count();
        asked += requests;
        assert!(tenth != 0 || requests == 1, "the first is heeded");
        net.drive();
    }
    assert_eq!(asked, 1, "in ten seconds");
    assert_eq!(net.pair.nodes[0].endpoint.status(), [status], "and nothing else has come of it");
    assert!(net.pair.nodes[0].down.is_empty());
}

#[test]
fn a_hint_from_another_address_or_about_another_sa_is_nothing() {
    let mut net = at_home();
    let spis = net.pair.nodes[0].endpoint.status()[0].spis;
    let other = crate::keymat::IkeSpis { initiator: crate::wire::IkeSpi(1), ..spis };
    let outbound = net.pair.nodes[0].outbound[0].transform.esp().unwrap().spi.get().to_be_bytes().to_vec();
    for (message, from) in [
        (in_the_clear(spis, NotifyType::INVALID_IKE_SPI, vec![]), away(1)),
        (in_the_clear(other, NotifyType::INVALID_IKE_SPI, vec![]), home(1)),
        (in_the_clear(spis, NotifyType::INVALID_SPI, outbound), away(1)),
        (in_the_clear(spis, NotifyType::INVALID_SPI, vec![1, 2, 3, 4]), home(1)),
        (in_the_clear(spis, NotifyType::INVALID_SPI, vec![1]), home(1)),
    ] {
        net.pair.wait(Duration::from_millis(200));
        net.pair.nodes[0].endpoint.handle_datagram(net.pair.now, between(home(0), from), &message);
        net.pair.collect();
        assert!(net.pair.wire.is_empty(), "{from}");
    }
}

#[test]
fn an_initiator_that_is_told_to_prove_itself_sooner_does_so_before_it_must() {
    let mut net = at_home();
    let mut forger = Forger::of(&net, 1);
    let seconds = Notify::new(NotifyType::AUTH_LIFETIME, 40_u32.to_be_bytes().to_vec());
    let message = forger.seal(false, 0, vec![seconds]);
    net.pair.nodes[0].endpoint.handle_datagram(net.pair.now, between(home(0), home(1)), &message);
    net.pair.collect();
    net.pair.wire.clear();
    let before = net.pair.nodes[0].endpoint.status()[0].spis;
    net.run(29);
    assert_eq!(net.pair.nodes[0].endpoint.status()[0].spis, before);
    net.run(3);
    assert_ne!(net.pair.nodes[0].endpoint.status()[0].spis, before, "at three quarters of the time");
    net.assert_whole();
    assert!(net.pair.nodes.iter().all(|n| n.down.is_empty()), "the new one stands before the old one goes");
}

#[test]
fn a_responder_is_not_told_how_long_it_is_believed() {
    let mut net = at_home();
    let mut forger = Forger::of(&net, 0);
    let seconds = Notify::new(NotifyType::AUTH_LIFETIME, 15_u32.to_be_bytes().to_vec());
    let message = forger.seal(false, 2, vec![seconds]);
    let before = net.pair.nodes[1].endpoint.status()[0].spis;
    net.pair.nodes[1].endpoint.handle_datagram(net.pair.now, between(home(1), home(0)), &message);
    net.pair.collect();
    net.pair.wire.clear();
    net.run(20);
    assert_eq!(net.pair.nodes[1].endpoint.status()[0].spis, before);
}

#[test]
fn a_responder_whose_trust_has_gone_tells_so_and_the_initiator_proves_itself_with_what_it_has_got_since() {
    let (old, new) = (Authority::new(), Authority::new());
    let both = || vec![old.der.clone(), new.der.clone()];
    let nodes = [node(0, Some(old.issue(&id(0))), both()), node(1, Some(new.issue(&id(1))), both())];
    let mut pair = Pair::new(nodes);
    pair.configure([peer(0, Auth::Certificate), peer(1, Auth::Certificate)]);
    pair.drive(|_| 1);
    let first = pair.nodes[0].endpoint.status()[0].spis;
    pair.nodes[1].endpoint.set_trust(pair.now, vec![new.der.clone()], BTreeSet::new()).unwrap();
    pair.collect();
    assert!(pair.wire.iter().any(|(to, ..)| *to == 0), "the initiator is told");
    pair.drive(|_| 1);
    assert_eq!(pair.nodes[0].endpoint.status()[0].spis, first, "nothing is cut off");
    // The initiator has its new certificate by now.
    let identity = LocalIdentity { id: id(0), certificate: Some(new.issue(&id(0))) };
    let config = EndpointConfig { identity, trust: both(), revoked: BTreeSet::new(), keylog: false };
    pair.nodes[0].endpoint.set_identity(pair.now, config).unwrap();
    pair.collect();
    for _ in 0..90 {
        pair.wait(Duration::from_secs(1));
        pair.drive(|_| 1);
    }
    let status = pair.nodes.each_ref().map(|n| n.endpoint.status());
    assert!(status[0].len() == 1 && status[1].len() == 1 && status[0][0].spis != first);
    assert!(pair.nodes.iter().all(|n| n.down.is_empty()), "{:?} {:?}", pair.nodes[0].down, pair.nodes[1].down);
}

#[test]
fn who_cannot_prove_itself_anew_is_cut_off_when_the_time_is_over() {
    let (old, new) = (Authority::new(), Authority::new());
    let both = || vec![old.der.clone(), new.der.clone()];
    let nodes = [node(0, Some(old.issue(&id(0))), both()), node(1, Some(new.issue(&id(1))), both())];
    let mut pair = Pair::new(nodes);
    pair.configure([peer(0, Auth::Certificate), peer(1, Auth::Certificate)]);
    pair.drive(|_| 1);
    pair.nodes[1].endpoint.set_trust(pair.now, vec![new.der.clone()], BTreeSet::new()).unwrap();
    pair.collect();
    for second in 0..70 {
        pair.drive(|_| 1);
        pair.wait(Duration::from_secs(1));
        assert!(second > 55 || pair.nodes[1].endpoint.status().len() == 1, "after {second} s");
    }
    pair.drive(|_| 1);
    assert!(pair.nodes[1].endpoint.status().is_empty());
}
