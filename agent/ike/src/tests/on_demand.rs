//! Child SAs that are made for the first packet, and IKE SAs that wait for the first of them.

use espalier_model::identity::Name;
use espalier_model::profile::{Activation, Encap};
use espalier_model::sa::SaEvent;
use espalier_model::selector::Flow;

use super::*;
use crate::wire::{ExchangeType, Header};

const MINUTE: Duration = Duration::from_secs(60);

/// A peer whose rules are all on demand.
fn lazy(side: usize) -> PeerConfig {
    let mut peer = peer(side, psk("secret"));
    peer.children[0].profile.activation = Activation::OnDemand;
    peer
}

/// The same with an eager rule for other traffic besides.
fn both(side: usize) -> PeerConfig {
    let mut peer = lazy(side);
    let net = |side| {
        let net = format!("10.1.{side}.0/24").parse().unwrap();
        vec![TrafficSelector::from_net(Protocol::Any, PortRange::ANY, net)]
    };
    let child =
        ChildConfig { rule: "eager".parse().unwrap(), local: net(side), remote: net(1 - side), profile: profile() };
    peer.children.push(child);
    peer
}

fn net() -> Name {
    "net".parse().unwrap()
}

impl Pair {
    /// Has a packet at one end ask for the SA of a rule.
    fn ask_for(&mut self, side: usize, rule: &str) {
        let address = |side| format!("10.0.{side}.1").parse().unwrap();
        let flow = Flow { source: address(side), destination: address(1 - side), protocol: 1, ports: None };
        let event = SaEvent::Acquire { rule: rule.parse().unwrap(), flow };
        self.nodes[side].endpoint.handle_event(self.now, &event);
        self.collect();
    }

    /// Lets time pass, second by second, with all that is sent.
    fn pass(&mut self, time: Duration) {
        for _ in 0..time.as_secs() {
            self.wait(Duration::from_secs(1));
            self.drive(|_| 1);
        }
    }

    /// Returns the rules that have a child SA at both ends.
    fn rules(&self) -> Vec<String> {
        let rules = self.nodes.each_ref().map(|node| {
            let mut rules: Vec<_> = node.endpoint.status().iter().flat_map(|sa| sa.children.clone()).collect();
            rules.sort_by(|a, b| a.rule.cmp(&b.rule));
            rules.iter().map(|child| child.rule.to_string()).collect::<Vec<_>>()
        });
        assert_eq!(rules[0], rules[1]);
        rules[0].clone()
    }
}

#[test]
fn nothing_is_sent_before_a_packet_asks_and_then_by_whichever_end_has_it() {
    for side in 0..2 {
        let mut pair = Pair::with_peers([lazy(0), lazy(1)]);
        for _ in 0..10 {
            assert!(pair.nodes.iter().all(|node| node.endpoint.next_timeout().is_none()) && pair.wire.is_empty());
            pair.wait(MINUTE);
        }
        pair.ask_for(side, "net");
        pair.ask_for(side, "net");
        assert!(pair.nodes[side].endpoint.is_wanted(pair.now, &net()));
        let mut messages = 0;
        pair.drive(|_| {
            messages += 1;
            1
        });
        pair.assert_up();
        assert_eq!(messages, 4, "IKE_SA_INIT and IKE_AUTH, with the child");
        assert!(pair.nodes.iter().all(|node| !node.endpoint.is_wanted(pair.now, &net())));
    }
}

#[test]
fn both_ends_that_ask_at_once_get_one_sa() {
    let mut pair = Pair::with_peers([lazy(0), lazy(1)]);
    for side in 0..2 {
        pair.ask_for(side, "net");
    }
    pair.drive(|_| 1);
    pair.pass(5 * MINUTE);
    assert_eq!(pair.rules(), ["net"]);
    assert!(pair.nodes.iter().all(|node| node.endpoint.sa_count() == 1 && node.endpoint.status().len() == 1));
}

#[test]
fn ends_that_ask_at_once_for_different_rules_get_both() {
    let other = |side| {
        let mut peer = both(side);
        peer.children[1].profile.activation = Activation::OnDemand;
        peer
    };
    let mut pair = Pair::with_peers([other(0), other(1)]);
    assert!(pair.wire.is_empty());
    pair.ask_for(0, "net");
    pair.ask_for(1, "eager");
    pair.drive(|_| 1);
    pair.pass(MINUTE);
    assert_eq!(pair.rules(), ["eager", "net"]);
}

#[test]
fn a_rule_on_demand_comes_into_the_ike_sa_that_stands_for_others() {
    for side in 0..2 {
        let mut pair = Pair::with_peers([both(0), both(1)]);
        pair.drive(|_| 1);
        pair.pass(MINUTE);
        assert_eq!(pair.rules(), ["eager"]);
        let spis = pair.nodes[0].endpoint.status()[0].spis;
        pair.ask_for(side, "net");
        let (_, _, datagram) = &pair.wire[0];
        assert_eq!(Header::parse(datagram).unwrap().0.exchange, ExchangeType::CREATE_CHILD_SA, "at once");
        pair.drive(|_| 1);
        assert_eq!(pair.rules(), ["eager", "net"]);
        assert_eq!(pair.nodes[0].endpoint.status()[0].spis, spis);
        assert!(pair.nodes.iter().all(|node| node.up == 1));
    }
}

