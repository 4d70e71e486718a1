use espalier_model::profile::Profile;
use espalier_model::suite::{IkeEncryption, KeyExchange, Prf};

use super::*;
use crate::wire::SpiField;
use crate::wire::proposal::offer_ike;

fn profile(name: &str) -> Profile {
    Profile::standard(name.parse().unwrap())
}

#[test]
fn a_refused_suite_names_what_is_offered_and_the_field_that_decides() {
    let ours = profile("strict");
    let against = |change: &dyn Fn(&mut Profile)| {
        let mut theirs = profile("theirs");
        change(&mut theirs);
        no_common_ike(&ours, &offer_ike(&theirs, SpiField::None)).to_string()
    };
    assert_eq!(
        against(&|p| p.ike_encryption = vec![IkeEncryption::ChaCha20Poly1305]),
        "no common IKE encryption: peer offers chacha20poly1305; profile strict has ike-encryption: aes256gcm16, aes128gcm16"
    );
    assert_eq!(
        against(&|p| p.key_exchange = vec![KeyExchange::Modp2048, KeyExchange::P521]),
        "no common key exchange method: peer offers modp2048, p521; profile strict has key-exchange: x25519, p256"
    );
    let few = Profile { prf: vec![Prf::HmacSha512], ..profile("few") };
    let mut theirs = profile("theirs");
    theirs.prf = vec![Prf::HmacSha256];
    let text = no_common_ike(&few, &offer_ike(&theirs, SpiField::None)).to_string();
    assert!(text.starts_with("no common PRF: peer offers hmac-sha256; profile few has prf: "), "{text}");
}

#[test]
fn an_offer_of_everything_makes_a_short_line() {
    use crate::wire::{Proposal, ProtocolId, Transform, TransformType};
    let transforms = (100..228).map(|id| Transform::new(TransformType::ENCR, id)).collect();
    let proposal = |number| Proposal { number, protocol: ProtocolId::IKE, spi: SpiField::None, transforms };
    let text = no_common_ike(&profile("default"), &[proposal(1)]).to_string();
    assert!(text.contains("number 115 and 112 more") && text.len() < 400, "{text}");
    let nothing = no_common_ike(&profile("default"), &[]).to_string();
    assert!(nothing.contains("peer offers nothing"), "{nothing}");
}

#[test]
fn an_identity_says_who_was_expected() {
    let wrong = |expected: Option<&str>| WrongIdentity {
        claimed: "other.example".to_owned(),
        expected: expected.map(|id| id.parse().unwrap()),
    };
    assert_eq!(
        wrong(Some("gateway.example")).to_string(),
        "peer claims to be other.example, but peers.id is gateway.example"
    );
    assert_eq!(wrong(None).to_string(), "peer claims to be other.example, and no peers.id is that");
}

#[test]
fn every_event_is_one_line() {
    let (rule, child): (Name, _) = ("net".parse().unwrap(), ChildId(1));
    let told = Why::Told(NotifyType::AUTHENTICATION_FAILED);
    let events = [
        (
            What::ChildNarrowed { rule: rule.clone(), child, traffic: "10.0.0.0/8".to_owned() },
            "child SA 1 of rule net is narrowed to 10.0.0.0/8",
        ),
        (
            What::ChildRekeyed { rule: rule.clone(), old: child, new: ChildId(2) },
            "child SA 2 of rule net takes the place of 1",
        ),
        (
            What::ChildExhausted { rule: rule.clone(), child },
            "child SA 1 of rule net carries nothing more (child-rekey-bytes and child-rekey-packets decide), and is replaced by \
             a new one",
        ),
        (What::ChildDown { rule, child }, "child SA 1 of rule net is given up"),
        (
            What::Fault(told),
            "peer refused: AUTHENTICATION_FAILED (the peer's log says why: identity, certificate or shared secret)",
        ),
    ];
    for (event, text) in events {
        assert_eq!(event.to_string(), text);
    }
}
