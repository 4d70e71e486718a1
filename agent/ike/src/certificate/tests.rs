use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData, RsaKeySize, SanType,
    SerialNumber, SignatureAlgorithm,
};
use time::OffsetDateTime;

use super::*;

mod lists;
mod paths;

const NOW: u64 = 1_800_000_000;
const DAY: u64 = 86_400;
const NAME: &str = "a.node.mesh.example";

struct Ca {
    der: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

fn at(unix: u64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(i64::try_from(unix).unwrap()).unwrap()
}

fn params(days: u64) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.not_before = at(NOW - DAY);
    params.not_after = at(NOW + days * DAY);
    params
}

fn ca_params(name: &str, serial: u8, days: u64) -> CertificateParams {
    let mut params = params(days);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from_slice(&[serial]));
    params
}

fn root(name: &str, algorithm: &'static SignatureAlgorithm) -> Ca {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let params = ca_params(name, 1, 100);
    let der = params.self_signed(&key).unwrap().der().to_vec();
    Ca { der, issuer: Issuer::new(params, key) }
}

fn under(parent: &Ca, days: u64) -> Ca {
    let key = KeyPair::generate().unwrap();
    let params = ca_params("intermediate", 2, days);
    let der = params.signed_by(&key, &parent.issuer).unwrap().der().to_vec();
    Ca { der, issuer: Issuer::new(params, key) }
}

fn leaf_params() -> CertificateParams {
    let mut params = params(3);
    params.subject_alt_names = vec![SanType::DnsName(NAME.try_into().unwrap())];
    params.serial_number = Some(SerialNumber::from_slice(&[0x0a, 0xbc]));
    params
}

fn leaf(ca: &Ca, change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = leaf_params();
    change(&mut params);
    params.signed_by(&KeyPair::generate().unwrap(), &ca.issuer).unwrap().der().to_vec()
}

fn check(ca: &Ca, chain: &[Vec<u8>], name: &str) -> Result<VerifiedPeer, CertificateError> {
    let store = TrustStore::new(std::slice::from_ref(&ca.der)).unwrap();
    store.verify(chain, &name.parse().unwrap(), &BTreeSet::new(), NOW)
}

#[test]
fn a_valid_certificate_yields_its_key_expiry_and_serial() {
    for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
        let ca = root("root", algorithm);
        let key = KeyPair::generate_for(algorithm).unwrap();
        let der = leaf_params().signed_by(&key, &ca.issuer).unwrap().der().to_vec();
        let peer = check(&ca, std::slice::from_ref(&der), NAME).unwrap();
        let expected = (key.subject_public_key_info(), NOW + 3 * DAY, "abc".to_owned());
        assert_eq!((peer.spki, peer.not_after, peer.serial), expected);
        assert_eq!(validity(&der).map(|life| life.1), Ok(NOW + 3 * DAY));
    }
}

#[test]
fn an_intermediate_bounds_the_validity() {
    let ca = root("root", &PKCS_ECDSA_P256_SHA256);
    let intermediate = under(&ca, 2);
    let der = leaf(&intermediate, |_| {});
    let peer = check(&ca, &[der.clone(), intermediate.der.clone()], NAME).unwrap();
    assert_eq!(peer.not_after, NOW + 2 * DAY);
    assert!(matches!(check(&ca, &[der], NAME), Err(CertificateError::Path(_))), "the intermediate is not sent");
}

#[test]
fn an_rsa_authority_is_accepted() {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let params = ca_params("root", 1, 100);
    let der = params.self_signed(&key).unwrap().der().to_vec();
    let ca = Ca { der, issuer: Issuer::new(params, key) };
    assert!(check(&ca, &[leaf(&ca, |_| {})], NAME).is_ok());
}

#[test]
fn another_authority_is_not_trusted() {
    let (ca, other) = (root("root", &PKCS_ECDSA_P256_SHA256), root("root", &PKCS_ECDSA_P256_SHA256));
    let der = leaf(&other, |_| {});
    assert!(matches!(check(&ca, &[der.clone(), other.der], NAME), Err(CertificateError::Path(_))));
    let nobody = TrustStore::default();
    let result = nobody.verify(&[der], &NAME.parse().unwrap(), &BTreeSet::new(), NOW);
    assert!(matches!(result, Err(CertificateError::Path(_))));
}

#[test]
fn a_certificate_speaks_for_its_names_only() {
    let ca = root("root", &PKCS_ECDSA_P256_SHA256);
    let with = |san: Vec<SanType>| vec![leaf(&ca, |p| p.subject_alt_names = san)];
    let dns = |text: &str| SanType::DnsName(text.try_into().unwrap());
    let ip = |text: &str| SanType::IpAddress(text.parse().unwrap());
    let mail = SanType::Rfc822Name("User@Mesh.Example".try_into().unwrap());
    let chain = with(vec![dns("A.Node.mesh.EXAMPLE"), ip("10.0.0.1"), ip("2001:db8::1"), mail]);
    for good in [NAME, "10.0.0.1", "2001:db8::1", "User@mesh.example"] {
        assert!(check(&ca, &chain, good).is_ok(), "{good}");
    }
    for bad in ["b.node.mesh.example", "node.mesh.example", "10.0.0.2", "2001:db8::2", "user@mesh.example"] {
        assert_eq!(check(&ca, &chain, bad), Err(CertificateError::Name(bad.parse().unwrap())));
    }
    let wildcard = with(vec![dns("*.node.mesh.example")]);
    assert!(matches!(check(&ca, &wildcard, NAME), Err(CertificateError::Name(_))));
    let unnamed = vec![leaf(&ca, |p| {
        p.subject_alt_names.clear();
        p.distinguished_name.push(rcgen::DnType::CommonName, NAME);
    })];
    assert!(matches!(check(&ca, &unnamed, NAME), Err(CertificateError::Name(_))), "a common name names nobody");
}