#[test]
fn a_child_that_is_lost_waits_for_the_next_packet() {
    let mut pair = Pair::with_peers([lazy(0), lazy(1)]);
    for turn in 0..4 {
        pair.ask_for(turn % 2, "net");
        pair.drive(|_| 1);
        assert_eq!(pair.rules(), ["net"]);
        let child = pair.nodes[turn / 2].endpoint.status()[0].children[0].id;
        pair.nodes[turn / 2].endpoint.handle_event(pair.now, &SaEvent::Hard(child));
        pair.collect();
        pair.drive(|_| 1);
        assert_eq!(pair.rules(), [""; 0]);
        pair.pass(2 * MINUTE);
        assert_eq!(pair.rules(), [""; 0]);
    }
    assert!(pair.nodes.iter().all(|node| node.up == 1 && node.down.is_empty()), "the IKE SA stays");
}

#[test]
fn an_ike_sa_that_is_lost_waits_too() {
    let mut pair = Pair::with_peers([lazy(0), lazy(1)]);
    pair.ask_for(0, "net");
    pair.drive(|_| 1);
    for _ in 0..300 {
        pair.wait(Duration::from_secs(1));
        pair.wire.clear();
    }
    assert!(pair.nodes.iter().all(|node| node.down == [DownReason::NoAnswer] && node.endpoint.sa_count() == 0));
    pair.pass(5 * MINUTE);
    assert!(pair.nodes.iter().all(|node| node.up == 1 && node.endpoint.next_timeout().is_none()));
    pair.ask_for(1, "net");
    pair.drive(|_| 1);
    assert_eq!(pair.rules(), ["net"]);
}

#[test]
fn a_peer_that_does_not_answer_is_called_again_and_not_for_ever() {
    let mut pair = Pair::with_peers([lazy(0), lazy(1)]);
    pair.ask_for(1, "net");
    let mut sent = 0;
    for second in 0..1_200 {
        if second < 200 {
            pair.ask_for(1, "net");
        }
        pair.wait(Duration::from_secs(1));
        sent += pair.wire.len();
        pair.wire.clear();
    }
    let attempts = pair.nodes[1].down.len();
    assert!((3..40).contains(&attempts) && sent < 200, "{attempts} attempts, {sent} messages");
    assert!(pair.nodes[1].endpoint.next_timeout().is_none() && pair.nodes[1].endpoint.sa_count() == 0);
    pair.ask_for(1, "net");
    pair.drive(|_| 1);
    assert_eq!(pair.rules(), ["net"]);
}

#[test]
fn a_rule_that_the_peer_refuses_is_asked_for_more_and_more_rarely_and_not_for_ever() {
    let mut left = lazy(0);
    left.children[0].remote = selectors(7);
    let mut pair = Pair::with_peers([left, lazy(1)]);
    for _ in 0..100 {
        pair.ask_for(0, "net");
        pair.pass(Duration::from_secs(1));
    }
    let refused = pair.nodes[0].refused.len();
    assert!((4..15).contains(&refused), "{refused}");
    pair.pass(2 * MINUTE);
    let before = pair.nodes[0].refused.len();
    pair.pass(10 * MINUTE);
    assert_eq!(pair.nodes[0].refused.len(), before);
}

#[test]
fn what_is_up_stays_up_through_every_replacement() {
    let mut pair = Pair::with_peers([lazy(0), lazy(1)]);
    pair.ask_for(1, "net");
    pair.drive(|_| 1);
    let of = |pair: &Pair| {
        let sa = pair.nodes[0].endpoint.status().remove(0);
        (sa.spis, sa.children[0].inbound)
    };
    let mut seen = vec![of(&pair)];
    let changes: [&dyn Fn(&mut PeerConfig); 2] =
        [&|peer| peer.key_epoch = 1, &|peer| (peer.key_epoch, peer.profile.encap) = (1, Encap::Auto)];
    for change in changes {
        pair.configure([0, 1].map(|side| {
            let mut peer = lazy(side);
            change(&mut peer);
            peer
        }));
        pair.pass(MINUTE);
        assert_eq!(pair.rules(), ["net"]);
        let now = of(&pair);
        assert!(seen.iter().all(|(spis, inbound)| *spis != now.0 && *inbound != now.1), "{seen:?}");
        seen.push(now);
    }
    pair.pass(70 * MINUTE);
    assert_eq!(pair.rules(), ["net"]);
    assert!(seen.iter().all(|(_, inbound)| *inbound != of(&pair).1), "replaced in its time");
    assert!(pair.nodes.iter().all(|node| node.down.is_empty()));
}

#[test]
fn packets_ask_for_nothing_but_rules_on_demand() {
    let mut pair = Pair::with_peers([lazy(0), lazy(1)]);
    pair.ask_for(0, "other");
    assert!(pair.wire.is_empty() && pair.nodes[0].endpoint.next_timeout().is_none());
    let mut pair = Pair::with_peers([peer(0, psk("secret")), peer(1, psk("secret"))]);
    pair.wire.clear();
    pair.ask_for(1, "net");
    assert!(pair.wire.is_empty(), "the other end leads");
}

#[test]
fn a_rule_that_becomes_eager_is_made_and_one_that_becomes_lazy_stays() {
    let mut pair = Pair::with_peers([lazy(0), lazy(1)]);
    pair.configure([0, 1].map(|side| peer(side, psk("secret"))));
    pair.pass(Duration::from_secs(10));
    assert_eq!(pair.rules(), ["net"]);
    let inbound = pair.nodes[0].endpoint.status()[0].children[0].inbound;
    pair.configure([lazy(0), lazy(1)]);
    pair.pass(MINUTE);
    assert_eq!(pair.rules(), ["net"]);
    assert_eq!(pair.nodes[0].endpoint.status()[0].children[0].inbound, inbound);
}
