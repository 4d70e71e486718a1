//! A peer that has the right keys and lies: what it seals is changed, or made up whole, before it is sealed.
//!
//! Side 0 is an ordinary endpoint whose messages the fuzzer rewrites; side 1 is the one that must bear it.

use std::time::Duration;

use espalier_crypto::RecordKey;
use espalier_ike::Auth;
use espalier_ike::wire::{ExchangeType, Flags, Header, IkeSpi, Message, PayloadType};
use espalier_model::sa::{ChildSa, SaEvent};
use espalier_model::secret::Secret;
use espalier_model::suite::IkeEncryption;

use crate::chain::Chain;
use crate::input::Input;
use crate::pair::{Letter, Pair};
use crate::{domain, forge};

const SUITES: [IkeEncryption; 2] = [IkeEncryption::Aes256Gcm16, IkeEncryption::Aes128CbcSha256];
const MOST_STEPS: usize = 100;
/// More SAs than one peer may make an end hold.
const MOST_SAS: usize = 300;

/// A forger: it seals what the fuzzer has made up, and never takes an IV of the real sender.
struct Forger {
    counter: u64,
    /// The secret of the peer is not known: nothing may ever stand.
    stranger: bool,
    rules: Vec<usize>,
}

/// Takes what is wanted, then steps.
pub fn target(data: &[u8]) {
    let mut input = Input::new(data);
    let encryption = input.pick(&SUITES);
    let (menu, forms) = (input.u8(), input.u8());
    let mut profile = domain::profile(encryption);
    if menu & 1 != 0 {
        (profile.ike_rekey_seconds, profile.child_rekey_seconds) = (60, 20);
    }
    if forms & 8 != 0 {
        domain::make_hybrid(&mut profile);
    }
    let rules = [vec![0], vec![0, 1], vec![2], vec![]][usize::from(menu >> 1) % 4].clone();
    let mut forger = Forger { counter: 1 << 40, stranger: menu & 0x80 != 0, rules };
    let mut pair = Pair::new(encryption);
    let (mut liar, mut honest) = (domain::peer(0, &profile, &forger.rules), domain::peer(1, &profile, &forger.rules));
    honest.initiate = menu & 0x40 != 0;
    (liar.profile.childless, honest.profile.childless) = (forms & 1 != 0, forms & 1 != 0);
    (liar.ppk, honest.ppk) = ((forms & 2 != 0).then(domain::ppk), (forms & 4 != 0).then(domain::ppk));
    if forger.stranger {
        liar.auth = Auth::Psk(Secret::from(&b"a guess"[..]));
    }
    pair.configure(1, vec![honest]);
    pair.configure(0, vec![liar]);
    for _ in 0..MOST_STEPS {
        if input.is_empty() {
            break;
        }
        forger.step(&mut pair, &mut input);
        forger.check(&pair);
    }
    end(&mut pair);
}

/// Once the honest end parts with the liar, nothing of it is left.
fn end(pair: &mut Pair) {
    pair.configure(1, vec![]);
    for _ in 0..60 {
        pair.wire.clear();
        pair.wait(Duration::from_secs(5));
    }
    let honest = &pair.sides[1];
    assert_eq!((honest.endpoint.sa_count(), honest.inbound.len(), honest.outbound.len()), (0, 0, 0));
    assert_eq!(honest.endpoint.next_timeout(), None, "a timer is left");
}

impl Forger {
    /// What holds at the honest end, whatever it is told.
    fn check(&self, pair: &Pair) {
        let honest = &pair.sides[1];
        assert!(honest.endpoint.sa_count() <= MOST_SAS && honest.inbound.len() <= MOST_SAS);
        let status = honest.endpoint.status();
        assert!(!self.stranger || (status.is_empty() && honest.inbound.is_empty() && honest.ups == 0));
        assert!(status.iter().all(|sa| sa.peer == domain::id(0)));
        honest.inbound.values().chain(honest.outbound.values()).for_each(|sa| self.check_child(sa));
    }

    /// No SA carries more than its rule protects.
    fn check_child(&self, sa: &ChildSa) {
        let number = self.rules.iter().find(|number| domain::rule(**number) == sa.rule).expect("a rule of ours");
        let (local, remote) = (domain::selectors(1, *number), domain::selectors(0, *number));
        assert!(sa.selectors.local.iter().all(|ts| local.iter().any(|ours| ours.covers(ts))), "wider than the rule");
        assert!(sa.selectors.remote.iter().all(|ts| remote.iter().any(|ours| ours.covers(ts))), "wider than the rule");
        assert!(!sa.selectors.local.is_empty() && !sa.selectors.remote.is_empty());
    }

