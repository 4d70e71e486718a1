use std::collections::BTreeSet;

use super::*;
use crate::wire::{ExchangeType, Flags, IkeSpi, Notify, NotifyType};

pub(super) fn header() -> Header {
    Header {
        initiator_spi: IkeSpi(1),
        responder_spi: IkeSpi(2),
        exchange: ExchangeType::INFORMATIONAL,
        flags: Flags { initiator: true, response: false },
        message_id: 7,
    }
}

pub(super) fn keys(encryption: IkeEncryption) -> (SealingKey, OpeningKey) {
    let (sk_e, sk_a) = secrets(encryption);
    (SealingKey::new(encryption, &sk_e, &sk_a).unwrap(), OpeningKey::new(encryption, &sk_e, &sk_a).unwrap())
}

fn secrets(encryption: IkeEncryption) -> (Secret, Secret) {
    let cipher = encryption.cipher();
    (Secret::new(vec![0x42; cipher.encryption_len()]), Secret::new(vec![0x43; cipher.integrity_len()]))
}

fn payloads() -> Vec<Payload> {
    vec![Payload::Notify(Notify::new(NotifyType::INITIAL_CONTACT, vec![])), Payload::VendorId(vec![3; 9])]
}

#[test]
fn what_is_sealed_is_opened() {
    for encryption in IkeEncryption::ALL {
        let (mut sealing, opening) = keys(*encryption);
        let vendors = (0..20).map(|len| vec![Payload::VendorId(vec![4; len])]);
        for payloads in vendors.chain([vec![], payloads()]) {
            let datagram = sealing.seal(&header(), &payloads).unwrap();
            assert_eq!(opening.open(&datagram), Ok(Message { header: header(), payloads }));
            assert!(Message::parse(&datagram).is_ok(), "the outside is a message of one SK payload");
        }
    }
}

#[test]
fn an_iv_is_never_repeated_even_for_one_message_id() {
    let (mut sealing, _) = keys(IkeEncryption::Aes256Gcm16);
    let ivs: BTreeSet<_> = (0..100).map(|_| sealing.seal(&header(), &[]).unwrap()[32..40].to_vec()).collect();
    assert_eq!(ivs.len(), 100);
    sealing.next_iv = u64::MAX;
    assert!(matches!(sealing.seal(&header(), &[]), Err(SealError::Exhausted)));
    assert!(matches!(sealing.seal(&header(), &[]), Err(SealError::Exhausted)), "it stays exhausted");
}

#[test]
fn every_flipped_bit_and_every_truncation_is_refused() {
    for encryption in IkeEncryption::ALL {
        let (mut sealing, opening) = keys(*encryption);
        let datagram = sealing.seal(&header(), &payloads()).unwrap();
        for bit in 0..datagram.len() * 8 {
            let mut changed = datagram.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let refused = matches!(opening.open(&changed), Err(OpenError::Outer(_) | OpenError::Unauthentic));
            assert!(refused, "{encryption} bit {bit}");
        }
        for end in 0..datagram.len() {
            assert!(opening.open(&datagram[..end]).is_err());
        }
    }
}

#[test]
fn cbc_takes_an_unpredictable_iv_and_fills_its_blocks() {
    let (mut sealing, _) = keys(IkeEncryption::Aes256CbcSha256);
    let one = sealing.seal(&header(), &payloads()).unwrap();
    let two = sealing.seal(&header(), &payloads()).unwrap();
    assert_ne!(one[32..48], two[32..48]);
    assert!((one.len() - 48 - 16).is_multiple_of(16));
    let (mut counting, _) = keys(IkeEncryption::Aes256CtrSha256);
    counting.next_iv = 9;
    assert_eq!(counting.seal(&header(), &payloads()).unwrap()[32..40], 9_u64.to_be_bytes());
}

