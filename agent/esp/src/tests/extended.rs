//! Sequence numbers of 64 bits: across the wrap of the half that the wire shows, and against an end that has none.

use proptest::prelude::*;

use super::*;

const WRAP: u64 = 1 << 32;

/// A pair of which so many packets have been sent and seen.
fn after(suite: EspSuite, sent: u64) -> (Outbound, Inbound) {
    let (sender, receiver) = extended_pair(suite, NO_LIMITS);
    sender.go_on_after(sent);
    receiver.go_on_after(sent);
    (sender, receiver)
}

#[test]
fn every_suite_goes_on_across_the_wrap_and_none_without_the_upper_half() {
    for suite in EspSuite::ALL {
        let (sender, receiver) = after(*suite, WRAP - 3);
        let inner = packet(false, 20);
        let mut sealed: Vec<_> = (0..6).map(|_| seal(&sender, &inner)).collect();
        assert_eq!(sealed[3][4..8], [0, 0, 0, 1], "the wire shows the lower half");
        for packet in &sealed {
            assert_eq!(receiver.open(&mut packet.clone()).unwrap().packet, inner, "{suite}");
        }
        assert_eq!(receiver.usage().sequence, WRAP + 3);
        let (_, stranger) = after(*suite, 0);
        assert_eq!(
            stranger.open(&mut sealed[3]),
            Err(OpenError::NotAuthentic),
            "{suite}: same lower half, other upper one"
        );
        assert_eq!(sender.usage().sequence, WRAP + 3);
    }
}

#[test]
fn an_end_with_numbers_of_32_bits_does_not_understand_one_with_64_after_the_wrap_nor_hmac_before() {
    for suite in EspSuite::ALL {
        let (long, _) = extended_pair(*suite, NO_LIMITS);
        let (_, short) = pair(*suite, NO_LIMITS);
        assert_eq!(short.open(&mut seal(&long, &packet(false, 4))), Err(OpenError::NotAuthentic), "{suite}");
    }
}

#[test]
fn the_associated_data_is_that_of_rfc_4106_with_all_bits_of_the_number() {
    let (sender, _) = after(EspSuite::Aes256Gcm16, 5 << 32);
    let sealed = seal(&sender, &packet(false, 3));
    assert_eq!(sealed[..16], [0xc0, 0xde, 0, 1, 0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0, 1]);
    let key: Vec<u8> = (0..32).collect();
    let (provider, algorithm) = (espalier_crypto::AeadProvider::Portable, espalier_crypto::AeadAlgorithm::Aes256Gcm);
    let key = espalier_crypto::AeadKey::new(provider, algorithm, &key).unwrap();
    let mut text = sealed[16..52].to_vec();
    let nonce = [32, 33, 34, 35, 0, 0, 0, 5, 0, 0, 0, 1];
    let data = [0xc0, 0xde, 0, 1, 0, 0, 0, 5, 0, 0, 0, 1];
    key.open(&nonce, &data, &mut text, sealed[52..].try_into().unwrap()).unwrap();
}

#[test]
fn the_last_number_of_64_bits_is_sent_and_nothing_after_it() {
    let (sender, receiver) = after(EspSuite::Aes128Gcm16, u64::MAX - 1);
    assert!(receiver.open(&mut seal(&sender, &packet(false, 4))).is_ok());
    assert_eq!(sender.seal(&packet(false, 4), &mut [0; 100]), Err(SealError::Exhausted));
    let (sender, _) = pair(EspSuite::Aes128Gcm16, NO_LIMITS);
    sender.go_on_after(WRAP - 1);
    assert_eq!(
        sender.seal(&packet(false, 4), &mut [0; 100]),
        Err(SealError::Exhausted),
        "without them it ends at 2^32 - 1"
    );
}

proptest! {
    #[test]
    fn whatever_is_lost_late_or_repeated_around_a_wrap_each_packet_is_opened_once(
        start in prop::sample::select(vec![0, WRAP - 70, 3 * WRAP - 10, WRAP + 5]),
        order in prop::collection::vec((0_usize..120, any::<bool>()), 1..200),
    ) {
        let (sender, receiver) = after(EspSuite::Aes128Gcm16, start);
        let inner = packet(false, 1);
        let sealed: Vec<_> = (0..120).map(|_| seal(&sender, &inner)).collect();
        let (mut highest, mut seen) = (start, std::collections::BTreeSet::new());
        for (at, twice) in order {
            let number = start + 1 + u64::try_from(at).unwrap();
            for _ in 0..=usize::from(twice) {
                let fresh = !seen.contains(&number) && (number > highest || highest - number < 64);
                let mut packet = sealed[at].clone();
                let opened = receiver.open(&mut packet);
                prop_assert_eq!(opened.is_ok(), fresh, "{} with highest {}: {:?}", number, highest, opened);
                if fresh {
                    seen.insert(number);
                    highest = highest.max(number);
                }
            }
        }
    }
}
