use espalier_model::suite::IkeEncryption;

use super::*;
use crate::wire::sk::read_plain;
use crate::wire::sk::tests::{header, keys};

const LIMIT: usize = 1_248;

fn long(len: usize) -> Vec<Payload> {
    let body = (0..len).map(|n| u8::try_from(n % 251).unwrap()).collect();
    vec![Payload::VendorId(vec![7; 40]), Payload::VendorId(body)]
}

fn joined(fragments: &[Fragment]) -> Vec<u8> {
    fragments.iter().flat_map(|fragment| fragment.text.to_vec()).collect()
}

#[test]
fn a_long_message_is_sealed_in_fragments_and_opened_with_every_suite() {
    for encryption in IkeEncryption::ALL {
        let (mut sealing, opening) = keys(*encryption);
        for len in [1_200, 2_400, 8_000, 60_000] {
            let datagrams = sealing.seal_within(&header(), &long(len), LIMIT).unwrap();
            assert!(datagrams.iter().all(|datagram| datagram.len() <= LIMIT));
            let (last, full) = datagrams.split_last().unwrap();
            assert!(full.iter().all(|datagram| datagram.len() > LIMIT - 16), "{encryption}: none is half empty");
            let fragments: Vec<_> = datagrams.iter().map(|d| opening.open_fragment(d).unwrap()).collect();
            let total = u16::try_from(datagrams.len()).unwrap();
            let places: Vec<_> = (1..=total).map(|number| Place { number, total }).collect();
            assert_eq!(fragments.iter().map(|f| f.place).collect::<Vec<_>>(), places);
            assert!(fragments.iter().all(|f| f.header == header()));
            assert_eq!(fragments[0].first, PayloadType::VENDOR_ID);
            assert!(fragments.iter().skip(1).all(|f| f.first == PayloadType::NONE));
            assert_eq!(read_plain(fragments[0].first, &joined(&fragments)), Ok(long(len)));
            assert!(!last.is_empty() && opening.open(last).is_err(), "a fragment is no message");
        }
    }
}

#[test]
fn nothing_follows_a_fragment() {
    let (mut sealing, opening) = keys(IkeEncryption::Aes256Gcm16);
    let mut datagram = sealing.seal_within(&header(), &long(3_000), LIMIT).unwrap().remove(0);
    assert!(opening.open_fragment(&datagram).is_ok());
    datagram.extend([0, 0, 0, 5, 1]);
    let length = u32::try_from(datagram.len()).unwrap().to_be_bytes();
    datagram[24..28].copy_from_slice(&length);
    assert!(matches!(opening.open_fragment(&datagram), Err(OpenError::Outer(Malformed::Trailing("SK")))));
}

#[test]
fn a_message_that_fits_travels_whole() {
    for encryption in IkeEncryption::ALL {
        let (mut sealing, opening) = keys(*encryption);
        let most = (1_000..LIMIT).rev().map(long).find_map(|payloads| {
            let mut datagrams = sealing.seal_within(&header(), &payloads, LIMIT).unwrap();
            (datagrams.len() == 1).then(|| (datagrams.remove(0), payloads))
        });
        let (datagram, payloads) = most.unwrap();
        assert!(datagram.len() > LIMIT - 16, "{encryption}: {}", datagram.len());
        assert_eq!(opening.open(&datagram).unwrap().payloads, payloads);
        assert!(opening.open_fragment(&datagram).is_err() && Place::peek(&datagram) == Ok(None));
    }
}

#[test]
fn every_flipped_bit_of_a_fragment_and_every_truncation_is_refused() {
    for encryption in IkeEncryption::ALL {
        let (mut sealing, opening) = keys(*encryption);
        let datagram = sealing.seal_within(&header(), &long(100), 130).unwrap().remove(0);
        for bit in 0..datagram.len() * 8 {
            let mut changed = datagram.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let refused = matches!(opening.open_fragment(&changed), Err(OpenError::Outer(_) | OpenError::Unauthentic));
            assert!(refused, "{encryption} bit {bit}");
        }
        for end in 0..datagram.len() {
            assert!(opening.open_fragment(&datagram[..end]).is_err());
        }
    }
}

#[test]
fn a_number_that_cannot_be_is_refused_before_any_cryptography() {
    let (mut sealing, _) = keys(IkeEncryption::Aes256Gcm16);
    let datagram = sealing.seal_within(&header(), &long(2_000), LIMIT).unwrap().remove(0);
    let placed = |number: u16, total: u16| {
        let mut changed = datagram.clone();
        changed[32..34].copy_from_slice(&number.to_be_bytes());
        changed[34..36].copy_from_slice(&total.to_be_bytes());
        Place::peek(&changed)
    };
    assert_eq!(placed(1, 64), Ok(Some(Place { number: 1, total: 64 })));
    for (number, total) in [(0, 2), (3, 2), (0, 0), (1, 0)] {
        assert_eq!(placed(number, total), Err(Malformed::Value("fragment number")));
    }
    assert_eq!(placed(1, 65), Err(Malformed::TooMany("fragments")));
}

#[test]
fn what_no_peer_would_put_together_is_not_sent() {
    let (mut sealing, _) = keys(IkeEncryption::Aes256Gcm16);
    let too_long = [long(40_000), long(40_000)].concat();
    assert!(matches!(sealing.seal_within(&header(), &too_long, LIMIT), Err(SealError::Oversized(_))));
    assert!(matches!(sealing.seal_within(&header(), &long(60_000), 576), Err(SealError::Oversized(_))));
    assert!(matches!(sealing.seal_within(&header(), &long(100), 40), Err(SealError::Oversized(_))));
}

#[test]
fn a_datagram_of_the_limit_fills_the_smallest_packet() {
    assert_eq!(datagram_limit("192.0.2.1".parse().unwrap()) + 4 + 8 + 20, 1_280);
    assert_eq!(datagram_limit("2001:db8::1".parse().unwrap()) + 4 + 8 + 40, 1_280);
}
