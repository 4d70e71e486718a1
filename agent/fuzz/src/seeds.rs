//! Inputs to start from: the messages of real exchanges in their forms, taken when they are asked for, so that what is new in
//! them is there too.

use std::time::Duration;

use espalier_ike::PeerConfig;
use espalier_ike::wire::{ExchangeType, Header, PayloadType};
use espalier_model::profile::Protection;
use espalier_model::sa::SaEvent;
use espalier_model::suite::{IkeEncryption, KeyExchange};

use crate::pair::Pair;
use crate::{certificates, domain, door, forge, forms, frames, plan};

/// Returns inputs for a target.
#[must_use]
pub fn of(name: &str) -> Vec<Vec<u8>> {
    match name {
        "outer" => exchanges().into_iter().map(|message| message.datagram).collect(),
        "inner" => exchanges().into_iter().filter_map(|message| message.inner).collect(),
        "fragments" => {
            exchanges().into_iter().filter_map(|message| message.inner).flat_map(|m| fragments(&m)).collect()
        }
        "certificates" => certificates::seeds(),
        "door" => door::seeds(),
        "exchange" => schedules(),
        "liar" => lies(),
        "packets" => packets(),
        "forms" => forms::seeds(),
        "frames" => frames::seeds(),
        "plan" => plan::SEEDS.iter().map(|text| text.as_bytes().to_vec()).collect(),
        _ => Vec::new(),
    }
}

/// A message as it travelled, and what it held: the type of the first payload, then all of them.
struct Message {
    datagram: Vec<u8>,
    inner: Option<Vec<u8>>,
}

/// Lets two ends do all that they can, and takes the messages.
fn exchanges() -> Vec<Message> {
    let forms = [
        (IkeEncryption::Aes256Gcm16, false, &[0, 1][..]),
        (IkeEncryption::Aes256Gcm16, true, &[2]),
        (IkeEncryption::Aes128CbcSha256, true, &[0]),
        (IkeEncryption::ChaCha20Poly1305, false, &[0, 1]),
        (IkeEncryption::Aes256Gcm16, false, &[]),
    ];
    let lives = forms.into_iter().flat_map(|(encryption, contrary, rules)| exchange(encryption, contrary, rules));
    lives.chain(protections().into_iter().flat_map(unusual)).chain(unusual(domain::give_addresses)).collect()
}

/// Child SAs of AH, and of ESP inside AH.
fn protections() -> [fn(usize, &mut PeerConfig); 2] {
    [|_, peer| domain::protect(peer, Protection::Ah), |_, peer| domain::protect(peer, Protection::AhEsp)]
}

/// A tunnel whose two ends have been changed, and which moves from one address to another and back (RFC 4555).
fn unusual(change: fn(usize, &mut PeerConfig)) -> Vec<Message> {
    let encryption = IkeEncryption::Aes256Gcm16;
    let mut pair = Pair::new(encryption);
    pair.log = Some(Vec::new());
    for side in [1, 0] {
        let mut peer = domain::peer(side, &domain::profile(encryption), &[0]);
        change(side, &mut peer);
        pair.configure(side, vec![peer]);
    }
    pair.settle(Duration::from_secs(5));
    assert_eq!(pair.sides[0].ups, 1, "an IKE SA stands");
    for side in 0..2 {
        let home = domain::path(side).local.ip();
        for addresses in [vec![home, domain::other(side)], vec![domain::other(side)], vec![home]] {
            pair.move_to(side, addresses);
            pair.settle(Duration::from_secs(3));
        }
    }
    pair.configure(0, vec![]);
    pair.settle(Duration::from_secs(5));
    taken(&mut pair)
}

/// Takes the messages that were sent.
fn taken(pair: &mut Pair) -> Vec<Message> {
    let sent = pair.log.take().unwrap_or_default();
    let read = |datagram: Vec<u8>| Message { inner: inner(pair, &datagram), datagram };
    sent.into_iter().map(read).collect()
}

/// One tunnel's life. `contrary` says that the ends prefer different key exchange methods.
fn exchange(encryption: IkeEncryption, contrary: bool, rules: &[usize]) -> Vec<Message> {
    let mut pair = Pair::new(encryption);
    pair.log = Some(Vec::new());
    let mut profile = domain::profile(encryption);
    if encryption == IkeEncryption::ChaCha20Poly1305 {
        domain::make_hybrid(&mut profile);
    }
    pair.configure(1, vec![domain::peer(1, &profile, rules)]);
    if contrary {
        profile.key_exchange = vec![KeyExchange::P256, KeyExchange::X25519];
    }
    pair.configure(0, vec![domain::peer(0, &profile, rules)]);
    pair.settle(Duration::from_secs(12));
    for side in 0..2 {
        let children: Vec<_> = pair.sides[side].inbound.values().map(|sa| sa.id).collect();
        children.iter().for_each(|id| pair.event(side, &SaEvent::Soft(*id)));
        pair.settle(Duration::from_secs(1));
    }
    for side in 0..2 {
        let mut peers = pair.sides[side].peers.clone();
        peers.iter_mut().for_each(|peer| peer.key_epoch += 1);
        pair.configure(side, peers);
        pair.settle(Duration::from_secs(5));
    }
    // A child that is refused, one that goes, and all the rest.
    pair.configure(0, vec![domain::peer(0, &profile, &[3])]);
    pair.settle(Duration::from_secs(5));
    pair.configure(0, vec![]);
    pair.settle(Duration::from_secs(5));
    taken(&mut pair)
}

