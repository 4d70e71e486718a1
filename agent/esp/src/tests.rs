//! Whole packets: sealed here, opened there, and refused in every way that a wire can spoil them.

use std::sync::Arc;

use espalier_model::plan::{Action, Rule, default_profile};
use espalier_model::profile::{self, Mode};
use espalier_model::sa::{
    ChildId, ChildSa, Direction, Encapsulation, InboundSa, Keyed, OutboundSa, SaSelectors, Transform, UdpPath,
    UsageLimits,
};
use espalier_model::secret::Secret;
use espalier_model::selector::{PortRange, Protocol, TrafficSelector};
use espalier_model::suite::{Cipher, EspSuite};

use super::*;

mod extended;
mod forms;
mod in_place;

const LIMITS: UsageLimits = UsageLimits { soft_packets: 3, hard_packets: 5, ..NO_LIMITS };
const NO_LIMITS: UsageLimits = UsageLimits::NONE;

fn packet(v6: bool, payload: usize) -> Vec<u8> {
    let mut packet = if v6 {
        let mut header = vec![0x60, 0, 0, 0, 0, 0, 17, 64];
        header[4..6].copy_from_slice(&u16::try_from(payload + 8).unwrap().to_be_bytes());
        header.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        header.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
        header
    } else {
        let mut header = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        header[2..4].copy_from_slice(&u16::try_from(payload + 28).unwrap().to_be_bytes());
        header
    };
    packet.extend([0, 9, 0, 53, 0, 0, 0, 0]);
    packet.extend((0..payload).map(|n| u8::try_from(n % 251).unwrap()));
    packet
}

fn side(last: u8) -> Vec<TrafficSelector> {
    [format!("10.0.0.{last}/32"), format!("fd00::{last}/128")]
        .map(|net| TrafficSelector::from_net(Protocol::Any, PortRange::ANY, net.parse().unwrap()))
        .to_vec()
}

/// What the sender (side 1) and the receiver (side 2) hold of one SA.
fn pair(suite: EspSuite, limits: UsageLimits) -> (Outbound, Inbound) {
    made(ChildId(7), "net", 0xc0de_0001, (suite, false), limits)
}

/// The same with numbers of 64 bits.
fn extended_pair(suite: EspSuite, limits: UsageLimits) -> (Outbound, Inbound) {
    made(ChildId(7), "net", 0xc0de_0001, (suite, true), limits)
}

fn numbered(n: u8, rule: &str) -> (Outbound, Inbound) {
    made(ChildId(n.into()), rule, 0xc0de_0000 + u32::from(n), (EspSuite::Aes256Gcm16, true), NO_LIMITS)
}

fn made(id: ChildId, rule: &str, spi: u32, (suite, esn): (EspSuite, bool), limits: UsageLimits) -> (Outbound, Inbound) {
    let sa = halves(id, rule, limits, |_| keyed(spi, suite, esn));
    (Outbound::new(&OutboundSa(sa.0)).unwrap(), Inbound::new(&InboundSa(sa.1)).unwrap())
}

fn keyed(spi: u32, suite: EspSuite, esn: bool) -> Transform {
    let keymat = Secret::new((0..suite.keymat_len()).map(|n| u8::try_from(n).unwrap()).collect());
    Transform::Esp(Keyed { spi: spi.try_into().unwrap(), suite, keymat, esn })
}

/// What sender and receiver are told of one SA; the transform may differ.
fn halves(id: ChildId, rule: &str, limits: UsageLimits, transform: impl Fn(usize) -> Transform) -> (ChildSa, ChildSa) {
    let (near, far) = ("192.0.2.1:4500".parse().unwrap(), "192.0.2.2:4500".parse().unwrap());
    let sa = |end, local, remote, path| ChildSa {
        id,
        rule: rule.parse().unwrap(),
        transform: transform(end),
        mode: Mode::Tunnel,
        encapsulation: Encapsulation::Udp,
        originals: None,
        padding: true,
        pad_to: profile::Padding::None,
        dscp: profile::Dscp::Copy,
        selectors: SaSelectors { local, remote },
        path,
        replay_window: 64,
        limits,
    };
    let sender = sa(0, side(1), side(2), UdpPath { local: near, remote: far });
    let receiver = sa(1, side(2), side(1), UdpPath { local: far, remote: near });
    (sender, receiver)
}

fn seal(sender: &Outbound, inner: &[u8]) -> Vec<u8> {
    let mut out = vec![0; inner.len() + 100];
    let length = sender.seal(inner, &mut out).unwrap().length;
    out.truncate(length);
    out
}

