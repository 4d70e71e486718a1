//! What IKE_AUTH holds, and what comes of it.

use espalier_model::plan::AddressFamily;

use super::addresses::{asking, giving, nets};
use super::puppet::{Puppet, Stage, notifies, types};
use super::*;
use crate::content::Content;
use crate::wire::cp::{Attribute, Configuration};
use crate::wire::{
    CertificateRequest, ConfigurationType, ExchangeType, Identification, Notify, NotifyType, Payload, PayloadType,
    TransformType,
};

/// Returns the types of payloads without notifications, whose place is free.
fn order(payloads: &[Payload]) -> Vec<PayloadType> {
    types(payloads).into_iter().filter(|kind| *kind != PayloadType::NOTIFY).collect()
}

/// Plays an initiator, and returns the answer with the puppet.
fn authenticate(change: impl FnOnce(&mut Vec<Payload>)) -> (Puppet, Vec<Payload>) {
    let (mut puppet, mut payloads) = Puppet::half_open(peer(1, psk("secret")));
    change(&mut payloads);
    let answer = puppet.request(ExchangeType::IKE_AUTH, &payloads);
    (puppet, answer)
}

#[test]
fn a_request_has_its_payloads_in_order_and_offers_no_key_exchange() {
    let root = Authority::new();
    let node = node(0, Some(root.issue(&id(0))), vec![root.der.clone()]);
    let (_, _, asked) = Puppet::called_by(Stage::of(node, 0, peer(0, Auth::Certificate)));
    use PayloadType as P;
    assert_eq!(order(&asked), [P::IDI, P::CERT, P::CERTREQ, P::IDR, P::AUTH, P::SA, P::TSI, P::TSR]);
    let sa = asked.iter().find_map(|p| if let Payload::SecurityAssociation(sa) = p { Some(sa) } else { None });
    assert!(sa.unwrap().iter().flat_map(|p| &p.transforms).all(|t| t.kind != TransformType::KE));
    assert!(notifies(&asked).contains(&NotifyType::INITIAL_CONTACT), "it has no other SA with the peer");
}

#[test]
fn the_certificate_is_sent_whichever_authorities_the_peer_names_and_ours_are_named() {
    let (root, other) = (Authority::new(), Authority::new());
    let certificate = root.issue(&id(0));
    let chain = certificate.chain.clone();
    let trust = [root.der.clone(), other.der.clone()];
    let node = node(0, Some(certificate), trust.to_vec());
    let foreign = Payload::CertificateRequest(CertificateRequest::x509(&[[7; 20], [8; 20]]));
    let (_, _, asked) = Puppet::called_by_and_says(Stage::of(node, 0, peer(0, Auth::Certificate)), &[foreign]);
    let certificates = asked.iter().filter_map(|p| if let Payload::Certificate(c) = p { Some(&c.data) } else { None });
    assert!(certificates.eq(&chain), "a request is a hint");
    let hash = |der: &Vec<u8>| {
        let (_, certificate) = x509_parser::parse_x509_certificate(der).unwrap();
        espalier_crypto::sha1(&[certificate.public_key().raw])
    };
    let ours = Payload::CertificateRequest(CertificateRequest::x509(&[hash(&trust[0]), hash(&trust[1])]));
    assert!(asked.contains(&ours), "{asked:?}");
}

#[test]
fn an_answer_has_its_payloads_in_order() {
    let (puppet, answer) = authenticate(|_| {});
    use PayloadType as P;
    assert_eq!(order(&answer), [P::IDR, P::AUTH, P::SA, P::TSI, P::TSR]);
    assert_eq!(puppet.stage.node.up, 1);
}

#[test]
fn both_ends_say_without_any_data_that_they_move() {
    let says = Payload::Notify(Notify::new(NotifyType::MOBIKE_SUPPORTED, vec![]));
    let (_, _, asked) = Puppet::called_by(Stage::new(0, peer(0, psk("secret"))));
    assert!(asked.contains(&says), "{asked:?}");
    let (_, answer) = authenticate(|payloads| payloads.push(says.clone()));
    assert!(answer.contains(&says), "{answer:?}");
    let (_, answer) = authenticate(|_| {});
    assert!(!answer.contains(&says), "the initiator has not said so");
}

