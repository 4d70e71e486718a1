//! Proposals that want what there is not, or leave out what must be there.

use espalier_crypto::KeyShare;

use super::super::liar::{self, Liar, notifies};
use super::super::*;
use crate::wire::proposal::{self, ChildExchange};
use crate::wire::{ExchangeType, Message, NotifyType, Payload, Proposal, SpiField, Transform, TransformType};

/// Identifiers around everything that is registered or ever was, and of private use.
fn identifiers() -> impl Iterator<Item = u16> {
    (0..64).chain([255, 256, 1_023, 1_024, 1_025, 0x7fff, 0x8000, u16::MAX])
}

fn key_lengths() -> [Option<u16>; 7] {
    [None, Some(0), Some(64), Some(128), Some(192), Some(256), Some(u16::MAX)]
}

/// Every proposal that has one transform of a kind in place of those that a usual one has.
fn with_one(usual: &Proposal) -> Vec<Proposal> {
    let kinds = (0..16).map(TransformType);
    let mut all = Vec::new();
    for kind in kinds {
        for (id, key_length) in identifiers().flat_map(|id| key_lengths().map(|length| (id, length))) {
            let mut changed = usual.clone();
            changed.transforms.retain(|transform| transform.kind != kind);
            changed.transforms.push(Transform { kind, id, key_length, foreign: false });
            all.push(changed);
        }
    }
    all
}

/// Tells whether every transform of an answer was offered, with one of each kind.
fn chosen_from(answer: &Proposal, offer: &Proposal) -> bool {
    let kinds: BTreeSet<u8> = answer.transforms.iter().map(|transform| transform.kind.0).collect();
    kinds.len() == answer.transforms.len() && answer.transforms.iter().all(|t| offer.transforms.contains(t))
}

#[test]
fn each_transform_of_ike_alone_is_chosen_when_it_is_configured_and_refused_otherwise() {
    let share = KeyShare::generate(KeyExchange::X25519).unwrap();
    let usual = proposal::offer_ike(&profile(), SpiField::None).remove(0);
    let mut pair = liar::responder();
    let (mut chosen, mut refused) = (0, 0);
    for (spi, offer) in (1..).zip(with_one(&usual)) {
        let mut payloads = liar::hello(&share);
        payloads[0] = Payload::SecurityAssociation(vec![offer.clone()]);
        let before = total(pair.nodes[1].endpoint.counters()) + 1;
        pair.deliver(1, liar::path(), &liar::first(spi, payloads));
        assert_eq!(total(pair.nodes[1].endpoint.counters()), before, "{offer:?}");
        let (_, _, answer) = pair.wire.pop().expect("an answer");
        let answer = Message::parse(&answer).unwrap();
        if let Some(Payload::SecurityAssociation(answers)) = answer.payloads.first() {
            assert!(answers.len() == 1 && chosen_from(&answers[0], &offer), "{offer:?}: {answers:?}");
            assert!(proposal::choose_ike(&profile(), answers).is_some(), "{answers:?}");
            chosen += 1;
            // One source has only so many half-open SAs.
            pair = liar::responder();
        } else {
            let said = notifies(&answer);
            let right = [NotifyType::NO_PROPOSAL_CHOSEN, NotifyType::INVALID_KE_PAYLOAD];
            assert!(said.len() == 1 && right.contains(&said[0]), "{offer:?}: {answer:?}");
            assert_eq!(pair.nodes[1].endpoint.sa_count(), 0, "{offer:?}");
            refused += 1;
        }
    }
    assert!(chosen > 5 && refused > 5_000, "{chosen} chosen, {refused} refused");
}

#[test]
fn each_transform_of_a_child_alone_is_chosen_when_it_is_configured_and_refused_otherwise() {
    let spi = espalier_model::sa::Spi::try_from(0x1234).unwrap();
    let usual = proposal::offer_child(&profile(), ChildExchange::Auth, spi).remove(0);
    let offers = with_one(&usual);
    // A handshake for each takes a while; every kind and every identifier has its turn, with one length after the other.
    for (turn, offer) in offers.iter().enumerate().filter(|(n, _)| n % key_lengths().len() == (n / 7) % 7) {
        let mut pair = liar::responder();
        let mut liar = Liar::opens(&mut pair);
        let mut proof = liar.proof();
        proof[2] = Payload::SecurityAssociation(vec![offer.clone()]);
        let answer = liar.asks(&mut pair, ExchangeType::IKE_AUTH, 1, &proof).expect("an answer");
        assert_eq!(pair.nodes[1].up, 1, "{turn}: the IKE SA stands");
        let proposals = |payload: &Payload| {
            if let Payload::SecurityAssociation(answers) = payload { Some(answers.clone()) } else { None }
        };
        let answers = answer.payloads.iter().find_map(proposals);
        if let Some(answers) = answers {
            assert!(answers.len() == 1 && chosen_from(&answers[0], offer), "{offer:?}: {answers:?}");
            assert_eq!(pair.nodes[1].inbound.len(), 1, "{offer:?}");
        } else {
            assert!(notifies(&answer).contains(&NotifyType::NO_PROPOSAL_CHOSEN), "{offer:?}: {answer:?}");
            assert_eq!(pair.nodes[1].inbound.len(), 0, "{offer:?}");
        }
    }
}

#[test]
fn a_suite_without_keys_sets_nothing_up() {
    // No encryption, none that authenticates, no integrity beside encryption that needs it, no PRF, no key exchange.
    let share = KeyShare::generate(KeyExchange::X25519).unwrap();
    let usual = proposal::offer_ike(&profile(), SpiField::None).remove(0);
    let kinds: BTreeSet<u8> = usual.transforms.iter().map(|transform| transform.kind.0).collect();
    assert!(kinds.len() >= 3, "{kinds:?}");
    for kind in kinds {
        let mut offer = usual.clone();
        offer.transforms.retain(|transform| transform.kind.0 != kind);
        let mut payloads = liar::hello(&share);
        payloads[0] = Payload::SecurityAssociation(vec![offer]);
        let mut pair = liar::responder();
        pair.deliver(1, liar::path(), &liar::first(1, payloads));
        assert_eq!(pair.nodes[1].endpoint.sa_count(), 0, "without transform type {kind}");
    }
}
