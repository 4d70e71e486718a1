//! Two endpoints and the wire between them. What each orders is carried out, and whatever must always hold is checked.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use espalier_ike::keymat::IkeSpis;
use espalier_ike::wire::header::HEADER_LEN;
use espalier_ike::wire::{ExchangeType, Header, PayloadType};
use espalier_ike::{Counters, Endpoint, Now, Output, PeerConfig};
use espalier_model::identity::Name;
use espalier_model::sa::{ChildId, ChildSa, Direction, SaEvent, UdpPath};
use espalier_model::suite::IkeEncryption;

use crate::domain;
use crate::forge::SaKeys;

/// One endpoint with what its data plane would hold.
pub(crate) struct Side {
    pub(crate) endpoint: Endpoint,
    pub(crate) peers: Vec<PeerConfig>,
    pub(crate) inbound: BTreeMap<u32, ChildSa>,
    pub(crate) outbound: BTreeMap<Name, ChildSa>,
    used: BTreeSet<ChildId>,
    given_up: BTreeSet<ChildId>,
    /// How often an IKE SA came up.
    pub(crate) ups: usize,
    /// The port that a NAT shows for port 4500 of the node, where there is one.
    pub(crate) nat: Option<u16>,
}

/// A message on the wire, as its sender addressed it.
pub(crate) struct Letter {
    pub(crate) to: usize,
    pub(crate) path: UdpPath,
    pub(crate) datagram: Vec<u8>,
}

/// Both ends.
pub(crate) struct Pair {
    pub(crate) now: Now,
    pub(crate) sides: [Side; 2],
    pub(crate) wire: VecDeque<Letter>,
    /// Keys of the IKE SAs so far.
    pub(crate) keys: BTreeMap<(u64, u64), SaKeys>,
    encryption: IkeEncryption,
    /// What was sealed by each end of an SA, in each turn of its keys, under each IV.
    sealed: BTreeMap<(IkeSpis, bool, u32, [u8; 8]), Vec<u8>>,
    seeds: u8,
    /// What was sent, where it is wanted.
    pub(crate) log: Option<Vec<Vec<u8>>>,
}

/// Letters beyond this many are lost, the oldest first.
const MOST_LETTERS: usize = 64;
/// Orders that one event may lead to: a message in all its fragments, and the ends of some SAs.
const MOST_OUTPUTS: usize = 300;
const IKE: u16 = 500;
const NAT_TRAVERSAL: u16 = 4500;

impl Pair {
    /// Makes both ends, without peers.
    pub(crate) fn new(encryption: IkeEncryption) -> Self {
        Self {
            now: domain::start(),
            sides: [0, 1].map(|side| Side::new(side, u8::try_from(side).unwrap())),
            wire: VecDeque::new(),
            keys: BTreeMap::new(),
            encryption,
            sealed: BTreeMap::new(),
            seeds: 2,
            log: None,
        }
    }

    /// Gives an end its peers.
    pub(crate) fn configure(&mut self, side: usize, peers: Vec<PeerConfig>) {
        self.sides[side].peers.clone_from(&peers);
        self.sides[side].endpoint.configure(self.now, peers);
        self.collect(side);
    }

    /// Gives an end other addresses.
    pub(crate) fn move_to(&mut self, side: usize, addresses: Vec<IpAddr>) {
        self.sides[side].endpoint.set_local_addresses(self.now, addresses);
        self.collect(side);
    }

    /// Kills an end and starts it anew, with the peers that it had.
    pub(crate) fn crash(&mut self, side: usize) {
        self.seeds = self.seeds.wrapping_add(1);
        let before = std::mem::replace(&mut self.sides[side], Side::new(side, self.seeds));
        self.sides[side].nat = before.nat;
        self.configure(side, before.peers);
    }

    /// Hands a datagram to whom it is addressed, through the NATs. Each is counted in exactly one way.
    pub(crate) fn deliver(&mut self, to: usize, path: UdpPath, datagram: &[u8]) {
        let Some(seen) = self.translated(to, path) else { return };
        let endpoint = &mut self.sides[to].endpoint;
        let before = total(endpoint.counters());
        endpoint.handle_datagram(self.now, seen, datagram);
        assert_eq!(total(endpoint.counters()), before + 1, "a datagram is counted once");
        self.collect(to);
    }

    fn translated(&self, to: usize, path: UdpPath) -> Option<UdpPath> {
        let mut seen = UdpPath { local: path.remote, remote: path.local };
        if let Some(port) = self.sides[1 - to].nat.filter(|_| seen.remote.port() == NAT_TRAVERSAL) {
            seen.remote.set_port(port);
        }
        match (self.sides[to].nat, seen.local.port()) {
            (_, IKE | NAT_TRAVERSAL) => {}
            (Some(port), called) if port == called => seen.local.set_port(NAT_TRAVERSAL),
            _ => return None,
        }
        Some(seen)
    }

    /// Lets time pass at both ends.
    pub(crate) fn wait(&mut self, time: Duration) {
        self.now.instant += time;
        for side in 0..2 {
            self.sides[side].endpoint.handle_timeout(self.now);
            self.collect(side);
        }
    }

    /// Tells an end what its data plane has seen.
    pub(crate) fn event(&mut self, side: usize, event: &SaEvent) {
        self.sides[side].endpoint.handle_event(self.now, event);
        self.collect(side);
    }