#[test]
fn what_is_sealed_opens_to_the_same_packet() {
    for suite in EspSuite::ALL {
        for (sender, receiver) in [pair(*suite, NO_LIMITS), extended_pair(*suite, NO_LIMITS)] {
            let hidden = !matches!(suite.cipher(), Cipher::Gmac(_) | Cipher::Null(_));
            for (number, (v6, payload)) in (1..).zip([(false, 0), (true, 0), (false, 1), (true, 2), (false, 1410)]) {
                let inner = packet(v6, payload);
                let mut sealed = seal(&sender, &inner);
                assert_eq!(sealed.len(), sealed_len(*suite, inner.len()));
                let clear = sealed.windows(8).any(|w| w == &inner[inner.len() - 8..]);
                assert_eq!(clear, !hidden, "{suite}: in the clear");
                let opened = receiver.open(&mut sealed).unwrap();
                assert_eq!((&*opened.packet, opened.newest), (inner.as_slice(), true));
                assert_eq!(receiver.usage().sequence, number);
            }
            assert!(receiver.take_first() && !receiver.take_first());
            assert_eq!((sender.usage().bytes, receiver.usage().lost), (receiver.usage().bytes, 0));
        }
    }
}

#[test]
fn the_packet_is_laid_out_as_rfc_4106_says() {
    let (sender, _) = pair(EspSuite::Aes256Gcm16, NO_LIMITS);
    seal(&sender, &packet(false, 3));
    let sealed = seal(&sender, &packet(false, 3));
    assert_eq!(sealed[..16], [0xc0, 0xde, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 2]);
    assert_eq!(sealed.len(), 16 + 36 + 16, "31 bytes, 3 of padding, 2 of trailer");
    let key: Vec<u8> = (0..32).collect();
    let key = espalier_crypto::AeadKey::new(
        espalier_crypto::AeadProvider::Portable,
        espalier_crypto::AeadAlgorithm::Aes256Gcm,
        &key,
    );
    let mut text = sealed[16..52].to_vec();
    let nonce = [32, 33, 34, 35, 0, 0, 0, 0, 0, 0, 0, 2];
    key.unwrap().open(&nonce, &sealed[..8], &mut text, sealed[52..].try_into().unwrap()).unwrap();
    assert_eq!(text[31..], [1, 2, 3, 3, 4]);
}

#[test]
fn every_bit_flip_and_truncation_is_refused_and_counted_once() {
    for suite in EspSuite::ALL {
        for (sender, receiver) in [pair(*suite, NO_LIMITS), extended_pair(*suite, NO_LIMITS)] {
            let sealed = seal(&sender, &packet(false, 20));
            let mut refused = 0;
            for bit in 32..sealed.len() * 8 {
                let mut copy = sealed.clone();
                copy[bit / 8] ^= 1 << (bit % 8);
                assert!(receiver.open(&mut copy).is_err(), "{suite} bit {bit}");
                refused += 1;
            }
            let usage = receiver.usage();
            assert_eq!(usage.unauthentic + usage.replayed, refused);
            for length in 0..sealed.len() {
                assert!(receiver.open(&mut sealed[..length].to_vec()).is_err(), "{suite} length {length}");
            }
            assert_eq!(receiver.usage().packets, 0, "nothing unauthentic moved the window");
            assert!(receiver.open(&mut sealed.clone()).is_ok());
            assert_eq!(receiver.open(&mut sealed.clone()), Err(OpenError::Replayed));
        }
    }
}

#[test]
fn limits_ask_once_and_then_stop_the_sa_without_losing_count() {
    let (sender, receiver) = pair(EspSuite::Aes128Gcm16, LIMITS);
    let inner = packet(false, 4);
    let mut out = vec![0; 100];
    let soft: Vec<bool> = (0..5).map(|_| sender.seal(&inner, &mut out).unwrap().soft).collect();
    assert_eq!(soft, [false, false, true, false, false]);
    assert_eq!(sender.seal(&inner, &mut out), Err(SealError::Exhausted));
    assert_eq!(sender.seal(&inner, &mut [0; 10]), Err(SealError::TooSmall));
    assert_eq!(sender.usage().sequence, 5);
    assert!(receiver.open(&mut out[..sealed_len(EspSuite::Aes128Gcm16, inner.len())].to_vec()).is_ok());
    assert_eq!(receiver.usage().lost, 4);
}

