//! Routers that translate, and change their minds (RFC 7296 §2.23, RFC 4555 §3.8).

use std::net::SocketAddr;

use espalier_model::profile::Mobike;
use espalier_model::sa::{SaEvent, SaUsage};

use super::roaming::{Forger, Roaming, Router, away, between, home, identity, ip, peers};
use super::*;

const OUTER: &str = "203.0.113.1";

fn router(shift: u16) -> Router {
    Router { inner: ip("10.7.0.2"), outer: ip(OUTER), shift }
}

fn behind(peers: [PeerConfig; 2]) -> Roaming {
    let router = router(1_000);
    let mut net = Roaming::new(peers, [vec![router.inner], vec![home(1)]], Some(router));
    net.drive();
    net.assert_whole();
    net
}

fn without_mobike() -> [PeerConfig; 2] {
    let mut some = peers();
    some.iter_mut().for_each(|peer| peer.profile.mobike = Mobike::Off);
    some
}

fn outer(port: u16) -> SocketAddr {
    SocketAddr::new(ip(OUTER), port)
}

/// Reports packets from another address to the second end.
fn packet_from(net: &mut Roaming, remote: SocketAddr) {
    let child = net.pair.nodes[1].outbound.last().unwrap().id;
    let now = net.pair.now;
    net.pair.nodes[1].endpoint.handle_event(now, &SaEvent::NewSource(child, remote));
    net.pair.collect();
}

fn count(net: &mut Roaming, side: usize, inbound: u64, outbound: u64) {
    let child = net.pair.nodes[side].outbound.last().unwrap().id;
    let packets = |packets| Some(SaUsage { packets, ..SaUsage::default() });
    let now = net.pair.now;
    net.pair.nodes[side].endpoint.handle_usage(now, child, packets(inbound), packets(outbound));
    net.pair.collect();
}

#[test]
fn both_ends_know_on_which_side_the_router_is() {
    let net = behind(peers());
    let nat = |side: usize| net.pair.nodes[side].endpoint.status()[0].nat;
    assert_eq!((nat(0), nat(1)), (Nat { ours: true, theirs: false }, Nat { ours: false, theirs: true }));
    assert_eq!(net.pair.nodes[1].endpoint.status()[0].path.remote, outer(5_500), "both ports have floated");
    let plain = Roaming::up(peers(), [vec![home(0)], vec![home(1)]]);
    assert!(plain.pair.nodes.iter().all(|n| n.endpoint.status()[0].nat == Nat::default()));
}

#[test]
fn moving_behind_a_router_and_out_again_is_noticed_by_both() {
    let mut net = Roaming::up(peers(), [vec![home(0)], vec![home(1)]]);
    net.router = Some(router(1_000));
    net.rehome(0, &[router(0).inner]);
    net.drive();
    let nat = |net: &Roaming, side: usize| net.pair.nodes[side].endpoint.status()[0].nat;
    assert_eq!((nat(&net, 0).ours, nat(&net, 1).theirs), (true, true));
    assert_eq!(net.traffic(1), UdpPath { local: between(home(1), home(0)).local, remote: outer(5_500) });
    net.run(60);
    assert!(!net.pair.nodes[0].keepalives.is_empty(), "the mapping is kept");
    assert!(net.pair.nodes[1].keepalives.is_empty(), "by the end behind the router alone");
    net.rehome(0, &[home(0)]);
    net.drive();
    assert_eq!((nat(&net, 0), nat(&net, 1)), (Nat::default(), Nat::default()));
    net.assert_between(home(0), home(1));
    net.pair.nodes[0].keepalives.clear();
    net.run(60);
    assert!(net.pair.nodes[0].keepalives.is_empty());
}

#[test]
fn keepalives_are_sent_within_20_seconds_of_silence_and_never_besides_packets() {
    let mut net = behind(peers());
    let mut last = net.pair.now.instant;
    for _ in 0..1_000 {
        net.pair.wait(Duration::from_millis(100));
        // Messages of ours keep the mapping as well.
        if net.pair.wire.iter().any(|(to, ..)| *to == 1) {
            last = net.pair.now.instant;
        }
        net.drive();
        if !std::mem::take(&mut net.pair.nodes[0].keepalives).is_empty() {
            assert!(net.pair.now.instant - last > Duration::from_secs(14), "too soon");
            last = net.pair.now.instant;
        }
        assert!(net.pair.now.instant - last <= Duration::from_millis(20_100), "too late");
    }
    let mut packets = 0;
    for _ in 0..1_000 {
        packets += 1;
        net.pair.wait(Duration::from_millis(100));
        net.drive();
        if !std::mem::take(&mut net.pair.nodes[0].measured).is_empty() {
            count(&mut net, 0, packets, packets);
        }
        if packets > 200 {
            assert!(net.pair.nodes[0].keepalives.is_empty(), "packets keep the mapping");
        } else {
            net.pair.nodes[0].keepalives.clear();
        }
    }
}

#[test]
fn a_changed_mapping_is_found_by_the_end_behind_the_router_and_told() {
    let mut net = behind(peers());
    net.run(35);
    net.router = Some(router(2_000));
    net.run(60);
    assert_eq!(net.pair.nodes[1].endpoint.status()[0].path.remote, outer(6_500));
    assert_eq!(net.traffic(1).remote, outer(6_500));
    assert_eq!(net.reasons(1), [MoveReason::Asked]);
    assert!(net.pair.nodes.iter().all(|n| n.up == 1 && n.down.is_empty()));
}