    /// Sends a packet with every outbound SA; what is the first on its inbound SA is reported.
    pub(crate) fn send_packets(&mut self) {
        for to in 0..2 {
            let sent: Vec<_> = self.sides[1 - to].outbound.values().map(|sa| sa.transform.spi().get()).collect();
            for spi in sent {
                let side = &mut self.sides[to];
                let id = side.inbound.get(&spi).map(|sa| sa.id).filter(|id| side.used.insert(*id));
                id.iter().for_each(|id| self.event(to, &SaEvent::FirstAuthentic(*id)));
            }
        }
    }

    /// Carries out the orders of an end.
    pub(crate) fn collect(&mut self, from: usize) {
        let mut count = 0;
        while let Some(output) = self.sides[from].endpoint.poll_output() {
            count += 1;
            assert!(count <= MOST_OUTPUTS, "one event has led to more than {MOST_OUTPUTS} orders");
            let side = &mut self.sides[from];
            match output {
                Output::Transmit { path, datagram } => {
                    self.check_iv(&datagram);
                    self.log.iter_mut().for_each(|log| log.push(datagram.clone()));
                    if self.wire.len() == MOST_LETTERS {
                        self.wire.pop_front();
                    }
                    self.wire.push_back(Letter { to: 1 - from, path, datagram });
                }
                Output::InstallInbound(sa) => _ = side.inbound.insert(sa.0.transform.spi().get(), sa.0),
                Output::UseOutbound(sa) => {
                    assert!(!side.given_up.contains(&sa.0.id), "a key that was given up is used again");
                    assert!(
                        side.inbound.values().any(|i| i.id == sa.0.id),
                        "an outbound half without its inbound half"
                    );
                    side.outbound.insert(sa.0.rule.clone(), sa.0);
                }
                Output::Remove(id, Direction::Inbound) => side.inbound.retain(|_, sa| sa.id != id),
                Output::Remove(id, Direction::Outbound) => {
                    side.given_up.insert(id);
                    side.outbound.retain(|_, sa| sa.id != id);
                }
                Output::Up(..) => side.ups += 1,
                Output::Keylog(line) => self.keys.extend(SaKeys::read(self.encryption, &line)),
                _ => {}
            }
        }
    }

    /// No key seals two messages under one IV; the same message may be sent again.
    fn check_iv(&mut self, datagram: &[u8]) {
        let (header, first) = Header::parse(datagram).expect("what is sent can be read");
        let clear = match first {
            PayloadType::SK => 4,
            PayloadType::SKF => 8,
            _ => return,
        };
        let spis = IkeSpis { initiator: header.initiator_spi, responder: header.responder_spi };
        let iv = *datagram[HEADER_LEN + clear..].first_chunk().unwrap();
        // Each IKE_INTERMEDIATE exchange has the last message under the keys of its turn.
        let turn = if header.exchange == ExchangeType::IKE_INTERMEDIATE { header.message_id } else { 0 };
        let before = self.sealed.entry((spis, header.flags.initiator, turn, iv)).or_insert_with(|| datagram.to_vec());
        assert!(before == datagram, "two messages under one key and IV: {header:?}");
    }

    /// Lets everything arrive at once and packets flow, for some time.
    pub(crate) fn settle(&mut self, time: Duration) {
        let end = self.now.instant + time;
        for _ in 0..20_000 {
            while let Some(Letter { to, path, datagram }) = self.wire.pop_front() {
                self.deliver(to, path, &datagram);
            }
            self.send_packets();
            if !self.wire.is_empty() {
                continue;
            }
            let next = self.sides.iter().filter_map(|side| side.endpoint.next_timeout()).map(|(at, _)| at).min();
            match next.filter(|at| *at <= end) {
                Some(at) => self.wait(at.saturating_duration_since(self.now.instant)),
                None => return self.now.instant = end,
            }
        }
        panic!("the endpoints never become quiet");
    }

    /// Checks that both ends hold one IKE SA and one pair for each rule, the same ones with the same keys, and nothing else.
    pub(crate) fn assert_whole(&self, rules: usize) {
        let [left, right] = &self.sides;
        let (a, b) = (left.endpoint.status(), right.endpoint.status());
        assert_eq!((a.len(), b.len()), (1, 1), "IKE SAs in use");
        assert_eq!((left.endpoint.sa_count(), right.endpoint.sa_count()), (1, 1), "IKE SAs in all");
        assert_eq!((a[0].spis, a[0].initiator), (b[0].spis, !b[0].initiator));
        assert_eq!((a[0].children.len(), b[0].children.len()), (rules, rules), "pairs");
        for (sends, receives) in [(left, right), (right, left)] {
            assert_eq!((sends.outbound.len(), sends.inbound.len()), (rules, rules), "halves that are installed");
            for out in sends.outbound.values() {
                let into =
                    receives.inbound.get(&out.transform.spi().get()).expect("what one end sends the other receives");
                assert!(domain::keys(out) == domain::keys(into) && out.form() == into.form() && out.rule == into.rule);
                assert_eq!(out.selectors.local, into.selectors.remote);
                assert_eq!(out.selectors.remote, into.selectors.local);
            }
        }
    }
}

impl Side {
    fn new(side: usize, seed: u8) -> Self {
        Self {
            endpoint: Endpoint::new(domain::config(side), [seed; 32]).unwrap(),
            peers: vec![],
            inbound: BTreeMap::new(),
            outbound: BTreeMap::new(),
            used: BTreeSet::new(),
            given_up: BTreeSet::new(),
            ups: 0,
            nat: None,
        }
    }
}

/// Adds up all counters: one of them goes up by one for each datagram.
pub(crate) fn total(c: &Counters) -> u64 {
    c.accepted + c.malformed + c.unknown_spi + c.unauthentic + c.retransmitted + c.unexpected + c.refused + c.fragments
}
