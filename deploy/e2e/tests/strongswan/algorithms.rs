//! Every algorithm of IKE and ESP, as `swanctl --list-sas` names it.

use espalier_e2e::strongswan::names;
use espalier_model::suite::{EspSuite, IkeEncryption, KeyExchange, Prf};

use crate::scene::{By, Files, both_roles};

both_roles! {
    ike_aes128gcm16_hmacsha256_p256 => |by| ike(by, IkeEncryption::Aes128Gcm16, Prf::HmacSha256, KeyExchange::P256);
    ike_chacha20poly1305_hmacsha512_p384 => |by| ike(by, IkeEncryption::ChaCha20Poly1305, Prf::HmacSha512, KeyExchange::P384);
    ike_aes256cbc_sha512_hmacsha384_p521 => |by| ike(by, IkeEncryption::Aes256CbcSha512, Prf::HmacSha384, KeyExchange::P521);
    ike_aes256cbc_sha384_hmacsha256_modp2048 => |by| ike(by, IkeEncryption::Aes256CbcSha384, Prf::HmacSha256, KeyExchange::Modp2048);
    ike_aes256cbc_sha256_hmacsha512_modp3072 => |by| ike(by, IkeEncryption::Aes256CbcSha256, Prf::HmacSha512, KeyExchange::Modp3072);
    ike_aes128cbc_sha512_hmacsha384_modp4096 => |by| ike(by, IkeEncryption::Aes128CbcSha512, Prf::HmacSha384, KeyExchange::Modp4096);
    ike_aes128cbc_sha384_hmacsha256_x25519 => |by| ike(by, IkeEncryption::Aes128CbcSha384, Prf::HmacSha256, KeyExchange::X25519);
    ike_aes128cbc_sha256_hmacsha512_p256 => |by| ike(by, IkeEncryption::Aes128CbcSha256, Prf::HmacSha512, KeyExchange::P256);
    ike_aes256ctr_sha512_hmacsha384_p384 => |by| ike(by, IkeEncryption::Aes256CtrSha512, Prf::HmacSha384, KeyExchange::P384);
    ike_aes256ctr_sha384_hmacsha256_p521 => |by| ike(by, IkeEncryption::Aes256CtrSha384, Prf::HmacSha256, KeyExchange::P521);
    ike_aes256ctr_sha256_hmacsha512_modp2048 => |by| ike(by, IkeEncryption::Aes256CtrSha256, Prf::HmacSha512, KeyExchange::Modp2048);
    ike_aes128ctr_sha512_hmacsha384_modp3072 => |by| ike(by, IkeEncryption::Aes128CtrSha512, Prf::HmacSha384, KeyExchange::Modp3072);
    ike_aes128ctr_sha384_hmacsha256_modp4096 => |by| ike(by, IkeEncryption::Aes128CtrSha384, Prf::HmacSha256, KeyExchange::Modp4096);
    ike_aes128ctr_sha256_hmacsha512_x25519 => |by| ike(by, IkeEncryption::Aes128CtrSha256, Prf::HmacSha512, KeyExchange::X25519);
}

// charon's ESP in user space has no GMAC ("creating ESP context failed"); it has all else that Espalier offers.
both_roles! {
    esp_aes128gcm16 => |by| esp(by, EspSuite::Aes128Gcm16);
    esp_chacha20poly1305 => |by| esp(by, EspSuite::ChaCha20Poly1305);
    esp_aes256ccm16 => |by| esp(by, EspSuite::Aes256Ccm16);
    esp_aes128ccm16 => |by| esp(by, EspSuite::Aes128Ccm16);
    esp_aes256cbc_sha512 => |by| esp(by, EspSuite::Aes256CbcSha512);
    esp_aes256cbc_sha384 => |by| esp(by, EspSuite::Aes256CbcSha384);
    esp_aes256cbc_sha256 => |by| esp(by, EspSuite::Aes256CbcSha256);
    esp_aes128cbc_sha512 => |by| esp(by, EspSuite::Aes128CbcSha512);
    esp_aes128cbc_sha384 => |by| esp(by, EspSuite::Aes128CbcSha384);
    esp_aes128cbc_sha256 => |by| esp(by, EspSuite::Aes128CbcSha256);
    esp_aes256ctr_sha512 => |by| esp(by, EspSuite::Aes256CtrSha512);
    esp_aes256ctr_sha384 => |by| esp(by, EspSuite::Aes256CtrSha384);
    esp_aes256ctr_sha256 => |by| esp(by, EspSuite::Aes256CtrSha256);
    esp_aes128ctr_sha512 => |by| esp(by, EspSuite::Aes128CtrSha512);
    esp_aes128ctr_sha384 => |by| esp(by, EspSuite::Aes128CtrSha384);
    esp_aes128ctr_sha256 => |by| esp(by, EspSuite::Aes128CtrSha256);
    esp_null_sha512 => |by| esp_in_the_clear(by, EspSuite::NullSha512);
    esp_null_sha384 => |by| esp_in_the_clear(by, EspSuite::NullSha384);
    esp_null_sha256 => |by| esp_in_the_clear(by, EspSuite::NullSha256);
}

