//! A peer that lies about where it is: checks of its address, refusals, and floods (RFC 4555 §3.5, §3.7, §3.9).

use espalier_model::profile::Mobike;

use super::roaming::{Forger, Roaming, away, between, home, ip, peers};
use super::*;
use crate::wire::mobility::cookie;
use crate::wire::{Notify, NotifyType};

fn at_home() -> Roaming {
    Roaming::up(peers(), [vec![home(0)], vec![home(1)]])
}

fn bare(kind: NotifyType) -> Notify {
    Notify::new(kind, Vec::new())
}

/// What the first of two says to the second, from an address.
fn say(net: &mut Roaming, forger: &mut Forger, number: u32, from: std::net::IpAddr, notifies: Vec<Notify>) {
    let message = forger.seal(false, number, notifies);
    let seen = between(home(1), from);
    net.pair.nodes[1].endpoint.handle_datagram(net.pair.now, seen, &message);
    net.pair.collect();
}

/// What the second has sent to the first, read.
fn heard(net: &mut Roaming, forger: &Forger) -> Vec<(UdpPath, bool, u32, Vec<Notify>)> {
    let sent = std::mem::take(&mut net.pair.wire);
    let read = |(to, path, datagram): (usize, UdpPath, Vec<u8>)| {
        assert_eq!(to, 0);
        let response = crate::wire::Header::parse(&datagram).unwrap().0.flags.response;
        let (number, notifies) = forger.open(&datagram);
        (path, response, number, notifies)
    };
    sent.into_iter().map(read).collect()
}

fn has(notifies: &[Notify], kind: NotifyType) -> bool {
    notifies.iter().any(|n| n.notify_type == kind)
}

#[test]
fn packets_follow_to_an_unplanned_address_only_once_the_peer_has_shown_that_it_receives_there() {
    let mut net = at_home();
    net.rehome(0, &[away(0)]);
    net.step();
    assert_eq!(net.pair.nodes[1].endpoint.status()[0].path, between(home(1), away(0)), "messages follow at once");
    assert_eq!(net.traffic(1), between(home(1), home(0)), "packets do not");
    net.drive();
    assert_eq!(net.traffic(1), between(home(1), away(0)));
    // Back at an address that the plan names there is nothing to check.
    net.rehome(0, &[home(0)]);
    net.step();
    assert_eq!(net.traffic(1), between(home(1), home(0)));
}

#[test]
fn a_cookie_that_does_not_come_back_as_it_was_ends_the_sa() {
    for answer in [None, Some(vec![7; 16]), Some(vec![7; 7])] {
        let mut net = at_home();
        let mut forger = Forger::of(&net, 0);
        say(&mut net, &mut forger, 2, away(0), vec![bare(NotifyType::UPDATE_SA_ADDRESSES)]);
        let sent = heard(&mut net, &forger);
        let (path, _, number, notifies) = sent.iter().find(|(_, response, ..)| !response).unwrap();
        assert_eq!((*path, cookie(notifies).map(<[u8]>::len)), (between(home(1), away(0)), Some(16)));
        let notifies = answer.into_iter().map(|value| Notify::new(NotifyType::COOKIE2, value)).collect();
        let lie = forger.seal(true, *number, notifies);
        net.pair.nodes[1].endpoint.handle_datagram(net.pair.now, between(home(1), away(0)), &lie);
        net.pair.collect();
        let why = "peer does not return the COOKIE2 that it was sent".to_owned();
        assert_eq!(net.pair.nodes[1].down, [DownReason::Failed(why)]);
        assert!(net.pair.nodes[1].endpoint.status().is_empty() && net.pair.nodes[1].moved.is_empty());
    }
}

