use espalier_model::suite::AesKey;

use super::*;

const fn aes_gcm_16(bits: u16) -> Transform {
    encryption(espalier_model::suite::Cipher::Gcm(if bits == 256 { AesKey::Aes256 } else { AesKey::Aes128 }))
}

fn profile() -> Profile {
    let additional_key_exchange = AdditionalKeyExchanges::NONE;
    Profile { additional_key_exchange, ..Profile::standard("standard".parse().unwrap()) }
}

fn child_suite(protection: EspSuite, key_exchange: Option<KeyExchange>) -> ChildSuite {
    ChildSuite { protection, key_exchange, esn: false, additional: Additional::default() }
}

fn spi() -> Spi {
    Spi::try_from(0xc0ff_ee00).unwrap()
}

fn ike(number: u8, transforms: Vec<Transform>) -> Proposal {
    Proposal { number, protocol: ProtocolId::IKE, spi: SpiField::None, transforms }
}

fn child(transforms: Vec<Transform>) -> Proposal {
    Proposal { number: 1, protocol: ProtocolId::ESP, spi: SpiField::Child(spi()), transforms }
}

const SHA1_INTEGRITY: Transform = Transform::new(TransformType::INTEG, 2);
fn best() -> IkeSuite {
    IkeSuite {
        encryption: IkeEncryption::Aes256Gcm16,
        prf: Prf::HmacSha384,
        key_exchange: KeyExchange::X25519,
        additional: Additional::default(),
    }
}

#[test]
fn two_equal_profiles_agree_on_their_first_choices() {
    let offer = offer_ike(&profile(), SpiField::None);
    let chosen = choose_ike(&profile(), &offer).unwrap();
    assert_eq!(chosen, Selection { number: 1, spi: SpiField::None, suite: best() });
    let answer = chosen.suite.answer(chosen.number, SpiField::None);
    assert_eq!(accept_ike(&profile(), &[answer]), Some(chosen));

    for exchange in [ChildExchange::Auth, ChildExchange::Create] {
        let chosen = choose_child(&profile(), exchange, &offer_child(&profile(), exchange, spi())).unwrap();
        let pfs = (exchange == ChildExchange::Create).then_some(KeyExchange::X25519);
        assert_eq!(chosen.suite, ChildSuite { esn: true, ..child_suite(EspSuite::Aes256Gcm16, pfs) });
        let answer = chosen.suite.answer(chosen.number, spi());
        assert_eq!(accept_child(&profile(), exchange, &[answer]), Some(chosen));
    }
}

#[test]
fn our_preference_wins_over_the_order_of_the_offer() {
    let weak = [aes_gcm_16(128), prf(Prf::HmacSha512), key_exchange(KeyExchange::P256)];
    let strong = [aes_gcm_16(256), prf(Prf::HmacSha256), key_exchange(KeyExchange::P256), NO_INTEGRITY];
    let chosen = choose_ike(&profile(), &[ike(1, weak.to_vec()), ike(2, strong.to_vec())]).unwrap();
    assert_eq!(chosen.number, 2);
    assert_eq!(chosen.suite.encryption, IkeEncryption::Aes256Gcm16);
    assert_eq!(chosen.suite.prf, Prf::HmacSha256);
}

#[test]
fn what_cannot_be_kept_is_not_chosen() {
    let good = vec![aes_gcm_16(256), prf(Prf::HmacSha384), key_exchange(KeyExchange::X25519)];
    let with = |extra: &[Transform]| [good.clone(), extra.to_vec()].concat();
    assert!(choose_ike(&profile(), &[ike(1, good.clone())]).is_some());
    assert!(choose_ike(&profile(), &[ike(1, with(&[SHA1_INTEGRITY]))]).is_none(), "integrity besides AEAD");
    assert!(choose_ike(&profile(), &[ike(1, with(&[SHA1_INTEGRITY, NO_INTEGRITY]))]).is_some());
    let additional = Transform::new(TransformType(6), 36);
    assert!(choose_ike(&profile(), &[ike(1, with(&[additional]))]).is_none(), "an additional key exchange");
    for missing in 0..good.len() {
        let mut partial = good.clone();
        partial.remove(missing);
        assert!(choose_ike(&profile(), &[ike(1, partial)]).is_none());
    }
    let foreign = Transform { foreign: true, ..aes_gcm_16(256) };
    assert!(choose_ike(&profile(), &[ike(1, [vec![foreign], good[1..].to_vec()].concat())]).is_none());
    let unsized_key = Transform::new(TransformType::ENCR, id::ENCR_AES_GCM_16);
    assert!(choose_ike(&profile(), &[ike(1, [vec![unsized_key], good[1..].to_vec()].concat())]).is_none());
    assert!(choose_ike(&profile(), &offer_child(&profile(), ChildExchange::Auth, spi())).is_none());
}

