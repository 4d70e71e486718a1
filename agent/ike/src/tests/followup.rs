//! Additional key exchanges of child SAs and of successors (RFC 9370 §2.2.4), with everything that may cross.

use espalier_model::sa::SaEvent;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::hybrid::{kind, pair, with};
use super::*;
use crate::wire::{ExchangeType, Header};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Child,
    Ike,
}

const ROUNDS: [&str; 3] = ["mlkem768", "mlkem768, p384", "p384, mlkem1024, mlkem768"];

fn standing(additional: &str) -> Pair {
    let mut pair = pair(additional);
    pair.drive(|_| 1);
    pair.assert_up();
    pair
}

/// Has an end replace what it holds.
fn replace(pair: &mut Pair, side: usize, what: What, additional: &str) {
    match what {
        What::Child => {
            let id = pair.nodes[side].endpoint.status()[0].children[0].id;
            pair.nodes[side].endpoint.handle_event(pair.now, &SaEvent::Soft(id));
        }
        What::Ike => {
            let mut changed = with(side, additional);
            // Another preference in an algorithm calls for another SA.
            changed.profile.prf.reverse();
            pair.nodes[side].endpoint.configure(pair.now, vec![changed]);
            pair.nodes[side].endpoint.handle_timeout(pair.now);
        }
    }
    pair.collect();
}

/// Lets all come to rest. Each end is woken when it wants to be: two that always act in the same instant would always collide.
fn settle(pair: &mut Pair) {
    let end = pair.now.instant + Duration::from_secs(230);
    loop {
        pair.drive(|_| 1);
        let due = |side: usize| pair.nodes[side].endpoint.next_timeout().map(|(at, _)| (at, side));
        let Some((at, side)) = [0, 1].into_iter().filter_map(due).min().filter(|(at, _)| *at < end) else { break };
        pair.now.instant = pair.now.instant.max(at);
        pair.nodes[side].endpoint.handle_timeout(pair.now);
        pair.collect();
    }
    pair.now.instant = end;
}

/// Both ends hold one IKE SA and one child SA pair with equal keys, and nothing was down in between.
fn assert_whole(pair: &Pair, what: &str) {
    let [left, right] = &pair.nodes;
    assert!(left.down.is_empty() && right.down.is_empty(), "{what}: {:?} {:?}", left.down, right.down);
    let (a, b) = (left.endpoint.status(), right.endpoint.status());
    assert_eq!((a.len(), b.len(), a[0].spis), (1, 1, b[0].spis), "{what}");
    assert_eq!((left.endpoint.sa_count(), right.endpoint.sa_count()), (1, 1), "{what}: nothing is left over");
    assert_eq!((a[0].children.len(), b[0].children.len()), (1, 1), "{what}");
    for (sends, receives) in [(left, right), (right, left)] {
        let used = sends.outbound.last().unwrap().transform.esp().unwrap();
        let status = &sends.endpoint.status()[0].children[0];
        assert_eq!(used.spi, status.outbound, "{what}: the pair that stands is the one in use");
        let into = receives.inbound.iter().filter_map(|sa| sa.transform.esp()).find(|sa| sa.spi == used.spi).unwrap();
        assert!(into.keymat == used.keymat, "{what}: keys");
    }
}

fn is_followup_request(datagram: &[u8]) -> bool {
    let header = Header::parse(datagram).unwrap().0;
    header.exchange == ExchangeType::IKE_FOLLOWUP_KE && !header.flags.response
}

#[test]
fn either_end_replaces_either_sa_with_every_number_of_additional_key_exchanges() {
    for additional in ROUNDS {
        for (side, what) in [(0, What::Child), (1, What::Child), (0, What::Ike), (1, What::Ike)] {
            let case = format!("{additional}, {side}, {what:?}");
            let mut pair = standing(additional);
            let before = [0, 1].map(|side| pair.nodes[side].endpoint.status()[0].clone());
            replace(&mut pair, side, what, additional);
            let mut requests = Vec::new();
            while !pair.wire.is_empty() {
                let (to, path, datagram) = pair.wire.remove(0);
                if is_followup_request(&datagram) {
                    requests.push(Header::parse(&datagram).unwrap().0.message_id);
                    assert_eq!(to, 1 - side);
                }
                pair.deliver(to, path, &datagram);
            }
            requests.dedup();
            assert_eq!(requests.len(), additional.split(", ").count(), "{case}");
            settle(&mut pair);
            assert_whole(&pair, &case);
            let after = &pair.nodes[0].endpoint.status()[0];
            assert_eq!(after.spis != before[0].spis, what == What::Ike, "{case}");
            assert_eq!(after.children[0].inbound != before[0].children[0].inbound, what == What::Child, "{case}");
            assert_eq!(after.key_exchange, format!("x25519+{}", additional.replace(", ", "+")), "{case}");
        }
    }
}

