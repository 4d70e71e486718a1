use espalier_model::secret::Secret;
use espalier_model::suite::IkeEncryption;

use super::*;
use crate::wire::sk::SealingKey;
use crate::wire::{ExchangeType, Flags, IkeSpi, PayloadType};

fn header(message_id: u32, response: bool) -> Header {
    let (initiator_spi, responder_spi) = (IkeSpi(1), IkeSpi(2));
    let flags = Flags { initiator: true, response };
    Header { initiator_spi, responder_spi, exchange: ExchangeType::CREATE_CHILD_SA, flags, message_id }
}

fn pair(fragments: bool) -> (SealingKey, Opener) {
    let (sk_e, sk_a) = (Secret::new(vec![0x42; 36]), Secret::new(vec![]));
    let encryption = IkeEncryption::Aes256Gcm16;
    let opening = OpeningKey::new(encryption, &sk_e, &sk_a).unwrap();
    (SealingKey::new(encryption, &sk_e, &sk_a).unwrap(), Opener::new(opening, fragments))
}

fn payloads(len: usize) -> Vec<Payload> {
    vec![Payload::VendorId((0..len).map(|n| u8::try_from(n % 241).unwrap()).collect())]
}

fn message(arrival: Result<Arrival, OpenError>) -> Received {
    match arrival {
        Ok(Arrival::Message(message)) => message,
        other => panic!("{other:?}"),
    }
}

fn assert_waits(arrival: Result<Arrival, OpenError>) {
    assert!(matches!(arrival, Ok(Arrival::Fragment)), "{arrival:?}");
}

#[test]
fn fragments_in_any_order_and_twice_become_one_message() {
    let (mut sealing, mut opener) = pair(true);
    for (id, shift) in (0..7).enumerate() {
        let header = header(u32::try_from(id).unwrap(), id % 2 == 0);
        let mut datagrams = sealing.seal_within(&header, &payloads(7_000), 1_248).unwrap();
        assert_eq!(datagrams.len(), 6);
        let first = Mark::of(&datagrams[0]);
        datagrams.rotate_left(shift % 6);
        if shift % 2 == 0 {
            datagrams.reverse();
        }
        let (last, before) = datagrams.split_last().unwrap();
        for datagram in before {
            assert_waits(opener.open(datagram));
            assert_waits(opener.open(datagram));
        }
        let received = message(opener.open(last));
        assert_eq!((received.header, received.payloads), (header, Ok(payloads(7_000))));
        assert!(received.mark == first, "it is known by its first fragment, whichever came last");
    }
    assert!(opener.request.is_none() && opener.response.is_none());
}

#[test]
fn a_lost_fragment_is_supplied_by_the_retransmission() {
    let (mut sealing, mut opener) = pair(true);
    let datagrams = sealing.seal_within(&header(1, false), &payloads(4_000), 1_248).unwrap();
    for lost in 0..datagrams.len() {
        let arriving = datagrams.iter().enumerate().filter(|(n, _)| *n != lost);
        arriving.for_each(|(_, datagram)| assert_waits(opener.open(datagram)));
        datagrams.iter().take(lost).for_each(|datagram| assert_waits(opener.open(datagram)));
        assert_eq!(message(opener.open(&datagrams[lost])).payloads, Ok(payloads(4_000)));
    }
}

#[test]
fn a_forged_fragment_is_neither_kept_nor_does_it_drop_what_is_kept() {
    let (mut sealing, mut opener) = pair(true);
    let datagrams = sealing.seal_within(&header(1, false), &payloads(3_000), 1_248).unwrap();
    assert_waits(opener.open(&datagrams[0]));
    for byte in [20, 32, 35, 60, datagrams[1].len() - 1] {
        let mut forged = datagrams[1].clone();
        forged[byte] ^= 8;
        assert!(opener.open(&forged).is_err(), "byte {byte}");
    }
    assert_eq!(opener.request.as_ref().unwrap().parts.len(), 1);
    assert_waits(opener.open(&datagrams[1]));
    assert_eq!(message(opener.open(&datagrams[2])).payloads, Ok(payloads(3_000)));
}