    fn step(&mut self, pair: &mut Pair, input: &mut Input<'_>) {
        let (action, operand) = (input.below(10), input.u8());
        let letter = usize::from(operand).checked_rem(pair.wire.len());
        match (action, letter) {
            (0 | 1, Some(letter)) => {
                if let Some(Letter { to, path, datagram }) = pair.wire.remove(letter) {
                    pair.deliver(to, path, &datagram);
                }
            }
            (2..=4, Some(letter)) => {
                if let Some(letter) = pair.wire.remove(letter) {
                    self.lie(pair, &letter, input);
                }
            }
            (5 | 6, _) => self.invent(pair, input),
            (7, _) => {
                let millis = [1, 100, 600, 2_500, 8_000, 21_000, 61_000, 160_000];
                pair.wait(Duration::from_millis(millis[usize::from(operand) % millis.len()]));
            }
            (8, _) => {
                let id = pair.sides[1].inbound.values().nth(usize::from(operand) % 4).map(|sa| sa.id);
                id.iter().for_each(|id| pair.event(1, &SaEvent::Soft(*id)));
            }
            (9, _) => pair.send_packets(),
            _ => {}
        }
    }

    /// Delivers a message of the liar with its payloads changed.
    fn lie(&mut self, pair: &mut Pair, letter: &Letter, input: &mut Input<'_>) {
        let Letter { to, path, datagram } = letter;
        let (header, outer) = Header::parse(datagram).unwrap();
        let changed = if outer == PayloadType::SK && *to == 1 {
            let key = key(pair, &header);
            key.and_then(|key| forge::open(key, datagram).map(|opened| (key, opened))).map(|(key, (first, text))| {
                self.counter += 1;
                reseal(key, self.counter, &header, first, &text, input)
            })
        } else if header.exchange == ExchangeType::IKE_SA_INIT {
            let mut chain = Chain::read(outer, &datagram[28..]);
            chain.mutate(input);
            let (first, text) = chain.write();
            plain(&header, first, &text)
        } else {
            None
        };
        pair.deliver(*to, *path, changed.as_deref().unwrap_or(datagram));
    }

    /// Delivers a message that the liar never wrote, on any SA that it has keys of.
    fn invent(&mut self, pair: &mut Pair, input: &mut Input<'_>) {
        let count = pair.keys.len();
        let Some((spis, keys)) = pair.keys.iter().nth(input.below(count.max(1))) else { return };
        let flags = input.u8();
        let initiator = flags & 1 != 0;
        let header = Header {
            initiator_spi: IkeSpi(spis.0),
            responder_spi: IkeSpi(spis.1),
            exchange: ExchangeType([34, 35, 36, 37, 43, 44][usize::from(flags >> 2) % 6]),
            flags: Flags { initiator, response: flags & 2 != 0 },
            message_id: u32::from(input.u8() & 0x0f),
        };
        self.counter += 1;
        let first = PayloadType(input.u8());
        let text = [input.string(), input.string()].concat();
        let datagram = forge::seal(keys.of(initiator), self.counter, &header, first, None, &text);
        pair.deliver(1, domain::path(0), &datagram);
    }
}

fn key<'p>(pair: &'p Pair, header: &Header) -> Option<&'p RecordKey> {
    let keys = pair.keys.get(&(header.initiator_spi.0, header.responder_spi.0))?;
    Some(keys.of(header.flags.initiator))
}

fn reseal(
    key: &RecordKey,
    counter: u64,
    header: &Header,
    first: PayloadType,
    text: &[u8],
    input: &mut Input<'_>,
) -> Vec<u8> {
    let mut chain = Chain::read(first, text);
    chain.mutate(input);
    let (first, text) = chain.write();
    forge::seal(key, counter, header, first, None, &text)
}

/// Writes a message in clear, whatever its payloads are.
fn plain(header: &Header, first: PayloadType, text: &[u8]) -> Option<Vec<u8>> {
    let mut datagram = Message { header: *header, payloads: vec![] }.emit().ok()?;
    datagram[16] = first.0;
    datagram.extend(text);
    let length = u32::try_from(datagram.len()).ok()?;
    datagram[24..28].copy_from_slice(&length.to_be_bytes());
    Some(datagram)
}
