//! What strangers and lying peers can make an endpoint keep: no more than `limits` says.

use super::super::liar::{self, Liar};
use super::super::*;
use crate::limits::MOST_REPLACED;
use crate::wire::proposal::{self, ChildExchange};
use crate::wire::{ExchangeType, NotifyType, Payload, SpiField};

fn count(pair: &Pair, what: &str) -> usize {
    pair.nodes[1].endpoint.all_kept().into_iter().find(|(name, _)| *name == what).unwrap().1
}

/// Side 1 with an SA with a scripted peer.
fn up() -> (Pair, Liar) {
    let mut pair = liar::responder();
    let mut liar = Liar::opens(&mut pair);
    let proof = liar.proof();
    liar.asks(&mut pair, ExchangeType::IKE_AUTH, 1, &proof).expect("an answer");
    assert_eq!(pair.nodes[1].up, 1, "{:?}", pair.nodes[1].down);
    (pair, liar)
}

fn child(spi: u32, byte: u8) -> Vec<Payload> {
    let spi = espalier_model::sa::Spi::try_from(spi).unwrap();
    let share = espalier_crypto::KeyShare::generate(KeyExchange::X25519).unwrap();
    let key_exchange = liar::hello(&share).swap_remove(1);
    vec![
        Payload::SecurityAssociation(proposal::offer_child(&profile(), ChildExchange::Create, spi)),
        Payload::Nonce(liar::nonce(byte)),
        key_exchange,
        Payload::SelectorsInitiator(selectors(0)),
        Payload::SelectorsResponder(selectors(1)),
    ]
}

#[test]
fn a_peer_that_asks_for_child_after_child_gets_so_many() {
    let (mut pair, mut liar) = up();
    let mut told = Vec::new();
    for id in 2..400 {
        pair.now.instant += Duration::from_secs(1);
        let payloads = child(0x10_000 + id, 3);
        let answer = liar.asks(&mut pair, ExchangeType::CREATE_CHILD_SA, id, &payloads).expect("an answer");
        told.extend(liar::notifies(&answer));
    }
    assert_eq!(count(&pair, "children"), Limits::default().children);
    assert_eq!(told.len(), 398 - Limits::default().children + 1);
    assert!(told.iter().all(|kind| *kind == NotifyType::NO_ADDITIONAL_SAS), "{told:?}");
}

#[test]
fn a_peer_that_rekeys_child_after_child_is_slowed_down() {
    let (mut pair, mut liar) = up();
    let (mut made, mut put_off, mut last) = (0, 0, 0x1234);
    for id in 2..600 {
        pair.now.instant += Duration::from_millis(20);
        let spi = 0x10_000 + id;
        let mut payloads = child(spi, 3);
        let old = espalier_model::sa::Spi::try_from(last).unwrap();
        payloads.insert(
            0,
            Payload::Notify(crate::wire::Notify::about(NotifyType::REKEY_SA, crate::wire::ProtocolId::ESP, old)),
        );
        let answer = liar.asks(&mut pair, ExchangeType::CREATE_CHILD_SA, id, &payloads).expect("an answer");
        match liar::notifies(&answer)[..] {
            [] => (made, last) = (made + 1, spi),
            [NotifyType::TEMPORARY_FAILURE] => put_off += 1,
            ref other => panic!("{other:?}"),
        }
    }
    assert!((60..130).contains(&made) && made + put_off == 598, "{made} of 598 in 12 seconds");
    assert!(count(&pair, "children") <= 2 * Limits::default().children);
}

#[test]
fn a_peer_that_opens_sa_after_sa_leaves_so_many_behind() {
    let mut pair = liar::responder();
    for _ in 0..60 {
        let mut liar = Liar::opens(&mut pair);
        let proof = liar.proof();
        liar.asks(&mut pair, ExchangeType::IKE_AUTH, 1, &proof).expect("an answer");
        pair.now.instant += Duration::from_secs(1);
    }
    assert!(count(&pair, "SAs") <= MOST_REPLACED + 1, "{}", count(&pair, "SAs"));
    assert!(count(&pair, "children") <= MOST_REPLACED + 1);
    let (installed, removed) = (pair.nodes[1].inbound.len(), pair.nodes[1].removed.len());
    assert!(installed - removed / 2 <= MOST_REPLACED + 1, "{installed} installed, {removed} halves removed");
}

#[test]
fn a_peer_that_rekeys_the_ike_sa_again_and_again_leaves_so_many_behind() {
    let (mut pair, mut liar) = up();
    let (mut made, mut put_off) = (0, 0);
    for id in 2..300 {
        let share = espalier_crypto::KeyShare::generate(KeyExchange::X25519).unwrap();
        let mut payloads = liar::hello(&share);
        payloads.truncate(3);
        let spi = SpiField::Ike(crate::wire::IkeSpi(u64::from(id) << 20));
        payloads[0] = Payload::SecurityAssociation(proposal::offer_ike(&profile(), spi));
        let answer = liar.asks(&mut pair, ExchangeType::CREATE_CHILD_SA, id, &payloads).expect("an answer");
        if liar::notifies(&answer).is_empty() { made += 1 } else { put_off += 1 }
    }
    assert_eq!((made, put_off), (1, 297), "one successor is enough");
    assert_eq!(count(&pair, "SAs"), 2);
}

#[test]
fn a_source_has_so_many_half_open_sas_and_none_outlives_its_time() {
    let mut pair = liar::responder();
    let share = espalier_crypto::KeyShare::generate(KeyExchange::X25519).unwrap();
    let stranger = UdpPath { local: "198.51.100.1:500".parse().unwrap(), ..liar::path() };
    for spi in 1..2_000 {
        pair.deliver(1, stranger, &liar::first(spi, liar::hello(&share)));
    }
    // From a hundred on a cookie is asked for, so what is not read back opens nothing.
    assert_eq!(count(&pair, "half-open SAs"), 100);
    let cookies = pair.wire.split_off(100);
    for (spi, (_, _, answer)) in (101..).zip(cookies) {
        let answer = crate::wire::Message::parse(&answer).unwrap();
        let mut payloads = answer.payloads;
        payloads.extend(liar::hello(&share));
        pair.deliver(1, stranger, &liar::first(spi, payloads));
    }
    assert_eq!(count(&pair, "half-open SAs"), Limits::default().half_open_per_source);
    pair.wire.clear();
    pair.wait(Duration::from_secs(31));
    assert_eq!((count(&pair, "half-open SAs"), count(&pair, "outputs")), (0, 0));
}
