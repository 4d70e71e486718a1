//! Two ends, a wire with one fault, and what must hold after every step.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use espalier_model::identity::Name;
use espalier_model::sa::{ChildId, ChildSa, Direction, SaEvent, Spi, UdpPath};

use crate::endpoint::probe::Kept;
use crate::keymat::IkeSpis;
use crate::tests::{halves_match, node, peer, profile, psk};
use crate::{ChildConfig, Endpoint, Now, Output, PeerConfig};

/// What an end does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Nothing,
    /// Replaces the pair of a rule.
    RekeyChild(&'static str),
    /// Makes a pair of a rule that is new to both.
    CreateChild,
    /// Deletes the pair of a rule, which is then made anew.
    DeleteChild(&'static str),
    /// Forgets the pair of a rule, as no end should.
    LoseChild(&'static str),
    RekeyIke,
    DeleteIke,
    Reauthenticate,
}

/// Whether the tunnel carries packets all the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tunnel {
    Stays,
    Breaks,
}

/// What happens to one message, by its number since both ends have acted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    Lost(usize),
    Late(usize),
    Twice(usize),
}

/// How a row runs.
#[derive(Clone, Copy, Debug)]
struct Way {
    acts: [Act; 2],
    tunnel: Tunnel,
    /// The initiator of the IKE SA.
    initiator: usize,
    /// Whose message is first on the wire.
    first: usize,
    packets: bool,
    fault: Fault,
}

struct End {
    endpoint: Endpoint,
    inbound: BTreeMap<u32, ChildSa>,
    outbound: BTreeMap<Name, ChildSa>,
    given_up: BTreeSet<ChildId>,
    used: BTreeSet<ChildId>,
    /// Outbound halves of rules that had none: the peer may not know of them yet.
    early: BTreeSet<ChildId>,
    downs: usize,
}

struct Letter {
    to: usize,
    path: UdpPath,
    datagram: Vec<u8>,
}

struct Scene {
    now: Now,
    ends: [End; 2],
    wire: VecDeque<Letter>,
    late: VecDeque<Letter>,
    way: Way,
    /// Messages sent since both ends have acted.
    sent: Option<usize>,
}

/// What stands between both ends.
#[derive(Debug, PartialEq, Eq)]
struct Standing {
    ike: IkeSpis,
    children: BTreeMap<Name, (Spi, Spi)>,
}

/// Long enough for everything that waits for a peer to be over, and for the slowest retry.
const QUIET: Duration = Duration::from_secs(400);
/// The rules of every tunnel, and the one that is new.
const RULES: [&str; 2] = ["net", "dmz"];
const NEW_RULE: &str = "new";

/// Runs a row in all ways.
pub(super) fn try_all(name: &str, acts: [Act; 2], tunnel: Tunnel) {
    let [left, right] = acts;
    let mut runs = 0;
    for acts in if left == right { vec![acts] } else { vec![acts, [right, left]] } {
        for (initiator, first, packets) in (0..8).map(|n| (n & 1, n >> 1 & 1, n & 4 != 0)) {
            let way = Way { acts, tunnel, initiator, first, packets, fault: Fault::None };
            let messages = run(name, way);
            for number in 0..messages {
                for fault in [Fault::Lost(number), Fault::Late(number), Fault::Twice(number)] {
                    run(name, Way { fault, ..way });
                    runs += 1;
                }
            }
        }
    }
    assert!(runs >= 24, "{name}: {runs} runs with a fault");
}

