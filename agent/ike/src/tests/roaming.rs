//! A network in which addresses come and go, paths die and routers translate.

use std::net::{IpAddr, SocketAddr};

use crate::keymat::IkeSpis;
use crate::wire::sk::{OpeningKey, SealingKey};
use crate::wire::{ExchangeType, Flags, Header, IkeSpi, Notify, Payload};

use super::*;

/// A router before the first of the two: what it sends from one address is seen at another, with another port.
#[derive(Clone, Copy)]
pub(super) struct Router {
    pub(super) inner: IpAddr,
    pub(super) outer: IpAddr,
    /// What is added to each port.
    pub(super) shift: u16,
}

/// Two endpoints, and where each is.
pub(super) struct Roaming {
    pub(super) pair: Pair,
    pub(super) homes: [Vec<IpAddr>; 2],
    /// Pairs of addresses between which nothing passes.
    pub(super) dead: Vec<(IpAddr, IpAddr)>,
    pub(super) router: Option<Router>,
}

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The address of a side: planned ones are `home`, others are not.
pub(super) fn home(side: usize) -> IpAddr {
    ip(&format!("192.0.2.{side}"))
}

pub(super) fn away(side: usize) -> IpAddr {
    ip(&format!("198.51.100.{}", side + 1))
}

pub(super) fn six(side: usize) -> IpAddr {
    ip(&format!("2001:db8::{side}"))
}

/// The path between two addresses on the ports of NAT traversal.
pub(super) fn between(local: IpAddr, remote: IpAddr) -> UdpPath {
    UdpPath { local: SocketAddr::new(local, 4500), remote: SocketAddr::new(remote, 4500) }
}

pub(super) fn peers() -> [PeerConfig; 2] {
    [0, 1].map(|side| peer(side, psk("secret")))
}

/// Who a side is, with a certificate where there is an authority.
pub(super) fn identity(side: usize, root: Option<&Authority>) -> EndpointConfig {
    let identity = LocalIdentity { id: id(side), certificate: root.map(|root| root.issue(&id(side))) };
    let trust = root.map(|root| root.der.clone()).into_iter().collect();
    EndpointConfig { identity, trust, revoked: BTreeSet::new(), keylog: true }
}

impl Roaming {
    /// Both ends have these addresses, and an SA.
    pub(super) fn up(peers: [PeerConfig; 2], homes: [Vec<IpAddr>; 2]) -> Self {
        let mut net = Self::new(peers, homes, None);
        net.drive();
        net.assert_whole();
        net
    }

    /// The same behind a router, before anything has arrived.
    pub(super) fn new(peers: [PeerConfig; 2], homes: [Vec<IpAddr>; 2], router: Option<Router>) -> Self {
        Self::certified(peers, homes, router, None)
    }

    /// The same, where both have certificates of an authority.
    pub(super) fn certified(
        peers: [PeerConfig; 2],
        homes: [Vec<IpAddr>; 2],
        router: Option<Router>,
        root: Option<&Authority>,
    ) -> Self {
        let mut nodes = [0, 1].map(|side| node(side, None, vec![]));
        for (side, node) in nodes.iter_mut().enumerate() {
            node.endpoint = Endpoint::new(identity(side, root), [u8::try_from(side).unwrap(); 32]).unwrap();
        }
        let mut pair = Pair::new(nodes);
        for (side, addresses) in homes.iter().enumerate() {
            pair.nodes[side].endpoint.set_local_addresses(pair.now, addresses.clone());
        }
        pair.configure(peers);
        Self { pair, homes, dead: vec![], router }
    }

    /// Gives a side other addresses, and tells it.
    pub(super) fn rehome(&mut self, side: usize, addresses: &[IpAddr]) {
        self.homes[side] = addresses.to_vec();
        self.pair.nodes[side].endpoint.set_local_addresses(self.pair.now, addresses.to_vec());
        self.pair.collect();
    }

    /// Returns the path as the receiver sees it; nothing where the datagram does not arrive.
    pub(super) fn seen(&self, to: usize, path: UdpPath) -> Option<UdpPath> {
        let mut seen = UdpPath { local: path.remote, remote: path.local };
        let cut = |&(a, b): &(IpAddr, IpAddr)| [(a, b), (b, a)].contains(&(path.local.ip(), path.remote.ip()));
        if !self.homes[1 - to].contains(&path.local.ip()) || self.dead.iter().any(cut) {
            return None;
        }
        if let Some(router) = self.router {
            if to == 1 && seen.remote.ip() == router.inner {
                seen.remote = SocketAddr::new(router.outer, seen.remote.port() + router.shift);
            } else if to == 0 && seen.local.ip() == router.outer {
                let port = seen.local.port().checked_sub(router.shift).filter(|port| [500, 4500].contains(port))?;
                seen.local = SocketAddr::new(router.inner, port);
            } else if to == 0 && seen.local.ip() == router.inner {
                return None;
            }
        }
        self.homes[to].contains(&seen.local.ip()).then_some(seen)
    }

    /// Delivers what is on the wire until it is empty. `fate` says how often each datagram arrives.
    pub(super) fn drive_with(&mut self, mut fate: impl FnMut(usize) -> usize) {
        let mut count = 0;
        while !self.pair.wire.is_empty() {
            let (to, path, datagram) = self.pair.wire.remove(0);
            self.arrive(to, path, &datagram, fate(count));
            count += 1;
            assert!(count < 1_000, "the endpoints never become quiet");
        }
    }

