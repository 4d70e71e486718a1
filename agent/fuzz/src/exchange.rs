//! Whole exchanges between two honest ends, over a wire that the fuzzer rules: what arrives, when, how often and in what state;
//! time, crashes, NATs, and changes of what is wanted. Afterwards the wire is good again, and everything must come to rest.

use std::time::Duration;

use espalier_ike::wire::{ExchangeType, Header, Malformed};
use espalier_model::profile::Profile;
use espalier_model::sa::SaEvent;
use espalier_model::suite::{EspSuite, IkeEncryption, KeyExchange, Prf};

use crate::domain;
use crate::input::Input;
use crate::pair::{Letter, Pair, total};

const SUITES: [IkeEncryption; 3] =
    [IkeEncryption::Aes256Gcm16, IkeEncryption::ChaCha20Poly1305, IkeEncryption::Aes128CbcSha256];
const DAY: u64 = 86_400;
/// More steps say nothing new.
const MOST_STEPS: usize = 150;

/// What both ends are to hold.
struct Wanted {
    profiles: [Profile; 2],
    rules: [Vec<usize>; 2],
    epochs: [u64; 2],
    both_start: bool,
    ppk: bool,
}

impl Wanted {
    /// Decides on what is wanted at first.
    pub(crate) fn decide(encryption: IkeEncryption, input: &mut Input<'_>) -> Self {
        let profile = domain::profile(encryption);
        let mut profiles = [profile.clone(), profile];
        let (menu, forms) = (input.u8(), input.u8());
        for (side, profile) in profiles.iter_mut().enumerate() {
            if menu & (1 << side) != 0 {
                // The two orders differ, so one end demands another method than it is offered.
                profile.key_exchange = vec![KeyExchange::P256, KeyExchange::X25519];
            }
            if menu & (4 << side) != 0 {
                (profile.ike_rekey_seconds, profile.child_rekey_seconds) = (60, 20);
            }
            profile.childless = forms & (1 << side) != 0;
            if forms & (8 << side) != 0 {
                domain::make_hybrid(profile);
            }
        }
        let rules = if menu & 0x20 != 0 { vec![0, 1] } else { vec![0] };
        let rules = if menu & 0x40 != 0 { vec![2] } else { rules };
        Self {
            profiles,
            rules: [rules.clone(), rules],
            epochs: [0; 2],
            both_start: menu & 0x10 != 0,
            ppk: forms & 4 != 0,
        }
    }

    fn apply(&self, pair: &mut Pair, side: usize) {
        let mut peer = domain::peer(side, &self.profiles[side], &self.rules[side]);
        peer.key_epoch = self.epochs[side];
        peer.initiate |= self.both_start;
        peer.ppk = self.ppk.then(domain::ppk);
        pair.configure(side, vec![peer]);
    }

    /// Changes what one end wants.
    fn change(&mut self, side: usize, choice: u8) {
        let profile = &mut self.profiles[side];
        match choice % 8 {
            0 => self.epochs[side] += 1,
            1 => self.rules[side] = vec![0],
            2 => self.rules[side] = vec![0, 1],
            3 => self.rules[side] = vec![],
            4 => profile.esp = vec![EspSuite::ChaCha20Poly1305, EspSuite::Aes256Gcm16],
            5 => profile.esp = vec![EspSuite::Aes256Gcm16, EspSuite::ChaCha20Poly1305],
            6 => profile.prf = vec![Prf::HmacSha512, Prf::HmacSha256],
            _ => profile.child_rekey_seconds = 15,
        }
    }
}

/// Takes what is wanted, then steps.
pub fn target(data: &[u8]) {
    let mut input = Input::new(data);
    let encryption = input.pick(&SUITES);
    let mut wanted = Wanted::decide(encryption, &mut input);
    let mut pair = Pair::new(encryption);
    wanted.apply(&mut pair, 1);
    wanted.apply(&mut pair, 0);
    for _ in 0..MOST_STEPS {
        if input.is_empty() {
            break;
        }
        step(&mut pair, &mut wanted, &mut input);
    }
    heal(&mut pair, &mut wanted);
}

