//! ESP packets in and out, from a peer that has the keys: sequence numbers in any order, any inner packet, any trailer. A small
//! model says which numbers are new and what the policy says of a flow.

use std::collections::BTreeSet;

use espalier_crypto::RecordKey;
use espalier_esp::{Inbound, OpenError, Outbound, SealError, Spd, Tables, Verdict, flow_of};
use espalier_model::plan::{Action, Rule, default_profile};
use espalier_model::profile::{Dscp, Mode, Padding};
use espalier_model::sa::{
    ChildId, ChildSa, Encapsulation, InboundSa, Keyed, OutboundSa, SaSelectors, Transform, UdpPath, UsageLimits,
};
use espalier_model::secret::Secret;
use espalier_model::selector::{Flow, PortRange, Protocol};
use espalier_model::suite::EspSuite;

use crate::forge;
use crate::input::Input;

const SPI: u32 = 0xc0de_0001;
const WINDOW: u32 = 128;
const MOST_STEPS: usize = 200;
const LIMITS: UsageLimits = UsageLimits { soft_packets: 100, hard_packets: 150, ..UsageLimits::NONE };

/// Which numbers have arrived.
#[derive(Default)]
struct Numbers {
    seen: BTreeSet<u32>,
    highest: u32,
}

impl Numbers {
    fn is_new(&self, number: u32) -> bool {
        let old = u64::from(number) + u64::from(WINDOW) <= u64::from(self.highest);
        number != 0 && !old && !self.seen.contains(&number)
    }

    fn take(&mut self, number: u32) {
        self.seen.insert(number);
        self.highest = self.highest.max(number);
    }
}

/// Both ends of an SA, and who forges packets of it.
struct Bench {
    rules: Vec<Rule>,
    tables: Tables,
    sender: Outbound,
    receiver: Inbound,
    forger: Option<RecordKey>,
    numbers: Numbers,
    /// Packets that were authentic, for replays.
    sent: Vec<Vec<u8>>,
}

/// Takes a suite, then steps.
pub fn target(data: &[u8]) {
    let mut input = Input::new(data);
    let (suite, menu) = (input.pick(EspSuite::ALL), input.u8());
    let mut bench = Bench::new(suite, menu & 1 != 0, menu & 2 != 0);
    for _ in 0..MOST_STEPS {
        if input.is_empty() {
            break;
        }
        match input.below(8) {
            0 | 1 => bench.genuine(&mut input),
            2..=4 => bench.forged(&mut input),
            5 => bench.replayed(&mut input),
            6 => bench.garbage(input.string()),
            _ => bench.policy(input.string()),
        }
    }
}

fn rule(name: &str, action: Action, priority: i32, protocol: Protocol, ports: PortRange) -> Rule {
    Rule {
        name: name.parse().unwrap(),
        action,
        priority,
        local: vec!["10.0.0.0/24".parse().unwrap(), "fd00:1::/64".parse().unwrap()],
        remote: vec!["10.0.1.0/24".parse().unwrap(), "fd00:2::/64".parse().unwrap()],
        protocol,
        local_ports: PortRange::ANY,
        remote_ports: ports,
        peer: None,
        profile: default_profile(),
    }
}

