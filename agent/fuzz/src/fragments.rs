//! Fragments of messages (RFC 7383) from a peer that has the keys: any number, total, order, size and content.
//!
//! A small model says of each fragment whether it makes a message whole. The endpoint must agree.

use std::collections::BTreeMap;
use std::time::Duration;

use espalier_ike::wire::sk::fragment::{MOST_FRAGMENTS, MOST_TEXT};
use espalier_ike::wire::{ExchangeType, Flags, Header, IkeSpi, PayloadType};
use espalier_model::suite::IkeEncryption;

use crate::input::Input;
use crate::pair::Pair;
use crate::{domain, forge};

/// What is kept of the request that is awaited.
#[derive(Default)]
struct Model {
    exchange: Option<ExchangeType>,
    total: u16,
    parts: BTreeMap<u16, usize>,
}

/// What a fragment does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// It is refused without a look at the message.
    Refused,
    /// It is kept, or not needed.
    Kept,
    /// It makes the message whole.
    Whole,
}

impl Model {
    fn take(&mut self, exchange: ExchangeType, number: u16, total: u16, length: usize) -> Effect {
        if number == 0 || number > total || total > MOST_FRAGMENTS {
            return Effect::Refused;
        }
        let same = self.exchange == Some(exchange);
        if same && (total < self.total || total == self.total && self.parts.contains_key(&number)) {
            return Effect::Kept;
        }
        if !same || total > self.total {
            *self = Self { exchange: Some(exchange), total, parts: BTreeMap::new() };
        }
        self.parts.insert(number, length);
        let size: usize = self.parts.values().sum();
        if self.parts.len() == usize::from(total) && size <= MOST_TEXT {
            *self = Self::default();
            return Effect::Whole;
        }
        if size > MOST_TEXT {
            *self = Self::default();
        }
        Effect::Kept
    }
}

/// Takes fragments: exchange, number, total, type of the first payload, size and content of each.
pub fn target(data: &[u8]) {
    let mut input = Input::new(data);
    let encryption = input.pick(&[IkeEncryption::Aes256Gcm16, IkeEncryption::Aes128CbcSha256]);
    let mut pair = established(encryption);
    let status = pair.sides[1].endpoint.status();
    let spis = status[0].spis;
    // After IKE_SA_INIT and IKE_AUTH, the initiator's next request is number 2.
    let mut id = 2;
    let (mut model, mut counter) = (Model::default(), 1 << 40);
    while !input.is_empty() {
        let exchange = input.pick(&[
            ExchangeType::INFORMATIONAL,
            ExchangeType::CREATE_CHILD_SA,
            ExchangeType::IKE_AUTH,
            ExchangeType(43),
        ]);
        let (number, total) = (u16::from(input.u8()), u16::from(input.u8()));
        let (number, total) = if total == 255 { (input.u16(), input.u16()) } else { (number, total) };
        let first = PayloadType(input.u8());
        let text = match input.u8() {
            255 => vec![0; usize::from(input.u16()) % 40_000],
            length => input.bytes(usize::from(length)).to_vec(),
        };
        let (initiator_spi, responder_spi) = (IkeSpi(spis.initiator.0), IkeSpi(spis.responder.0));
        let flags = Flags { initiator: true, response: false };
        let header = Header { initiator_spi, responder_spi, exchange, flags, message_id: id };
        let first = if number == 1 { first } else { PayloadType::NONE };
        counter += 1;
        let key = pair.keys[&(spis.initiator.0, spis.responder.0)].of(true);
        let datagram = forge::seal(key, counter, &header, first, Some((number, total)), &text);
        let effect = model.take(exchange, number, total, text.len());
        let before = *pair.sides[1].endpoint.counters();
        pair.deliver(1, domain::path(0), &datagram);
        let after = *pair.sides[1].endpoint.counters();
        match effect {
            Effect::Refused => assert_eq!(after.unauthentic, before.unauthentic + 1),
            Effect::Kept => assert_eq!(after.fragments, before.fragments + 1, "{number} of {total}"),
            Effect::Whole => {
                assert_eq!((after.fragments, after.unexpected), (before.fragments, before.unexpected));
                // An answered request is done with; one that closes the SA is the last.
                if pair.sides[1].endpoint.status().first().map(|s| s.spis) != Some(spis) {
                    break;
                }
                id += 1;
            }
        }
    }
    pair.wait(Duration::from_millis(1));
}

/// Sets up an IKE SA with a child.
pub(crate) fn established(encryption: IkeEncryption) -> Pair {
    let mut pair = Pair::new(encryption);
    let profile = domain::profile(encryption);
    pair.configure(1, vec![domain::peer(1, &profile, &[0])]);
    pair.configure(0, vec![domain::peer(0, &profile, &[0])]);
    pair.settle(Duration::ZERO);
    pair.assert_whole(1);
    pair
}