#[test]
fn an_inner_packet_outside_the_sa_is_refused() {
    let (sender, receiver) = pair(EspSuite::Aes256Gcm16, NO_LIMITS);
    let mut spoofed = packet(false, 4);
    spoofed[15] = 9;
    assert_eq!(receiver.open(&mut seal(&sender, &spoofed)), Err(OpenError::Selector));
    let mut reversed = packet(false, 4);
    reversed[12..20].copy_from_slice(&[10, 0, 0, 2, 10, 0, 0, 1]);
    assert_eq!(receiver.open(&mut seal(&sender, &reversed)), Err(OpenError::Selector));
}

fn protect(name: &str, remote_ports: PortRange, priority: i32) -> Rule {
    Rule {
        name: name.parse().unwrap(),
        action: Action::Protect,
        priority,
        local: vec!["10.0.0.1/32".parse().unwrap()],
        remote: vec!["10.0.0.2/32".parse().unwrap()],
        protocol: Protocol::UDP,
        local_ports: PortRange::ANY,
        remote_ports,
        peer: Some("right.example".parse().unwrap()),
        profile: default_profile(),
    }
}

#[test]
fn a_packet_uses_exactly_the_sa_of_its_rule_or_is_dropped() {
    let (sender, receiver) = pair(EspSuite::Aes256Gcm16, NO_LIMITS);
    let (sender, receiver) = (Arc::new(sender), Arc::new(receiver));
    let flow = flow_of(&packet(false, 4)).unwrap();
    let empty = Tables::default();
    assert_eq!(empty.outbound(&flow).err(), Some(DropReason::PolicyDrop));
    let ruled = empty.with_policy(Spd::compile(&[protect("net", PortRange::ANY, 0)]));
    assert_eq!(ruled.outbound(&flow).err(), Some(DropReason::NoSa));
    let ready = ruled.with_outbound(Arc::clone(&sender)).with_inbound(Arc::clone(&receiver));
    assert_eq!(ready.outbound(&flow).unwrap().spi(), sender.spi());
    assert!(ready.inbound(0xc0de_0001).is_some() && ready.inbound(0xc0de_0002).is_none() && ready.inbound(0).is_none());
    assert!(ready.admits(&receiver, &flow.reversed()));
    let dns = protect("dns", PortRange::new(53, 53).unwrap(), 1);
    let narrowed = ready.with_policy(Spd::compile(&[protect("net", PortRange::ANY, 0), dns]));
    assert!(!narrowed.admits(&receiver, &flow.reversed()), "another rule demands another SA");
    assert_eq!(narrowed.outbound(&flow).err(), Some(DropReason::NoSa));
    let gone = ready.without(ChildId(7), Direction::Outbound);
    assert_eq!(gone.outbound(&flow).err(), Some(DropReason::NoSa));
    assert!(gone.inbound(0xc0de_0001).is_some(), "late packets still find their SA");
    assert!(gone.without(ChildId(7), Direction::Inbound).inbound(0xc0de_0001).is_none());
}

#[test]
fn a_snapshot_keeps_what_the_next_ones_change() {
    const COUNT: u8 = 200;
    let name = |n: u8| format!("net-{n}");
    let rules = (0..COUNT).map(|n| protect(&name(n), PortRange::new(n.into(), n.into()).unwrap(), 0));
    let ruled = Tables::default().with_policy(Spd::compile(&rules.collect::<Vec<_>>()));
    let flow = |n: u8| {
        let mut packet = packet(false, 4);
        packet[23] = n;
        flow_of(&packet).unwrap()
    };
    let half = |n: u8| {
        let (sender, receiver) = numbered(n, &name(n));
        (Arc::new(sender), Arc::new(receiver))
    };
    let mut whole = ruled.clone();
    for n in 0..COUNT {
        let (sender, receiver) = half(n);
        whole = whole.with_inbound(receiver).with_outbound(sender);
    }
    let holds = |tables: &Tables, n: u8| {
        let outbound = tables.outbound(&flow(n)).ok().map(|sa| sa.spi().get());
        let inbound = tables.inbound(0xc0de_0000 + u32::from(n)).map(|sa| sa.spi().get());
        assert_eq!(outbound, inbound);
        outbound == Some(0xc0de_0000 + u32::from(n))
    };
    let id = ChildId(100);
    let less = whole.without(id, Direction::Outbound).without(id, Direction::Inbound);
    for n in 0..COUNT {
        assert!(!holds(&ruled, n) && holds(&whole, n), "{n}");
        assert_eq!(holds(&less, n), n != 100, "{n}");
    }
    assert_eq!((whole.inbound_sas().count(), less.inbound_sas().count()), (200, 199));
}
