use proptest::prelude::*;

use super::super::PayloadType;
use super::*;

fn read(bytes: &[u8]) -> Result<Configuration, Malformed> {
    let mut r = Reader::new(bytes);
    let read = Configuration::read(&mut r)?;
    r.finish("CP")?;
    Ok(read)
}

fn emit(configuration: &Configuration) -> Vec<u8> {
    let mut w = Writer::new();
    configuration.emit(&mut w).unwrap();
    w.finish()
}

fn attribute() -> impl Strategy<Value = Attribute> {
    let ip4 = || proptest::option::of(any::<u32>().prop_map(Ipv4Addr::from));
    let ip6 = || proptest::option::of(any::<u128>().prop_map(Ipv6Addr::from));
    let net6 = || proptest::option::of((any::<u128>().prop_map(Ipv6Addr::from), 0..=128_u8));
    let bytes = || proptest::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        ip4().prop_map(Attribute::Ip4Address),
        ip4().prop_map(Attribute::Ip4Netmask),
        ip4().prop_map(Attribute::Ip4Dns),
        ip4().prop_map(Attribute::Ip4Nbns),
        ip4().prop_map(Attribute::Ip4Dhcp),
        bytes().prop_map(Attribute::ApplicationVersion),
        net6().prop_map(Attribute::Ip6Address),
        ip6().prop_map(Attribute::Ip6Dns),
        ip6().prop_map(Attribute::Ip6Dhcp),
        ip4().prop_map(|net| Attribute::Ip4Subnet(net.map(|net| (net, Ipv4Addr::BROADCAST)))),
        proptest::collection::vec((0..RESERVED).prop_map(AttributeType), 0..9).prop_map(Attribute::Supported),
        net6().prop_map(Attribute::Ip6Subnet),
        (16..RESERVED, bytes()).prop_map(|(kind, bytes)| Attribute::Unknown(AttributeType(kind), bytes)),
    ]
}

proptest! {
    #[test]
    fn a_configuration_is_read_as_it_was_written(
        kind: u8,
        attributes in proptest::collection::vec(attribute(), 0..20),
    ) {
        let configuration = Configuration { kind: ConfigurationType(kind), attributes };
        prop_assert_eq!(read(&emit(&configuration)), Ok(configuration));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(configuration) = read(&bytes) {
            prop_assert_eq!(read(&emit(&configuration)), Ok(configuration));
        }
    }
}

#[test]
fn a_request_has_the_bytes_of_the_rfc() {
    let address = Attribute::Ip6Address(Some(("fd00::1".parse().unwrap(), 64)));
    let attributes = vec![Attribute::Ip4Address(None), Attribute::Ip4Dns(Some(Ipv4Addr::new(10, 0, 0, 1))), address];
    let bytes = emit(&Configuration { kind: ConfigurationType::REQUEST, attributes });
    #[rustfmt::skip]
    let expected = [
        1, 0, 0, 0,
        0, 1, 0, 0,
        0, 3, 0, 4, 10, 0, 0, 1,
        0, 8, 0, 17, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 64,
    ];
    assert_eq!(bytes, expected);
    assert_eq!(PayloadType::CP.0, 47);
}

#[test]
fn what_is_not_an_attribute_is_refused_and_what_is_unknown_is_kept() {
    assert_eq!(read(&[1, 0, 0]), Err(Malformed::Truncated("CP")));
    assert!(read(&[1, 0, 0, 0, 0, 1, 0, 5, 1, 2, 3, 4, 5]).is_err(), "an IPv4 address of five bytes");
    assert!(read(&[1, 0, 0, 0, 0, 1, 0, 3, 1, 2, 3]).is_err(), "an IPv4 address of three bytes");
    assert!(read(&[1, 0, 0, 0, 0, 1, 0, 4, 1, 2, 3]).is_err(), "a length beyond the payload");
    assert!(read(&[1, 0, 0, 0, 0, 14, 0, 1, 1]).is_err(), "half a type");
    let prefix = [&[2, 0, 0, 0, 0, 8, 0, 17][..], &[0; 16], &[129]].concat();
    assert_eq!(read(&prefix), Err(Malformed::Value("IPv6 prefix")));
    let unknown = Attribute::Unknown(AttributeType(25), vec![7]);
    let read_back = read(&[2, 9, 9, 9, 0x80, 25, 0, 1, 7]).unwrap();
    assert_eq!(read_back, Configuration { kind: ConfigurationType::REPLY, attributes: vec![unknown] });
    let many = [&[1, 0, 0, 0][..], &[0, 1, 0, 0].repeat(MAX_ATTRIBUTES + 1)].concat();
    assert_eq!(read(&many), Err(Malformed::TooMany("configuration attributes")));
}