impl Bench {
    /// `limited` says that the SA ends after some packets, `esn` that its numbers have 64 bits.
    fn new(suite: EspSuite, limited: bool, esn: bool) -> Self {
        let ssh = PortRange::new(22, 22).unwrap();
        let rules = vec![
            rule("ssh", Action::Bypass, 2, Protocol::from_wire(6), ssh),
            rule("telnet", Action::Drop, 2, Protocol::from_wire(6), PortRange::new(23, 23).unwrap()),
            rule("net", Action::Protect, 1, Protocol::Any, PortRange::ANY),
        ];
        let net = &rules[2];
        let (local, remote) = (net.local_selectors(), net.remote_selectors());
        let (near, far) = ("192.0.2.1:4500".parse().unwrap(), "192.0.2.2:4500".parse().unwrap());
        let keymat = vec![9; suite.keymat_len()];
        let sa = |local, remote, path| ChildSa {
            id: ChildId(7),
            rule: net.name.clone(),
            transform: Transform::Esp(Keyed {
                spi: SPI.try_into().unwrap(),
                suite,
                keymat: Secret::new(keymat.clone()),
                esn,
            }),
            mode: Mode::Tunnel,
            encapsulation: Encapsulation::Udp,
            originals: None,
            padding: true,
            pad_to: Padding::None,
            dscp: Dscp::Copy,
            selectors: SaSelectors { local, remote },
            path,
            replay_window: WINDOW,
            limits: if limited { LIMITS } else { UsageLimits::NONE },
        };
        let outbound = sa(remote.clone(), local.clone(), UdpPath { local: far, remote: near });
        let inbound = sa(local, remote, UdpPath { local: near, remote: far });
        let cipher = suite.cipher();
        let (encryption, integrity) = keymat.split_at(cipher.encryption_len());
        Self {
            tables: Tables::default().with_policy(Spd::compile(&rules)),
            rules,
            sender: Outbound::new(&OutboundSa(outbound)).unwrap(),
            receiver: Inbound::new(&InboundSa(inbound)).unwrap(),
            // Of 64 bits the upper half is under the code as well, which the real sender alone lays out here.
            forger: (!esn).then(|| forge::key(cipher, encryption, integrity)),
            numbers: Numbers::default(),
            sent: vec![],
        }
    }

    /// An honest packet of the sender.
    fn genuine(&mut self, input: &mut Input<'_>) {
        let inner = inner(input);
        let mut out = vec![0; inner.len() + 200];
        match self.sender.seal(&inner, &mut out) {
            Ok(sealed) => {
                out.truncate(sealed.length);
                self.arrive(out, Some(&inner));
            }
            Err(error) => assert!(matches!(error, SealError::NotIp | SealError::Exhausted), "{error}"),
        }
    }

    /// A packet with any number, of any text, with the right key.
    fn forged(&mut self, input: &mut Input<'_>) {
        let highest = self.numbers.highest;
        let number = match input.below(4) {
            0 => highest.wrapping_add(1),
            1 => highest.wrapping_add(u32::from(input.u16())),
            2 => highest.wrapping_sub(u32::from(input.u8())),
            _ => input.u32(),
        };
        let mut text = match input.below(3) {
            0 => input.string().to_vec(),
            1 => [inner(input), vec![input.u8(), input.u8()]].concat(),
            _ => {
                let mut text = inner(input);
                let pad = (0..).take((text.len() + 2).next_multiple_of(16) - text.len() - 2).map(|n: u8| n + 1);
                text.extend(pad.collect::<Vec<_>>());
                let length = u8::try_from(text.len() % 16).unwrap_or_default();
                text.extend([length.wrapping_add(input.u8()), input.pick(&[4, 41, 59])]);
                text
            }
        };
        let Some(forger) = &self.forger else { return };
        let cipher = forger.cipher();
        text.resize(text.len().max(1).next_multiple_of(cipher.block_len().max(4)), 0);
        let header = [SPI.to_be_bytes(), number.to_be_bytes()].concat();
        let (mut iv, mut icv) = (vec![0; cipher.iv_len()], vec![0; cipher.icv_len()]);
        forger.seal(u64::from(number), &header, &mut iv, &mut text, &mut icv).unwrap();
        self.arrive([header, iv, text, icv].concat(), None);
    }

    fn replayed(&mut self, input: &mut Input<'_>) {
        let Some(packet) = input.below(256).checked_rem(self.sent.len()).map(|at| self.sent[at].clone()) else {
            return;
        };
        self.arrive(packet, None);
    }

