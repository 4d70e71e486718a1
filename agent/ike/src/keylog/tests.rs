use std::net::SocketAddr;

use espalier_model::profile::{Dscp, Mode, Padding};
use espalier_model::sa::{ChildId, Encapsulation, Keyed, SaSelectors, Spi, Transform, UdpPath, UsageLimits};
use espalier_model::suite::{EspSuite, IkeEncryption, Prf};

use super::*;
use crate::keymat::{self, Nonces};
use crate::wire::{IkeSpi, Nonce};

#[test]
fn an_ike_line_has_both_keys_with_their_salts() {
    let nonce = || Nonce::new(vec![1; 16]).unwrap();
    let nonces = Nonces { initiator: nonce(), responder: nonce() };
    let spis = IkeSpis { initiator: IkeSpi(0x0a), responder: IkeSpi(u64::MAX) };
    let shared = Secret::new(vec![2; 32]);
    let encryption = IkeEncryption::Aes128Gcm16;
    let (mut keys, _) = keymat::initial(Prf::HmacSha256, encryption, &shared, &nonces, spis).unwrap();
    keys.sk_ei = Secret::new(vec![0xab; 20]);
    keys.sk_er = Secret::new(vec![0xcd; 20]);
    let line = KeylogLine::ike(spis, &keys);
    assert_eq!(line.table().name(), "ikev2_decryption_table");
    let (ei, er) = ("ab".repeat(20), "cd".repeat(20));
    let expected = format!(
        "000000000000000a,ffffffffffffffff,{ei},{er},\"AES-GCM-128 with 16 octet ICV [RFC5282]\",,,\"NONE [RFC4306]\""
    );
    assert_eq!(line.text(), expected);
}

#[test]
fn an_esp_line_goes_the_way_of_its_packets() {
    let end = |text: &str| text.parse::<SocketAddr>().unwrap();
    let limits = UsageLimits { soft_packets: 1, hard_packets: 1, soft_bytes: 1, hard_bytes: 1 };
    let sa = ChildSa {
        id: ChildId(1),
        rule: "rule".parse().unwrap(),
        transform: Transform::Esp(Keyed {
            spi: Spi::try_from(0x0c00_0001).unwrap(),
            suite: EspSuite::Aes128Gcm16,
            keymat: Secret::new(vec![0x0f; 20]),
            esn: false,
        }),
        mode: Mode::Tunnel,
        encapsulation: Encapsulation::Udp,
        originals: None,
        padding: true,
        pad_to: Padding::None,
        dscp: Dscp::Copy,
        selectors: SaSelectors { local: vec![], remote: vec![] },
        path: UdpPath { local: end("10.0.0.1:4500"), remote: end("10.0.0.2:4500") },
        replay_window: 64,
        limits,
    };
    let key = "0f".repeat(20);
    let rest = format!("\"0x0c000001\",\"AES-GCM with 16 octet ICV [RFC4106]\",\"0x{key}\",\"NULL\",\"\"");
    let out = KeylogLine::esp(&sa, Direction::Outbound).unwrap();
    assert_eq!(out.text(), format!("\"IPv4\",\"10.0.0.1\",\"10.0.0.2\",{rest}"));
    let into = KeylogLine::esp(&sa, Direction::Inbound).unwrap();
    assert_eq!(into.text(), format!("\"IPv4\",\"10.0.0.2\",\"10.0.0.1\",{rest}"));
    assert_eq!(out.table().name(), "esp_sa");
}

#[test]
fn lines_with_hmac_have_its_keys() {
    let nonce = || Nonce::new(vec![1; 16]).unwrap();
    let nonces = Nonces { initiator: nonce(), responder: nonce() };
    let spis = IkeSpis { initiator: IkeSpi(1), responder: IkeSpi(2) };
    let encryption = IkeEncryption::Aes256CbcSha384;
    let (keys, _) = keymat::initial(Prf::HmacSha256, encryption, &Secret::new(vec![2; 32]), &nonces, spis).unwrap();
    let line = KeylogLine::ike(spis, &keys);
    let fields: Vec<&str> = line.text().split(',').collect();
    let lengths: Vec<usize> = [2, 3, 5, 6].iter().map(|n| fields[*n].len()).collect();
    assert_eq!(lengths, [64, 64, 96, 96]);
    assert_eq!((fields[4], fields[7]), ("\"AES-CBC-256 [RFC3602]\"", "\"HMAC_SHA2_384_192 [RFC4868]\""));

    assert_eq!(esp_names(EspSuite::Aes128CtrSha512.cipher()), ("AES-CTR [RFC3686]", "HMAC-SHA-512-256 [RFC4868]"));
    assert_eq!(esp_names(EspSuite::NullSha256.cipher()), ("NULL", "HMAC-SHA-256-128 [RFC4868]"));
    assert_eq!(esp_names(EspSuite::ChaCha20Poly1305.cipher()), ("ChaCha20 with Poly1305 [RFC7634]", "NULL"));
}
