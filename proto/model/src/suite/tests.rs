use super::*;

#[test]
fn a_suite_is_written_as_it_is_shown() {
    for suite in EspSuite::ALL {
        assert_eq!(serde_json::to_string(suite).unwrap(), format!("\"{suite}\""));
        assert_eq!(serde_json::from_str::<EspSuite>(&format!("\"{suite}\"")).unwrap(), *suite);
    }
    for (suite, name) in [
        (EspSuite::ChaCha20Poly1305, "chacha20poly1305"),
        (EspSuite::Aes128CtrSha256, "aes128ctr-sha256"),
        (EspSuite::Aes256Ccm16, "aes256ccm16"),
        (EspSuite::NullSha256, "null-sha256"),
    ] {
        assert_eq!(suite.name(), name);
    }
    assert_eq!(KeyExchange::Modp2048.to_string(), "modp2048");
    assert_eq!(serde_json::from_str::<Prf>("\"hmacsha384\"").unwrap(), Prf::HmacSha384);
}

#[test]
fn what_is_weak_or_incomplete_has_no_name() {
    for name in ["null", "aes256cbc", "aes256gcm8", "aes256gcm16-sha256", "3des-sha256", "aes128cbc-sha1", "sha1"] {
        assert!(serde_json::from_str::<EspSuite>(&format!("\"{name}\"")).is_err(), "{name}");
    }
    for name in ["null-sha256", "aes256gmac", "aes256ccm16"] {
        assert!(serde_json::from_str::<IkeEncryption>(&format!("\"{name}\"")).is_err(), "{name}");
    }
    for name in ["mlkem768", "modp1024", "modp1536"] {
        assert!(serde_json::from_str::<KeyExchange>(&format!("\"{name}\"")).is_err(), "{name}");
    }
}

#[test]
fn lengths_are_those_of_the_specifications() {
    let lengths = |suite: EspSuite| {
        let cipher = suite.cipher();
        (suite.keymat_len(), cipher.iv_len(), cipher.icv_len(), cipher.block_len())
    };
    for (suite, expected) in [
        (EspSuite::Aes256Gcm16, (36, 8, 16, 1)),
        (EspSuite::Aes128Gcm16, (20, 8, 16, 1)),
        (EspSuite::ChaCha20Poly1305, (36, 8, 16, 1)),
        (EspSuite::Aes256Ccm16, (35, 8, 16, 1)),
        (EspSuite::Aes128Gmac, (20, 8, 16, 1)),
        (EspSuite::Aes256CbcSha256, (64, 16, 16, 16)),
        (EspSuite::Aes128CbcSha384, (64, 16, 24, 16)),
        (EspSuite::Aes256CtrSha512, (100, 8, 32, 1)),
        (EspSuite::NullSha384, (48, 0, 24, 1)),
    ] {
        assert_eq!(lengths(suite), expected, "{suite}");
    }
}

#[test]
fn an_ike_algorithm_is_the_esp_suite_of_its_name() {
    for encryption in IkeEncryption::ALL {
        let suite = EspSuite::ALL.iter().find(|suite| suite.name() == encryption.name()).unwrap();
        assert_eq!(suite.cipher(), encryption.cipher());
    }
}
