use std::collections::BTreeSet;

use espalier_ike::certificate::TrustStore;
use rcgen::{DnType, KeyPair, SanType};
use x509_parser::extensions::ParsedExtension;

use super::*;

fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_790_000_000).unwrap()
}

fn authority() -> Authority {
    Authority::create(&"mesh.example".parse().unwrap(), now()).unwrap().0
}

fn request(key: &KeyPair, common_name: &str, names: &[SanType]) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    if !common_name.is_empty() {
        params.distinguished_name.push(DnType::CommonName, common_name);
    }
    params.subject_alt_names = names.to_vec();
    params.serialize_request(key).unwrap().der().to_vec()
}

#[test]
fn a_node_gets_its_name_and_ike_accepts_it() {
    let (authority, key) = (authority(), KeyPair::generate().unwrap());
    let name = "node-1".parse().unwrap();
    let issued = authority.issue_node(&name, &request(&key, "node-1.node.mesh.example", &[]), now()).unwrap();
    assert_eq!(issued.not_after, now() + Duration::from_secs(72 * 3_600));
    let store = TrustStore::new(&[authority.root().to_vec()]).unwrap();
    let unix = u64::try_from(now().unix_timestamp()).unwrap();
    let identity = name.node_identity(authority.trust_domain());
    let verified = store.verify(&issued.chain, &identity, &BTreeSet::new(), unix).unwrap();
    assert_eq!(verified.serial, issued.serial);
    let revoked = BTreeSet::from([issued.serial]);
    assert!(store.verify(&issued.chain, &identity, &revoked, unix).is_err());
    let other = "node-2.node.mesh.example".parse().unwrap();
    assert!(store.verify(&issued.chain, &other, &BTreeSet::new(), unix).is_err());
}

#[test]
fn a_request_for_anything_but_ones_own_name_is_refused() {
    let (authority, key) = (authority(), KeyPair::generate().unwrap());
    let name = "node-1".parse().unwrap();
    let dns = |text: &str| SanType::DnsName(text.try_into().unwrap());
    let uri = |text: &str| SanType::URI(text.try_into().unwrap());
    let own = [dns("node-1.node.mesh.example"), uri("spiffe://mesh.example/node/node-1")];
    assert!(authority.issue_node(&name, &request(&key, "", &own), now()).is_ok());
    let foreign = [
        request(&key, "node-2.node.mesh.example", &[]),
        request(&key, "", &[dns("node-2.node.mesh.example")]),
        request(&key, "", &[dns("controller.mesh.example")]),
        request(&key, "", &[uri("spiffe://mesh.example/controller")]),
        request(&key, "", &[uri("spiffe://mesh.example/controller/plan-signer")]),
        request(&key, "", &[SanType::IpAddress("10.0.0.1".parse().unwrap())]),
    ];
    for csr in foreign {
        let error = authority.issue_node(&name, &csr, now()).unwrap_err().to_string();
        assert!(error.contains("but this node is node-1.node.mesh.example"), "{error}");
    }
}

#[test]
fn a_request_without_its_key_is_refused() {
    let (authority, key) = (authority(), KeyPair::generate().unwrap());
    let name = "node-1".parse().unwrap();
    let good = request(&key, "", &[]);
    let mut forged = good.clone();
    *forged.last_mut().unwrap() ^= 1;
    let error = |csr: &[u8]| match authority.issue_node(&name, csr, now()) {
        Err(PkiError::Csr(error)) => error,
        _ => panic!("a request that must be refused"),
    };
    assert!(matches!(error(&forged), CsrError::Signature | CsrError::Malformed));
    assert_eq!(error(&good[..good.len() - 1]), CsrError::Malformed);
    assert_eq!(error(&vec![0; 9_000]), CsrError::TooLarge(9_000));
    let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    assert_eq!(error(&request(&p384, "", &[])), CsrError::Key);
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.custom_extensions = vec![rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 17], b"no names".to_vec())];
    let unreadable = params.serialize_request(&key).unwrap().der().to_vec();
    assert_eq!(error(&unreadable), CsrError::Malformed);
    let rsa = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    assert_eq!(error(&request(&rsa, "", &[])), CsrError::Key);
}