#[test]
fn time_is_checked_on_the_whole_path() {
    let ca = root("root", &PKCS_ECDSA_P256_SHA256);
    let store = TrustStore::new(std::slice::from_ref(&ca.der)).unwrap();
    let chain = [leaf(&ca, |p| p.not_after = at(NOW + 200 * DAY))];
    let valid = |unix| store.verify(&chain, &NAME.parse().unwrap(), &BTreeSet::new(), unix);
    assert_eq!(valid(NOW).unwrap().not_after, NOW + 100 * DAY, "the root ends first");
    assert!(matches!(valid(NOW - 2 * DAY), Err(CertificateError::Path(_))), "not yet valid");
    assert!(matches!(valid(NOW + 101 * DAY), Err(CertificateError::Path(_))), "the root has expired");
    assert!(matches!(valid(u64::MAX), Err(CertificateError::Path(_))));

    let expired = [leaf(&ca, |p| p.not_after = at(NOW - 1))];
    assert!(matches!(check(&ca, &expired, NAME), Err(CertificateError::Path(_))));
}

#[test]
fn a_revoked_serial_is_refused_anywhere_on_the_path() {
    let ca = root("root", &PKCS_ECDSA_P256_SHA256);
    let intermediate = under(&ca, 9);
    let chain = [leaf(&intermediate, |_| {}), intermediate.der.clone()];
    let store = TrustStore::new(std::slice::from_ref(&ca.der)).unwrap();
    let with = |serial: &str| {
        store.verify(&chain, &NAME.parse().unwrap(), &BTreeSet::from([serial.to_owned()]), NOW).map(|p| p.serial)
    };
    for serial in ["abc", "0abc", "000abc"] {
        assert_eq!(with(serial), Err(CertificateError::Revoked("abc".to_owned())));
    }
    assert_eq!(with("02"), Err(CertificateError::Revoked("2".to_owned())));
    assert_eq!(with("abcd"), Ok("abc".to_owned()));
}

#[test]
fn a_purpose_must_fit_where_one_is_stated() {
    let ca = root("root", &PKCS_ECDSA_P256_SHA256);
    let with = |purposes: Vec<ExtendedKeyUsagePurpose>| {
        check(&ca, &[leaf(&ca, |p| p.extended_key_usages = purposes)], NAME).map(|_| ())
    };
    let ipsec = ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 5, 5, 7, 3, 17]);
    let good =
        [ipsec, ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::Any];
    for purpose in good {
        assert_eq!(with(vec![ExtendedKeyUsagePurpose::CodeSigning, purpose]), Ok(()));
    }
    assert!(matches!(with(vec![ExtendedKeyUsagePurpose::CodeSigning]), Err(CertificateError::Path(_))));
    let usage = |usage| check(&ca, &[leaf(&ca, |p| p.key_usages = vec![usage])], NAME).map(|_| ());
    assert_eq!(usage(KeyUsagePurpose::DigitalSignature), Ok(()));
    assert_eq!(usage(KeyUsagePurpose::KeyEncipherment), Err(CertificateError::KeyUsage));
}

#[test]
fn an_authority_is_no_peer_and_a_peer_no_authority() {
    let ca = root("root", &PKCS_ECDSA_P256_SHA256);
    let named_ca = leaf(&ca, |p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    assert!(matches!(check(&ca, &[named_ca], NAME), Err(CertificateError::Path(_))));

    let key = KeyPair::generate().unwrap();
    let mut params = leaf_params();
    params.is_ca = IsCa::ExplicitNoCa;
    params.distinguished_name.push(rcgen::DnType::CommonName, "peer");
    let der = params.signed_by(&key, &ca.issuer).unwrap().der().to_vec();
    let peer = Ca { der, issuer: Issuer::new(params, key) };
    let forged = leaf(&peer, |_| {});
    assert!(matches!(check(&ca, &[forged, peer.der], NAME), Err(CertificateError::Path(_))));
}

#[test]
fn chains_are_bounded_and_garbage_is_refused() {
    let ca = root("root", &PKCS_ECDSA_P256_SHA256);
    let good = leaf(&ca, |_| {});
    assert_eq!(check(&ca, &[], NAME), Err(CertificateError::Missing));
    assert_eq!(check(&ca, &vec![good.clone(); 5], NAME), Err(CertificateError::TooLarge));
    assert_eq!(check(&ca, &[good.clone(), vec![0; 16_385]], NAME), Err(CertificateError::TooLarge));
    for end in 0..good.len() {
        assert!(check(&ca, &[good[..end].to_vec()], NAME).is_err());
    }
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(check(&ca, &[bad], NAME).is_err(), "bit {bit}");
    }
    assert!(check(&ca, &[[good, vec![0]].concat()], NAME).is_err());
    assert!(matches!(TrustStore::new(&[vec![1, 2, 3]]), Err(CertificateError::Malformed)));
}

#[test]
fn a_request_names_the_key_of_each_authority() {
    let ca = root("root", &PKCS_ECDSA_P256_SHA256);
    let request = TrustStore::new(std::slice::from_ref(&ca.der)).unwrap().request();
    assert_eq!(request.authorities, sha1(&[&ca.issuer.key().subject_public_key_info()]));
}
