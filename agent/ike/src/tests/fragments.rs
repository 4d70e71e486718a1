//! Messages that do not fit one packet (RFC 7383), over a wire that loses, repeats and reorders.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::wire::sk::fragment::datagram_limit;
use crate::wire::{ExchangeType, Header, PayloadType};

/// A leaf below two authorities, with certificates that are about 8 kB together.
fn long_chain(root: &Authority, name: &Identity) -> CertificateIdentity {
    let padding = || rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 55_555, 1], vec![4; 2_300]);
    let mut chain = Vec::new();
    let mut below = |name: &str, issuer: &rcgen::Issuer<'static, rcgen::KeyPair>| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
        params.custom_extensions = vec![padding()];
        chain.insert(0, params.signed_by(&key, issuer).unwrap().der().to_vec());
        rcgen::Issuer::new(params, key)
    };
    let upper = below("upper", &root.issuer);
    let lower = below("lower", &upper);
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec![name.to_string()]).unwrap();
    params.custom_extensions = vec![padding()];
    chain.insert(0, params.signed_by(&key, &lower).unwrap().der().to_vec());
    assert!(chain.iter().map(Vec::len).sum::<usize>() > 8_000);
    CertificateIdentity { chain, key: SigningKey::from_pkcs8_pem(&key.serialize_pem()).unwrap() }
}

fn certified() -> Pair {
    let root = Authority::new();
    let nodes = [0, 1].map(|side| node(side, Some(long_chain(&root, &id(side))), vec![root.der.clone()]));
    let mut pair = Pair::new(nodes);
    pair.configure([peer(0, Auth::Certificate), peer(1, Auth::Certificate)]);
    pair
}

/// Delivers `IKE_SA_INIT`; the fragments of the `IKE_AUTH` request are on the wire then.
fn ready_to_authenticate() -> Pair {
    let mut pair = certified();
    for _ in 0..2 {
        let (to, path, datagram) = pair.wire.remove(0);
        pair.deliver(to, path, &datagram);
    }
    assert!(pair.wire.len() >= 7 && pair.wire.iter().all(|(to, _, datagram)| *to == 1 && is_fragment(datagram)));
    pair
}

fn is_fragment(datagram: &[u8]) -> bool {
    Header::parse(datagram).unwrap().1 == PayloadType::SKF
}

/// Delivers what is on the wire in any order: some twice, some never. Returns how many were fragments.
fn shuffle(pair: &mut Pair, rng: &mut StdRng, loss: f64) -> usize {
    let mut fragments = 0;
    for (count, _) in std::iter::repeat(()).enumerate() {
        if pair.wire.is_empty() {
            break;
        }
        let (to, path, datagram) = pair.wire.remove(rng.random_range(0..pair.wire.len()));
        assert!(datagram.len() <= datagram_limit(path.remote.ip()));
        fragments += usize::from(is_fragment(&datagram));
        let copies = if rng.random_bool(loss) { 0 } else { 1 + usize::from(rng.random_bool(0.1)) };
        (0..copies).for_each(|_| pair.deliver(to, path, &datagram));
        assert!(count < 2_000, "the endpoints never become quiet");
    }
    fragments
}

#[test]
fn long_chains_cross_in_fragments_that_are_lost_repeated_and_reordered() {
    for (seed, loss) in (0..24).zip([0.0, 0.1, 0.2].into_iter().cycle()) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut pair = certified();
        let mut fragments = shuffle(&mut pair, &mut rng, loss);
        for _ in 0..160 {
            pair.wait(Duration::from_millis(250));
            fragments += shuffle(&mut pair, &mut rng, loss);
        }
        assert!(fragments >= 14, "seed {seed}: {fragments} fragments");
        let [left, right] = &pair.nodes;
        assert!(left.up >= 1 && right.up >= 1, "seed {seed}: left {:?}, right {:?}", left.down, right.down);
        if loss == 0.0 {
            pair.assert_up();
        }
    }
}

#[test]
fn without_an_announcement_messages_travel_whole() {
    use super::puppet::{Puppet, Stage};
    use crate::wire::{Notify, NotifyType, Payload};
    let root = Authority::new();
    let left = node(0, Some(long_chain(&root, &id(0))), vec![root.der.clone()]);
    let mut stage = Stage::of(left, 0, peer(0, Auth::Certificate));
    let (message, datagram) = stage.take_message();
    let announcement = Notify::new(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED, vec![]);
    assert!(message.payloads.contains(&Payload::Notify(announcement)));
    stage.sent.push(datagram);
    // The puppet announces nothing, so it gets one datagram, and can read it.
    let (_, _, asked) = Puppet::called_by(stage);
    let long = |p: &Payload| matches!(p, Payload::Certificate(c) if c.data.len() > 2_000);
    assert_eq!(asked.iter().filter(|p| long(p)).count(), 3);

    let mut stage = Stage::new(1, peer(1, psk("secret")));
    stage.deliver(&super::puppet::first_request(1, &super::puppet::nonce(1), &super::puppet::key_share(), &[]));
    let (message, _) = stage.take_message();
    let announced = super::puppet::notifies(&message.payloads);
    assert!(!announced.contains(&NotifyType::IKEV2_FRAGMENTATION_SUPPORTED), "the initiator has not asked for it");
}