#[test]
fn a_request_for_an_address_stands_before_the_sa() {
    let config = asking(&[AddressFamily::Ipv4]);
    let (_, _, asked) = Puppet::called_by(Stage::new(0, config));
    use PayloadType as P;
    assert_eq!(order(&asked), [P::IDI, P::IDR, P::AUTH, P::CP, P::SA, P::TSI, P::TSR]);
    let configuration = Content::read(asked).unwrap().configuration.unwrap();
    assert_eq!(configuration.kind, ConfigurationType::REQUEST);
    assert!(configuration.attributes.contains(&Attribute::Ip4Address(None)));
}

#[test]
fn an_address_is_given_before_the_sa() {
    let (mut puppet, mut payloads) = Puppet::half_open(giving(&["10.3.0.0/24"]));
    let attributes = vec![Attribute::Ip4Address(None)];
    payloads.push(Payload::Configuration(Configuration { kind: ConfigurationType::REQUEST, attributes }));
    payloads[3] = Payload::SelectorsInitiator(nets(&["0.0.0.0/0"]));
    let answer = puppet.request(ExchangeType::IKE_AUTH, &payloads);
    use PayloadType as P;
    assert_eq!(order(&answer), [P::IDR, P::AUTH, P::CP, P::SA, P::TSI, P::TSR]);
    let configuration = Content::read(answer).unwrap().configuration.unwrap();
    assert_eq!(configuration.kind, ConfigurationType::REPLY);
    assert_eq!(
        configuration.attributes.iter().filter(|a| a.address().is_some()).count(),
        1,
        "as many as were asked for"
    );
}

#[test]
fn payloads_may_come_in_any_order() {
    for turn in 0..5 {
        let (puppet, _) = authenticate(|payloads| {
            payloads.rotate_left(turn);
            payloads.reverse();
        });
        assert_eq!((puppet.stage.node.up, puppet.stage.node.inbound.len()), (1, 1), "turn {turn}");
    }
}

#[test]
fn the_secret_of_one_name_does_not_prove_another() {
    for name in ["other.node.mesh.example", "right.node.mesh.example"] {
        let id = Identification::from(&name.parse::<Identity>().unwrap());
        let (puppet, answer) = authenticate(|payloads| payloads[0] = Payload::IdInitiator(id));
        assert_eq!(notifies(&answer), [NotifyType::AUTHENTICATION_FAILED]);
        assert_eq!((answer.len(), puppet.stage.node.up, puppet.stage.node.inbound.len()), (1, 0, 0));
    }
}

#[test]
fn a_certificate_behind_a_url_is_not_fetched() {
    use crate::wire::{Certificate, CertificateEncoding};
    let root = Authority::new();
    let node = node(0, Some(root.issue(&id(0))), vec![root.der.clone()]);
    let stage = Stage::of(node, 0, peer(0, Auth::Certificate));
    let (mut puppet, first, mut asked) = Puppet::called_by(stage);
    let data = [&[7; 20][..], b"http://192.0.2.1/certificate"].concat();
    asked.push(Payload::Certificate(Certificate { encoding: CertificateEncoding::HASH_AND_URL, data }));
    puppet.answer_auth_with(&first, &asked, &[]);
    assert!(puppet.stage.node.down.iter().any(|reason| reason.to_string().contains("no certificate")));
    assert_eq!(puppet.stage.node.up, 0);
}