fn inner(pair: &Pair, datagram: &[u8]) -> Option<Vec<u8>> {
    let (header, outer) = Header::parse(datagram).ok()?;
    if header.exchange == ExchangeType::IKE_SA_INIT {
        return Some([&[outer.0], &datagram[28..]].concat());
    }
    let keys = pair.keys.get(&(header.initiator_spi.0, header.responder_spi.0))?;
    let (first, text) = forge::open(keys.of(header.flags.initiator), datagram).filter(|_| outer == PayloadType::SK)?;
    Some([vec![first.0], text].concat())
}

/// A message in two and in five fragments, in and out of order.
fn fragments(message: &[u8]) -> Vec<Vec<u8>> {
    let Some((first, text)) = message.split_first().filter(|(_, text)| text.len() >= 5) else { return vec![] };
    let cut = |total: usize| -> Vec<Vec<u8>> {
        let parts = text.chunks(text.len().div_ceil(total).min(250));
        let total = u8::try_from(parts.len()).unwrap();
        let part = |(number, part): (u8, &[u8])| {
            [&[0, number, total, *first, u8::try_from(part.len()).unwrap()], part].concat()
        };
        (1..).zip(parts).map(part).collect()
    };
    let backwards = |mut parts: Vec<Vec<u8>>| {
        parts.reverse();
        parts
    };
    [cut(2), backwards(cut(5)), [cut(2), cut(5)].concat()].map(|parts| [vec![vec![0]], parts].concat().concat()).into()
}

const DELIVER: [u8; 2] = [0, 0];
const PACKETS: [u8; 2] = [10, 0];

/// Handshakes, then each kind of step, then whatever comes of it.
fn schedules() -> Vec<Vec<u8>> {
    let formed = |menu: u8, suite: u8, forms: u8| [&[suite, menu, forms][..], &DELIVER.repeat(8), &PACKETS].concat();
    let handshake = |menu, suite| formed(menu, suite, 0);
    let steps = (9..16).flat_map(|action| [0_u8, 1, 2, 3, 5, 0x41, 0x80].map(|operand| [action, operand]));
    let mut all = Vec::new();
    for menu in [0, 1, 2, 4, 8, 0x10, 0x1c, 0x20, 0x40, 0x7f] {
        all.push(handshake(menu, menu % 3));
    }
    all.extend((1..32).map(|forms| formed(0, 0, forms)));
    for (number, step) in (0_u8..).zip(steps) {
        let menu = [0x00, 0x10, 0x20, 0x40][usize::from(number) % 4];
        all.push([handshake(menu, 0), step.to_vec(), DELIVER.repeat(3), step.to_vec(), DELIVER.repeat(3)].concat());
    }
    for delivered in 0..6 {
        // Both ends start something at once; what one sends arrives late, twice, altered or never.
        for fault in [[0, 1], [6, 0], [7, 0], [8, 0], [9, 3]] {
            let both = [[11, 0], [11, 1], [12, 0], [12, 1]].concat();
            all.push([handshake(0x10, 0), both, DELIVER.repeat(delivered), fault.to_vec(), vec![9, 2]].concat());
        }
    }
    all
}

/// Handshakes of a liar: every message changed in some way, and real ones repeated with wrong numbers.
fn lies() -> Vec<Vec<u8>> {
    let handshake = |menu: u8| [&[0, menu, menu >> 3][..], &DELIVER.repeat(4)].concat();
    let mut all: Vec<_> = [0, 1, 2, 4, 6, 0x08, 0x10, 0x38, 0x40, 0x80].map(handshake).into();
    for delivered in 0..4 {
        for change in 0..10 {
            let lie = [vec![2, 0, 0, change, 1, 2, 0, 3], DELIVER.repeat(3)].concat();
            all.push([vec![0, 2, 0], DELIVER.repeat(delivered), lie].concat());
        }
    }
    for message in exchanges().into_iter().filter_map(|message| message.inner).filter(|m| m.len() < 500) {
        let (first, text) = message.split_first().unwrap();
        let (head, tail) = text.split_at(text.len().min(250));
        for flags in [1 | 2 << 2, 1 | 3 << 2, 3 | 2 << 2] {
            let lengths = [head.len(), tail.len()].map(|n| u8::try_from(n).unwrap());
            let invented = [&[5, 0, 0, flags, 2, *first, lengths[0]], head, &[lengths[1]], tail].concat();
            all.push([handshake(2), invented, DELIVER.repeat(2)].concat());
        }
    }
    all
}

/// Packets in order, late, again, forged and spoilt, with every suite.
fn packets() -> Vec<Vec<u8>> {
    let genuine = [0, 0, 1, 0, 1, 2, 4, 1, 2, 3, 4];
    let forged = |kind: u8, text: u8| [2, kind, 5, text, 0, 1, 0, 1, 2, 4, 1, 2, 3, 4, 0, 0];
    let suites = (0..22).map(|suite| [&[suite, suite & 2][..], &genuine.repeat(3), &[5, 1], &forged(0, 2)].concat());
    let forms = (0..4).flat_map(|kind| (0..3).map(move |text| [&[0, 1][..], &genuine, &forged(kind, text)].concat()));
    let policy = [23, 22, 80].map(|port| {
        let header = [0x45, 0, 0, 28, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 1, 2, 0, 9, 0, port, 0, 0, 0, 0];
        [&[0, 0, 7, 28][..], &header].concat()
    });
    suites.chain(forms).chain(policy).collect()
}
