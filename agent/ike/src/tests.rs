//! Two endpoints that talk to each other over a wire in memory, in virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use espalier_crypto::SigningKey;
use espalier_model::identity::Identity;
use espalier_model::profile::{AdditionalKeyExchanges, Profile};
use espalier_model::sa::{ChildId, ChildSa, Direction, UdpPath};
use espalier_model::secret::Secret;
use espalier_model::selector::{PortRange, Protocol, TrafficSelector};
use espalier_model::suite::{EspSuite, IkeEncryption, KeyExchange};

use super::*;
use crate::explain::What;

mod addresses;
mod authentication;
mod by_hand;
mod childless;
mod collisions;
mod door;
mod events;
mod first_exchange;
mod followup;
mod forms;
mod fragments;
mod handover;
mod housekeeping;
mod hybrid;
mod lessons;
mod liar;
mod liveness;
mod moving;
mod nat;
mod notifies;
mod on_demand;
mod ppk;
mod puppet;
mod replacement;
mod roaming;
mod routes;

struct Node {
    endpoint: Endpoint,
    inbound: Vec<ChildSa>,
    outbound: Vec<ChildSa>,
    up: usize,
    down: Vec<DownReason>,
    removed: Vec<Direction>,
    refused: Vec<String>,
    address: IpAddr,
    addresses: Vec<IpAddr>,
    /// What it knew of them when it began to use its newest child SA.
    addresses_in_use: Vec<IpAddr>,
    /// What its data plane sends along, by pair.
    paths: BTreeMap<ChildId, UdpPath>,
    moved: Vec<(UdpPath, UdpPath, MoveReason)>,
    measured: Vec<ChildId>,
    keepalives: Vec<UdpPath>,
    keys: Vec<String>,
    told: Vec<What>,
}

struct Pair {
    now: Now,
    nodes: [Node; 2],
    wire: Vec<(usize, UdpPath, Vec<u8>)>,
    /// The end that is behind a NAT, and the address that the other one sees.
    nat: Option<(usize, IpAddr)>,
}

const UNIX: u64 = 1_790_000_000;

fn id(side: usize) -> Identity {
    format!("{}.node.mesh.example", ["left", "right"][side]).parse().unwrap()
}

/// The default without additional key exchanges, which have tests of their own.
fn profile() -> Profile {
    let additional_key_exchange = AdditionalKeyExchanges::NONE;
    Profile { additional_key_exchange, ..Profile::standard("default".parse().unwrap()) }
}

fn selectors(side: usize) -> Vec<TrafficSelector> {
    vec![TrafficSelector::from_net(Protocol::Any, PortRange::ANY, format!("10.0.{side}.0/24").parse().unwrap())]
}

fn peer(side: usize, auth: Auth) -> PeerConfig {
    let other = 1 - side;
    PeerConfig {
        id: id(other),
        endpoints: vec![format!("192.0.2.{other}:500").parse().unwrap()],
        local: vec![format!("192.0.2.{side}").parse().unwrap()],
        initiate: side == 0,
        auth,
        profile: profile(),
        key_epoch: 0,
        ppk: None,
        virtual_addresses: None,
        children: vec![ChildConfig {
            rule: "net".parse().unwrap(),
            local: selectors(side),
            remote: selectors(other),
            profile: profile(),
        }],
    }
}

fn psk(text: &str) -> Auth {
    Auth::Psk(Secret::from(text.as_bytes()))
}

fn node(side: usize, certificate: Option<CertificateIdentity>, trust: Vec<Vec<u8>>) -> Node {
    let identity = LocalIdentity { id: id(side), certificate };
    let config = EndpointConfig { identity, trust, revoked: BTreeSet::new(), keylog: false };
    let address = format!("192.0.2.{side}").parse().unwrap();
    let endpoint = Endpoint::new(config, [u8::try_from(side).unwrap(); 32]).unwrap();
    Node {
        endpoint,
        inbound: vec![],
        outbound: vec![],
        up: 0,
        down: vec![],
        removed: vec![],
        refused: vec![],
        address,
        addresses: vec![],
        addresses_in_use: vec![],
        paths: BTreeMap::new(),
        moved: vec![],
        measured: vec![],
        keepalives: vec![],
        keys: vec![],
        told: vec![],
    }
}

impl Pair {
    fn new(nodes: [Node; 2]) -> Self {
        Self { now: Now { instant: Instant::now(), unix: UNIX }, nodes, wire: Vec::new(), nat: None }
    }

