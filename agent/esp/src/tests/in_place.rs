//! Packets sealed where they stand, several under one reservation.

use super::*;

fn room(sender: &Outbound, inner: &[u8]) -> Vec<u8> {
    let mut room = vec![0xaa; sender.headroom()];
    room.extend_from_slice(inner);
    room.resize(sender.sealed_len(inner.len()), 0xbb);
    room
}

#[test]
fn packets_of_one_reservation_open_in_order_and_no_further_one_is_sealed() {
    for suite in EspSuite::ALL {
        let (sender, receiver) = extended_pair(*suite, NO_LIMITS);
        let inners = [packet(false, 1_000), packet(true, 999), packet(false, 0)];
        let bytes = inners.iter().map(Vec::len).sum();
        let mut reserved = sender.reserve(inners.len(), bytes).unwrap();
        let sealed = inners.each_ref().map(|inner| {
            let mut room = room(&sender, inner);
            assert_eq!(reserved.seal(&mut room, inner.len()), Ok(room.len()), "{suite}");
            room
        });
        assert_eq!(reserved.seal(&mut room(&sender, &inners[0]), inners[0].len()), Err(SealError::Exhausted));
        for (number, (inner, mut sealed)) in (1_u32..).zip(inners.iter().zip(sealed)) {
            assert_eq!(sealed[4..8], number.to_be_bytes());
            assert_eq!(receiver.open(&mut sealed).unwrap().packet, inner, "{suite}");
        }
        let usage = sender.usage();
        assert_eq!((usage.packets, usage.bytes, usage.sequence), (3, u64::try_from(bytes).unwrap(), 3));
        assert_eq!(receiver.usage().lost, 0);
    }
}

#[test]
fn what_cannot_be_sealed_takes_no_number() {
    let (sender, _) = pair(EspSuite::Aes256Gcm16, NO_LIMITS);
    let inner = packet(false, 40);
    let mut short = room(&sender, &inner);
    short.pop();
    assert_eq!(sender.seal_in_place(&mut short, inner.len()), Err(SealError::TooSmall));
    assert_eq!(sender.seal_in_place(&mut [], 0), Err(SealError::TooSmall));
    assert_eq!(sender.seal_in_place(&mut [0; 100], 0), Err(SealError::NotIp));
    let mut reserved = sender.reserve(1, inner.len()).unwrap();
    let mut no_ip = room(&sender, &inner);
    no_ip[sender.headroom()] = 0x55;
    assert_eq!(reserved.seal(&mut no_ip, inner.len()), Err(SealError::NotIp));
    let mut good = room(&sender, &inner);
    assert!(reserved.seal(&mut good, inner.len()).is_ok());
    assert_eq!((good[7], sender.usage().sequence), (1, 1));
}

#[test]
fn a_reservation_beyond_the_limit_takes_nothing_and_one_that_reaches_the_soft_limit_says_so() {
    let (sender, _) = pair(EspSuite::Aes256Gcm16, LIMITS);
    assert!(!sender.reserve(2, 100).unwrap().soft());
    assert_eq!(sender.reserve(4, 200).map(drop), Err(SealError::Exhausted));
    assert!(sender.reserve(3, 150).unwrap().soft());
    assert_eq!(sender.reserve(1, 50).map(drop), Err(SealError::Exhausted));
    assert_eq!((sender.usage().packets, sender.usage().bytes), (5, 250));
    let bytes = UsageLimits { soft_bytes: 100, hard_bytes: 200, ..NO_LIMITS };
    let (sender, _) = pair(EspSuite::Aes256Gcm16, bytes);
    assert!(sender.reserve(4, 199).unwrap().soft());
    assert!(!sender.reserve(4, 400).unwrap().soft());
    assert_eq!(sender.reserve(1, 1).map(drop), Err(SealError::Exhausted));
}

#[test]
#[should_panic(expected = "is used twice")]
fn a_number_that_is_used_twice_stops_a_build_that_checks() {
    let (sender, _) = pair(EspSuite::Aes256Gcm16, NO_LIMITS);
    for _ in 0..2 {
        sender.go_on_after(7);
        let inner = packet(false, 40);
        let _ = sender.seal_in_place(&mut room(&sender, &inner), inner.len());
    }
}