/// Runs a row in one way. Returns how many messages both ends have sent until all was quiet.
fn run(name: &str, way: Way) -> usize {
    let what = format!("{name}: {way:?}");
    let mut scene = Scene::new(way);
    scene.configure([way.initiator == 0, way.initiator == 1], &RULES);
    scene.settle(Duration::from_secs(60), &what);
    let before = scene.standing(&RULES, &what);
    scene.act();
    // What comes of it is told from the signs of life that follow.
    let messages = scene.settle_counting(Duration::from_secs(50), &what);
    scene.settle(QUIET, &what);
    let new = way.acts.contains(&Act::CreateChild);
    let rules = if new { vec![RULES[0], RULES[1], NEW_RULE] } else { RULES.to_vec() };
    let after = scene.standing(&rules, &what);
    for act in way.acts {
        match act {
            Act::RekeyIke | Act::DeleteIke | Act::Reauthenticate => assert_ne!(after.ike, before.ike, "{what}"),
            Act::RekeyChild(rule) | Act::DeleteChild(rule) | Act::LoseChild(rule) => {
                let rule: Name = rule.parse().unwrap();
                assert_ne!(after.children[&rule], before.children[&rule], "{what}");
            }
            Act::Nothing | Act::CreateChild => {}
        }
    }
    if way.tunnel == Tunnel::Stays {
        assert_eq!(scene.ends.each_ref().map(|end| end.downs), [0, 0], "{what}: an SA was lost");
    }
    messages
}

/// Two ends that know nothing of each other start at the same moment.
pub(super) fn start_at_once() {
    let start = |first, packets, fault| {
        let acts = [Act::Nothing; 2];
        let way = Way { acts, tunnel: Tunnel::Stays, initiator: 0, first, packets, fault };
        let what = format!("{way:?}");
        let mut scene = Scene::new(way);
        scene.sent = Some(0);
        scene.configure([true, true], &RULES);
        let messages = scene.settle_counting(Duration::from_secs(50), &what);
        scene.settle(QUIET, &what);
        scene.standing(&RULES, &what);
        messages
    };
    for (first, packets) in [(0, false), (0, true), (1, false), (1, true)] {
        let messages = start(first, packets, Fault::None);
        assert!(messages >= 8, "{messages} messages");
        for number in 0..messages {
            for fault in [Fault::Lost(number), Fault::Late(number), Fault::Twice(number)] {
                start(first, packets, fault);
            }
        }
    }
}

/// How an end sees the other: with some rules, and with signs of life so seldom that they are no part of a collision.
fn config(side: usize, initiate: bool, rules: &[&str]) -> PeerConfig {
    let mut config = peer(side, psk("secret"));
    let mut profile = profile();
    profile.liveness_seconds = 100;
    let template = config.children.remove(0);
    config.children.extend(rules.iter().zip(1..).map(|(rule, third)| {
        let net = |side: usize| {
            let net = format!("10.{third}.{side}.0/24").parse().unwrap();
            let (protocol, ports) = (template.local[0].protocol(), template.local[0].ports());
            vec![espalier_model::selector::TrafficSelector::from_net(protocol, ports, net)]
        };
        let (local, remote) = (net(side), net(1 - side));
        ChildConfig { rule: rule.parse().unwrap(), local, remote, profile: profile.clone() }
    }));
    PeerConfig { initiate, profile, ..config }
}

impl Scene {
    fn new(way: Way) -> Self {
        let end = |side| End {
            endpoint: node(side, None, vec![]).endpoint,
            inbound: BTreeMap::new(),
            outbound: BTreeMap::new(),
            given_up: BTreeSet::new(),
            used: BTreeSet::new(),
            early: BTreeSet::new(),
            downs: 0,
        };
        let now = Now { instant: std::time::Instant::now(), unix: crate::tests::UNIX };
        Self { now, ends: [end(0), end(1)], wire: VecDeque::new(), late: VecDeque::new(), way, sent: None }
    }

    /// Both ends in their order.
    fn order(&self) -> [usize; 2] {
        [self.way.first, 1 - self.way.first]
    }

    fn configure(&mut self, initiate: [bool; 2], rules: &[&str]) {
        for side in self.order() {
            self.ends[side].endpoint.configure(self.now, vec![config(side, initiate[side], rules)]);
            self.collect(side);
        }
    }

