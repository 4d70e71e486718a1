//! SAs that move to other addresses (RFC 4555), in both roles, on a wire that loses, repeats and reorders.

use espalier_model::profile::Mobike;

use super::roaming::{Roaming, away, between, home, peers, six};
use super::*;

fn at_home() -> Roaming {
    Roaming::up(peers(), [vec![home(0)], vec![home(1)]])
}

#[test]
fn an_address_of_the_initiator_that_goes_takes_messages_and_packets_of_both_ends_along() {
    let mut net = at_home();
    assert!(net.pair.nodes.iter().all(|n| n.endpoint.status()[0].mobike));
    net.rehome(0, &[away(0)]);
    assert_eq!(net.traffic(0), between(away(0), home(1)), "what sends from nowhere has nothing to wait for");
    net.drive();
    net.assert_whole();
    net.assert_between(away(0), home(1));
    assert_eq!((net.reasons(0), net.reasons(1)), (vec![MoveReason::OursGone], vec![MoveReason::Asked]));
    assert!(net.pair.nodes.iter().all(|n| n.up == 1 && n.down.is_empty() && n.removed.is_empty()));
}

#[test]
fn an_address_of_the_responder_that_goes_is_told_and_the_initiator_moves_both_ends() {
    let mut net = at_home();
    net.rehome(1, &[away(1)]);
    assert_eq!(net.traffic(1), between(away(1), home(0)));
    net.drive();
    net.assert_whole();
    net.assert_between(home(0), away(1));
    assert_eq!((net.reasons(0), net.reasons(1)), (vec![MoveReason::TheirsGone], vec![MoveReason::OursGone]));
}

#[test]
fn both_ends_move_between_ip_versions() {
    let mut planned = peers();
    for (side, peer) in planned.iter_mut().enumerate() {
        peer.endpoints.push(std::net::SocketAddr::new(six(1 - side), 500));
        peer.local.push(six(side));
    }
    let both = |side| vec![home(side), six(side)];
    let mut net = Roaming::up(planned, [both(0), both(1)]);
    net.rehome(0, &[six(0)]);
    net.drive();
    net.assert_between(six(0), six(1));
    net.rehome(0, &both(0));
    net.rehome(1, &[home(1)]);
    net.run(3);
    net.assert_between(home(0), home(1));
    net.assert_whole();
    assert!(net.pair.nodes.iter().all(|n| n.up == 1 && n.down.is_empty()));
}

#[test]
fn every_message_of_a_move_may_be_lost_or_come_twice_or_late() {
    for mover in 0..2 {
        for hit in 0..6 {
            for copies in [0, 2, 3] {
                let mut net = at_home();
                net.rehome(mover, &[away(mover)]);
                net.drive_with(|n| if n == hit { copies } else { 1 });
                net.run(6);
                let (left, right) = if mover == 0 { (away(0), home(1)) } else { (home(0), away(1)) };
                net.assert_between(left, right);
                net.assert_whole();
                assert!(net.pair.nodes.iter().all(|n| n.up == 1), "mover {mover}, message {hit} {copies} times");
            }
        }
    }
}

#[test]
fn a_late_copy_of_an_update_moves_nothing_back() {
    let mut net = at_home();
    net.rehome(0, &[away(0)]);
    let (to, path, update) = net.pair.wire[0].clone();
    net.drive();
    net.rehome(0, &[home(0)]);
    net.drive();
    net.assert_between(home(0), home(1));
    net.homes[0] = vec![home(0), away(0)];
    net.arrive(to, path, &update, 1);
    net.drive();
    net.assert_between(home(0), home(1));
}

#[test]
fn a_move_in_the_middle_of_a_move_ends_where_the_last_one_leads() {
    let mut net = at_home();
    let elsewhere = super::roaming::ip("203.0.113.9");
    for steps in 0..4 {
        net.rehome(0, &[away(0)]);
        for _ in 0..steps {
            if !net.pair.wire.is_empty() {
                net.step();
            }
        }
        net.rehome(0, &[elsewhere]);
        net.run(6);
        net.assert_between(elsewhere, home(1));
        net.rehome(0, &[home(0)]);
        net.run(6);
        net.assert_between(home(0), home(1));
    }
    net.assert_whole();
}

#[test]
fn both_ends_that_move_at_once_find_each_other_at_an_address_that_was_told_before() {
    let both = |side| vec![home(side), away(side)];
    let mut net = Roaming::up(peers(), [both(0), both(1)]);
    net.rehome(0, &[away(0)]);
    net.pair.wire.clear();
    net.rehome(1, &[away(1)]);
    net.pair.wire.clear();
    net.run(15);
    net.assert_between(away(0), away(1));
    net.assert_whole();
    assert!(net.pair.nodes.iter().all(|n| n.up == 1 && n.down.is_empty()));
}

