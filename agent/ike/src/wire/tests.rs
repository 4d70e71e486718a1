use espalier_model::identity::Identity;
use espalier_model::sa::Spi;
use espalier_model::selector::{PortRange, Protocol, TrafficSelector};
use proptest::prelude::*;

use super::registry::transform_id as id;
use super::*;

fn header() -> Header {
    Header {
        initiator_spi: IkeSpi(0x1122_3344_5566_7788),
        responder_spi: IkeSpi(0x99aa_bbcc_ddee_ff00),
        exchange: ExchangeType::IKE_AUTH,
        flags: Flags { initiator: true, response: false },
        message_id: 1,
    }
}

fn spi(value: u32) -> Spi {
    Spi::try_from(value).unwrap()
}

fn identification(text: &str) -> Identification {
    Identification::from(&text.parse::<Identity>().unwrap())
}

fn selectors() -> Vec<TrafficSelector> {
    let net = |text: &str| text.parse().unwrap();
    vec![
        TrafficSelector::from_net(Protocol::Any, PortRange::ANY, net("10.1.0.0/16")),
        TrafficSelector::from_net(Protocol::TCP, PortRange::new(443, 444).unwrap(), net("2001:db8::/64")),
    ]
}

fn proposals() -> Vec<Proposal> {
    let esp = vec![
        Transform::with_key_length(TransformType::ENCR, id::ENCR_AES_GCM_16, 256),
        Transform::new(TransformType::ESN, id::ESN_NONE),
    ];
    let ike = vec![Transform::new(TransformType::KE, id::KE_X25519)];
    let new = |number, protocol, spi, transforms| Proposal { number, protocol, spi, transforms };
    vec![
        new(1, ProtocolId::ESP, SpiField::Child(spi(0x1234_5678)), esp.clone()),
        new(2, ProtocolId::IKE, SpiField::Ike(IkeSpi(7)), ike),
        new(3, ProtocolId::IKE, SpiField::None, vec![]),
    ]
}

/// One of each payload.
fn payloads() -> Vec<Payload> {
    vec![
        Payload::SecurityAssociation(proposals()),
        Payload::KeyExchange(KeyExchangeData { method: id::KE_X25519, data: vec![9; 32] }),
        Payload::IdInitiator(identification("a.node.mesh.example")),
        Payload::IdResponder(identification("2001:db8::1")),
        Payload::Certificate(Certificate { encoding: CertificateEncoding::X509_SIGNATURE, data: vec![0x30; 300] }),
        Payload::CertificateRequest(CertificateRequest::x509(&[[1; 20], [2; 20]])),
        Payload::Authentication(Authentication { method: AuthMethod::DIGITAL_SIGNATURE, data: vec![5; 80] }),
        Payload::Nonce(Nonce::new(vec![6; 32]).unwrap()),
        Payload::Notify(Notify::new(NotifyType::COOKIE, vec![7; 20])),
        Payload::Notify(Notify::about(NotifyType::REKEY_SA, ProtocolId::ESP, spi(0xc000_0001))),
        Payload::Delete(Delete { protocol: ProtocolId::ESP, spis: vec![spi(256), spi(u32::MAX)] }),
        Payload::Delete(Delete::ike()),
        Payload::SelectorsInitiator(selectors()),
        Payload::SelectorsResponder(selectors()),
        Payload::Configuration(Configuration {
            kind: ConfigurationType::REQUEST,
            attributes: vec![
                cp::Attribute::Ip4Address(None),
                cp::Attribute::Ip6Address(Some(("fd00::1".parse().unwrap(), 64))),
            ],
        }),
        Payload::VendorId(b"espalier".to_vec()),
        Payload::Unknown(PayloadType(200), vec![1, 2, 3]),
        Payload::Encrypted(Encrypted { first: PayloadType::IDI, body: vec![8; 40] }),
    ]
}

fn datagram(payloads: Vec<Payload>) -> Vec<u8> {
    Message { header: header(), payloads }.emit().unwrap()
}

/// Changes the message so that its length field is right again.
fn with_length(mut bytes: Vec<u8>) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    bytes[24..28].copy_from_slice(&length);
    bytes
}