    /// Has both ends do what they do at this moment.
    fn act(&mut self) {
        let acts = self.way.acts;
        // Who makes a pair of a new rule leads; who does not knows the rule before, and leaves it to the other.
        let new = acts.contains(&Act::CreateChild);
        let creates = acts.map(|act| act == Act::CreateChild);
        let rules = [RULES[0], RULES[1], NEW_RULE];
        for side in self.order().into_iter().filter(|side| new && !creates[*side]) {
            self.ends[side].endpoint.configure(self.now, vec![config(side, false, &rules)]);
        }
        let mut order = self.order();
        if let Some(loser) = acts.iter().position(|act| matches!(act, Act::LoseChild(_))) {
            order = [loser, 1 - loser];
        }
        self.sent = Some(0);
        for side in order {
            let (now, endpoint) = (self.now, &mut self.ends[side].endpoint);
            let pair = |rule: &str| {
                let status = endpoint.status();
                status[0].children.iter().find(|child| child.rule.as_str() == rule).unwrap().id
            };
            match acts[side] {
                Act::Nothing => {}
                Act::RekeyChild(rule) => {
                    let event = SaEvent::Soft(pair(rule));
                    endpoint.handle_event(now, &event);
                }
                Act::CreateChild => endpoint.configure(now, vec![config(side, true, &rules)]),
                Act::DeleteChild(rule) => endpoint.delete_child_now(now, rule),
                Act::LoseChild(rule) => endpoint.lose_child(now, rule),
                Act::RekeyIke => endpoint.rekey_ike_now(now),
                Act::DeleteIke => endpoint.delete_ike_now(now),
                Act::Reauthenticate => endpoint.reauthenticate_now(now),
            }
            self.collect(side);
        }
    }

    /// Puts a message on the wire, or whatever the fault makes of it.
    fn send(&mut self, to: usize, path: UdpPath, datagram: Vec<u8>) {
        let number = self.sent;
        self.sent = self.sent.map(|sent| sent + 1);
        let letter = || Letter { to, path, datagram: datagram.clone() };
        match (self.way.fault, number) {
            (Fault::Lost(hit), Some(number)) if hit == number => {}
            (Fault::Late(hit), Some(number)) if hit == number => self.late.push_back(letter()),
            (Fault::Twice(hit), Some(number)) if hit == number => {
                self.late.push_back(letter());
                self.wire.push_back(letter());
            }
            _ => self.wire.push_back(letter()),
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "only what a data plane is told, and whether an SA is lost, counts here"
    )]
    fn collect(&mut self, from: usize) {
        while let Some(output) = self.ends[from].endpoint.poll_output() {
            let end = &mut self.ends[from];
            match output {
                Output::Transmit { path, datagram } => self.send(1 - from, path, datagram),
                Output::InstallInbound(sa) => {
                    assert!(end.inbound.insert(sa.0.transform.spi().get(), sa.0).is_none(), "an SPI comes twice");
                }
                Output::UseOutbound(sa) => {
                    assert!(!end.given_up.contains(&sa.0.id), "a key that was given up is used again");
                    let id = sa.0.id;
                    if end.outbound.insert(sa.0.rule.clone(), sa.0).is_none() {
                        end.early.insert(id);
                    }
                }
                Output::Remove(id, Direction::Inbound) => end.inbound.retain(|_, sa| sa.id != id),
                Output::Remove(id, Direction::Outbound) => {
                    end.given_up.insert(id);
                    end.outbound.retain(|_, sa| sa.id != id);
                }
                Output::Down(..) => end.downs += 1,
                _ => {}
            }
        }
    }