    /// An authentic packet arrives. It is opened exactly when its number is new, and carries only what the SA may carry.
    fn arrive(&mut self, packet: Vec<u8>, genuine: Option<&[u8]>) {
        let number = u32::from_be_bytes(*packet[4..].first_chunk().unwrap());
        let (new, highest) = (self.numbers.is_new(number), self.numbers.highest);
        let mut copy = packet.clone();
        let opened = self.receiver.open(&mut copy);
        match &opened {
            Err(OpenError::Expired) => return assert!(self.receiver.usage().packets >= LIMITS.hard_packets),
            Err(OpenError::Replayed) => return assert!(!new, "number {number} is new"),
            Err(
                OpenError::Short
                | OpenError::NotAuthentic
                | OpenError::Fragment
                | OpenError::Form
                | OpenError::Congestion,
            ) => panic!("a sealed packet is not opened"),
            Err(OpenError::Inner(_) | OpenError::Trailer | OpenError::Dummy | OpenError::Selector) => {}
            Ok(opened) => {
                assert_eq!(flow_of(opened.packet).as_ref(), Ok(&opened.flow));
                assert_eq!(opened.newest, number > highest);
                let protects = |rule: &Rule| {
                    covers(rule.remote_selectors(), opened.flow.source, &opened.flow, true)
                        && covers(rule.local_selectors(), opened.flow.destination, &opened.flow, false)
                };
                assert!(protects(&self.rules[2]), "a packet from outside the SA");
                if self.tables.admits(&self.receiver, &opened.flow) {
                    assert!(!self.rules[..2].iter().any(protects), "a rule of higher priority is passed by");
                }
            }
        }
        assert!(new, "number {number} came twice");
        if let (Some(inner), Ok(opened)) = (genuine, &opened) {
            assert!(inner.starts_with(opened.packet), "another packet than was sent");
        }
        self.numbers.take(number);
        self.sent.push(packet);
    }

    /// Bytes of somebody without the key.
    fn garbage(&mut self, bytes: &[u8]) {
        let mut copy = bytes.to_vec();
        let authentic = self.sent.iter().any(|packet| packet == bytes);
        assert!(authentic || self.receiver.open(&mut copy).is_err());
    }

    /// The policy decides on a packet that leaves as its rules say, in their order.
    fn policy(&self, packet: &[u8]) {
        let Ok(flow) = flow_of(packet) else { return };
        let expected = self.rules.iter().find(|rule| {
            covers(rule.local_selectors(), flow.source, &flow, true)
                && covers(rule.remote_selectors(), flow.destination, &flow, false)
        });
        match (self.tables.spd().outbound(&flow), expected.map(|rule| (rule.action, &rule.name))) {
            (Verdict::Protect(name, _), Some((Action::Protect, rule))) => assert_eq!(name, rule),
            (Verdict::Bypass, Some((Action::Bypass, _))) | (Verdict::Drop, Some((Action::Drop, _)) | None) => {}
            (verdict, expected) => panic!("{verdict:?} instead of {expected:?}"),
        }
        assert_eq!(flow.reversed().reversed(), flow);
    }
}

fn covers(
    selectors: Vec<espalier_model::selector::TrafficSelector>,
    address: std::net::IpAddr,
    flow: &Flow,
    source: bool,
) -> bool {
    let port = flow.ports.map(|(from, to)| if source { from } else { to });
    selectors.iter().any(|ts| ts.contains(address, flow.protocol, port))
}

/// Makes an inner packet that is right, but for what the fuzzer changes.
fn inner(input: &mut Input<'_>) -> Vec<u8> {
    let (v6, protocol, fault) = (input.u8() & 1 != 0, input.pick(&[6, 17, 1, 58, 44, 0]), input.u8());
    let (from, to) = (input.u8(), input.u8());
    let payload = [&[0, from, 0, to, 0, 0, 0, 0], input.string()].concat();
    let length = payload.len();
    let mut packet = if v6 {
        let mut header = vec![0x60, 0, 0, 0, 0, 0, protocol, 64];
        header[4..6].copy_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        header.extend([0xfd, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, from]);
        header.extend([0xfd, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, to]);
        header
    } else {
        let mut header = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 1, from, 10, 0, 0, to];
        header[2..4].copy_from_slice(&u16::try_from(length + 20).unwrap().to_be_bytes());
        header
    };
    packet.extend(payload);
    if fault & 1 != 0 {
        let at = usize::from(fault >> 1) % packet.len();
        packet[at] = input.u8();
    }
    packet
}
