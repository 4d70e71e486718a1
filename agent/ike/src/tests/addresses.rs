//! Virtual addresses by the configuration payload (RFC 7296 §2.19): asked for, given, kept, taken back, refused.

use espalier_model::plan::{AddressFamily, AddressPool, VirtualAddresses};

use super::*;
use crate::content::Content;
use crate::handshake::configuration::{AddressError, accept, inform};
use crate::wire::cp::{Attribute, Configuration};
use crate::wire::{AttributeType, ConfigurationType, Notify, NotifyType, Payload};

const BOTH: [AddressFamily; 2] = [AddressFamily::Ipv4, AddressFamily::Ipv6];

pub(super) fn nets(list: &[&str]) -> Vec<TrafficSelector> {
    let selector = |net: &&str| TrafficSelector::from_net(Protocol::Any, PortRange::ANY, net.parse().unwrap());
    list.iter().map(selector).collect()
}

fn pool(prefixes: &[&str]) -> AddressPool {
    let prefixes = prefixes.iter().map(|p| p.parse().unwrap()).collect();
    AddressPool { prefixes, dns: vec!["10.0.1.53".parse().unwrap()], except: vec![] }
}

/// The road warrior: what it protects is whatever address it is given.
pub(super) fn asking(families: &[AddressFamily]) -> PeerConfig {
    let mut peer = peer(0, psk("secret"));
    peer.virtual_addresses = Some(VirtualAddresses::Request(families.to_vec()));
    peer.children[0].local = nets(&["0.0.0.0/0", "::/0"]);
    peer.children[0].remote = nets(&["10.0.1.0/24", "fd00:1::/64"]);
    peer
}

/// The gateway.
pub(super) fn giving(prefixes: &[&str]) -> PeerConfig {
    let mut peer = peer(1, psk("secret"));
    peer.virtual_addresses = Some(VirtualAddresses::Pool(pool(prefixes)));
    peer.children[0].local = nets(&["10.0.1.0/24", "fd00:1::/64"]);
    peer.children[0].remote = nets(prefixes);
    peer
}

fn given(pair: &Pair, side: usize) -> Vec<IpAddr> {
    pair.nodes[side].addresses.clone()
}

/// Both ends say the same addresses, which are what the newest child SA carries and nothing else.
fn assert_given(pair: &Pair, count: usize) {
    let addresses = given(pair, 0);
    assert_eq!((addresses.len(), given(pair, 1)), (count, addresses.clone()), "{:?}", pair.nodes[0].down);
    let only: Vec<_> =
        addresses.iter().map(|a| TrafficSelector::new(Protocol::Any, PortRange::ANY, *a, *a).unwrap()).collect();
    let last = |node: &Node| node.outbound.last().unwrap().selectors.clone();
    assert_eq!(last(&pair.nodes[0]).local, only);
    assert_eq!(last(&pair.nodes[1]).remote, only);
    assert!(pair.nodes.iter().all(|node| node.endpoint.status()[0].addresses == addresses));
    assert!(
        pair.nodes.iter().all(|node| node.addresses_in_use == addresses),
        "an address stands before packets bear it"
    );
}

#[test]
fn an_address_is_given_and_the_child_carries_it_alone() {
    for (families, count) in [(&BOTH[..1], 1), (&BOTH[1..], 1), (&BOTH[..], 2)] {
        let mut pair = Pair::with_peers([asking(families), giving(&["10.3.0.0/24", "fd00:3::/64"])]);
        pair.drive(|_| 1);
        pair.assert_up();
        assert_given(&pair, count);
        let dns = pair.nodes[0].endpoint.status()[0].dns.clone();
        assert_eq!(dns.len(), usize::from(families.contains(&AddressFamily::Ipv4)), "told to who asks for its family");
    }
}

#[test]
fn fewer_addresses_than_were_asked_for_are_enough() {
    let mut pair = Pair::with_peers([asking(&BOTH), giving(&["10.3.0.0/24"])]);
    pair.drive(|_| 1);
    assert_given(&pair, 1);
}

#[test]
fn without_a_child_at_first_the_address_is_given_all_the_same() {
    let mut left = asking(&BOTH);
    left.profile.childless = true;
    let mut pair = Pair::with_peers([left, giving(&["10.3.0.0/24"])]);
    pair.drive(|_| 1);
    pair.assert_up();
    assert_given(&pair, 1);
}