    fn with_peers(peers: [PeerConfig; 2]) -> Self {
        let mut pair = Self::new([node(0, None, vec![]), node(1, None, vec![])]);
        pair.configure(peers);
        pair
    }

    fn configure(&mut self, peers: [PeerConfig; 2]) {
        let [left, right] = peers;
        self.nodes[1].endpoint.configure(self.now, vec![right]);
        self.nodes[0].endpoint.configure(self.now, vec![left]);
        self.collect();
    }

    /// Moves the orders of both endpoints to where they belong.
    fn collect(&mut self) {
        for side in 0..2 {
            while let Some(output) = self.nodes[side].endpoint.poll_output() {
                let node = &mut self.nodes[side];
                match output {
                    Output::Transmit { path, datagram } => self.wire.push((1 - side, path, datagram)),
                    Output::InstallInbound(sa) => node.inbound.push(sa.0),
                    Output::UseOutbound(sa) => {
                        node.paths.insert(sa.0.id, sa.0.path);
                        node.outbound.push(sa.0);
                        node.addresses_in_use = node.addresses.clone();
                    }
                    Output::Remove(_, direction) => node.removed.push(direction),
                    Output::Up(..) => node.up += 1,
                    Output::Replaced(..) => {}
                    Output::Measure(id) => node.measured.push(id),
                    Output::Keepalive(path) => node.keepalives.push(path),
                    Output::Moved { from, to, why, .. } => node.moved.push((from, to, why)),
                    Output::MovePath(id, path) => _ = node.paths.insert(id, path),
                    Output::Down(_, reason) | Output::TurnedAway(_, reason) => node.down.push(reason),
                    Output::ChildRefused { reason, .. } => node.refused.push(reason),
                    Output::Addresses(_, addresses) => node.addresses = addresses,
                    Output::Keylog(line) => node.keys.push(line.text().to_owned()),
                    Output::Door(_) => {}
                    Output::Told(event) => node.told.push(event.what),
                }
            }
        }
    }

    fn deliver(&mut self, to: usize, path: UdpPath, datagram: &[u8]) {
        let mut seen = UdpPath { local: path.remote, remote: path.local };
        if let Some((inside, outside)) = self.nat {
            let own = self.nodes[inside].address;
            if to == inside {
                seen.local.set_ip(own);
            } else {
                seen.remote.set_ip(outside);
            }
        }
        self.nodes[to].endpoint.handle_datagram(self.now, seen, datagram);
        self.collect();
    }