#[test]
fn a_dead_path_is_left_for_one_that_works_without_an_address_having_gone() {
    let both = |side| vec![home(side), away(side)];
    let mut net = Roaming::up(peers(), [both(0), both(1)]);
    net.dead = vec![(home(0), home(1)), (home(0), away(1))];
    let pair = net.pair.nodes[0].outbound[0].id;
    for sent in 1..=300 {
        let usage = espalier_model::sa::SaUsage { packets: sent, ..Default::default() };
        net.pair.nodes[0].endpoint.handle_usage(net.pair.now, pair, Some(Default::default()), Some(usage));
        net.pair.wait(Duration::from_millis(100));
        net.drive();
    }
    assert_eq!(net.traffic(0).local.ip(), away(0));
    assert_eq!(net.reasons(0), [MoveReason::Dead]);
    net.assert_whole();
    assert!(net.pair.nodes.iter().all(|n| n.up == 1 && n.down.is_empty()), "{:?}", net.pair.nodes[0].down);
    let [left, right] = [0, 1].map(|side| net.traffic(side));
    assert_eq!((left.local, left.remote), (right.remote, right.local));
}

#[test]
fn a_wished_address_that_comes_back_is_used_again_once_the_peer_has_answered_there() {
    let mut net = at_home();
    net.rehome(0, &[away(0)]);
    net.drive();
    net.rehome(0, &[away(0), home(0)]);
    assert_eq!(net.traffic(0), between(away(0), home(1)), "packets wait: the address in use still works");
    net.drive();
    net.assert_between(home(0), home(1));
    assert_eq!(net.reasons(0), [MoveReason::OursGone, MoveReason::Better]);
}

#[test]
fn a_better_address_that_does_not_reach_the_peer_is_given_up_again() {
    let mut net = at_home();
    net.rehome(0, &[away(0)]);
    net.drive();
    net.dead = vec![(home(0), home(1))];
    net.rehome(0, &[away(0), home(0)]);
    net.run(20);
    net.assert_between(away(0), home(1));
    net.assert_whole();
    assert_eq!(net.reasons(0), [MoveReason::OursGone], "packets have never left the path that works");
}

#[test]
fn a_node_without_any_address_waits_for_one() {
    let mut net = at_home();
    net.rehome(0, &[]);
    net.run(5);
    net.rehome(0, &[away(0)]);
    net.drive();
    net.assert_between(away(0), home(1));
    assert!(net.pair.nodes.iter().all(|n| n.up == 1 && n.down.is_empty()));
}

#[test]
fn a_move_while_a_rekey_is_under_way_loses_neither() {
    for (mover, rekeys) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        for lost in 0..4 {
            let mut fast = peers();
            for (side, peer) in fast.iter_mut().enumerate() {
                let seconds = if side == rekeys { 20 } else { 10_000 };
                (peer.profile.ike_rekey_seconds, peer.children[0].profile.child_rekey_seconds) = (seconds, seconds);
            }
            let mut net = Roaming::new(fast, [vec![home(0)], vec![home(1)]], None);
            net.drive();
            while net.pair.wire.is_empty() {
                net.pair.wait(Duration::from_millis(100));
            }
            for _ in 0..lost {
                if !net.pair.wire.is_empty() {
                    net.step();
                }
            }
            net.rehome(mover, &[away(mover)]);
            net.run(12);
            let (left, right) = if mover == 0 { (away(0), home(1)) } else { (home(0), away(1)) };
            net.assert_between(left, right);
            net.assert_whole();
            assert!(net.pair.nodes.iter().all(|n| n.down.is_empty()), "mover {mover}, rekey by {rekeys}, {lost} steps");
        }
    }
}

#[test]
fn who_leads_stays_the_same_when_the_other_end_rekeys() {
    let mut fast = peers();
    fast[1].profile.ike_rekey_seconds = 12;
    let mut net = Roaming::up(fast, [vec![home(0)], vec![home(1)]]);
    net.run(18);
    assert!(net.pair.nodes[1].endpoint.status()[0].initiator, "the other end has rekeyed");
    net.rehome(0, &[away(0)]);
    net.drive();
    net.assert_between(away(0), home(1));
    assert_eq!((net.reasons(0), net.reasons(1)), (vec![MoveReason::OursGone], vec![MoveReason::Asked]));
    net.rehome(1, &[away(1)]);
    net.drive();
    net.assert_between(away(0), away(1));
}

#[test]
fn one_end_that_is_told_not_to_move_keeps_both_from_it() {
    for off in 0..2 {
        let mut some = peers();
        some[off].profile.mobike = Mobike::Off;
        let mut net = Roaming::up(some, [vec![home(0)], vec![home(1)]]);
        assert!(net.pair.nodes.iter().all(|n| !n.endpoint.status()[0].mobike));
        // Then any authentic message shows the new address, as behind a NAT.
        net.rehome(0, &[away(0)]);
        net.drive();
        net.assert_between(away(0), home(1));
        assert_eq!(net.reasons(1), [MoveReason::TheirMapping]);
    }
}

#[test]
fn an_attempt_whose_address_goes_starts_anew_from_another() {
    for steps in 0..4 {
        let mut net = Roaming::new(peers(), [vec![home(0)], vec![home(1)]], None);
        for _ in 0..steps {
            net.step();
        }
        net.rehome(0, &[away(0)]);
        net.run(10);
        net.assert_whole();
        net.assert_between(away(0), home(1));
    }
}