#[test]
fn a_child_keeps_forward_secrecy_where_the_peer_offers_it() {
    let choose = |transforms| choose_child(&profile(), ChildExchange::Create, &[child(transforms)]);
    let e = aes_gcm_16(128);
    assert_eq!(choose(vec![e, esn(false)]).unwrap().suite.key_exchange, None);
    assert_eq!(choose(vec![e, esn(false), NO_KEY_EXCHANGE]).unwrap().suite.key_exchange, None);
    let p256 = key_exchange(KeyExchange::P256);
    assert_eq!(choose(vec![e, esn(false), NO_KEY_EXCHANGE, p256]).unwrap().suite.key_exchange, Some(KeyExchange::P256));
    let modp = Transform::new(TransformType::KE, 5);
    assert!(choose(vec![e, esn(false), modp]).is_none());
    assert!(choose(vec![e]).is_none(), "a proposal says which sequence numbers it means");
}

#[test]
fn sequence_numbers_are_negotiated_by_both_profiles() {
    use espalier_model::profile::Esn::{Off, Preferred, Required};
    let with = |esn| Profile { esn, ..profile() };
    for (initiator, responder, chosen) in [
        (Off, Off, Some(false)),
        (Off, Preferred, Some(false)),
        (Off, Required, None),
        (Preferred, Off, Some(false)),
        (Preferred, Preferred, Some(true)),
        (Preferred, Required, Some(true)),
        (Required, Off, None),
        (Required, Preferred, Some(true)),
        (Required, Required, Some(true)),
    ] {
        for exchange in [ChildExchange::Auth, ChildExchange::Create] {
            let offer = offer_child(&with(initiator), exchange, spi());
            let found = choose_child(&with(responder), exchange, &offer);
            assert_eq!(found.map(|s| s.suite.esn), chosen, "{initiator} and {responder}");
            let answer = found.map(|s| s.suite.answer(s.number, spi()));
            assert_eq!(answer.and_then(|a| accept_child(&with(initiator), exchange, &[a])), found);
            let ah = offer_ah(AhSuite::ALL, &with(initiator), exchange, spi());
            let found = choose_ah(AhSuite::ALL, &with(responder), exchange, &ah);
            assert_eq!(found.map(|s| s.suite.esn), chosen, "{initiator} and {responder}");
        }
    }
    let offer = offer_child(&profile(), ChildExchange::Auth, spi());
    let offered: Vec<_> = offer[0].transforms.iter().filter(|t| t.kind == TransformType::ESN).map(|t| t.id).collect();
    assert_eq!(offered, [id::ESN_EXTENDED, id::ESN_NONE], "the preferred one first");
    let unasked = ChildSuite { esn: true, ..child_suite(EspSuite::Aes256Gcm16, None) }.answer(1, spi());
    assert!(accept_child(&with(Off), ChildExchange::Auth, &[unasked]).is_none(), "it was not offered");
}

#[test]
fn an_offer_is_put_into_words() {
    let suites = with_esp(&[EspSuite::Aes256Gcm16, EspSuite::Aes128CbcSha256]);
    let text = describe(&offer_child(&suites, ChildExchange::Auth, spi()));
    assert_eq!(text, "ESP aes-gcm-16-256 esn no-esn, or ESP aes-cbc-128 sha256 esn no-esn");
    assert_eq!(describe(&[]), "nothing");
}