    /// Whatever one end sends with is installed at the other.
    fn check(&mut self, what: &str) {
        for from in 0..2 {
            let [left, right] = &mut self.ends;
            let (sends, receives) = if from == 0 { (left, right) } else { (right, left) };
            for sa in sends.outbound.values() {
                match receives.inbound.get(&sa.transform.spi().get()) {
                    Some(into) => {
                        assert!(halves_match(sa, into) && into.rule == sa.rule, "{what}: other keys");
                        sends.early.remove(&sa.id);
                    }
                    None => {
                        let may_be = self.way.tunnel == Tunnel::Breaks || sends.early.contains(&sa.id);
                        assert!(may_be, "{what}: end {from} sends with {sa:?}, which the other does not hold");
                    }
                }
            }
        }
    }

    fn send_packets(&mut self) {
        for to in 0..2 {
            let sent: Vec<_> = self.ends[1 - to].outbound.values().map(|sa| sa.transform.spi().get()).collect();
            for spi in sent {
                let end = &mut self.ends[to];
                let Some(id) = end.inbound.get(&spi).map(|sa| sa.id).filter(|id| end.used.insert(*id)) else {
                    continue;
                };
                end.endpoint.handle_event(self.now, &SaEvent::FirstAuthentic(id));
                self.collect(to);
            }
        }
    }

    /// Lets everything arrive, and time pass.
    fn settle(&mut self, time: Duration, what: &str) {
        let end = self.now.instant + time;
        for _ in 0..5_000 {
            if self.way.packets {
                self.send_packets();
            }
            self.check(what);
            if let Some(Letter { to, path, datagram }) = self.wire.pop_front().or_else(|| self.late.pop_front()) {
                let seen = UdpPath { local: path.remote, remote: path.local };
                self.ends[to].endpoint.handle_datagram(self.now, seen, &datagram);
                self.collect(to);
                continue;
            }
            let next = self.ends.iter().filter_map(|end| end.endpoint.next_timeout()).map(|(at, _)| at).min();
            let Some(at) = next.filter(|at| *at <= end) else {
                self.now.instant = end;
                return;
            };
            self.now.instant = self.now.instant.max(at);
            for side in self.order() {
                self.ends[side].endpoint.handle_timeout(self.now);
                self.collect(side);
            }
        }
        panic!("{what}: the ends never become quiet");
    }

    fn settle_counting(&mut self, time: Duration, what: &str) -> usize {
        self.settle(time, what);
        self.sent.take().unwrap()
    }

    /// Checks that both ends hold the same IKE SA and pairs, one for each rule, with the same keys, and nothing else.
    fn standing(&self, rules: &[&str], what: &str) -> Standing {
        let status = self.ends.each_ref().map(|end| end.endpoint.status());
        let [left, right] = &status;
        assert_eq!((left.len(), right.len()), (1, 1), "{what}: IKE SAs");
        assert_eq!((left[0].spis, left[0].initiator), (right[0].spis, !right[0].initiator), "{what}");
        for (side, end) in self.ends.iter().enumerate() {
            let count = rules.len();
            let expected = Kept { sas: 1, holders: count, retired: 0, half_open: 0, outbound_halves: count };
            assert_eq!(end.endpoint.kept(), expected, "{what}: end {side}");
            assert_eq!((end.inbound.len(), end.outbound.len()), (count, count), "{what}: halves of end {side}");
            let other = &self.ends[1 - side];
            for sa in end.outbound.values() {
                assert!(halves_match(sa, &other.inbound[&sa.transform.spi().get()]), "{what}: keys");
            }
        }
        let children = left[0].children.iter().map(|child| (child.rule.clone(), (child.inbound, child.outbound)));
        let children: BTreeMap<_, _> = children.collect();
        let theirs: BTreeMap<_, _> =
            right[0].children.iter().map(|child| (child.rule.clone(), (child.outbound, child.inbound))).collect();
        assert_eq!(children, theirs, "{what}");
        assert!(children.keys().map(Name::as_str).eq({
            let mut sorted = rules.to_vec();
            sorted.sort_unstable();
            sorted
        }));
        Standing { ike: left[0].spis, children }
    }
}
