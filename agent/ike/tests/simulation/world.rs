//! A world of endpoints in virtual time: IKE messages are lost, delayed and reordered, packets are only delayed.
//!
//! Packets flow all the time between nodes that hold an outbound SA. One that arrives where its SPI is unknown is lost: that
//! is what no rekey may cause.

use std::cmp::Reverse;
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
    address: IpAddr,
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
    rng: StdRng,
    wire: BinaryHeap<Reverse<(Instant, u64)>>,
    arrivals: BTreeMap<u64, (usize, Arrival)>,
    count: u64,
    next_packets: Instant,
    packet_every: Duration,
}

/// Packets that a node sends in a second to each other, times the number of nodes.
const PACKETS: u32 = 200;

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
        auth: Auth::Psk(Secret::from(&b"only for tests"[..])),
        profile: profile.clone(),
        key_epoch: 0,
        children: vec![child],
    }
}

impl World {
    pub(crate) fn new(seed: u64, count: usize, network: Network) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let now = Now { instant: Instant::now(), unix: 1_790_000_000 };
        let nodes = (0..count).map(|index| {
            let identity = LocalIdentity { id: id(index), certificate: None };
            let config = EndpointConfig { identity, trust: vec![], revoked: BTreeSet::new(), keylog: false };
            let endpoint = Endpoint::new(config, rng.random()).unwrap();
            let (inbound, outbound, used) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
            Node { endpoint, peers: vec![], inbound, outbound, used, address: address(index) }
        });
        Self {
            nodes: nodes.collect(),
            now,
            network,
            packets_sent: 0,
            packets_lost: vec![],
            rng,
            wire: BinaryHeap::new(),
            arrivals: BTreeMap::new(),
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
            let timers = self.nodes.iter().filter_map(|n| n.endpoint.next_timeout()).map(|(at, _)| at).min();
            let arrival = self.wire.peek().map(|Reverse((at, _))| *at);
            let next = timers.into_iter().chain(arrival).fold(self.next_packets, Instant::min);
            if next > end {
                self.now.instant = end;
                return;
            }
            self.now.instant = self.now.instant.max(next);
            self.arrive();
            for node in 0..self.nodes.len() {
                let due = self.nodes[node].endpoint.next_timeout();
                if due.is_some_and(|(at, _)| at <= self.now.instant) {
                    self.nodes[node].endpoint.handle_timeout(self.now);
                    self.collect(node);
                }
            }
            if self.next_packets <= self.now.instant {
                self.next_packets = self.now.instant + self.packet_every;
                self.send_packets();
            }
        }
    }

    fn arrive(&mut self) {
        while let Some(Reverse((at, number))) = self.wire.peek().copied() {
            if at > self.now.instant {
                return;
            }
            self.wire.pop();
            let Some((to, arrival)) = self.arrivals.remove(&number) else { continue };
            match arrival {
                Arrival::Message { path, datagram } => {
                    self.nodes[to].endpoint.handle_datagram(self.now, path, &datagram);
                }
                Arrival::Packet { spi } => self.receive(to, spi),
            }
            self.collect(to);
        }
    }

    fn receive(&mut self, to: usize, spi: u32) {
        let node = &mut self.nodes[to];
        match node.inbound.get(&spi) {
            Some(sa) => {
                if node.used.insert(sa.id) {
                    node.endpoint.handle_event(self.now, &SaEvent::FirstAuthentic(sa.id));
                }
            }
            None => self.packets_lost.push(format!("packet of SPI {spi:08x} at node {to}")),
        }
    }

    fn send_packets(&mut self) {
        for from in 0..self.nodes.len() {
            let sas: Vec<_> =
                self.nodes[from].outbound.values().map(|sa| (sa.path.remote.ip(), sa.spi.get())).collect();
            for (to, spi) in sas {
                self.packets_sent += 1;
                let delay = self.delay();
                let to = self.index(to);
                self.put(delay, to, Arrival::Packet { spi });
            }
        }
    }

    fn index(&self, address: IpAddr) -> usize {
        self.nodes.iter().position(|n| n.address == address).expect("every address is a node's")
    }

    fn delay(&mut self) -> Duration {
        Duration::from_micros(self.rng.random_range(1_000..=self.network.delay.as_micros().try_into().unwrap()))
    }

    fn put(&mut self, delay: Duration, to: usize, arrival: Arrival) {
        self.count += 1;
        self.wire.push(Reverse((self.now.instant + delay, self.count)));
        self.arrivals.insert(self.count, (to, arrival));
    }

    /// Carries out the orders of a node.
    pub(crate) fn collect(&mut self, node: usize) {
        while let Some(output) = self.nodes[node].endpoint.poll_output() {
            match output {
                Output::Transmit { path, datagram } => self.transmit(path, &datagram),
                Output::InstallInbound(sa) => _ = self.nodes[node].inbound.insert(sa.0.spi.get(), sa.0),
                Output::UseOutbound(sa) => _ = self.nodes[node].outbound.insert(sa.0.rule.clone(), sa.0),
                Output::Remove(id, Direction::Inbound) => self.nodes[node].inbound.retain(|_, sa| sa.id != id),
                Output::Remove(id, Direction::Outbound) => self.nodes[node].outbound.retain(|_, sa| sa.id != id),
                Output::Up(..) | Output::Replaced(..) | Output::Down(..) | Output::TurnedAway(..) => {}
                Output::MovePath(..) | Output::Keylog(_) => {}
            }
        }
    }

    fn transmit(&mut self, path: UdpPath, datagram: &[u8]) {
        let copies = if self.rng.random_bool(self.network.loss) {
            0
        } else {
            1 + usize::from(self.rng.random_bool(self.network.twice))
        };
        let to = self.index(path.remote.ip());
        let seen = UdpPath { local: path.remote, remote: path.local };
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
                assert_eq!(sends.spi, ours.outbound, "{what}: outbound of {here} to {there}: {sa:?}");
                let receives = &self.nodes[there].inbound[&sends.spi.get()];
                assert!(sends.keymat == receives.keymat, "{what}: keys between {here} and {there}");
            }
            assert_eq!(node.inbound.len(), expected, "{what}: inbound SAs of node {here}");
            assert_eq!(node.outbound.len(), expected, "{what}: outbound SAs of node {here}");
        }
    }
}
