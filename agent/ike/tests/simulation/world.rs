//! A world of endpoints in virtual time: IKE messages are lost, delayed and reordered, packets are only delayed.
//!
//! Packets flow all the time between nodes that hold an outbound SA. One that arrives where its SPI is unknown is lost: that
//! is what no rekey may cause.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use espalier_ike::{Auth, ChildConfig, Endpoint, EndpointConfig, LocalIdentity, Now, Output, PeerConfig};
use espalier_model::identity::{Identity, Name};
use espalier_model::profile::Profile;
use espalier_model::sa::{ChildId, ChildSa, Direction, SaEvent, UdpPath};
use espalier_model::secret::Secret;
use espalier_model::selector::{PortRange, Protocol, TrafficSelector};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::authority::Authority;

/// How the network treats IKE messages.
#[derive(Clone, Copy)]
pub(crate) struct Network {
    /// Share of messages that are lost.
    pub(crate) loss: f64,
    /// Share of messages that arrive twice.
    pub(crate) twice: f64,
    /// The longest delay; the shortest is a millisecond, so later messages overtake earlier ones.
    pub(crate) delay: Duration,
}

/// One endpoint with what its data plane would hold.
pub(crate) struct Node {
    pub(crate) endpoint: Endpoint,
    pub(crate) peers: Vec<PeerConfig>,
    pub(crate) inbound: BTreeMap<u32, ChildSa>,
    pub(crate) outbound: BTreeMap<Name, ChildSa>,
    used: BTreeSet<ChildId>,
    /// Outbound halves that were given up.
    given_up: BTreeSet<ChildId>,
    address: IpAddr,
    /// The port that a NAT shows for port 4500 of the node, where there is one.
    nat: Option<u16>,
    /// When its endpoint wants to be woken.
    due: Option<Instant>,
}

/// Something on its way to a node.
struct Flight {
    at: Instant,
    /// Tells those apart that arrive in the same instant: the one that left first comes first.
    number: u64,
    to: usize,
    arrival: Arrival,
}

enum Arrival {
    Message { path: UdpPath, datagram: Vec<u8> },
    Packet { spi: u32 },
}

/// All of them.
pub(crate) struct World {
    pub(crate) now: Now,
    pub(crate) nodes: Vec<Node>,
    pub(crate) network: Network,
    pub(crate) packets_sent: u64,
    pub(crate) packets_lost: Vec<String>,
    /// Pairs of nodes, the lower first, between which nothing passes.
    pub(crate) cut: BTreeSet<(usize, usize)>,
    /// Whether an attacker is on the path.
    pub(crate) assailed: bool,
    rng: StdRng,
    wire: BinaryHeap<Flight>,
    timers: BTreeSet<(Instant, usize)>,
    indices: BTreeMap<IpAddr, usize>,
    count: u64,
    next_packets: Instant,
    packet_every: Duration,
}

/// Packets that a node sends in a second to each other, times the number of nodes.
const PACKETS: u32 = 200;

const IKE: u16 = 500;
const NAT_TRAVERSAL: u16 = 4500;

/// Returns the identity of a node.
pub(crate) fn id(node: usize) -> Identity {
    format!("n{node}.node.mesh.example").parse().unwrap()
}

fn address(node: usize) -> IpAddr {
    format!("192.0.2.{}", node + 1).parse().unwrap()
}

/// Returns the rule between two nodes.
pub(crate) fn rule(here: usize, there: usize) -> Name {
    format!("r{}-{}", here.min(there), here.max(there)).parse().unwrap()
}

fn selectors(node: usize) -> Vec<TrafficSelector> {
    vec![TrafficSelector::from_net(Protocol::Any, PortRange::ANY, format!("10.0.{node}.1/32").parse().unwrap())]
}

/// Returns the cheap proof: all nodes know one secret.
pub(crate) fn psk() -> Auth {
    Auth::Psk(Secret::from(&b"only for tests"[..]))
}