#[test]
fn a_flood_of_updates_moves_no_packet_and_has_one_check_open_at_a_time() {
    let mut net = at_home();
    let mut forger = Forger::of(&net, 0);
    let mut checks = Vec::new();
    for n in 0..200_u32 {
        let from = ip(&format!("203.0.113.{}", n + 1));
        say(&mut net, &mut forger, 2 + n, from, vec![bare(NotifyType::UPDATE_SA_ADDRESSES)]);
        for (path, response, number, notifies) in heard(&mut net, &forger) {
            assert_eq!(path, between(home(1), from), "nothing goes to any other address");
            checks.extend((!response).then(|| (number, cookie(&notifies).unwrap().to_vec())));
        }
    }
    checks.dedup();
    assert_eq!(checks.len(), 1, "the same request, sent again");
    assert!(net.pair.nodes[1].moved.is_empty());
    assert_eq!(net.traffic(1), between(home(1), home(0)));
    // The answer to a request that has been sent to many proves none of them: another request goes out.
    let back = forger.seal(true, checks[0].0, vec![Notify::new(NotifyType::COOKIE2, checks[0].1.clone())]);
    net.pair.nodes[1].endpoint.handle_datagram(net.pair.now, between(home(1), ip("203.0.113.200")), &back);
    net.pair.collect();
    assert!(net.pair.nodes[1].moved.is_empty() && net.pair.nodes[1].down.is_empty());
    let again = heard(&mut net, &forger);
    assert_eq!((again.len(), again[0].2), (1, checks[0].0 + 1));
}

#[test]
fn addresses_of_no_host_are_not_accepted_and_change_nothing() {
    let mut net = at_home();
    let mut forger = Forger::of(&net, 0);
    for (n, from) in (0..).zip(["127.0.0.1", "224.0.0.1", "255.255.255.255", "0.0.0.0", "10.0.0.7"]) {
        let update = vec![bare(NotifyType::UPDATE_SA_ADDRESSES), Notify::new(NotifyType::COOKIE2, vec![9; 8])];
        say(&mut net, &mut forger, 2 + n, ip(from), update);
        let sent = heard(&mut net, &forger);
        assert_eq!(sent.len(), 1, "{from}");
        let (_, response, _, notifies) = &sent[0];
        assert!(*response && has(notifies, NotifyType::UNACCEPTABLE_ADDRESSES), "{from}");
        assert_eq!(cookie(notifies), Some([9; 8].as_slice()), "COOKIE2 is returned all the same");
    }
    assert_eq!(net.pair.nodes[1].endpoint.status()[0].path, between(home(1), home(0)));
    assert!(net.pair.nodes[1].moved.is_empty());
}

#[test]
fn a_responder_that_asks_the_initiator_to_move_is_refused() {
    let mut net = at_home();
    let mut forger = Forger::of(&net, 1);
    let message = forger.seal(false, 0, vec![bare(NotifyType::UPDATE_SA_ADDRESSES)]);
    net.pair.nodes[0].endpoint.handle_datagram(net.pair.now, between(home(0), away(1)), &message);
    net.pair.collect();
    let (_, path, answer) = net.pair.wire.remove(0);
    assert_eq!(path, between(home(0), away(1)), "whoever asks is answered");
    assert!(has(&forger.open(&answer).1, NotifyType::UNACCEPTABLE_ADDRESSES));
    assert_eq!(net.pair.nodes[0].endpoint.status()[0].path, between(home(0), home(1)));
}

#[test]
fn a_refused_path_is_left_for_the_one_before() {
    let mut net = at_home();
    net.rehome(0, &[away(0)]);
    net.drive();
    let mut forger = Forger::of(&net, 1);
    net.rehome(0, &[away(0), home(0)]);
    let (_, _, update) = net.pair.wire.remove(0);
    let (number, notifies) = forger.open(&update);
    assert!(has(&notifies, NotifyType::UPDATE_SA_ADDRESSES));
    let no = forger.seal(true, number, vec![bare(NotifyType::UNACCEPTABLE_ADDRESSES)]);
    net.pair.nodes[0].endpoint.handle_datagram(net.pair.now, between(home(0), home(1)), &no);
    net.pair.collect();
    assert_eq!(net.pair.nodes[0].endpoint.status()[0].path, between(away(0), home(1)));
    assert_eq!(net.reasons(0), [MoveReason::OursGone]);
    assert!(net.pair.nodes[0].down.is_empty());
}