#[test]
fn packets_that_are_new_and_authentic_are_followed_to_another_port_or_address() {
    for config in [peers(), without_mobike()] {
        let mut net = behind(config);
        packet_from(&mut net, outer(7_777));
        assert_eq!(net.traffic(1).remote, outer(7_777));
        packet_from(&mut net, SocketAddr::new(away(0), 4_500));
        assert_eq!(net.traffic(1).remote, SocketAddr::new(away(0), 4_500));
        assert_eq!(net.reasons(1), [MoveReason::TheirMapping; 2]);
    }
}

#[test]
fn the_end_behind_the_router_follows_nobody() {
    for config in [peers(), without_mobike()] {
        let mut net = behind(config);
        let child = net.pair.nodes[0].outbound.last().unwrap().id;
        let before = net.pair.nodes[0].endpoint.status()[0].path;
        let now = net.pair.now;
        net.pair.nodes[0].endpoint.handle_event(now, &SaEvent::NewSource(child, outer(4_500)));
        let mut forger = Forger::of(&net, 1);
        let message = forger.seal(false, 0, vec![]);
        let seen = UdpPath { remote: outer(4_500), ..before };
        net.pair.nodes[0].endpoint.handle_datagram(now, seen, &message);
        net.pair.collect();
        assert_eq!((net.pair.nodes[0].endpoint.status()[0].path, net.traffic(0)), (before, before));
        assert!(net.pair.nodes[0].moved.is_empty());
    }
}

#[test]
fn without_a_router_packets_from_elsewhere_move_nothing_where_an_update_would_say_so() {
    let mut net = Roaming::up(peers(), [vec![home(0)], vec![home(1)]]);
    packet_from(&mut net, SocketAddr::new(away(0), 4_500));
    assert_eq!(net.traffic(1), between(home(1), home(0)));
    assert!(net.pair.nodes[1].moved.is_empty());
}

#[test]
fn packets_of_a_pair_that_is_given_up_move_nothing() {
    let mut net = behind(without_mobike());
    let old = net.pair.nodes[1].outbound[0].id;
    let mut rekeyed = without_mobike();
    rekeyed.iter_mut().for_each(|peer| peer.key_epoch = 1);
    net.pair.configure(rekeyed);
    net.drive();
    net.run(5);
    let before = net.traffic(1);
    assert_ne!(net.pair.nodes[1].outbound.last().unwrap().id, old);
    let now = net.pair.now;
    net.pair.nodes[1].endpoint.handle_event(now, &SaEvent::NewSource(old, outer(9_999)));
    net.pair.collect();
    assert_eq!(net.traffic(1), before);
    assert!(net.pair.nodes[1].moved.is_empty());
}

#[test]
fn a_replayed_message_from_elsewhere_moves_nothing() {
    for config in [peers(), without_mobike()] {
        let mut net = behind(config);
        let before = net.pair.nodes[1].endpoint.status()[0].path;
        let mut forger = Forger::of(&net, 0);
        let first = forger.seal(false, 2, vec![]);
        let second = forger.seal(false, 3, vec![]);
        for message in [&first, &second] {
            net.pair.nodes[1].endpoint.handle_datagram(net.pair.now, before, message);
        }
        for message in [&first, &second] {
            let seen = UdpPath { remote: outer(1_234), ..before };
            net.pair.nodes[1].endpoint.handle_datagram(net.pair.now, seen, message);
        }
        net.pair.collect();
        assert_eq!((net.pair.nodes[1].endpoint.status()[0].path, net.traffic(1)), (before, before));
        assert!(net.pair.nodes[1].moved.is_empty());
    }
}

#[test]
fn a_new_authentic_message_moves_a_peer_without_mobike_and_no_other() {
    for (config, moves) in [(without_mobike(), true), (peers(), false)] {
        let mut net = behind(config);
        let before = net.pair.nodes[1].endpoint.status()[0].path;
        let seen = UdpPath { remote: outer(1_234), ..before };
        let message = Forger::of(&net, 0).seal(false, 2, vec![]);
        net.pair.nodes[1].endpoint.handle_datagram(net.pair.now, seen, &message);
        net.pair.collect();
        assert_eq!(net.traffic(1) == seen, moves);
        let answered = net.pair.wire.last().unwrap().1;
        assert_eq!(answered, seen, "the answer goes back to where the question came from");
    }
}

#[test]
fn a_peer_behind_a_router_is_called_anew_where_its_sa_says() {
    let root = Authority::new();
    let certified = [0, 1].map(|side| peer(side, Auth::Certificate));
    let homes = [vec![router(0).inner], vec![home(1)]];
    let mut net = Roaming::certified(certified, homes, Some(router(1_000)), Some(&root));
    net.drive();
    net.assert_whole();
    // With a new certificate this end proves itself anew, to a peer that only the router reaches.
    net.pair.nodes[1].endpoint.set_identity(net.pair.now, identity(1, Some(&root))).unwrap();
    net.pair.wait(Duration::from_millis(10));
    let (to, path, _) = net.pair.wire[0].clone();
    assert_eq!((to, path.local.port(), path.remote), (0, 4_500, outer(5_500)), "from port 4500 directly");
    net.drive();
    net.run(5);
    net.assert_whole();
    assert!(net.pair.nodes[1].endpoint.status()[0].initiator);
    assert_eq!(net.traffic(1).remote, outer(5_500));
    assert_eq!(net.traffic(0).local.port(), 4_500);
}
