//! The expected values follow the formulas of RFC 9242 §3.3.2 octet by octet, with HMAC and nothing of the code under test.

use espalier_model::secret::Secret;
use espalier_model::suite::{IkeEncryption, Prf};

use super::*;
use crate::keymat::IkeSpis;
use crate::sa::opener::{Arrival, Opener, Received};
use crate::wire::sk::{OpeningKey, SealingKey, Whole};
use crate::wire::{ExchangeType, Flags, Header, IkeSpi, KeyExchangeData, Payload};

const SPIS: IkeSpis = IkeSpis { initiator: IkeSpi(0x0102_0304_0506_0708), responder: IkeSpi(0x1112_1314_1516_1718) };

fn header(response: bool) -> Header {
    Header {
        initiator_spi: SPIS.initiator,
        responder_spi: SPIS.responder,
        exchange: ExchangeType::IKE_INTERMEDIATE,
        flags: Flags { initiator: !response, response },
        message_id: 1,
    }
}

fn key_exchange(len: usize) -> [Payload; 1] {
    [Payload::KeyExchange(KeyExchangeData { method: 36, data: vec![0xab; len] })]
}

/// The octets of a message with one KE payload of method 36, written down by hand.
fn by_hand(response: bool, len: usize) -> Vec<u8> {
    let ke_len = u16::try_from(8 + len).unwrap().to_be_bytes();
    let sk_len = u16::try_from(4 + 8 + len).unwrap().to_be_bytes();
    let whole_len = u32::try_from(28 + 4 + 8 + len).unwrap().to_be_bytes();
    let spis = [1, 2, 3, 4, 5, 6, 7, 8, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18];
    let flags = if response { 0x20 } else { 0x08 };
    let mut octets = spis.to_vec();
    octets.extend([46, 0x20, 43, flags, 0, 0, 0, 1]);
    octets.extend(whole_len);
    octets.extend([34, 0]);
    octets.extend(sk_len);
    octets.extend([0, 0]);
    octets.extend(ke_len);
    octets.extend([0, 36, 0, 0]);
    octets.extend(vec![0xab; len]);
    octets
}

fn receive(encryption: IkeEncryption, sk_a: &Secret, sk_e: &Secret, len: usize) -> Vec<Received> {
    let opening = OpeningKey::new(encryption, sk_e, sk_a).unwrap();
    let mut sealing = SealingKey::new(encryption, sk_e, sk_a).unwrap();
    let mut opener = Opener::new(opening, true);
    let mut received = Vec::new();
    for limit in [usize::from(u16::MAX), 1_248, 200] {
        let mut datagrams = sealing.seal_within(&header(false), &key_exchange(len), limit).unwrap();
        // The first fragment comes last.
        datagrams.reverse();
        for datagram in datagrams {
            if let Arrival::Message(message) = opener.open(&datagram).unwrap() {
                received.push(message);
            }
        }
    }
    received
}

#[test]
fn the_octets_are_those_of_the_whole_message_in_clear_however_it_travelled() {
    for (encryption, sk_e, sk_a) in [
        (IkeEncryption::Aes256Gcm16, 36, 0),
        (IkeEncryption::Aes256CbcSha384, 32, 48),
        (IkeEncryption::Aes128CtrSha256, 20, 32),
    ] {
        let (sk_e, sk_a) = (Secret::new(vec![7; sk_e]), Secret::new(vec![9; sk_a]));
        for len in [1, 100, 1_184, 1_568] {
            let expected = by_hand(false, len);
            assert_eq!(*Whole::new(&header(false), &key_exchange(len)).unwrap().octets().unwrap(), expected);
            let received = receive(encryption, &sk_a, &sk_e, len);
            assert_eq!(received.len(), 3);
            for message in received {
                assert_eq!(*message.whole.unwrap().octets().unwrap(), expected, "{encryption} {len}");
            }
        }
    }
    assert_eq!(*Whole::new(&header(true), &key_exchange(5)).unwrap().octets().unwrap(), by_hand(true, 5));
    let empty = Whole::new(&header(false), &[]).unwrap().octets().unwrap();
    assert_eq!(
        (empty.len(), &empty[24..32]),
        (32, &[0, 0, 0, 32, 0, 0, 0, 4][..]),
        "an empty SK payload has its header alone"
    );
}

#[test]
fn bits_that_are_reserved_are_covered_as_they_came() {
    let sk_e = Secret::new(vec![7; 36]);
    let opening = OpeningKey::new(IkeEncryption::Aes256Gcm16, &sk_e, &Secret::new(vec![])).unwrap();
    let mut sealing = SealingKey::new(IkeEncryption::Aes256Gcm16, &sk_e, &Secret::new(vec![])).unwrap();
    let datagram = sealing.seal(&header(false), &key_exchange(3)).unwrap();
    let (_, whole) = opening.open_whole(&datagram).unwrap();
    let reserved = Whole::received(
        &[&datagram[..29], &[0x7f], &datagram[30..]].concat(),
        zeroize::Zeroizing::new(by_hand(false, 3)[32..].to_vec()),
    )
    .unwrap();
    let mut expected = by_hand(false, 3);
    assert_eq!(*whole.octets().unwrap(), expected);
    expected[29] = 0x7f;
    assert_eq!(*reserved.octets().unwrap(), expected);
}

#[test]
fn each_message_is_chained_to_those_before_under_the_keys_of_its_time() {
    let function = Prf::HmacSha384;
    let keys = |pi, pr| AuthKeys { sk_pi: Secret::new(vec![pi; 48]), sk_pr: Secret::new(vec![pr; 48]), prf: function };
    let mut int_auth = IntAuth::default();
    assert!(int_auth.octets(1).is_empty(), "nothing is added where nothing was said");
    int_auth.add_request(&keys(1, 2), b"request 1");
    int_auth.add_response(&keys(1, 2), b"response 1");
    int_auth.add_request(&keys(3, 4), b"request 2");
    int_auth.add_response(&keys(3, 4), b"response 2");
    let mac = |key: u8, text: &[u8]| prf(function, &[key; 48], &[text]).expose().to_vec();
    let initiator = mac(3, &[&mac(1, b"request 1")[..], b"request 2"].concat());
    let responder = mac(4, &[&mac(2, b"response 1")[..], b"response 2"].concat());
    assert_eq!(*int_auth.octets(3), [&initiator[..], &responder, &[0, 0, 0, 3]].concat());
}
