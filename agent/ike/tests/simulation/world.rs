//! A world of endpoints in virtual time: IKE messages are lost, delayed and reordered, packets are only delayed.
//!
//! What must hold all the time is checked whenever something changes: see `flows.rs` for packets, `nonces.rs` for keys.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use espalier_ike::{Auth, ChildConfig, Endpoint, EndpointConfig, LocalIdentity, Now, Output, PeerConfig};
use espalier_model::identity::{Identity, Name};
use espalier_model::profile::Profile;
use espalier_model::sa::{ChildId, ChildSa, Direction, SaEvent, UdpPath};
use espalier_model::secret::Secret;
use espalier_model::selector::{Flow, PortRange, Protocol, TrafficSelector};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::authority::Authority;
use super::flows::Flows;
use super::nonces::Nonces;

/// How the network treats IKE messages.
#[derive(Clone, Copy)]
pub(crate) struct Network {
    /// Share of messages that are lost, but never more than [`MOST_LOST`] of one node to another in a row: what a peer sends until it
    /// takes the other for dead is not all lost, and then no packet may be.
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
    pub(crate) used: BTreeSet<ChildId>,
    /// Outbound halves that were given up.
    given_up: BTreeSet<ChildId>,
    /// IKE SAs that were lost.
    pub(crate) downs: usize,
    address: IpAddr,
    /// What the wall clock of the node shows, against the right one.
    clock: i64,
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

pub(crate) enum Arrival {
    Message {
        path: UdpPath,
        datagram: Vec<u8>,
    },
    /// A packet of an SA.
    Packet {
        spi: u32,
    },
    /// The moment at which the node sends the next packet of a rule with this pair.
    Turn {
        rule: Name,
        id: ChildId,
    },
}

/// All of them.
pub(crate) struct World {
    pub(crate) now: Now,
    pub(crate) nodes: Vec<Node>,
    pub(crate) network: Network,
    pub(crate) flows: Flows,
    /// Pairs of nodes, the lower first, between which nothing passes.
    pub(crate) cut: BTreeSet<(usize, usize)>,
    /// Whether an attacker is on the path.
    pub(crate) assailed: bool,
    nonces: Nonces,
    rng: StdRng,
    wire: BinaryHeap<Flight>,
    timers: BTreeSet<(Instant, usize)>,
    /// Messages of one node to another that were lost in a row.
    lost_in_a_row: BTreeMap<(usize, usize), u8>,
    indices: BTreeMap<IpAddr, usize>,
    count: u64,
}

/// The shortest delay of a message or packet.
pub(crate) const LEAST_DELAY: Duration = Duration::from_millis(1);
/// More IKE SAs than a node may hold for one peer, however things cross.
const MOST_SAS: usize = 12;

const MOST_LOST: u8 = 2;
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
                downs: 0,
                address: address(index),
                clock: 0,
                nat: None,
                due: None,
            }
        });
        Self {
            nodes: nodes.collect(),
            now,
            network,
            flows: Flows::default(),
            nonces: Nonces::default(),
            cut: BTreeSet::new(),
            assailed: false,
            rng,
            wire: BinaryHeap::new(),
            timers: BTreeSet::new(),
            lost_in_a_row: BTreeMap::new(),
            indices: (0..count).map(|index| (address(index), index)).collect(),
            count: 0,
        }
    }

    /// Returns the present as a node sees it.
    pub(crate) fn now_at(&self, node: usize) -> Now {
        Now { unix: self.now.unix.saturating_add_signed(self.nodes[node].clock), ..self.now }
    }

    /// Has the wall clock of a node jump by some seconds.
    pub(crate) fn jump(&mut self, node: usize, seconds: i64) {
        self.nodes[node].clock += seconds;
    }

    /// Gives a node its peers.
    pub(crate) fn configure(&mut self, node: usize, peers: Vec<PeerConfig>) {
        self.nodes[node].peers.clone_from(&peers);
        let now = self.now_at(node);
        self.nodes[node].endpoint.configure(now, peers);
        self.collect(node);
    }

    /// Has a packet at a node ask for the SA of its rule, where there is none.
    pub(crate) fn acquire(&mut self, here: usize, there: usize) {
        if self.nodes[here].outbound.contains_key(&rule(here, there)) {
            return;
        }
        let source = |node: usize| IpAddr::from([10, 0, u8::try_from(node).unwrap(), 1]);
        let flow = Flow { source: source(here), destination: source(there), protocol: 17, ports: Some((1, 1)) };
        let now = self.now_at(here);
        self.nodes[here].endpoint.handle_event(now, &SaEvent::Acquire { rule: rule(here, there), flow });
        self.collect(here);
    }

    /// Lets everything come to rest that waits for a peer that says no more.
    pub(crate) fn rest(&mut self) {
        self.run(Duration::from_secs(300));
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now.instant + time;
        loop {
            let timer = self.timers.first().map(|(at, _)| *at);
            let arrival = self.wire.peek().map(|flight| flight.at);
            let Some(next) = timer.into_iter().chain(arrival).min().filter(|next| *next <= end) else {
                self.now.instant = end;
                return;
            };
            self.now.instant = self.now.instant.max(next);
            self.arrive();
            let due: Vec<_> = self.timers.range(..=(self.now.instant, usize::MAX)).map(|(_, node)| *node).collect();
            for node in due {
                let now = self.now_at(node);
                self.nodes[node].endpoint.handle_timeout(now);
                self.collect(node);
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
                    let now = self.now_at(to);
                    self.nodes[to].endpoint.handle_datagram(now, path, &datagram);
                    self.collect(to);
                }
                Arrival::Packet { spi } => self.receive(to, spi),
                Arrival::Turn { rule, id } => self.send_packet(to, &rule, id),
            }
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
        self.flows.forget(node);
        let peers = self.nodes[node].peers.clone();
        self.configure(node, peers);
    }

    pub(crate) fn is_cut(&self, one: usize, other: usize) -> bool {
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

    pub(crate) fn index(&self, address: IpAddr) -> usize {
        *self.indices.get(&address).expect("every address is a node's")
    }

    pub(crate) fn delay(&mut self) -> Duration {
        let most = self.network.delay.as_micros().try_into().unwrap();
        Duration::from_micros(self.rng.random_range(LEAST_DELAY.as_micros().try_into().unwrap()..=most))
    }

    pub(crate) fn put(&mut self, delay: Duration, to: usize, arrival: Arrival) {
        self.count += 1;
        self.wire.push(Flight { at: self.now.instant + delay, number: self.count, to, arrival });
    }

    /// Carries out the orders of a node.
    pub(crate) fn collect(&mut self, node: usize) {
        while let Some(output) = self.nodes[node].endpoint.poll_output() {
            match output {
                Output::Transmit { path, datagram } => self.transmit(path, &datagram),
                Output::InstallInbound(sa) => {
                    let before = self.nodes[node].inbound.insert(sa.0.transform.spi().get(), sa.0);
                    assert!(before.is_none(), "node {node} installs an SPI twice");
                }
                Output::UseOutbound(sa) => {
                    assert!(
                        !self.nodes[node].given_up.contains(&sa.0.id),
                        "a key that was given up is used again: its nonces repeat"
                    );
                    self.nonces.seals(node, &sa.0);
                    self.use_outbound(node, sa.0);
                }
                Output::Remove(id, Direction::Inbound) => self.remove_inbound(node, id),
                Output::Remove(id, Direction::Outbound) => {
                    self.nodes[node].given_up.insert(id);
                    self.stop_sending(node, id);
                }
                Output::Down(..) => self.nodes[node].downs += 1,
                Output::Up(..) | Output::Replaced(..) | Output::TurnedAway(..) => {}
                Output::MovePath(..) | Output::Addresses(..) | Output::Door(_) => {}
                Output::Keylog(_) | Output::Told(_) | Output::ChildRefused { .. } => {}
                // Nothing is counted here, so every pair counts as idle.
                Output::Moved { .. } | Output::Keepalive(_) | Output::Measure(_) => {}
            }
        }
        let (held, peers) = (self.nodes[node].endpoint.sa_count(), self.nodes[node].peers.len());
        assert!(held <= MOST_SAS * peers.max(1), "node {node} holds {held} IKE SAs for {peers} peers");
        let due = self.nodes[node].endpoint.next_timeout().map(|(at, _)| at);
        let before = std::mem::replace(&mut self.nodes[node].due, due);
        if before != due {
            before.map(|at| self.timers.remove(&(at, node)));
            self.timers.extend(due.map(|at| (at, node)));
        }
    }

    fn transmit(&mut self, path: UdpPath, datagram: &[u8]) {
        self.nonces.sealed(datagram);
        let (from, to) = (self.index(path.local.ip()), self.index(path.remote.ip()));
        let lost = self.lost_in_a_row.entry((from, to)).or_default();
        let copies = if self.rng.random_bool(self.network.loss) && *lost < MOST_LOST {
            *lost += 1;
            0
        } else {
            *lost = 0;
            1 + usize::from(self.rng.random_bool(self.network.twice))
        };
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

/// Returns the key that packets are sealed with.
pub(crate) fn keymat(sa: &ChildSa) -> &[u8] {
    sa.transform.esp().unwrap().keymat.expose()
}