#[test]
fn nothing_is_installed_before_the_last_key_exchange_and_the_inbound_sa_stands_before_its_answer() {
    let mut pair = standing("p384, p521");
    replace(&mut pair, 0, What::Child, "p384, p521");
    let mut steps = 0;
    while !pair.wire.is_empty() {
        let (to, path, datagram) = pair.wire.remove(0);
        pair.deliver(to, path, &datagram);
        if to == 1 && kind(&datagram) != ExchangeType::INFORMATIONAL {
            steps += 1;
            let installed = pair.nodes[1].inbound.len();
            assert_eq!(installed, if steps == 3 { 2 } else { 1 }, "step {steps}");
            assert_eq!(pair.nodes[0].inbound.len(), 1, "the initiator waits for the last answer");
        }
    }
    assert_eq!((steps, pair.nodes[0].inbound.len()), (3, 2));
}

#[test]
fn every_message_of_a_series_may_be_lost_or_come_twice() {
    for what in [What::Child, What::Ike] {
        let mut messages = 0;
        let mut whole = standing("mlkem768, p384");
        replace(&mut whole, 0, what, "mlkem768, p384");
        whole.drive(|n| {
            messages = n + 1;
            1
        });
        assert!(messages >= 8, "{messages}");
        for copies in [0, 2, 3] {
            for hit in 0..messages {
                let mut pair = standing("mlkem768, p384");
                replace(&mut pair, 0, what, "mlkem768, p384");
                pair.drive(|n| if n == hit { copies } else { 1 });
                settle(&mut pair);
                assert_whole(&pair, &format!("{what:?}, message {hit} comes {copies} times"));
                assert_eq!(
                    pair.nodes[0].inbound.len(),
                    if what == What::Child { 2 } else { 1 },
                    "{what:?} {hit} {copies}"
                );
            }
        }
    }
}

#[test]
fn of_two_replacements_at_once_only_one_is_followed_up() {
    for additional in ROUNDS {
        for what in [What::Child, What::Ike] {
            let case = format!("{additional}, {what:?}");
            let mut pair = standing(additional);
            replace(&mut pair, 0, what, additional);
            replace(&mut pair, 1, what, additional);
            let mut from = BTreeSet::new();
            while !pair.wire.is_empty() {
                let (to, path, datagram) = pair.wire.remove(0);
                if is_followup_request(&datagram) {
                    from.insert(1 - to);
                }
                pair.deliver(to, path, &datagram);
            }
            assert_eq!(from.len(), 1, "{case}: the end with the lowest nonce stops");
            settle(&mut pair);
            assert_whole(&pair, &case);
            if what == What::Child {
                assert_eq!((pair.nodes[0].inbound.len(), pair.nodes[1].inbound.len()), (2, 2), "{case}: one was made");
            }
        }
    }
}

#[test]
fn a_request_that_comes_while_the_series_is_under_way_is_put_off() {
    for what in [What::Child, What::Ike] {
        let mut pair = standing("p384, p521");
        // What the right end asks for stays on the way while the left end's request is answered.
        replace(&mut pair, 1, what, "p384, p521");
        let late = pair.wire.remove(0);
        replace(&mut pair, 0, what, "p384, p521");
        for _ in 0..2 {
            let (to, path, datagram) = pair.wire.remove(0);
            pair.deliver(to, path, &datagram);
        }
        assert!(is_followup_request(&pair.wire[0].2));
        pair.deliver(late.0, late.1, &late.2);
        settle(&mut pair);
        assert_whole(&pair, &format!("{what:?}"));
        if what == What::Child {
            assert_eq!((pair.nodes[0].inbound.len(), pair.nodes[1].inbound.len()), (2, 2), "one was made");
        }
    }
}

