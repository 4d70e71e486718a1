use super::*;

fn profile() -> Profile {
    Profile::standard("standard".parse().unwrap())
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
const BEST: IkeSuite =
    IkeSuite { encryption: IkeEncryption::Aes256Gcm16, prf: Prf::HmacSha384, key_exchange: KeyExchange::X25519 };

#[test]
fn two_equal_profiles_agree_on_their_first_choices() {
    let offer = offer_ike(&profile(), SpiField::None);
    let chosen = choose_ike(&profile(), &offer).unwrap();
    assert_eq!(chosen, Selection { number: 1, spi: SpiField::None, suite: BEST });
    let answer = chosen.suite.answer(chosen.number, SpiField::None);
    assert_eq!(accept_ike(&profile(), &[answer]), Some(chosen));

    for exchange in [ChildExchange::Auth, ChildExchange::Create] {
        let chosen = choose_child(&profile(), exchange, &offer_child(&profile(), exchange, spi())).unwrap();
        let pfs = (exchange == ChildExchange::Create).then_some(KeyExchange::X25519);
        assert_eq!(chosen.suite, ChildSuite { esp: EspSuite::Aes256Gcm16, key_exchange: pfs });
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
    assert_eq!(choose(vec![e, NO_ESN]).unwrap().suite.key_exchange, None);
    assert_eq!(choose(vec![e, NO_ESN, NO_KEY_EXCHANGE]).unwrap().suite.key_exchange, None);
    let p256 = key_exchange(KeyExchange::P256);
    assert_eq!(choose(vec![e, NO_ESN, NO_KEY_EXCHANGE, p256]).unwrap().suite.key_exchange, Some(KeyExchange::P256));
    let modp = Transform::new(TransformType::KE, 14);
    assert!(choose(vec![e, NO_ESN, modp]).is_none());
    let esn = Transform::new(TransformType::ESN, id::ESN_EXTENDED);
    assert!(choose(vec![e, esn]).is_none());
    assert!(choose(vec![e]).is_none());
}

#[test]
fn an_answer_is_one_choice_from_the_offer() {
    let good = BEST.answer(1, SpiField::None);
    assert!(accept_ike(&profile(), &[]).is_none());
    assert!(accept_ike(&profile(), &[good.clone(), good.clone()]).is_none());
    assert!(accept_ike(&profile(), &[BEST.answer(2, SpiField::None)]).is_none(), "another number than offered");
    assert!(accept_ike(&profile(), &offer_ike(&profile(), SpiField::None)).is_none(), "the offer is not a choice");
    let mut narrow = profile();
    narrow.ike_encryption = vec![IkeEncryption::Aes128Gcm16];
    assert!(accept_ike(&narrow, &[good]).is_none(), "it was not offered");

    let plain = ChildSuite { esp: EspSuite::Aes256Gcm16, key_exchange: None }.answer(1, spi());
    let secret = ChildSuite { esp: EspSuite::Aes256Gcm16, key_exchange: Some(KeyExchange::P256) }.answer(1, spi());
    let accept =
        |exchange, answer: &Proposal| accept_child(&profile(), exchange, std::slice::from_ref(answer)).is_some();
    assert!(accept(ChildExchange::Auth, &plain));
    assert!(!accept(ChildExchange::Auth, &secret));
    assert!(!accept(ChildExchange::Create, &plain), "forward secrecy is not dropped silently");
    assert!(accept(ChildExchange::Create, &secret));
}