/// Makes everything good, and sees what comes of it.
fn heal(pair: &mut Pair, wanted: &mut Wanted) {
    let rules = wanted.rules[0].clone();
    let rules = if rules.is_empty() { vec![0] } else { rules };
    let epoch = *wanted.epochs.iter().max().unwrap();
    // An end that demands additional key exchanges has nothing to do with one that has none.
    wanted.profiles[1].additional_key_exchange = wanted.profiles[0].additional_key_exchange.clone();
    for side in [0, 1] {
        wanted.rules[side].clone_from(&rules);
        wanted.epochs[side] = epoch;
        let profile = &mut wanted.profiles[side];
        (profile.ike_rekey_seconds, profile.child_rekey_seconds) = (14_400, 3_600);
        profile.liveness_seconds = 60;
        wanted.apply(pair, side);
    }
    pair.settle(Duration::from_secs(600));
    pair.assert_whole(rules.len());
    // Whoever parts leaves nothing behind.
    (0..2).for_each(|side| pair.configure(side, vec![]));
    pair.settle(Duration::from_secs(200));
    for side in &pair.sides {
        assert_eq!((side.endpoint.sa_count(), side.inbound.len(), side.outbound.len()), (0, 0, 0), "something is left");
        assert_eq!(side.endpoint.next_timeout(), None, "a timer is left");
    }
}

fn step(pair: &mut Pair, wanted: &mut Wanted, input: &mut Input<'_>) {
    let (action, operand) = (input.below(16), input.u8());
    let side = usize::from(operand & 1);
    let letter = usize::from(operand).checked_rem(pair.wire.len());
    match (action, letter) {
        (0..=5, Some(letter)) => {
            if let Some(Letter { to, path, datagram }) = pair.wire.remove(letter) {
                pair.deliver(to, path, &datagram);
            }
        }
        (6, Some(letter)) => _ = pair.wire.remove(letter),
        (7, Some(letter)) => {
            let Letter { to, path, datagram } = &pair.wire[letter];
            let (to, path, datagram) = (*to, *path, datagram.clone());
            pair.deliver(to, path, &datagram);
        }
        (8, Some(letter)) => damage(pair, letter, input),
        (9, _) => {
            let millis = [1, 50, 500, 1_100, 2_500, 8_000, 40_000, 160_000];
            pair.wait(Duration::from_millis(millis[usize::from(operand) % millis.len()]));
        }
        (10, _) => pair.send_packets(),
        (11, _) => {
            let id = pair.sides[side].inbound.values().nth(usize::from(operand >> 1) % 4).map(|sa| sa.id);
            id.iter().for_each(|id| pair.event(side, &SaEvent::Soft(*id)));
        }
        (12, _) => {
            wanted.change(side, operand >> 1);
            wanted.apply(pair, side);
        }
        (13, _) if operand < 64 => pair.crash(side),
        (13, _) => pair.sides[side].nat = Some(10_000 + u16::from(operand)),
        (14, _) => pair.now.unix = if operand & 2 == 0 { pair.now.unix + DAY } else { pair.now.unix - DAY },
        (15, _) if operand < 64 => pair.configure(side, vec![]),
        (15, _) => wanted.apply(pair, side),
        _ => {}
    }
}

/// Delivers a letter with one byte altered. Where it can be authenticated, nothing may come of that but one counter.
fn damage(pair: &mut Pair, letter: usize, input: &mut Input<'_>) {
    let Letter { to, path, datagram } = &pair.wire[letter];
    let (to, path, mut datagram) = (*to, *path, datagram.clone());
    let at = usize::from(input.u16()) % datagram.len();
    datagram[at] ^= input.u8().max(1);
    let known = Header::parse(&pair.wire[letter].datagram).unwrap().0;
    if known.exchange == ExchangeType::IKE_SA_INIT {
        return pair.deliver(to, path, &datagram);
    }
    // What is read as a first message is a message of nobody, and may be answered.
    if Header::parse(&datagram).is_ok_and(|(header, _)| header.exchange == ExchangeType::IKE_SA_INIT) {
        return pair.deliver(to, path, &datagram);
    }
    // Who speaks a higher major version is told which one is spoken here.
    let higher = matches!(Header::parse(&datagram), Err(Malformed::Version(version)) if version > 2);
    let endpoint = &mut pair.sides[to].endpoint;
    let before = (endpoint.status(), endpoint.sa_count(), endpoint.next_timeout(), total(endpoint.counters()));
    let (seen, now) = (espalier_model::sa::UdpPath { local: path.remote, remote: path.local }, pair.now);
    endpoint.handle_datagram(now, seen, &datagram);
    let after = (endpoint.status(), endpoint.sa_count(), endpoint.next_timeout(), total(endpoint.counters()));
    assert_eq!((before.0, before.1, before.2, before.3 + 1), after, "a damaged message has an effect");
    assert!(endpoint.poll_output().is_none() || higher, "a damaged message is answered");
}