#[test]
fn messages_that_cross_in_any_order_and_are_lost_leave_one_pair() {
    for seed in 0..60 {
        let mut rng = StdRng::seed_from_u64(seed);
        let additional = ROUNDS[usize::try_from(seed).unwrap() % ROUNDS.len()];
        let mut pair = standing(additional);
        for _ in 0..3 {
            let whats = [What::Child, What::Ike];
            let (one, other) = (whats[rng.random_range(0..2)], whats[rng.random_range(0..2)]);
            replace(&mut pair, 0, one, additional);
            replace(&mut pair, 1, other, additional);
            for _ in 0..40 {
                while !pair.wire.is_empty() && rng.random_bool(0.9) {
                    let (to, path, datagram) = pair.wire.remove(rng.random_range(0..pair.wire.len()));
                    let copies = if rng.random_bool(0.15) { 0 } else { 1 + usize::from(rng.random_bool(0.1)) };
                    (0..copies).for_each(|_| pair.deliver(to, path, &datagram));
                }
                pair.wait(Duration::from_millis(200));
            }
            settle(&mut pair);
            assert_whole(&pair, &format!("seed {seed}, {additional}, {one:?} and {other:?}"));
        }
    }
}

/// Delivers until the left end has sent its part of an additional key exchange, which is left out.
fn lose_followup(pair: &mut Pair) {
    while !is_followup_request(&pair.wire[0].2) {
        let (to, path, datagram) = pair.wire.remove(0);
        pair.deliver(to, path, &datagram);
    }
    pair.wire.clear();
}

#[test]
fn a_series_that_the_peer_has_forgotten_is_started_anew() {
    for what in [What::Child, What::Ike] {
        let mut pair = standing("p384");
        replace(&mut pair, 0, what, "p384");
        lose_followup(&mut pair);
        pair.now.instant += Duration::from_secs(21);
        pair.nodes[1].endpoint.handle_timeout(pair.now);
        settle(&mut pair);
        assert_whole(&pair, &format!("{what:?}"));
        assert_eq!(pair.nodes[1].inbound.len(), if what == What::Child { 2 } else { 1 });
    }
}

#[test]
fn an_sa_whose_series_the_peer_forgets_again_and_again_is_deleted() {
    let mut pair = standing("p384");
    replace(&mut pair, 0, What::Child, "p384");
    for _ in 0..3 {
        lose_followup(&mut pair);
        pair.now.instant += Duration::from_secs(21);
        pair.nodes[1].endpoint.handle_timeout(pair.now);
        pair.collect();
        // The repeated request is told that nothing is known; the next attempt follows after a short wait.
        for _ in 0..4 {
            pair.wait(Duration::from_millis(500));
            let again = |pair: &Pair| pair.wire.len() == 1 && kind(&pair.wire[0].2) == ExchangeType::CREATE_CHILD_SA;
            while !pair.wire.is_empty() && !again(&pair) {
                let (to, path, datagram) = pair.wire.remove(0);
                pair.deliver(to, path, &datagram);
            }
            if !pair.wire.is_empty() {
                break;
            }
        }
    }
    pair.drive(|_| 1);
    assert_eq!(pair.nodes[0].down, [DownReason::DeletedByUs]);
    assert_eq!(pair.nodes[1].down, [DownReason::DeletedByPeer]);
}

#[test]
fn a_series_that_does_not_go_on_is_forgotten_and_holds_nothing_up() {
    let mut pair = standing("p384");
    replace(&mut pair, 0, What::Child, "p384");
    lose_followup(&mut pair);
    // The left end is gone for good; the right end replaces what it holds by itself once it has waited.
    replace(&mut pair, 1, What::Child, "p384");
    assert!(pair.wire.is_empty(), "it waits for the left end to go on");
    pair.now.instant += Duration::from_secs(21);
    for _ in 0..3 {
        pair.nodes[1].endpoint.handle_timeout(pair.now);
    }
    pair.collect();
    assert_eq!(pair.wire.len(), 1);
    assert_eq!(kind(&pair.wire[0].2), ExchangeType::CREATE_CHILD_SA);
}

#[test]
fn a_rotation_of_keys_replaces_both_sas_with_additional_key_exchanges() {
    let mut pair = standing("mlkem768");
    let before = pair.nodes[0].endpoint.status()[0].clone();
    pair.configure([0, 1].map(|side| PeerConfig { key_epoch: 1, ..with(side, "mlkem768") }));
    pair.drive(|_| 1);
    settle(&mut pair);
    assert_whole(&pair, "rotation");
    let after = &pair.nodes[0].endpoint.status()[0];
    assert_eq!((after.key_epoch, after.children[0].key_epoch), (1, 1));
    assert_ne!((after.spis, after.children[0].inbound), (before.spis, before.children[0].inbound));
}