    /// Delivers until the wire is empty. `fate` says how often each datagram arrives.
    fn drive(&mut self, mut fate: impl FnMut(usize) -> usize) {
        let mut count = 0;
        while !self.wire.is_empty() {
            let (to, path, datagram) = self.wire.remove(0);
            for _ in 0..fate(count) {
                self.deliver(to, path, &datagram);
            }
            count += 1;
            assert!(count < 1_000, "the endpoints never become quiet");
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now.instant += time;
        for side in 0..2 {
            self.nodes[side].endpoint.handle_timeout(self.now);
        }
        self.collect();
    }

    /// Both ends hold one IKE SA and one child SA pair, with the same keys crosswise.
    fn assert_up(&self) {
        let [left, right] = &self.nodes;
        assert_eq!((left.up, right.up), (1, 1), "left {:?}, right {:?}", left.down, right.down);
        let (a, b) = (left.endpoint.status(), right.endpoint.status());
        assert_eq!((a.len(), b.len(), a[0].spis), (1, 1, b[0].spis));
        assert_eq!(
            (a[0].children[0].inbound, a[0].children[0].outbound),
            (b[0].children[0].outbound, b[0].children[0].inbound)
        );
        for (sends, receives) in [(left, right), (right, left)] {
            let (out, into) = (&sends.outbound[0], &receives.inbound[0]);
            assert!(halves_match(out, into));
            assert_eq!(
                (out.selectors.local.clone(), out.path.local),
                (into.selectors.remote.clone(), into.path.remote)
            );
            assert_eq!((out.path.local.port(), out.path.remote.port()), (4500, 4500));
        }
        let key = |sa: &ChildSa| sa.transform.esp().unwrap().keymat.clone();
        assert!(key(&left.outbound[0]) != key(&left.inbound[0]));
    }
}

/// Tells whether what one end sends with is what the other receives with.
fn halves_match(sends: &ChildSa, receives: &ChildSa) -> bool {
    let (out, into) = (sends.transform.esp().unwrap(), receives.transform.esp().unwrap());
    out.spi == into.spi && out.keymat == into.keymat && sends.form() == receives.form()
}

#[test]
fn two_endpoints_with_a_shared_secret_set_up_a_tunnel() {
    let mut pair = Pair::with_peers([peer(0, psk("secret")), peer(1, psk("secret"))]);
    pair.drive(|_| 1);
    pair.assert_up();
}

#[test]
fn every_message_may_be_lost_once_or_arrive_twice() {
    for copies in [0, 2, 3] {
        for hit in 0..4 {
            let mut pair = Pair::with_peers([peer(0, psk("secret")), peer(1, psk("secret"))]);
            pair.drive(|n| if n == hit { copies } else { 1 });
            for _ in 0..3 {
                pair.wait(Duration::from_secs(1));
                pair.drive(|_| 1);
            }
            pair.assert_up();
        }
    }
}

#[test]
fn a_wrong_secret_sets_up_nothing() {
    let mut pair = Pair::with_peers([peer(0, psk("secret")), peer(1, psk("other"))]);
    pair.drive(|_| 1);
    let [left, right] = &pair.nodes;
    assert_eq!(left.down, [DownReason::Refused("AUTHENTICATION_FAILED".to_owned())]);
    let wrong = "peer does not prove its identity: authentication data is wrong";
    assert_eq!(right.down, [DownReason::Failed(wrong.to_owned())], "the responder says why");
    assert!(right.up == 0 && right.inbound.is_empty() && left.inbound.is_empty() && right.endpoint.status().is_empty());
    assert_eq!(right.endpoint.counters().refused, 1);
}

#[test]
fn a_responder_that_prefers_another_method_is_followed() {
    let mut right = peer(1, psk("secret"));
    right.profile.key_exchange = vec![KeyExchange::P256];
    let mut pair = Pair::with_peers([peer(0, psk("secret")), right]);
    pair.drive(|_| 1);
    pair.assert_up();
}

#[test]
fn every_algorithm_sets_up_both_sas() {
    let set_up = |change: &dyn Fn(&mut Profile)| {
        let peers = [0, 1].map(|side| {
            let mut peer = peer(side, psk("secret"));
            change(&mut peer.profile);
            change(&mut peer.children[0].profile);
            peer
        });
        let mut pair = Pair::with_peers(peers);
        pair.drive(|_| 1);
        pair.assert_up();
        pair
    };
    for encryption in IkeEncryption::ALL {
        set_up(&|profile| profile.ike_encryption = vec![*encryption]);
    }
    for method in KeyExchange::ALL {
        set_up(&|profile| profile.key_exchange = vec![*method]);
    }
    for suite in EspSuite::ALL {
        let pair = set_up(&|profile| profile.esp = vec![*suite]);
        let sa = pair.nodes[0].outbound[0].transform.esp().unwrap();
        assert_eq!((sa.suite, sa.keymat.expose().len()), (*suite, suite.keymat_len()));
    }
}

#[test]
fn a_wider_offer_is_narrowed_to_what_both_protect() {
    let mut left = peer(0, psk("secret"));
    left.children[0].remote =
        vec![TrafficSelector::from_net(Protocol::Any, PortRange::ANY, "10.0.0.0/16".parse().unwrap())];
    let mut pair = Pair::with_peers([left, peer(1, psk("secret"))]);
    pair.drive(|_| 1);
    pair.assert_up();
    assert_eq!(pair.nodes[0].outbound[0].selectors.remote, selectors(1));
}

#[test]
fn traffic_that_no_rule_shares_leaves_an_ike_sa_without_a_child() {
    let mut left = peer(0, psk("secret"));
    left.children[0].remote = selectors(7);
    let mut pair = Pair::with_peers([left, peer(1, psk("secret"))]);
    pair.drive(|_| 1);
    assert_eq!((pair.nodes[0].up, pair.nodes[1].up), (1, 1));
    assert!(pair.nodes.iter().all(|n| n.inbound.is_empty() && n.outbound.is_empty()));
}

#[test]
fn shutting_down_deletes_both_ends() {
    let mut pair = Pair::with_peers([peer(0, psk("secret")), peer(1, psk("secret"))]);
    pair.drive(|_| 1);
    pair.nodes[0].endpoint.shutdown(pair.now);
    pair.collect();
    pair.drive(|_| 1);
    assert_eq!(pair.nodes[0].down, [DownReason::DeletedByUs]);
    assert_eq!(pair.nodes[1].down, [DownReason::DeletedByPeer]);
    assert!(pair.nodes.iter().all(|n| n.removed == [Direction::Outbound, Direction::Inbound]));
    assert!(pair.nodes.iter().all(|n| n.endpoint.status().is_empty()));
}

#[test]
fn a_silent_peer_is_asked_and_then_given_up_and_tried_again() {
    let mut pair = Pair::with_peers([peer(0, psk("secret")), peer(1, psk("secret"))]);
    pair.drive(|_| 1);
    pair.wait(Duration::from_secs(31));
    assert!(!pair.wire.is_empty(), "the silent one is asked");
    pair.drive(|_| 1);
    assert!(pair.nodes.iter().all(|n| n.down.is_empty()), "an answer keeps the SA");
    for _ in 0..90 {
        pair.wait(Duration::from_secs(1));
        pair.wire.clear();
    }
    assert!(pair.nodes.iter().all(|n| n.down[0] == DownReason::NoAnswer));
    for _ in 0..70 {
        pair.wait(Duration::from_secs(1));
        pair.drive(|_| 1);
    }
    assert_eq!((pair.nodes[0].up, pair.nodes[1].endpoint.status().len()), (2, 1));
}

#[test]
fn a_damaged_message_changes_no_state_and_counts_once() {
    for hit in 0..4 {
        let mut pair = Pair::with_peers([peer(0, psk("secret")), peer(1, psk("secret"))]);
        let mut number = 0;
        while !pair.wire.is_empty() {
            let (to, path, datagram) = pair.wire.remove(0);
            if number == hit && number >= 2 {
                for byte in (0..datagram.len()).step_by(3) {
                    let mut copy = datagram.clone();
                    copy[byte] ^= 0x40;
                    let before = total(pair.nodes[to].endpoint.counters());
                    pair.deliver(to, path, &copy);
                    assert_eq!(total(pair.nodes[to].endpoint.counters()), before + 1, "byte {byte}");
                }
            }
            pair.deliver(to, path, &datagram);
            number += 1;
        }
        pair.assert_up();
    }
}

fn total(c: &Counters) -> u64 {
    let answered = c.accepted + c.retransmitted + c.refused;
    answered + c.fragments + c.malformed + c.unknown_spi + c.unauthentic + c.unexpected
}

struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    der: Vec<u8>,
}