#[test]
fn an_sa_whose_every_path_is_refused_ends_and_is_set_up_anew() {
    let mut net = at_home();
    let mut forger = Forger::of(&net, 1);
    net.rehome(0, &[away(0)]);
    let (_, _, update) = net.pair.wire.remove(0);
    let (number, _) = forger.open(&update);
    let no = forger.seal(true, number, vec![bare(NotifyType::UNACCEPTABLE_ADDRESSES)]);
    net.pair.nodes[0].endpoint.handle_datagram(net.pair.now, between(away(0), home(1)), &no);
    net.pair.collect();
    assert_eq!(net.pair.nodes[0].down, [DownReason::Refused("UNACCEPTABLE_ADDRESSES".to_owned())]);
    net.run(5);
    net.assert_between(away(0), home(1));
}

#[test]
fn a_translated_update_that_must_not_be_is_tried_again_and_then_given_up() {
    let mut strict = peers();
    strict.iter_mut().for_each(|peer| peer.profile.mobike = Mobike::NoNat);
    let mut net = Roaming::up(strict, [vec![home(0)], vec![home(1)]]);
    net.rehome(0, &[away(0)]);
    net.drive();
    net.assert_between(away(0), home(1));
    let (inner, outer) = (home(0), ip("203.0.113.1"));
    net.router = Some(super::roaming::Router { inner, outer, shift: 1_000 });
    net.rehome(0, &[away(0), home(0)]);
    let (mut updates, reader) = (0, Forger::of(&net, 1));
    for _ in 0..20 {
        if !net.pair.wire.is_empty() {
            let (to, _, message) = net.step();
            updates += usize::from(to == 1 && has(&reader.open(&message).1, NotifyType::UPDATE_SA_ADDRESSES));
        }
    }
    assert_eq!(updates, 4, "the first, and three times again");
    net.assert_between(away(0), home(1));
    assert_eq!(net.reasons(0), [MoveReason::OursGone], "packets have stayed where no router is");
}

#[test]
fn no_sa_is_set_up_through_a_router_where_none_may_be() {
    let mut strict = peers();
    strict.iter_mut().for_each(|peer| peer.profile.mobike = Mobike::NoNat);
    let router = super::roaming::Router { inner: ip("10.7.0.2"), outer: home(0), shift: 1_000 };
    let mut net = Roaming::new(strict, [vec![router.inner], vec![home(1)]], Some(router));
    net.drive();
    assert_eq!(net.pair.nodes[0].down, [DownReason::Refused("UNEXPECTED_NAT_DETECTED".to_owned())]);
    assert!(net.pair.nodes.iter().all(|n| n.up == 0 && n.inbound.is_empty()));
    assert!(format!("{}", net.pair.nodes[1].down[0]).contains("allows no NAT"));
}

#[test]
fn nat_detection_and_cookies_are_answered_in_any_request() {
    for mobike in [Mobike::On, Mobike::Off] {
        let mut some = peers();
        some[1].profile.mobike = mobike;
        let mut net = Roaming::up(some, [vec![home(0)], vec![home(1)]]);
        let mut forger = Forger::of(&net, 0);
        let ask = |kind| Notify::new(kind, vec![1; 20]);
        let request = vec![
            ask(NotifyType::NAT_DETECTION_SOURCE_IP),
            ask(NotifyType::NAT_DETECTION_DESTINATION_IP),
            Notify::new(NotifyType::COOKIE2, vec![3; 64]),
        ];
        say(&mut net, &mut forger, 2, home(0), request);
        let (_, _, _, answer) = heard(&mut net, &forger).remove(0);
        assert!(
            has(&answer, NotifyType::NAT_DETECTION_SOURCE_IP) && has(&answer, NotifyType::NAT_DETECTION_DESTINATION_IP)
        );
        assert_eq!(cookie(&answer), Some([3; 64].as_slice()));
        for length in [7, 65] {
            let odd = Notify::new(NotifyType::COOKIE2, vec![3; length]);
            say(&mut net, &mut forger, if length == 7 { 3 } else { 4 }, home(0), vec![odd]);
            assert_eq!(heard(&mut net, &forger).remove(0).3, vec![], "not a cookie");
        }
    }
}