/// Returns how one node sees another.
pub(crate) fn peer(here: usize, there: usize, profile: &Profile, initiate: bool) -> PeerConfig {
    let child = ChildConfig {
        rule: rule(here, there),
        local: selectors(here),
        remote: selectors(there),
        profile: profile.clone(),
    };
    PeerConfig {
        id: id(there),
        endpoints: vec![(address(there), 500).into()],
        local: vec![address(here)],
        initiate,
        auth: psk(),
        profile: profile.clone(),
        key_epoch: 0,
        ppk: None,
        virtual_addresses: None,
        children: vec![child],
    }
}

impl World {
    pub(crate) fn new(seed: u64, count: usize, network: Network) -> Self {
        Self::with_authority(seed, count, network, None)
    }

    /// Makes a world whose nodes have certificates of an authority, where there is one.
    pub(crate) fn with_authority(seed: u64, count: usize, network: Network, authority: Option<&Authority>) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let now = Now { instant: Instant::now(), unix: 1_790_000_000 };
        let nodes = (0..count).map(|index| {
            let certificate = authority.map(|authority| authority.issue(index));
            let identity = LocalIdentity { id: id(index), certificate };
            let trust = authority.map_or_else(Vec::new, Authority::trust);
            let config = EndpointConfig { identity, trust, revoked: BTreeSet::new(), keylog: false };
            let endpoint = Endpoint::new(config, rng.random()).unwrap();
            let (inbound, outbound) = (BTreeMap::new(), BTreeMap::new());
            let (used, given_up) = (BTreeSet::new(), BTreeSet::new());
            Node {
                endpoint,
                peers: vec![],
                inbound,
                outbound,
                used,
                given_up,
                address: address(index),
                nat: None,
                due: None,
            }
        });
        Self {
            nodes: nodes.collect(),
            now,
            network,
            packets_sent: 0,
            packets_lost: vec![],
            cut: BTreeSet::new(),
            assailed: false,
            rng,
            wire: BinaryHeap::new(),
            timers: BTreeSet::new(),
            indices: (0..count).map(|index| (address(index), index)).collect(),
            count: 0,
            next_packets: now.instant,
            packet_every: Duration::from_secs(1) * u32::try_from(count).unwrap() / PACKETS,
        }
    }

    /// Gives a node its peers.
    pub(crate) fn configure(&mut self, node: usize, peers: Vec<PeerConfig>) {
        self.nodes[node].peers.clone_from(&peers);
        self.nodes[node].endpoint.configure(self.now, peers);
        self.collect(node);
    }

    /// Lets everything come to rest that waits for a peer that says no more; packets flow slowly meanwhile.
    pub(crate) fn rest(&mut self) {
        let every = std::mem::replace(&mut self.packet_every, Duration::from_secs(5));
        self.run(Duration::from_secs(300));
        self.packet_every = every;
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now.instant + time;
        loop {
            let timer = self.timers.first().map(|(at, _)| *at);
            let arrival = self.wire.peek().map(|flight| flight.at);
            let next = timer.into_iter().chain(arrival).fold(self.next_packets, Instant::min);
            if next > end {
                self.now.instant = end;
                return;
            }
            self.now.instant = self.now.instant.max(next);
            self.arrive();
            let due: Vec<_> = self.timers.range(..=(self.now.instant, usize::MAX)).map(|(_, node)| *node).collect();
            for node in due {
                self.nodes[node].endpoint.handle_timeout(self.now);
                self.collect(node);
            }
            if self.next_packets <= self.now.instant {
                self.next_packets = self.now.instant + self.packet_every;
                self.send_packets();
            }
        }
    }

    fn arrive(&mut self) {
        while self.wire.peek().is_some_and(|flight| flight.at <= self.now.instant) {
            let Some(Flight { to, arrival, .. }) = self.wire.pop() else { return };
            match arrival {
                Arrival::Message { path, datagram } => {
                    if self.assailed {
                        self.assail(to, path, &datagram);
                    }
                    self.nodes[to].endpoint.handle_datagram(self.now, path, &datagram);
                    self.collect(to);
                }
                Arrival::Packet { spi } => self.receive(to, spi),
            }
        }
    }

    fn receive(&mut self, to: usize, spi: u32) {
        let node = &mut self.nodes[to];
        match node.inbound.get(&spi) {
            Some(sa) => {
                if node.used.insert(sa.id) {
                    node.endpoint.handle_event(self.now, &SaEvent::FirstAuthentic(sa.id));
                    self.collect(to);
                }
            }
            None => self.packets_lost.push(format!("packet of SPI {spi:08x} at node {to}")),
        }
    }

    /// Gives a node another port at the NAT that it is behind: what is sent to the one before arrives no more.
    pub(crate) fn rebind(&mut self, node: usize, port: u16) {
        self.nodes[node].nat = Some(port);
    }

    /// Kills a node and starts it anew: it has forgotten everything but who its peers are.
    pub(crate) fn crash(&mut self, node: usize) {
        let identity = LocalIdentity { id: id(node), certificate: None };
        let config = EndpointConfig { identity, trust: vec![], revoked: BTreeSet::new(), keylog: false };
        self.nodes[node].endpoint = Endpoint::new(config, self.rng.random()).unwrap();
        self.nodes[node].inbound.clear();
        self.nodes[node].outbound.clear();
        self.nodes[node].used.clear();
        self.nodes[node].given_up.clear();
        let peers = self.nodes[node].peers.clone();
        self.configure(node, peers);
    }

    fn is_cut(&self, one: usize, other: usize) -> bool {
        self.cut.contains(&(one.min(other), one.max(other)))
    }

    /// Returns the path as the receiver sees it, behind the NATs of both; nothing where a NAT has no mapping.
    fn translated(&self, from: usize, to: usize, path: UdpPath) -> Option<UdpPath> {
        let mut seen = UdpPath { local: path.remote, remote: path.local };
        if let Some(port) = self.nodes[from].nat.filter(|_| seen.remote.port() == NAT_TRAVERSAL) {
            seen.remote.set_port(port);
        }
        match (self.nodes[to].nat, seen.local.port()) {
            // Who is called first is forwarded: all nodes can be reached at the ports that the plan names.
            (_, IKE | NAT_TRAVERSAL) => {}
            (Some(port), called) if port == called => seen.local.set_port(NAT_TRAVERSAL),
            _ => return None,
        }
        Some(seen)
    }

    fn send_packets(&mut self) {
        for from in 0..self.nodes.len() {
            let sas: Vec<_> =
                self.nodes[from].outbound.values().map(|sa| (sa.path.remote.ip(), sa.transform.spi().get())).collect();
            for (to, spi) in sas {
                self.packets_sent += 1;
                let delay = self.delay();
                let to = self.index(to);
                if !self.is_cut(from, to) {
                    self.put(delay, to, Arrival::Packet { spi });
                }
            }
        }
    }

    fn index(&self, address: IpAddr) -> usize {
        *self.indices.get(&address).expect("every address is a node's")
    }

    fn delay(&mut self) -> Duration {
        Duration::from_micros(self.rng.random_range(1_000..=self.network.delay.as_micros().try_into().unwrap()))
    }

    fn put(&mut self, delay: Duration, to: usize, arrival: Arrival) {
        self.count += 1;
        self.wire.push(Flight { at: self.now.instant + delay, number: self.count, to, arrival });
    }

    /// Carries out the orders of a node.
    pub(crate) fn collect(&mut self, node: usize) {
        while let Some(output) = self.nodes[node].endpoint.poll_output() {
            match output {
                Output::Transmit { path, datagram } => self.transmit(path, &datagram),
                Output::InstallInbound(sa) => _ = self.nodes[node].inbound.insert(sa.0.transform.spi().get(), sa.0),
                Output::UseOutbound(sa) => {
                    let node = &mut self.nodes[node];
                    assert!(
                        !node.given_up.contains(&sa.0.id),
                        "a key that was given up is used again: its nonces repeat"
                    );
                    node.outbound.insert(sa.0.rule.clone(), sa.0);
                }
                Output::Remove(id, Direction::Inbound) => self.nodes[node].inbound.retain(|_, sa| sa.id != id),
                Output::Remove(id, Direction::Outbound) => {
                    self.nodes[node].given_up.insert(id);
                    self.nodes[node].outbound.retain(|_, sa| sa.id != id);
                }
                Output::Up(..) | Output::Replaced(..) | Output::Down(..) | Output::TurnedAway(..) => {}
                Output::MovePath(..) | Output::Addresses(..) | Output::Door(_) => {}
                Output::Keylog(_) | Output::ChildRefused { .. } => {}
                // Nothing is counted here, so every pair counts as idle.
                Output::Moved { .. } | Output::Keepalive(_) | Output::Measure(_) => {}
            }
        }
        let due = self.nodes[node].endpoint.next_timeout().map(|(at, _)| at);
        let before = std::mem::replace(&mut self.nodes[node].due, due);
        if before != due {
            before.map(|at| self.timers.remove(&(at, node)));
            self.timers.extend(due.map(|at| (at, node)));
        }
    }

    fn transmit(&mut self, path: UdpPath, datagram: &[u8]) {
        let copies = if self.rng.random_bool(self.network.loss) {
            0
        } else {
            1 + usize::from(self.rng.random_bool(self.network.twice))
        };
        let (from, to) = (self.index(path.local.ip()), self.index(path.remote.ip()));
        let Some(seen) = self.translated(from, to, path) else { return };
        let copies = if self.is_cut(from, to) { 0 } else { copies };
        for _ in 0..copies {
            let delay = self.delay();
            self.put(delay, to, Arrival::Message { path: seen, datagram: datagram.to_vec() });
        }
    }

    /// Checks that each pair holds exactly one IKE SA and one child SA pair, with the same SPIs and keys at both ends.
    pub(crate) fn assert_whole(&self, what: &str) {
        for (here, node) in self.nodes.iter().enumerate() {
            let status = node.endpoint.status();
            let expected = node.peers.len();
            assert_eq!(status.len(), expected, "{what}: IKE SAs of node {here}: {status:?}");
            assert_eq!(node.endpoint.sa_count(), expected, "{what}: leftover SAs of node {here}");
            for sa in &status {
                let there = self.nodes.iter().position(|n| n.address == sa.path.remote.ip()).unwrap();
                let theirs = self.nodes[there].endpoint.status();
                let theirs = theirs.iter().find(|s| s.peer == id(here)).expect("the peer holds it too");
                assert_eq!(sa.spis, theirs.spis, "{what}: IKE SPIs between {here} and {there}");
                assert_eq!((sa.children.len(), theirs.children.len()), (1, 1), "{what}: children {here} to {there}");
                let (ours, theirs) = (&sa.children[0], &theirs.children[0]);
                assert_eq!((ours.inbound, ours.outbound), (theirs.outbound, theirs.inbound), "{what}");
                let sends = &node.outbound[&rule(here, there)];
                assert_eq!(sends.transform.spi(), ours.outbound, "{what}: outbound of {here} to {there}: {sa:?}");
                let receives = &self.nodes[there].inbound[&sends.transform.spi().get()];
                assert!(keymat(sends) == keymat(receives), "{what}: keys between {here} and {there}");
            }
            assert_eq!(node.inbound.len(), expected, "{what}: inbound SAs of node {here}");
            assert_eq!(node.outbound.len(), expected, "{what}: outbound SAs of node {here}");
        }
    }
}

impl Ord for Flight {
    /// The greatest is what arrives first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl PartialOrd for Flight {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Flight {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Flight {}

fn keymat(sa: &ChildSa) -> &[u8] {
    sa.transform.esp().unwrap().keymat.expose()
}