#[test]
fn a_child_sa_that_comes_to_nothing_leaves_the_ike_sa() {
    let traffic = |payloads: &mut Vec<Payload>| payloads[4] = Payload::SelectorsResponder(selectors(7));
    let suite = |payloads: &mut Vec<Payload>| {
        let Payload::SecurityAssociation(proposals) = &mut payloads[2] else { panic!("SA") };
        proposals.iter_mut().flat_map(|p| &mut p.transforms).for_each(|t| t.id = 3);
    };
    for (change, error) in [
        (Box::new(traffic) as Box<dyn FnOnce(&mut Vec<Payload>)>, NotifyType::TS_UNACCEPTABLE),
        (Box::new(suite), NotifyType::NO_PROPOSAL_CHOSEN),
    ] {
        let (mut puppet, answer) = authenticate(change);
        assert!(notifies(&answer).contains(&error), "{answer:?}");
        assert_eq!(order(&answer), [PayloadType::IDR, PayloadType::AUTH]);
        assert_eq!((puppet.stage.node.up, puppet.stage.node.inbound.len()), (1, 0));
        assert!(puppet.request(ExchangeType::INFORMATIONAL, &[]).is_empty(), "the IKE SA is of use");
    }
}

#[test]
fn a_refused_child_sa_does_not_end_our_attempt() {
    let (mut puppet, first, mut asked) = Puppet::called_by(Stage::new(0, peer(0, psk("secret"))));
    asked.retain(|p| !matches!(p, Payload::SecurityAssociation(_)));
    puppet.answer_auth_with(&first, &asked, &[NotifyType::NO_PROPOSAL_CHOSEN]);
    assert_eq!((puppet.stage.node.up, puppet.stage.node.inbound.len(), puppet.stage.node.down.len()), (1, 0, 0));
}

#[test]
fn the_inbound_half_stands_before_the_answer_leaves() {
    let (mut puppet, payloads) = Puppet::half_open(peer(1, psk("secret")));
    puppet.stage.orders.clear();
    puppet.request(ExchangeType::IKE_AUTH, &payloads);
    let at = |kind| puppet.stage.orders.iter().position(|order| *order == kind);
    assert!(at("inbound").unwrap() < at("transmit").unwrap(), "{:?}", puppet.stage.orders);
}

/// A certificate of a gateway that has no other name than its subject.
fn issue_to(root: &Authority, parts: [(rcgen::DnType, &str); 3]) -> CertificateIdentity {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    parts.into_iter().for_each(|(kind, value)| params.distinguished_name.push(kind, value));
    let der = params.signed_by(&key, &root.issuer).unwrap().der().to_vec();
    CertificateIdentity { chain: vec![der], key: SigningKey::from_pkcs8_pem(&key.serialize_pem()).unwrap() }
}

#[test]
fn a_gateway_proves_itself_by_the_subject_of_its_certificate() {
    use rcgen::DnType::{CommonName, CountryName, OrganizationName};
    let root = Authority::new();
    let subject = [(CountryName, "CH"), (OrganizationName, "Example Ltd"), (CommonName, "gateway")];
    for (expected, good) in [
        ("C=CH, O=Example Ltd, CN=gateway", true),
        ("c=ch, o=EXAMPLE  ltd, cn=Gateway", true),
        ("C=CH, O=Example Ltd, CN=other", false),
        ("C=CH, O=Example Ltd", false),
        ("CN=gateway, O=Example Ltd, C=CH", false),
    ] {
        for (gateway, node_side) in [(1, 0), (0, 1)] {
            let name: Identity = expected.parse().unwrap();
            let own = issue_to(&root, subject.clone());
            let trust = vec![root.der.clone()];
            let mut nodes = [0, 1].map(|side| node(side, Some(root.issue(&id(side))), trust.clone()));
            let identity = LocalIdentity { id: name.clone(), certificate: Some(own) };
            let config = EndpointConfig { identity, trust: trust.clone(), revoked: BTreeSet::new(), keylog: false };
            nodes[gateway].endpoint.set_identity(Now { instant: Instant::now(), unix: UNIX }, config).unwrap();
            let mut peers = [0, 1].map(|side| peer(side, Auth::Certificate));
            peers[node_side].id = name;
            let mut pair = Pair::new(nodes);
            pair.configure(peers);
            pair.drive(|_| 1);
            if good {
                pair.assert_up();
            } else {
                let why = format!("peer's certificate is not accepted: certificate is not for {expected}");
                assert!(pair.nodes[node_side].down.contains(&DownReason::Failed(why)), "{expected}");
                assert!(pair.nodes.iter().all(|node| node.endpoint.status().is_empty()), "{expected}");
            }
        }
    }
}