#[test]
fn every_message_may_be_lost_once_or_arrive_twice() {
    for copies in [0, 2] {
        for hit in 0..4 {
            let mut pair = Pair::with_peers([asking(&BOTH), giving(&["10.3.0.0/24"])]);
            pair.drive(|n| if n == hit { copies } else { 1 });
            for _ in 0..3 {
                pair.wait(Duration::from_secs(1));
                pair.drive(|_| 1);
            }
            assert_given(&pair, 1);
        }
    }
}

#[test]
fn rekeys_keep_the_address() {
    let peers = [asking(&BOTH), giving(&["10.3.0.0/24", "fd00:3::/64"])].map(|mut peer| {
        peer.profile.ike_rekey_seconds = 10;
        peer.children[0].profile.child_rekey_seconds = 7;
        peer
    });
    let mut pair = Pair::with_peers(peers);
    pair.drive(|_| 1);
    let (first, addresses) = (pair.nodes[0].endpoint.status()[0].spis, given(&pair, 0));
    for _ in 0..30 {
        pair.wait(Duration::from_secs(1));
        pair.drive(|_| 1);
    }
    assert!(pair.nodes[0].outbound.len() >= 3 && pair.nodes[0].endpoint.status()[0].spis != first);
    assert_given(&pair, 2);
    assert_eq!(given(&pair, 0), addresses);
}

#[test]
fn a_peer_that_starts_anew_has_its_address_again() {
    let right = giving(&["10.3.0.0/24"]);
    let mut pair = Pair::with_peers([asking(&BOTH), right]);
    pair.drive(|_| 1);
    let before = given(&pair, 0);
    pair.nodes[0] = node(0, None, vec![]);
    pair.nodes[0].endpoint.configure(pair.now, vec![asking(&BOTH)]);
    pair.collect();
    pair.drive(|_| 1);
    assert_given(&pair, 1);
    assert_eq!(given(&pair, 0), before);
}

#[test]
fn the_address_is_taken_back_when_the_sa_ends() {
    for side in 0..2 {
        let mut pair = Pair::with_peers([asking(&BOTH), giving(&["10.3.0.0/24"])]);
        pair.drive(|_| 1);
        assert_given(&pair, 1);
        pair.nodes[side].endpoint.shutdown(pair.now);
        pair.collect();
        pair.drive(|_| 1);
        assert_eq!((given(&pair, 0), given(&pair, 1)), (vec![], vec![]));
    }
}

#[test]
fn without_an_address_there_is_no_sa_and_both_ends_know_why() {
    // Nothing is left of the pool; or there is no pool for this peer.
    let mut nothing = giving(&["10.3.0.0/32"]);
    if let Some(VirtualAddresses::Pool(pool)) = &mut nothing.virtual_addresses {
        pool.except = vec!["10.3.0.0".parse().unwrap()];
    }
    for right in [nothing, PeerConfig { virtual_addresses: None, ..giving(&["10.3.0.0/24"]) }] {
        let mut pair = Pair::with_peers([asking(&BOTH), right]);
        pair.drive(|_| 1);
        let why = "the peer gives no address (INTERNAL_ADDRESS_FAILURE; virtual-addresses.request asks for one)";
        assert_eq!(pair.nodes[0].down, [DownReason::Failed(why.to_owned())]);
        assert!(pair.nodes.iter().all(|node| node.inbound.is_empty() && node.addresses.is_empty()));
        assert!(pair.nodes.iter().all(|node| node.endpoint.status().is_empty()), "the initiator takes leave");
    }
}

#[test]
fn a_peer_that_must_ask_and_does_not_gets_no_child() {
    let mut left = asking(&BOTH);
    left.virtual_addresses = None;
    let mut pair = Pair::with_peers([left, giving(&["10.3.0.0/24"])]);
    let (mut told, mut count) = (false, 0);
    while !pair.wire.is_empty() && count < 100 {
        let (to, path, datagram) = pair.wire.remove(0);
        pair.deliver(to, path, &datagram);
        told |= pair.nodes[0].up == 1;
        count += 1;
    }
    assert!(told, "the IKE SA stands");
    assert!(pair.nodes.iter().all(|n| n.inbound.is_empty() && n.outbound.is_empty() && n.addresses.is_empty()));
}

