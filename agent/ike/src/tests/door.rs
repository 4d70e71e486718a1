//! An endpoint and the keepers of its door: what the one demands, the others ask for.

use std::net::SocketAddr;

use super::*;

/// Returns the first message of the left end, and puts the wire to rest.
fn first_message(pair: &mut Pair) -> (UdpPath, Vec<u8>) {
    let (_, path, datagram) = pair.wire.remove(0);
    (UdpPath { local: path.remote, remote: path.local }, datagram)
}

/// Has a stranger send a first message from a port of its own.
fn strange(pair: &mut Pair, path: UdpPath, datagram: &[u8], number: u16) {
    let remote = SocketAddr::new("198.51.100.1".parse().unwrap(), 1_000 + number);
    pair.nodes[1].endpoint.handle_datagram(pair.now, UdpPath { remote, ..path }, datagram);
}

/// Drains the right end, and returns what its doorkeepers were told last.
fn told(pair: &mut Pair) -> Option<DoorPolicy> {
    let outputs = std::iter::from_fn(|| pair.nodes[1].endpoint.poll_output());
    outputs.filter_map(|output| if let Output::Door(policy) = output { Some(policy) } else { None }).last()
}

fn pair() -> Pair {
    Pair::with_peers([peer(0, psk("secret")), peer(1, psk("secret"))])
}

#[test]
fn cookies_are_demanded_from_a_hundred_half_open_sas_until_half_are_gone() {
    let mut pair = pair();
    let (path, datagram) = first_message(&mut pair);
    for number in 0..60 {
        strange(&mut pair, path, &datagram, number);
    }
    assert_eq!(told(&mut pair), None);
    pair.now.instant += Duration::from_secs(10);
    for number in 60..99 {
        strange(&mut pair, path, &datagram, number);
    }
    assert_eq!(told(&mut pair), None);
    strange(&mut pair, path, &datagram, 99);
    assert!(told(&mut pair).unwrap().cookies);
    strange(&mut pair, path, &datagram, 100);
    assert_eq!((pair.nodes[1].endpoint.sa_count(), pair.nodes[1].endpoint.counters().refused), (100, 1));
    pair.now.instant += Duration::from_secs(20);
    pair.nodes[1].endpoint.handle_timeout(pair.now);
    // The end itself has called meanwhile.
    assert_eq!(pair.nodes[1].endpoint.sa_count(), 40 + 1);
    assert!(!told(&mut pair).unwrap().cookies, "less than half are left");
}

#[test]
fn the_endpoint_takes_the_cookies_that_its_doorkeepers_have_made() {
    let mut pair = pair();
    let (path, datagram) = first_message(&mut pair);
    for number in 0..100 {
        strange(&mut pair, path, &datagram, number);
    }
    let policy = told(&mut pair).unwrap();
    let mut keepers = [0, 1].map(|_| pair.nodes[1].endpoint.doorkeeper(pair.now));
    let Verdict::Ask(answer) = keepers[0].judge(pair.now.instant, &policy, path.remote, &datagram) else {
        panic!("under load everybody is asked")
    };
    pair.deliver(0, path, &answer);
    let (back, again) = first_message(&mut pair);
    assert_eq!(keepers[1].judge(pair.now.instant, &policy, back.remote, &again), Verdict::First);
    pair.nodes[1].endpoint.handle_datagram(pair.now, back, &again);
    pair.collect();
    pair.drive(|_| 1);
    pair.assert_up();
}

#[test]
fn a_keeper_lets_in_what_its_endpoint_waits_for() {
    let mut pair = pair();
    let policy = DoorPolicy::default();
    let mut keepers = [0, 1].map(|side: usize| pair.nodes[side].endpoint.doorkeeper(pair.now));
    while !pair.wire.is_empty() {
        let (to, path, datagram) = pair.wire.remove(0);
        let verdict = keepers[to].judge(pair.now.instant, &policy, path.local, &datagram);
        let expected = if datagram[8..16] == [0; 8] { Verdict::First } else { Verdict::ForSa };
        assert_eq!(verdict, expected);
        let mut guess = datagram.clone();
        guess[7] ^= 1;
        guess[15] ^= 1;
        assert_ne!(keepers[to].judge(pair.now.instant, &policy, path.local, &guess), Verdict::ForSa);
        pair.deliver(to, path, &datagram);
    }
    pair.assert_up();
}

#[test]
fn an_initiator_that_is_asked_for_a_cookie_when_its_answer_is_lost_gets_through() {
    let mut pair = pair();
    let mut keeper = pair.nodes[1].endpoint.doorkeeper(pair.now);
    let (path, datagram) = first_message(&mut pair);
    pair.nodes[1].endpoint.handle_datagram(pair.now, path, &datagram);
    pair.collect();
    pair.wire.clear();
    pair.wait(Duration::from_secs(1));
    let (path, datagram) = first_message(&mut pair);
    let strict = DoorPolicy { cookies: true, ..DoorPolicy::default() };
    let Verdict::Ask(answer) = keeper.judge(pair.now.instant, &strict, path.remote, &datagram) else {
        panic!("under load everybody is asked")
    };
    pair.deliver(0, path, &answer);
    let (path, mut again) = first_message(&mut pair);
    let cookie_at = 28 + 8;
    again[cookie_at + 5] ^= 1;
    pair.nodes[1].endpoint.handle_datagram(pair.now, path, &again);
    assert_eq!(pair.nodes[1].endpoint.counters().unexpected, 1, "a wrong cookie replaces nothing");
    again[cookie_at + 5] ^= 1;
    pair.nodes[1].endpoint.handle_datagram(pair.now, path, &again);
    pair.collect();
    pair.drive(|_| 1);
    pair.assert_up();
    assert_eq!(pair.nodes[1].endpoint.sa_count(), 1, "the first half-open SA is gone");
}

#[test]
fn the_door_knows_the_addresses_of_the_peers() {
    let mut pair = pair();
    let known = |policy: DoorPolicy| policy.known.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut moved = peer(1, psk("secret"));
    moved.endpoints.push("203.0.113.5:500".parse().unwrap());
    pair.nodes[1].endpoint.configure(pair.now, vec![moved]);
    assert_eq!(known(told(&mut pair).unwrap()), ["192.0.2.0", "203.0.113.5"]);
}