/// Seals a plaintext as it is, with padding and all.
fn seal_raw(first: PayloadType, text: &[u8]) -> Vec<u8> {
    let (sealing, _) = keys(IkeEncryption::Aes256Gcm16);
    let len = GENERIC_HEADER_LEN + 8 + text.len() + 16;
    let mut w = Writer::new();
    header().emit(PayloadType::SK, len, &mut w).unwrap();
    w.u8(first.0);
    w.u8(0);
    w.u16(u16::try_from(len).unwrap());
    let aad = w.finish();
    let (mut iv, mut text, mut icv) = ([0; 8], text.to_vec(), [0; 16]);
    sealing.key.seal(99, &aad, &mut iv, &mut text, &mut icv).unwrap();
    [&aad[..], &iv, &text, &icv].concat()
}

#[test]
fn padding_of_any_length_and_content_is_taken_off() {
    let (_, opening) = keys(IkeEncryption::Aes256Gcm16);
    let vendor = [0, 0, 0, 5, 0xee];
    let padded = [&vendor[..], &[0xaa; 255], &[255]].concat();
    let message = opening.open(&seal_raw(PayloadType::VENDOR_ID, &padded)).unwrap();
    assert_eq!(message.payloads, [Payload::VendorId(vec![0xee])]);
    let inner = |first, text: &[u8]| match opening.open(&seal_raw(first, text)) {
        Err(OpenError::Inner(reason)) => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(inner(PayloadType::NONE, &[]), Malformed::Truncated("pad length"));
    assert_eq!(inner(PayloadType::NONE, &[1]), Malformed::Length("padding"));
    assert_eq!(inner(PayloadType::NONE, &[0, 0]), Malformed::Trailing("message"));
    assert_eq!(inner(PayloadType(99), &[0, 0x80, 0, 4, 0]), Malformed::UnsupportedCritical(PayloadType(99)));
    assert_eq!(inner(PayloadType::SK, &[0, 0, 0, 4, 0]), Malformed::Value("payload inside SK"));
}

#[test]
fn a_message_in_clear_is_not_opened() {
    let (_, opening) = keys(IkeEncryption::Aes256Gcm16);
    let clear = Message { header: header(), payloads: payloads() }.emit().unwrap();
    assert!(matches!(opening.open(&clear), Err(OpenError::Outer(_))));
    let (_, other) = keys(IkeEncryption::Aes128Gcm16);
    let sealed = keys(IkeEncryption::Aes256Gcm16).0.seal(&header(), &payloads()).unwrap();
    assert_eq!(other.open(&sealed), Err(OpenError::Unauthentic));
    let (short, none) = (Secret::new(vec![0; 20]), Secret::new(vec![]));
    assert!(SealingKey::new(IkeEncryption::Aes256Gcm16, &short, &none).is_err());
    let (sk_e, _) = secrets(IkeEncryption::Aes256CbcSha256);
    assert!(OpeningKey::new(IkeEncryption::Aes256CbcSha256, &sk_e, &none).is_err());
}

#[test]
fn a_message_sealed_by_another_implementation_is_opened_and_sealed_alike() {
    let keymat = Secret::new((0..32).chain([0xaa, 0xbb, 0xcc, 0xdd]).collect());
    let none = Secret::new(vec![]);
    let opening = OpeningKey::new(IkeEncryption::Aes256Gcm16, &keymat, &none).unwrap();
    let message = opening.open(&SEALED).unwrap();
    assert_eq!(message.payloads, [Payload::Notify(Notify::new(NotifyType::INITIAL_CONTACT, vec![]))]);
    let mut sealing = SealingKey::new(IkeEncryption::Aes256Gcm16, &keymat, &none).unwrap();
    sealing.next_iv = 8;
    assert_eq!(sealing.seal(&message.header, &message.payloads).unwrap(), SEALED);
}

/// Sealed with Python's `cryptography`, and opened by Wireshark.
#[rustfmt::skip]
const SEALED: [u8; 65] = [
    0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18,
    0x2e, 0x20, 0x25, 0x08, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x41, 0x29, 0x00, 0x00, 0x25,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x08, 0x68, 0x99, 0xe5, 0xf2, 0x82, 0xca, 0x32, 0x2a,
    0x62, 0x1c, 0x08, 0x0c, 0x1f, 0xf6, 0x9c, 0xca, 0xdc, 0x91, 0xbf, 0xa4, 0x88, 0x85, 0x3d, 0x6c,
    0xaa,
];