#[test]
fn an_authority_survives_its_parts_and_signs_nothing_after_its_end() {
    let domain = "mesh.example".parse().unwrap();
    let (before, parts) = Authority::create(&domain, now()).unwrap();
    let after = Authority::from_parts(&domain, parts.root.certificate.clone(), &parts.issuing).unwrap();
    assert_eq!(before.root(), after.root());
    let late = now() + Duration::from_secs(89 * 86_400);
    let csr = request(&KeyPair::generate().unwrap(), "", &[]);
    let issued = after.issue_node(&"a".parse().unwrap(), &csr, late).unwrap();
    assert_eq!(issued.not_after, now() + ISSUING_LIFE, "no leaf outlives its issuer");
    assert!(matches!(after.issue_controller(&[], late + 2 * NODE_DAY), Err(PkiError::Ended(_))));
    assert!(after.root_pem().starts_with("-----BEGIN CERTIFICATE-----\n"));
}

#[test]
fn the_next_issuing_authority_stands_under_the_same_root() {
    let domain = "mesh.example".parse().unwrap();
    let (before, parts) = Authority::create(&domain, now()).unwrap();
    assert!(!before.is_due(now()) && before.is_due(now() + ISSUING_LIFE / 2));
    let late = now() + ISSUING_LIFE;
    let issuing = Authority::next_issuing(&domain, &parts.root, late).unwrap();
    let after = Authority::from_parts(&domain, parts.root.certificate.clone(), &issuing).unwrap();
    let csr = request(&KeyPair::generate().unwrap(), "", &[]);
    let issued = after.issue_node(&"a".parse().unwrap(), &csr, late).unwrap();
    let store = TrustStore::new(&[before.root().to_vec()]).unwrap();
    let unix = u64::try_from(late.unix_timestamp()).unwrap();
    let identity = "a.node.mesh.example".parse().unwrap();
    assert!(store.verify(&issued.chain, &identity, &BTreeSet::new(), unix).is_ok());
}

const NODE_DAY: Duration = Duration::from_secs(86_400);

#[test]
fn the_signature_over_a_plan_holds_under_the_signers_certificate() {
    let authority = authority();
    let signer = PlanSigner::new(&authority, now()).unwrap();
    let signature = signer.sign(b"plan").unwrap();
    let store = TrustStore::new(&[authority.root().to_vec()]).unwrap();
    let unix = u64::try_from(now().unix_timestamp()).unwrap();
    let identity = "plan-signer.controller.mesh.example".parse().unwrap();
    let verified = store.verify(signer.chain(), &identity, &BTreeSet::new(), unix).unwrap();
    let (_, spki) =
        <x509_parser::x509::SubjectPublicKeyInfo<'_> as x509_parser::prelude::FromDer<'_, _>>::from_der(&verified.spki)
            .unwrap();
    let key = aws_lc_rs::signature::UnparsedPublicKey::new(
        &aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1,
        &spki.subject_public_key.data,
    );
    assert!(key.verify(b"plan", &signature).is_ok());
    assert!(key.verify(b"plot", &signature).is_err());
}

#[test]
fn parts_that_do_not_belong_together_are_refused() {
    let domain = "mesh.example".parse().unwrap();
    let made = || Authority::create(&domain, now()).unwrap().1;
    let (one, mut two) = (made(), made());
    let stored = |root: &[u8], issuing: &AuthorityParts| Authority::from_parts(&domain, root.to_vec(), issuing);
    assert!(stored(&one.root.certificate, &one.issuing).is_ok());
    assert!(matches!(stored(&one.root.certificate, &two.issuing), Err(PkiError::Stored)), "another root");
    two.issuing.key = one.issuing.key.clone();
    assert!(matches!(stored(&two.root.certificate, &two.issuing), Err(PkiError::Stored)), "another key");
    two.root.key = one.root.key.clone();
    assert!(matches!(Authority::next_issuing(&domain, &two.root, now()), Err(PkiError::Stored)));
    assert!(matches!(stored(&[], &one.issuing), Err(PkiError::Stored)));
}

#[test]
fn no_issuing_authority_outlives_its_root() {
    let domain = "mesh.example".parse().unwrap();
    let (_, parts) = Authority::create(&domain, now()).unwrap();
    let late = now() + ROOT_LIFE - NODE_DAY;
    let issuing = Authority::next_issuing(&domain, &parts.root, late).unwrap();
    let authority = Authority::from_parts(&domain, parts.root.certificate.clone(), &issuing).unwrap();
    let csr = request(&KeyPair::generate().unwrap(), "", &[]);
    let issued = authority.issue_node(&"a".parse().unwrap(), &csr, late).unwrap();
    assert_eq!(issued.not_after, now() + ROOT_LIFE);
    let after = Authority::next_issuing(&domain, &parts.root, late + NODE_DAY);
    assert!(matches!(after, Err(PkiError::Ended("root authority"))));
}

mod contents;