#[test]
fn who_gives_addresses_waits_and_who_wants_them_is_not_called() {
    let mut pair = Pair::new([node(0, None, vec![]), node(1, None, vec![])]);
    pair.nodes[1].endpoint.configure(pair.now, vec![giving(&["10.3.0.0/24"])]);
    for _ in 0..100 {
        pair.wait(Duration::from_secs(2));
        assert!(pair.wire.is_empty(), "the gateway does not call");
    }
    let right = PeerConfig { initiate: true, virtual_addresses: None, ..giving(&["10.3.0.0/24"]) };
    let mut pair = Pair::new([node(0, None, vec![]), node(1, None, vec![])]);
    pair.nodes[0].endpoint.configure(pair.now, vec![PeerConfig { initiate: false, ..asking(&BOTH) }]);
    pair.nodes[1].endpoint.configure(pair.now, vec![right]);
    pair.collect();
    pair.drive(|_| 1);
    let why = "the peer calls, but it is the one that gives addresses and has to be called (virtual-addresses.request)";
    assert_eq!(pair.nodes[0].down, [DownReason::Failed(why.to_owned())]);
    assert!(pair.nodes.iter().all(|node| node.inbound.is_empty()));
}

fn content(kind: ConfigurationType, attributes: Vec<Attribute>) -> Content {
    Content::read(vec![Payload::Configuration(Configuration { kind, attributes })]).unwrap()
}

#[test]
fn an_answer_of_no_use_is_no_address() {
    let reply = |texts: &[&str]| {
        let attributes = texts.iter().map(|text| Attribute::of_address(text.parse().unwrap())).collect();
        accept(&asking(&BOTH[..1]), &content(ConfigurationType::REPLY, attributes))
    };
    for bad in ["0.0.0.0", "224.0.0.1", "127.0.0.1", "255.255.255.255", "fd00:3::7"] {
        let nothing = AddressError::NotGiven("it says nothing".to_owned());
        assert_eq!(reply(&[bad]), Err(nothing), "{bad}");
    }
    assert_eq!(
        reply(&["0.0.0.0", "10.3.0.7", "10.3.0.8", "fd00:3::7"]).unwrap().addresses,
        [IpAddr::from([10, 3, 0, 7])]
    );
    let unasked = content(ConfigurationType::REPLY, vec![Attribute::of_address([10, 3, 0, 7].into())]);
    assert!(accept(&peer(0, psk("secret")), &unasked).unwrap().addresses.is_empty(), "nobody has asked");
    let request = content(ConfigurationType::REQUEST, vec![Attribute::of_address([10, 3, 0, 7].into())]);
    assert!(accept(&asking(&BOTH), &request).is_err());
    let refusal = Notify::new(NotifyType::INTERNAL_ADDRESS_FAILURE, vec![]);
    let refused = Content::read(vec![Payload::Notify(refusal)]).unwrap();
    let why = AddressError::NotGiven("INTERNAL_ADDRESS_FAILURE".to_owned());
    assert_eq!(accept(&asking(&BOTH), &refused), Err(why));
}

#[test]
fn questions_and_settings_on_a_standing_sa_are_answered_with_nothing() {
    let answer = |kind, attributes| match inform(&content(kind, attributes)) {
        Some(Payload::Configuration(answer)) => Some((answer.kind, answer.attributes.len())),
        _ => None,
    };
    let version = || vec![Attribute::ApplicationVersion(vec![])];
    assert_eq!(answer(ConfigurationType::REQUEST, version()), Some((ConfigurationType::REPLY, 1)));
    assert_eq!(answer(ConfigurationType::SET, version()), Some((ConfigurationType::ACK, 0)));
    assert_eq!(answer(ConfigurationType::REPLY, version()), None);
    assert_eq!(inform(&Content::default()), None);
    let supported = inform(&content(ConfigurationType::REQUEST, vec![Attribute::Supported(vec![])]));
    let Some(Payload::Configuration(Configuration { attributes, .. })) = supported else { panic!("it is answered") };
    let Some(Attribute::Supported(types)) = attributes.first() else { panic!("{attributes:?}") };
    assert!(types.contains(&AttributeType::INTERNAL_IP4_ADDRESS));
}
