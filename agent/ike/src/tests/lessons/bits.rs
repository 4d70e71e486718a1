//! Every single bit of the messages that nobody can authenticate yet.

use espalier_crypto::KeyShare;

use super::super::liar;
use super::super::*;

#[test]
fn a_first_message_with_any_bit_altered_opens_half_an_sa_at_most() {
    let first = liar::first(0x1111, liar::hello(&KeyShare::generate(KeyExchange::X25519).unwrap()));
    for bit in 0..8 * first.len() {
        let mut pair = liar::responder();
        let mut altered = first.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        let before = total(pair.nodes[1].endpoint.counters()) + 1;
        pair.deliver(1, liar::path(), &altered);
        let right = &pair.nodes[1];
        assert_eq!(total(right.endpoint.counters()), before, "bit {bit}");
        assert!(right.endpoint.sa_count() <= 1 && right.endpoint.status().is_empty(), "bit {bit}");
        assert_eq!((right.up, right.inbound.len()), (0, 0), "bit {bit}");
        assert!(pair.wire.len() <= 1, "bit {bit}: one answer at most");
    }
}

#[test]
fn an_answer_to_the_first_message_with_any_bit_altered_sets_nothing_up() {
    let mut pair = liar::initiator();
    pair.nodes[1].endpoint.configure(pair.now, vec![peer(1, psk("secret"))]);
    let (_, path, request) = pair.wire.remove(0);
    pair.deliver(1, path, &request);
    let (_, back, answer) = pair.wire.remove(0);
    for bit in 0..8 * answer.len() {
        let mut altered = answer.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        let before = total(pair.nodes[0].endpoint.counters()) + 1;
        pair.deliver(0, back, &altered);
        let left = &pair.nodes[0];
        assert_eq!(total(left.endpoint.counters()), before, "bit {bit}");
        assert!(left.endpoint.status().is_empty() && left.endpoint.sa_count() <= 1, "bit {bit}");
        assert_eq!((left.up, left.inbound.len()), (0, 0), "bit {bit}");
    }
}