#[test]
fn a_larger_total_starts_anew_and_a_smaller_one_is_ignored() {
    let (mut sealing, mut opener) = pair(true);
    let few = sealing.seal_within(&header(1, false), &payloads(3_000), 1_248).unwrap();
    let many = sealing.seal_within(&header(1, false), &payloads(3_000), 576).unwrap();
    assert!(few.len() == 3 && many.len() > 3);
    assert_waits(opener.open(&few[0]));
    assert_waits(opener.open(&few[1]));
    assert_waits(opener.open(&many[2]));
    assert_waits(opener.open(&few[2]));
    let partial = opener.request.as_ref().unwrap();
    assert_eq!((partial.parts.keys().copied().collect::<Vec<_>>(), partial.total), (vec![3], 6));
    let (last, others) = many.split_last().unwrap();
    others.iter().for_each(|datagram| assert_waits(opener.open(datagram)));
    let received = message(opener.open(last));
    assert_eq!((received.payloads, received.mark), (Ok(payloads(3_000)), Mark::of(&many[0])));
}

#[test]
fn both_directions_are_put_together_side_by_side_and_another_message_takes_the_place() {
    let (mut sealing, mut opener) = pair(true);
    let mut seal = |id, response| sealing.seal_within(&header(id, response), &payloads(2_000), 1_248).unwrap();
    let (request, response, next) = (seal(1, false), seal(1, true), seal(2, false));
    assert_waits(opener.open(&request[0]));
    assert_waits(opener.open(&response[0]));
    assert_eq!(message(opener.open(&response[1])).header, header(1, true));
    assert_waits(opener.open(&next[0]));
    assert_waits(opener.open(&request[1]));
    assert_waits(opener.open(&next[0]));
    assert_eq!(message(opener.open(&next[1])).header, header(2, false));
}

#[test]
fn a_whole_message_ends_the_wait_for_its_fragments() {
    let (mut sealing, mut opener) = pair(true);
    let datagrams = sealing.seal_within(&header(1, false), &payloads(2_000), 1_248).unwrap();
    assert_waits(opener.open(&datagrams[0]));
    let whole = sealing.seal(&header(1, false), &payloads(2_000)).unwrap();
    assert_eq!(message(opener.open(&whole)).mark, Mark::of(&whole));
    assert!(opener.request.is_none());
}

#[test]
fn more_bytes_than_a_message_has_are_not_kept() {
    let (mut sealing, mut opener) = pair(true);
    let datagrams = sealing.seal_within(&header(1, false), &payloads(65_000), 33_000).unwrap();
    assert_eq!(datagrams.len(), 2);
    assert_waits(opener.open(&datagrams[0]));
    let kept = opener.request.as_mut().unwrap();
    assert!(kept.len <= MOST_TEXT);
    kept.len = MOST_TEXT;
    assert_waits(opener.open(&datagrams[1]));
    assert!(opener.request.is_none(), "all of it is dropped");
}

#[test]
fn without_an_announcement_no_fragment_is_taken() {
    let (mut sealing, mut opener) = pair(false);
    let datagrams = sealing.seal_within(&header(1, false), &payloads(2_000), 1_248).unwrap();
    assert!(matches!(opener.open(&datagrams[0]), Err(OpenError::Outer(_))));
    assert!(opener.request.is_none());
}

#[test]
fn what_cannot_be_read_is_told_apart_from_what_is_not_authentic() {
    let (mut sealing, mut opener) = pair(true);
    let broken = vec![Payload::Unknown(PayloadType::SKF, vec![1; 2_000])];
    let datagrams = sealing.seal_within(&header(1, false), &broken, 1_248).unwrap();
    assert_waits(opener.open(&datagrams[0]));
    assert_eq!(message(opener.open(&datagrams[1])).payloads, Err(Malformed::Value("payload inside SK")));
}

#[test]
fn only_an_authentic_first_fragment_is_one() {
    let (mut sealing, opener) = pair(true);
    let mut datagrams = sealing.seal_within(&header(1, false), &payloads(2_000), 1_248).unwrap();
    let whole = sealing.seal(&header(1, false), &payloads(10)).unwrap();
    let of = |datagram: &[u8]| opener.is_first_fragment(datagram);
    assert_eq!((of(&datagrams[0]), of(&datagrams[1]), of(&whole)), (true, false, false));
    assert!(!pair(false).1.is_first_fragment(&datagrams[0]));
    datagrams[0][50] ^= 1;
    assert!(!opener.is_first_fragment(&datagrams[0]));
}