/// An IKE SA of just these algorithms. The child SA is that of the how-to.
fn ike(by: By, encryption: IkeEncryption, prf: Prf, method: KeyExchange) {
    let (proposal, shown) = names(encryption.cipher());
    let (prf_proposal, prf_shown) = charon_prf(prf);
    let (group_proposal, group_shown) = charon_group(method);
    let fields = format!("ike-encryption: [{encryption}], prf: [{prf}], key-exchange: [{method}]");
    let ike = format!("{proposal}-{prf_proposal}-{group_proposal}");
    let esp = format!("aes256gcm16-{group_proposal}");
    let scene = Files::psk().profile(&fields).proposals(&ike, &esp).scene();
    scene.assert_tunnel(by, &[&format!("{shown} prf-alg={prf_shown} dh-group={group_shown}")]);
}

/// A child SA of just this suite. The IKE SA is that of the how-to.
fn esp(by: By, suite: EspSuite) {
    assert_eq!(esp_canaries(by, suite), 0, "nothing passed in the clear");
}

/// The same without encryption: what passes can be read, as its name says.
fn esp_in_the_clear(by: By, suite: EspSuite) {
    assert!(esp_canaries(by, suite) > 0, "{suite} does not encrypt");
}

fn esp_canaries(by: By, suite: EspSuite) -> u64 {
    let (proposal, shown) = names(suite.cipher());
    let proposal = format!("{proposal}-x25519");
    let confidentiality = if suite.encrypts() { "required" } else { "none" };
    let files = Files::psk().profile(&format!("esp: [{suite}], confidentiality: {confidentiality}"));
    let scene = files.proposals("aes256gcm16-prfsha384-x25519", &proposal).scene();
    let capture = scene.capture();
    let mut agent = scene.tunnel(by);
    scene.assert_passes();
    let seen = capture.stop().unwrap();
    assert!(seen.esp >= 40, "the tunnel was used: {seen:?}");
    scene.assert_shown(&["protocol=ESP encap=yes", &shown]);
    agent.await_log(&format!("suite={suite}"), 1).unwrap();
    seen.canaries
}

const fn charon_prf(prf: Prf) -> (&'static str, &'static str) {
    match prf {
        Prf::HmacSha256 => ("prfsha256", "PRF_HMAC_SHA2_256"),
        Prf::HmacSha384 => ("prfsha384", "PRF_HMAC_SHA2_384"),
        Prf::HmacSha512 => ("prfsha512", "PRF_HMAC_SHA2_512"),
    }
}

const fn charon_group(method: KeyExchange) -> (&'static str, &'static str) {
    match method {
        KeyExchange::X25519 => ("x25519", "CURVE_25519"),
        KeyExchange::P256 => ("ecp256", "ECP_256"),
        KeyExchange::P384 => ("ecp384", "ECP_384"),
        KeyExchange::P521 => ("ecp521", "ECP_521"),
        KeyExchange::Modp2048 => ("modp2048", "MODP_2048"),
        KeyExchange::Modp3072 => ("modp3072", "MODP_3072"),
        KeyExchange::Modp4096 => ("modp4096", "MODP_4096"),
    }
}