#[test]
fn only_the_first_fragment_of_a_repeated_request_has_the_whole_answer_sent_again() {
    let mut pair = ready_to_authenticate();
    let request = std::mem::take(&mut pair.wire);
    request.iter().for_each(|(to, path, datagram)| pair.deliver(*to, *path, datagram));
    let answer = std::mem::take(&mut pair.wire);
    assert!(answer.len() >= 7 && answer.iter().all(|(to, _, datagram)| *to == 0 && is_fragment(datagram)));
    // The answer is lost: the initiator repeats all fragments.
    pair.wait(Duration::from_secs(1));
    assert!(pair.wire == request, "a retransmission has the same bytes");
    pair.wire.clear();
    for (number, (to, path, datagram)) in request.iter().enumerate() {
        pair.deliver(*to, *path, datagram);
        let again = std::mem::take(&mut pair.wire);
        assert!(if number == 0 { again == answer } else { again.is_empty() }, "fragment {number}");
    }
    let counters = pair.nodes[1].endpoint.counters();
    assert_eq!((counters.retransmitted, counters.fragments), (1, u64::try_from(request.len()).unwrap() - 1));
    assert_eq!(counters.unexpected, counters.fragments);
    pair.wire = answer;
    pair.drive(|_| 1);
    pair.assert_up();
}

#[test]
fn forged_fragments_change_nothing_and_count_once() {
    let mut pair = ready_to_authenticate();
    let mut number = 0;
    while !pair.wire.is_empty() {
        let (to, path, datagram) = pair.wire.remove(0);
        for byte in (0..datagram.len()).step_by(31) {
            let mut forged = datagram.clone();
            forged[byte] ^= 0x10;
            let before = total(pair.nodes[to].endpoint.counters());
            pair.deliver(to, path, &forged);
            assert_eq!(total(pair.nodes[to].endpoint.counters()), before + 1, "fragment {number}, byte {byte}");
        }
        pair.deliver(to, path, &datagram);
        number += 1;
    }
    assert!(number >= 14);
    pair.assert_up();
}

#[test]
fn a_request_that_never_becomes_whole_expires_with_its_state() {
    let mut pair = ready_to_authenticate();
    let (_, path, last) = pair.wire.pop().unwrap();
    for (to, path, datagram) in std::mem::take(&mut pair.wire) {
        pair.deliver(to, path, &datagram);
    }
    assert_eq!((pair.nodes[1].endpoint.sa_count(), pair.wire.len()), (1, 0));
    pair.now.instant += Duration::from_secs(31);
    pair.nodes[1].endpoint.handle_timeout(pair.now);
    pair.deliver(1, path, &last);
    assert_eq!(pair.nodes[1].endpoint.counters().unknown_spi, 1);
}

/// Offers so many selectors that `IKE_AUTH` and `CREATE_CHILD_SA` do not fit a packet.
fn talkative(side: usize) -> PeerConfig {
    let mut peer = peer(side, psk("secret"));
    let many = |side: usize| {
        let net = |n: usize| format!("10.{side}.{n}.0/24").parse().unwrap();
        (0..100).map(|n| TrafficSelector::from_net(Protocol::Any, PortRange::ANY, net(2 * n))).collect()
    };
    (peer.children[0].local, peer.children[0].remote) = (many(side), many(1 - side));
    peer.profile.child_rekey_seconds = 20;
    peer.profile.ike_rekey_seconds = 50;
    peer.children[0].profile = peer.profile.clone();
    peer
}

#[test]
fn rekeys_of_both_kinds_cross_in_fragments() {
    let mut rng = StdRng::seed_from_u64(1);
    let mut pair = Pair::with_peers([talkative(0), talkative(1)]);
    shuffle(&mut pair, &mut rng, 0.05);
    let (mut rekeys, first) = (0, pair.nodes[0].endpoint.status());
    for _ in 0..400 {
        pair.wait(Duration::from_millis(250));
        let create = |(_, _, datagram): &(usize, UdpPath, Vec<u8>)| {
            is_fragment(datagram) && Header::parse(datagram).unwrap().0.exchange == ExchangeType::CREATE_CHILD_SA
        };
        rekeys += usize::from(pair.wire.iter().any(create));
        shuffle(&mut pair, &mut rng, 0.05);
    }
    let (left, right) = (pair.nodes[0].endpoint.status(), pair.nodes[1].endpoint.status());
    assert!(rekeys >= 4, "{rekeys} requests in fragments");
    assert!(first.is_empty() || left[0].spis != first[0].spis, "the IKE SA is another one");
    assert_eq!((left.len(), left[0].spis), (1, right[0].spis));
    assert!(pair.nodes.iter().all(|node| node.down.is_empty()));
}