#[test]
fn an_answer_is_one_choice_from_the_offer() {
    let good = best().answer(1, SpiField::None);
    assert!(accept_ike(&profile(), &[]).is_none());
    assert!(accept_ike(&profile(), &[good.clone(), good.clone()]).is_none());
    assert!(accept_ike(&profile(), &[best().answer(2, SpiField::None)]).is_none(), "another number than offered");
    assert!(accept_ike(&profile(), &offer_ike(&profile(), SpiField::None)).is_none(), "the offer is not a choice");
    let mut narrow = profile();
    narrow.ike_encryption = vec![IkeEncryption::Aes128Gcm16];
    assert!(accept_ike(&narrow, &[good]).is_none(), "it was not offered");

    let plain = child_suite(EspSuite::Aes256Gcm16, None).answer(1, spi());
    let secret = child_suite(EspSuite::Aes256Gcm16, Some(KeyExchange::P256)).answer(1, spi());
    let accept =
        |exchange, answer: &Proposal| accept_child(&profile(), exchange, std::slice::from_ref(answer)).is_some();
    assert!(accept(ChildExchange::Auth, &plain));
    assert!(!accept(ChildExchange::Auth, &secret));
    assert!(!accept(ChildExchange::Create, &plain), "forward secrecy is not dropped silently");
    assert!(accept(ChildExchange::Create, &secret));
}

fn with_esp(esp: &[EspSuite]) -> Profile {
    Profile { esp: esp.to_vec(), ..profile() }
}

fn with_ike(encryption: &[IkeEncryption]) -> Profile {
    Profile { ike_encryption: encryption.to_vec(), ..profile() }
}