    pub(super) fn drive(&mut self) {
        self.drive_with(|_| 1);
    }

    /// Delivers a datagram so many times.
    pub(super) fn arrive(&mut self, to: usize, path: UdpPath, datagram: &[u8], copies: usize) {
        for _ in 0..copies {
            if let Some(seen) = self.seen(to, path) {
                let now = self.pair.now;
                self.pair.nodes[to].endpoint.handle_datagram(now, seen, datagram);
                self.pair.collect();
            }
        }
    }

    /// Delivers the oldest datagram, and returns it.
    pub(super) fn step(&mut self) -> (usize, UdpPath, Vec<u8>) {
        let (to, path, datagram) = self.pair.wire.remove(0);
        self.arrive(to, path, &datagram, 1);
        (to, path, datagram)
    }

    /// Lets so many seconds pass, in which all that is sent arrives.
    pub(super) fn run(&mut self, seconds: u32) {
        for _ in 0..seconds * 10 {
            self.pair.wait(Duration::from_millis(100));
            self.drive();
        }
    }

    /// Both ends hold one IKE SA, the same, and one pair of child SAs in use each way, which is received at the other end.
    pub(super) fn assert_whole(&self) {
        let [left, right] = &self.pair.nodes;
        let (a, b) = (left.endpoint.status(), right.endpoint.status());
        assert_eq!((a.len(), b.len()), (1, 1), "left {:?}, right {:?}", left.down, right.down);
        assert_eq!(a[0].spis, b[0].spis);
        assert_eq!((a[0].children.len(), b[0].children.len()), (1, 1));
        for (sends, receives) in [(left, right), (right, left)] {
            let keys = |sa: &ChildSa| sa.transform.esp().map(|esp| (esp.spi, esp.keymat.clone())).unwrap();
            let out = keys(sends.outbound.last().unwrap());
            assert!(receives.inbound.iter().any(|sa| keys(sa) == out));
        }
    }

    /// The path of the packets that a side sends.
    pub(super) fn traffic(&self, side: usize) -> UdpPath {
        let node = &self.pair.nodes[side];
        node.paths[&node.outbound.last().unwrap().id]
    }

    /// Messages and packets of both ends take the path between these two.
    pub(super) fn assert_between(&self, left: IpAddr, right: IpAddr) {
        for (side, path) in [(0, between(left, right)), (1, between(right, left))] {
            assert_eq!(self.pair.nodes[side].endpoint.status()[0].path, path, "messages of {side}");
            assert_eq!(self.traffic(side), path, "packets of {side}");
        }
    }

    pub(super) fn reasons(&self, side: usize) -> Vec<MoveReason> {
        self.pair.nodes[side].moved.iter().map(|(_, _, why)| *why).collect()
    }
}

/// Somebody who has the keys of one end, and says what that end never would.
pub(super) struct Forger {
    spis: IkeSpis,
    initiator: bool,
    sealing: SealingKey,
    opening: OpeningKey,
}

impl Forger {
    /// Takes over the side of the first SA that was set up.
    pub(super) fn of(net: &Roaming, side: usize) -> Self {
        let line = net.pair.nodes[side].keys.iter().rfind(|line| !line.starts_with('"')).unwrap();
        let parts: Vec<_> = line.split(',').collect();
        let key = |n: usize| Secret::new(hex(parts[n]));
        let spi = |n: usize| IkeSpi(u64::from_str_radix(parts[n], 16).unwrap());
        let none = Secret::new(vec![]);
        let keys = |n| (key(n), &none);
        let encryption = IkeEncryption::Aes256Gcm16;
        let initiator = net.pair.nodes[side].endpoint.status()[0].initiator;
        let ((ours, _), (theirs, _)) = if initiator { (keys(2), keys(3)) } else { (keys(3), keys(2)) };
        let mut sealing = SealingKey::new(encryption, &ours, &none).unwrap();
        let spis = IkeSpis { initiator: spi(0), responder: spi(1) };
        // The IVs of the real end are used up: another message with one of them would look the same to nobody here.
        let waste = Header {
            initiator_spi: spis.initiator,
            responder_spi: spis.responder,
            exchange: ExchangeType::INFORMATIONAL,
            flags: Flags { initiator, response: false },
            message_id: 0,
        };
        (0..1_000).for_each(|_| _ = sealing.seal(&waste, &[]).unwrap());
        Self { spis, initiator, sealing, opening: OpeningKey::new(encryption, &theirs, &none).unwrap() }
    }

    pub(super) fn seal(&mut self, response: bool, message_id: u32, notifies: Vec<Notify>) -> Vec<u8> {
        let header = Header {
            initiator_spi: self.spis.initiator,
            responder_spi: self.spis.responder,
            exchange: ExchangeType::INFORMATIONAL,
            flags: Flags { initiator: self.initiator, response },
            message_id,
        };
        let payloads: Vec<_> = notifies.into_iter().map(Payload::Notify).collect();
        self.sealing.seal(&header, &payloads).unwrap()
    }

    /// Reads a message that was sent to this end.
    pub(super) fn open(&self, datagram: &[u8]) -> (u32, Vec<Notify>) {
        let message = self.opening.open(datagram).unwrap();
        let notifies = message
            .payloads
            .into_iter()
            .filter_map(|payload| if let Payload::Notify(n) = payload { Some(n) } else { None });
        (message.header.message_id, notifies.collect())
    }
}

fn hex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}