impl Authority {
    fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, "mesh root");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Self { issuer: rcgen::Issuer::new(params, key), der }
    }

    fn issue(&self, name: &Identity) -> CertificateIdentity {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![name.to_string()]).unwrap();
        let der = params.signed_by(&key, &self.issuer).unwrap().der().to_vec();
        CertificateIdentity { chain: vec![der], key: SigningKey::from_pkcs8_pem(&key.serialize_pem()).unwrap() }
    }
}

#[test]
fn two_endpoints_with_certificates_set_up_a_tunnel() {
    let root = Authority::new();
    let nodes = [0, 1].map(|side| node(side, Some(root.issue(&id(side))), vec![root.der.clone()]));
    let mut pair = Pair::new(nodes);
    pair.configure([peer(0, Auth::Certificate), peer(1, Auth::Certificate)]);
    pair.drive(|_| 1);
    pair.assert_up();
}

#[test]
fn a_certificate_of_another_node_or_another_root_proves_nothing() {
    let (root, stranger) = (Authority::new(), Authority::new());
    let wrong_name = root.issue(&"other.node.mesh.example".parse().unwrap());
    for certificate in [wrong_name, stranger.issue(&id(0))] {
        let left = node(0, Some(certificate), vec![root.der.clone()]);
        let right = node(1, Some(root.issue(&id(1))), vec![root.der.clone()]);
        let mut pair = Pair::new([left, right]);
        pair.configure([peer(0, Auth::Certificate), peer(1, Auth::Certificate)]);
        pair.drive(|_| 1);
        assert!(pair.nodes[1].up == 0 && pair.nodes[1].inbound.is_empty());
        assert_eq!(pair.nodes[0].down.len(), 1);
    }
}

#[test]
fn a_responder_that_is_not_believed_is_told_and_keeps_nothing() {
    let (root, stranger) = (Authority::new(), Authority::new());
    let left = node(0, Some(root.issue(&id(0))), vec![root.der.clone()]);
    let right = node(1, Some(stranger.issue(&id(1))), vec![root.der.clone()]);
    let mut pair = Pair::new([left, right]);
    pair.configure([peer(0, Auth::Certificate), peer(1, Auth::Certificate)]);
    pair.drive(|_| 1);
    let [left, right] = &pair.nodes;
    assert!(left.up == 0 && left.inbound.is_empty());
    assert_eq!(right.down, [DownReason::Refused("AUTHENTICATION_FAILED".to_owned())]);
    assert!(right.endpoint.status().is_empty());
}