#[test]
fn aead_and_hmac_never_share_a_proposal_and_the_first_preference_comes_first() {
    let suites = [
        IkeEncryption::Aes128CbcSha256,
        IkeEncryption::Aes256CtrSha256,
        IkeEncryption::ChaCha20Poly1305,
        IkeEncryption::Aes256Gcm16,
        IkeEncryption::Aes256CbcSha512,
    ];
    let offer = offer_ike(&with_ike(&suites), SpiField::None);
    let of = |kind| offer.iter().map(move |p| p.transforms.iter().filter(|t| t.kind == kind).map(|t| t.id).collect());
    assert_eq!(of(TransformType::ENCR).collect::<Vec<Vec<u16>>>(), [vec![12, 13], vec![28, 20], vec![12]]);
    assert_eq!(of(TransformType::INTEG).collect::<Vec<Vec<u16>>>(), [vec![12], vec![], vec![14]]);
    assert_eq!(offer.iter().map(|p| p.number).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(offer.iter().all(|p| p.transforms.contains(&prf(Prf::HmacSha512))));
}

#[test]
fn every_suite_is_agreed_upon_where_both_ends_have_it() {
    for suite in IkeEncryption::ALL {
        let (alone, all) = (with_ike(&[*suite]), with_ike(IkeEncryption::ALL));
        for (initiator, responder) in [(&alone, &all), (&all, &alone)] {
            let chosen = choose_ike(responder, &offer_ike(initiator, SpiField::None)).unwrap();
            assert_eq!(chosen.suite.encryption, *suite);
            let answer = chosen.suite.answer(chosen.number, SpiField::None);
            assert_eq!(accept_ike(initiator, &[answer]), Some(chosen));
        }
    }
    for suite in EspSuite::ALL {
        let (alone, all) = (with_esp(&[*suite]), with_esp(EspSuite::ALL));
        for (initiator, responder) in [(&alone, &all), (&all, &alone)] {
            let offer = offer_child(initiator, ChildExchange::Create, spi());
            let chosen = choose_child(responder, ChildExchange::Create, &offer).unwrap();
            assert_eq!(chosen.suite.protection, *suite);
            let answer = chosen.suite.answer(chosen.number, spi());
            assert_eq!(accept_child(initiator, ChildExchange::Create, &[answer]), Some(chosen));
        }
    }
}

#[test]
fn the_responder_prefers_by_its_own_order_over_all_proposals() {
    let initiator = with_esp(&[EspSuite::NullSha256, EspSuite::Aes128CbcSha256, EspSuite::Aes128Gcm16]);
    let offer = offer_child(&initiator, ChildExchange::Auth, spi());
    for (order, number) in [
        ([EspSuite::Aes128Gcm16, EspSuite::Aes128CbcSha256], 2),
        ([EspSuite::Aes128CbcSha256, EspSuite::Aes128Gcm16], 1),
        ([EspSuite::Aes256Ccm16, EspSuite::NullSha256], 1),
    ] {
        let chosen = choose_child(&with_esp(&order), ChildExchange::Auth, &offer).unwrap();
        assert!(order.contains(&chosen.suite.protection));
        assert_eq!(chosen.number, number, "{order:?}");
    }
    let other = with_esp(&[EspSuite::Aes128CbcSha384, EspSuite::Aes256CbcSha256, EspSuite::NullSha512]);
    assert!(choose_child(&other, ChildExchange::Auth, &offer).is_none(), "no half of a suite is enough");
}

#[test]
fn an_answer_that_mixes_proposals_is_refused() {
    let ours = with_esp(&[EspSuite::Aes256CbcSha256, EspSuite::Aes128CbcSha512]);
    let exchange = ChildExchange::Auth;
    let answer = |suite: EspSuite, number| child_suite(suite, None).answer(number, spi());
    assert!(accept_child(&ours, exchange, &[answer(EspSuite::Aes256CbcSha256, 1)]).is_some());
    assert!(accept_child(&ours, exchange, &[answer(EspSuite::Aes256CbcSha256, 2)]).is_none());
    assert!(accept_child(&ours, exchange, &[answer(EspSuite::Aes256CbcSha512, 2)]).is_none());
    let cbc = with_esp(&[EspSuite::Aes256CbcSha256]);
    let without =
        Proposal { transforms: vec![encryption(EspSuite::Aes256CbcSha256.cipher()), esn(false)], ..child(vec![]) };
    assert!(choose_child(&cbc, exchange, std::slice::from_ref(&without)).is_none(), "CBC without integrity");
    let none = Proposal { transforms: [without.transforms, vec![NO_INTEGRITY]].concat(), ..child(vec![]) };
    assert!(choose_child(&cbc, exchange, &[none]).is_none(), "CBC with integrity none");
}

#[test]
fn ah_is_negotiated_by_integrity_alone() {
    let ours = [AhSuite::Sha384, AhSuite::Sha256];
    for exchange in [ChildExchange::Auth, ChildExchange::Create] {
        let offer = offer_ah(&ours, &profile(), exchange, spi());
        assert!(offer.iter().all(|p| p.protocol == ProtocolId::AH));
        assert!(offer.iter().flat_map(|p| &p.transforms).all(|t| t.kind != TransformType::ENCR));
        let chosen = choose_ah(AhSuite::ALL, &profile(), exchange, &offer).unwrap();
        assert_eq!((chosen.suite.protection, chosen.number), (AhSuite::Sha384, 1));
        let answer = chosen.suite.answer(chosen.number, spi());
        assert_eq!(accept_ah(&ours, &profile(), exchange, &[answer]), Some(chosen));
        assert!(choose_child(&with_esp(EspSuite::ALL), exchange, &offer).is_none(), "AH is not ESP");
        assert!(choose_ah(&[AhSuite::Sha512], &profile(), exchange, &offer).is_none());
    }
}

#[test]
fn an_ike_sa_always_encrypts_and_authenticates() {
    let all = with_ike(IkeEncryption::ALL);
    for suite in IkeEncryption::ALL {
        let [proposal] = &offer_ike(&with_ike(&[*suite]), SpiField::None)[..] else { panic!("one proposal") };
        let refused = |change: &dyn Fn(&mut Proposal)| {
            let mut changed = proposal.clone();
            change(&mut changed);
            assert!(choose_ike(&all, &[changed]).is_none(), "{suite:?}");
        };
        let of = |kind, t: &Transform| t.kind == kind;
        let kinds = [TransformType::ENCR, TransformType::INTEG];
        for kind in kinds.into_iter().filter(|kind| proposal.transforms.iter().any(|t| of(*kind, t))) {
            refused(&|p| p.transforms.retain(|t| !of(kind, t)));
            refused(&|p| p.transforms.iter_mut().filter(|t| of(kind, t)).for_each(|t| *t = Transform::new(kind, 0)));
        }
        for id in [id::ENCR_NULL, id::ENCR_NULL_AUTH_AES_GMAC] {
            refused(&|p| p.transforms.iter_mut().filter(|t| of(TransformType::ENCR, t)).for_each(|t| t.id = id));
        }
        assert!(proposal.transforms.iter().any(|t| of(TransformType::PRF, t)));
    }
    // The shortest function has 256 bits.
    assert!(all.prf.iter().all(|p| p.output_len() >= 32));
}

#[test]
fn a_kem_has_a_number_but_does_not_stand_alone() {
    for (kem, number) in [(Kem::MlKem768, 36), (Kem::MlKem1024, 37)] {
        assert_eq!((key_exchange_id(kem), key_exchange_from_id(number)), (number, None));
    }
    for method in KeyExchange::ALL {
        assert_eq!(key_exchange_from_id(key_exchange_id(*method)), Some(*method));
    }
}