#[test]
fn every_payload_survives_a_round_trip() {
    for payload in payloads() {
        let message = Message { header: header(), payloads: vec![payload] };
        assert_eq!(Message::parse(&message.emit().unwrap()), Ok(message));
    }
    let message = Message { header: header(), payloads: payloads() };
    let bytes = message.emit().unwrap();
    assert_eq!(Message::parse(&bytes).unwrap().emit().unwrap(), bytes);
    assert_eq!(Message::parse(&bytes), Ok(message));
}

#[test]
fn a_message_has_the_bytes_of_the_rfc() {
    let proposal = Proposal {
        number: 1,
        protocol: ProtocolId::IKE,
        spi: SpiField::None,
        transforms: vec![
            Transform::with_key_length(TransformType::ENCR, id::ENCR_AES_GCM_16, 128),
            Transform::new(TransformType::KE, id::KE_P256),
        ],
    };
    let bytes = datagram(vec![Payload::SecurityAssociation(vec![proposal]), Payload::VendorId(vec![0xee])]);
    #[rustfmt::skip]
    let expected = [
        0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff, 0x00,
        33, 0x20, 35, 0x08, 0, 0, 0, 1, 0, 0, 0, 65,
        43, 0, 0, 32,
        0, 0, 0, 28, 1, 1, 0, 2,
        3, 0, 0, 12, 1, 0, 0, 20, 0x80, 14, 0, 128,
        0, 0, 0, 8, 4, 0, 0, 19,
        0, 0, 0, 5, 0xee,
    ];
    assert_eq!(bytes, expected);
}

