use espalier_model::profile::Profile;
use espalier_model::suite::Kem;

use super::super::{ChildExchange, accept_child, accept_ike, choose_child, choose_ike, offer_child, offer_ike};
use super::*;
use crate::wire::SpiField;

fn with(additional: &str) -> Profile {
    let lists: Vec<Vec<String>> = additional.split(", ").map(|r| r.split(' ').map(str::to_owned).collect()).collect();
    let additional_key_exchange = AdditionalKeyExchanges::from_names(&lists).unwrap();
    let key_exchange = vec![KeyExchange::X25519];
    Profile { additional_key_exchange, key_exchange, ..Profile::standard("hybrid".parse().unwrap()) }
}

/// What the two agree on, or nothing.
fn agreed(initiator: &Profile, responder: &Profile) -> Option<String> {
    let chosen = choose_ike(responder, &offer_ike(initiator, SpiField::None))?;
    let answer = chosen.suite.answer(chosen.number, SpiField::None);
    assert_eq!(accept_ike(initiator, &[answer]), Some(chosen), "what is chosen is accepted");
    let spi = 0x1000.try_into().unwrap();
    let offer = offer_child(initiator, ChildExchange::Create, spi);
    let child = choose_child(responder, ChildExchange::Create, &offer).expect("a child is agreed on like its IKE SA");
    let answer = child.suite.answer(child.number, spi);
    assert_eq!(accept_child(initiator, ChildExchange::Create, &[answer]), Some(child));
    assert_eq!(
        child.suite.additional.methods().collect::<Vec<_>>(),
        chosen.suite.additional.methods().collect::<Vec<_>>()
    );
    Some(chosen.suite.key_exchanges())
}

#[test]
fn both_ends_agree_on_what_each_demands_or_on_nothing() {
    let table = [
        ("mlkem768", "mlkem768", Some("x25519+mlkem768")),
        ("mlkem768 mlkem1024", "mlkem1024 mlkem768", Some("x25519+mlkem1024")),
        ("mlkem768", "mlkem1024", None),
        ("mlkem768", "none", None),
        ("none", "mlkem768", None),
        ("none", "none", Some("x25519")),
        ("mlkem768 none", "none", Some("x25519")),
        ("none", "mlkem768 none", Some("x25519")),
        ("mlkem768 none", "mlkem768 none", Some("x25519+mlkem768")),
        ("mlkem768 none", "mlkem1024 none", Some("x25519")),
        ("mlkem768, p384", "mlkem768, p384 none", Some("x25519+mlkem768+p384")),
        ("mlkem768, p384", "mlkem768", None),
        ("mlkem768, p384 none", "mlkem768", Some("x25519+mlkem768")),
        ("mlkem768", "p384 none, mlkem768", Some("x25519+mlkem768")),
        ("p384 none, mlkem768", "mlkem768", Some("x25519+mlkem768")),
        ("mlkem768, mlkem1024, p256", "mlkem768, mlkem1024, p256", Some("x25519+mlkem768+mlkem1024+p256")),
    ];
    for (initiator, responder, expected) in table {
        let names = agreed(&with(initiator), &with(responder));
        assert_eq!(names.as_deref(), expected, "{initiator} with {responder}");
    }
}

#[test]
fn what_may_be_left_out_is_offered_once_more_without() {
    let numbers = |additional| {
        let offer = offer_ike(&with(additional), SpiField::None);
        offer.iter().map(|proposal| has_additional(std::slice::from_ref(proposal))).collect::<Vec<_>>()
    };
    assert_eq!(numbers("none"), [false]);
    assert_eq!(numbers("mlkem768"), [true], "no way around it is offered");
    assert_eq!(numbers("mlkem768 none"), [true, false]);
}

#[test]
fn an_answer_that_leaves_out_what_is_demanded_is_refused() {
    let profile = with("mlkem768");
    let chosen = choose_ike(&profile, &offer_ike(&profile, SpiField::None)).unwrap();
    let whole = chosen.suite.answer(chosen.number, SpiField::None);
    assert!(accept_ike(&profile, std::slice::from_ref(&whole)).is_some());
    let mut stripped = whole.clone();
    stripped.transforms.retain(|t| !KINDS.contains(&t.kind));
    assert!(accept_ike(&profile, &[stripped.clone()]).is_none(), "without the transform");
    stripped.transforms.push(none(TransformType::ADDKE1));
    assert!(accept_ike(&profile, &[stripped]).is_none(), "with NONE, which was not offered");
    let mut moved = whole.clone();
    moved
        .transforms
        .iter_mut()
        .filter(|t| t.kind == TransformType::ADDKE1)
        .for_each(|t| t.kind = TransformType::ADDKE2);
    assert!(accept_ike(&profile, &[moved]).is_none(), "of another type than offered");
    let mut other = whole;
    other.transforms.iter_mut().filter(|t| t.kind == TransformType::ADDKE1).for_each(|t| t.id = id::KE_ML_KEM_1024);
    assert!(accept_ike(&profile, &[other]).is_none(), "of another method than offered");
}

#[test]
fn types_that_do_not_follow_each_other_are_answered_as_they_are() {
    let profile = with("mlkem768");
    let mut offer = offer_ike(&profile, SpiField::None);
    let transforms = &mut offer[0].transforms;
    transforms.retain(|t| !KINDS.contains(&t.kind));
    transforms.extend([transform(TransformType::ADDKE5, Kem::MlKem768.into()), none(TransformType::ADDKE2)]);
    transforms.push(transform(TransformType::ADDKE2, KeyExchange::P384.into()));
    let chosen = choose_ike(&profile, &offer).unwrap();
    assert_eq!(chosen.suite.additional.methods().collect::<Vec<_>>(), [Kem::MlKem768.into()]);
    let answer = chosen.suite.answer(1, SpiField::None);
    let additional: Vec<_> = answer.transforms.into_iter().filter(|t| KINDS.contains(&t.kind)).collect();
    assert_eq!(additional, [none(TransformType::ADDKE2), transform(TransformType::ADDKE5, Kem::MlKem768.into())]);
}

#[test]
fn no_method_is_chosen_twice() {
    let first = Additional::default();
    assert!(!first.repeats(Some(KeyExchange::X25519)));
    let mut twice = first;
    twice.0[0] = Choice::Method(Kem::MlKem768.into());
    assert!(!twice.repeats(Some(KeyExchange::X25519)));
    twice.0[3] = Choice::Method(Kem::MlKem768.into());
    assert!(twice.repeats(None));
    let mut again = first;
    again.0[6] = Choice::Method(KeyExchange::X25519.into());
    assert!(again.repeats(Some(KeyExchange::X25519)) && !again.repeats(Some(KeyExchange::P256)));
}