#[test]
fn no_truncation_and_no_flipped_bit_panics() {
    let whole = datagram(payloads());
    assert!(Message::parse(&[]).is_err());
    for end in 0..whole.len() {
        assert!(Message::parse(&whole[..end]).is_err(), "cut at {end}");
        if end >= 28 {
            assert!(Message::parse(&with_length(whole[..end].to_vec())).is_err(), "cut at {end} with its length");
        }
    }
    for bit in 0..whole.len() * 8 {
        let mut changed = whole.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        if let Ok(message) = Message::parse(&changed) {
            let _ = message.emit();
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(first in any::<u8>(), body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = datagram(vec![]);
        bytes[16] = first;
        bytes.extend(body);
        let _ = Message::parse(&with_length(bytes));
    }
}

#[test]
fn trailing_bytes_are_refused() {
    let mut bytes = datagram(vec![Payload::VendorId(vec![1])]);
    bytes.push(0);
    assert_eq!(Message::parse(&bytes), Err(Malformed::Length("message")));
    assert_eq!(Message::parse(&with_length(bytes)), Err(Malformed::Trailing("message")));

    for payload in [Payload::SelectorsInitiator(selectors()), Payload::SecurityAssociation(proposals())] {
        let mut bytes = datagram(vec![payload]);
        bytes.push(0);
        let length = u16::try_from(bytes.len() - 28).unwrap().to_be_bytes();
        bytes[30..32].copy_from_slice(&length);
        assert_eq!(Message::parse(&with_length(bytes)), Err(Malformed::Trailing("payload")));
    }
}

#[test]
fn another_major_version_is_named() {
    let mut bytes = datagram(vec![]);
    bytes[17] = 0x30;
    assert_eq!(Message::parse(&bytes), Err(Malformed::Version(3)));
    bytes[17] = 0x2f;
    assert!(Message::parse(&bytes).is_ok(), "the minor version is ignored");
}

#[test]
fn an_unknown_payload_is_skipped_unless_critical() {
    let mut bytes = datagram(vec![Payload::Unknown(PayloadType(200), vec![1]), Payload::VendorId(vec![2])]);
    assert_eq!(Message::parse(&bytes).unwrap().payloads.len(), 2);
    bytes[29] = 0x80;
    assert_eq!(Message::parse(&bytes), Err(Malformed::UnsupportedCritical(PayloadType(200))));
    let mut known = datagram(vec![Payload::VendorId(vec![2])]);
    known[29] = 0x80;
    assert!(Message::parse(&known).is_ok(), "the bit means nothing on a payload that is understood");
}

#[test]
fn reserved_bits_of_every_payload_are_ignored() {
    let parse = |bytes: &[u8]| Message::parse(bytes).unwrap().payloads;
    // The flags of the header, the flags of a payload, and bytes behind the start of its body, by type.
    let reserved: [(u8, &[usize]); 6] =
        [(33, &[1, 13, 17]), (34, &[2, 3]), (39, &[1, 2, 3]), (44, &[1, 2, 3]), (45, &[1, 2, 3]), (40, &[])];
    for payload in payloads() {
        let kind = payload.payload_type().0;
        let good = datagram(vec![payload]);
        let Some((_, places)) = reserved.iter().find(|(of, _)| *of == kind) else { continue };
        let mut changed = good.clone();
        changed[19] |= 0b1101_0111;
        changed[29] |= 0x7f;
        places.iter().for_each(|place| changed[32 + place] = 0xff);
        assert!(changed != good);
        assert_eq!(parse(&changed), parse(&good), "payload {kind}");
        assert_eq!(Message::parse(&changed).unwrap().header, header());
    }
}

#[test]
fn an_encrypted_payload_is_the_last_one() {
    let encrypted = Payload::Encrypted(Encrypted { first: PayloadType::VENDOR_ID, body: vec![8; 40] });
    let mut bytes = datagram(vec![encrypted]);
    assert!(Message::parse(&bytes).is_ok());
    bytes.extend([0, 0, 0, 5, 1]);
    assert_eq!(Message::parse(&with_length(bytes)), Err(Malformed::Trailing("message")));
}

#[test]
fn a_nonce_has_16_to_256_bytes() {
    for (length, good) in [(0, false), (15, false), (16, true), (256, true), (257, false)] {
        assert_eq!(Nonce::new(vec![1; length]).is_ok(), good, "{length} bytes");
    }
}

#[test]
fn of_two_nonces_that_begin_alike_the_shorter_one_is_the_lower() {
    let of = |bytes: &[u8]| Nonce::new([&[1; 16][..], bytes].concat()).unwrap();
    let ascending = [of(&[]), of(&[0]), of(&[0, 0]), of(&[0, 9]), of(&[1]), of(&[0xff])];
    assert!(ascending.is_sorted_by(|a, b| a < b));
}

#[test]
fn a_transform_has_one_key_length() {
    let mut bytes = datagram(vec![Payload::SecurityAssociation(proposals())]);
    let transform = 28 + 4 + 8 + 4;
    assert_eq!(bytes[transform + 8..transform + 12], [0x80, 14, 1, 0]);
    bytes.splice(transform + 12..transform + 12, [0x80, 14, 1, 0]);
    for length in [transform + 2, 28 + 4 + 2, 28 + 2] {
        let more = u16::from_be_bytes([bytes[length], bytes[length + 1]]) + 4;
        bytes[length..length + 2].copy_from_slice(&more.to_be_bytes());
    }
    assert_eq!(Message::parse(&with_length(bytes)), Err(Malformed::Value("key length")));
}

#[test]
fn a_notification_about_no_sa_has_no_protocol() {
    let payload = Payload::Notify(Notify::new(NotifyType::COOKIE, vec![7]));
    let mut bytes = datagram(vec![payload]);
    assert_eq!(bytes[32..34], [0, 0], "neither protocol nor SPI");
    bytes[32] = 3;
    let Payload::Notify(notify) = Message::parse(&bytes).unwrap().payloads.remove(0) else { panic!("notify") };
    assert_eq!((notify.notify_type, notify.spi, notify.data), (NotifyType::COOKIE, SpiField::None, vec![7]));
}

#[test]
fn a_deletion_has_spis_of_the_length_of_its_protocol() {
    for (delete, sizes) in [(Delete::ike(), [4, 8]), (Delete::esp(vec![spi(256)]), [0, 8])] {
        let good = datagram(vec![Payload::Delete(delete)]);
        assert!(Message::parse(&good).is_ok());
        for size in sizes {
            let mut bad = good.clone();
            bad[33] = size;
            assert_eq!(Message::parse(&bad), Err(Malformed::Length("delete SPI")), "{size}");
        }
    }
}

#[test]
fn a_selector_of_all_ports_says_0_to_65535() {
    let bytes = datagram(vec![Payload::SelectorsInitiator(selectors())]);
    assert_eq!(bytes[36..44], [7, 0, 0, 16, 0, 0, 0xff, 0xff]);
}

#[test]
fn counts_are_bounded() {
    let many = vec![Payload::VendorId(vec![]); 65];
    assert!(Message { header: header(), payloads: many }.emit().is_err());
    let full = vec![Payload::VendorId(vec![]); 64];
    let mut bytes = datagram(full);
    bytes[28 + 63 * 4] = 43;
    bytes.extend([0, 0, 0, 4]);
    assert_eq!(Message::parse(&with_length(bytes)), Err(Malformed::TooMany("payloads")));
    let big = Payload::VendorId(vec![0; 65_600]);
    assert!(Message { header: header(), payloads: vec![big] }.emit().is_err());
}

#[test]
fn a_selector_list_is_refused_whole() {
    let good = datagram(vec![Payload::SelectorsInitiator(selectors())]);
    let ts = 28 + 4 + 4;
    for (offset, value, error) in [
        (0, 8, Malformed::Truncated("TS")),
        (6, 0, Malformed::Value("TS ports")),
        (8, 11, Malformed::Value("TS addresses")),
        (3, 3, Malformed::Length("TS")),
    ] {
        let mut bad = good.clone();
        bad[ts + offset] = value;
        if offset == 6 {
            bad[ts + 4..ts + 8].copy_from_slice(&[0, 2, 0, 1]);
        }
        assert_eq!(Message::parse(&bad), Err(error));
    }
    let empty = with_length(
        [datagram(vec![Payload::Nonce(Nonce::new(vec![0; 16]).unwrap())])[..28].to_vec(), vec![0, 0, 0, 8, 0, 0, 0, 0]]
            .concat(),
    );
    let mut empty = empty;
    empty[16] = PayloadType::TSI.0;
    assert_eq!(Message::parse(&empty), Err(Malformed::Value("TS count")));
}

#[test]
fn a_selector_of_an_unknown_type_or_of_hidden_ports_is_left_out() {
    let good = datagram(vec![Payload::SelectorsInitiator(selectors())]);
    let ts = 28 + 4 + 4;
    let mut unknown = good.clone();
    unknown[ts] = 9;
    let mut opaque = good;
    opaque[ts + 4..ts + 8].copy_from_slice(&[0xff, 0xff, 0, 0]);
    for bytes in [unknown, opaque] {
        assert_eq!(Message::parse(&bytes).unwrap().payloads, [Payload::SelectorsInitiator(selectors()[1..].to_vec())]);
    }
}

#[test]
fn an_identity_travels_in_its_own_type() {
    for text in ["10.0.0.1", "2001:db8::1", "a@b.example", "left.example", "C=CH, CN=left", "keyid:group 7"] {
        let identity: Identity = text.parse().unwrap();
        assert_eq!(Identification::from(&identity).identity(), Some(identity));
    }
    let of = |kind: u8, data: &[u8]| Identification::read(&[&[kind, 1, 2, 3], data].concat()).unwrap();
    assert_eq!(of(2, b"10.0.0.1").identity(), None, "an address is no domain name");
    assert_eq!(of(1, b"10.0.0").identity(), None);
    assert_eq!(of(11, b"key").identity().unwrap().to_string(), "keyid:key");
    assert_eq!(of(11, &[0xff]).identity(), None, "a key ID that nobody can write down");
    assert_eq!(of(9, b"CN=left").identity(), None, "text is no DER");
    assert_eq!(of(2, b"LEFT.example").identity().unwrap().to_string(), "left.example");
    assert_eq!(of(2, b"x").body(), &[2, 1, 2, 3, b'x'], "reserved bytes stay for AUTH");
    assert!(Identification::read(&[2, 0, 0, 0]).is_err());
}

#[test]
fn a_foreign_attribute_marks_its_transform() {
    let mut bytes = datagram(vec![Payload::SecurityAssociation(proposals())]);
    let attribute = 28 + 4 + 8 + 4 + 8;
    assert_eq!(bytes[attribute..attribute + 4], [0x80, 14, 1, 0]);
    bytes[attribute + 1] = 15;
    let Payload::SecurityAssociation(read) = Message::parse(&bytes).unwrap().payloads.remove(0) else { panic!("SA") };
    assert!(read[0].transforms[0].foreign);
    assert_eq!(read[0].transforms[0].key_length, None);
}
