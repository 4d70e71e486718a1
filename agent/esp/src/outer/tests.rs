use super::*;

const NOT: Ecn = Ecn::NotEct;
const ONE: Ecn = Ecn::Ect1;
const ZERO: Ecn = Ecn::Ect0;
const CE: Ecn = Ecn::Ce;

fn v4(class: u8, flags: u8) -> Vec<u8> {
    let mut packet = vec![0; 28];
    let ends = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
    let fields = OuterFields { class, dont_fragment: flags & 0x40 != 0, ttl: 9 };
    write(&mut packet, ends, fields, 17, 0xabcd).unwrap();
    packet
}

fn v6(class: u8) -> Vec<u8> {
    let mut packet = vec![0; 48];
    let ends = ("fd00::1".parse().unwrap(), "fd00::2".parse().unwrap());
    write(&mut packet, ends, OuterFields { class, dont_fragment: true, ttl: 9 }, 17, 0).unwrap();
    packet[1] |= 0x0a;
    packet
}

/// The words of a header summed up, as a receiver checks them.
fn sum(header: &[u8]) -> u32 {
    let sum: u32 = header.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum();
    (sum & 0xffff) + (sum >> 16)
}

#[test]
fn decapsulation_is_the_table_of_rfc_6040() {
    for (inner, row) in [
        (NOT, [Some(NOT), Some(NOT), Some(NOT), None]),
        (ZERO, [Some(ZERO), Some(ZERO), Some(ONE), Some(CE)]),
        (ONE, [Some(ONE), Some(ONE), Some(ONE), Some(CE)]),
        (CE, [Some(CE), Some(CE), Some(CE), Some(CE)]),
    ] {
        for (outer, expected) in [NOT, ZERO, ONE, CE].into_iter().zip(row) {
            assert_eq!(inner.decapsulated(outer), expected, "{inner:?} in {outer:?}");
            for mut packet in [v4(0xb8 | inner.bits(), 0), v6(0xb8 | inner.bits())] {
                let before = packet.clone();
                let given = give_back(&mut packet, 0x40 | outer.bits());
                assert_eq!(given.is_ok(), expected.is_some());
                let class = 0xb8 | expected.unwrap_or(inner).bits();
                assert_eq!(traffic_class(&packet), Ok(class), "the inner DSCP stays");
                if packet[0] >> 4 == 4 {
                    assert_eq!(sum(&packet[..20]), 0xffff);
                } else {
                    assert_eq!((packet[0] >> 4, packet[1] & 0x0f), (6, 0x0a), "version and flow label stay");
                }
                assert_eq!(packet[12..], before[12..]);
            }
        }
    }
}

#[test]
fn the_outer_class_is_a_copy_or_has_a_fixed_dscp_and_always_the_inner_ecn() {
    let rules = OuterRules::default();
    let fixed = OuterRules { dscp: Dscp::Fixed(46), ..rules };
    for ecn in [NOT, ZERO, ONE, CE] {
        for packet in [v4(0x28 | ecn.bits(), 0), v6(0x28 | ecn.bits())] {
            assert_eq!(rules.fields(&packet).unwrap().class, 0x28 | ecn.bits());
            assert_eq!(fixed.fields(&packet).unwrap().class, 0xb8 | ecn.bits());
        }
    }
    assert_eq!(rules.fields(&[]), Err(BadPacket::Short));
    assert_eq!(rules.fields(&[0x50, 0]), Err(BadPacket::Version));
}

#[test]
fn the_df_bit_is_copied_set_or_cleared() {
    let df = |rule, packet: &[u8]| {
        OuterRules { dont_fragment: rule, ..OuterRules::default() }.fields(packet).unwrap().dont_fragment
    };
    assert!(
        df(DontFragment::Copy, &v4(0, 0x40)) && !df(DontFragment::Copy, &v4(0, 0)) && df(DontFragment::Copy, &v6(0))
    );
    assert!(df(DontFragment::Set, &v4(0, 0)) && !df(DontFragment::Clear, &v4(0, 0x40)));
}

#[test]
fn a_written_header_is_whole() {
    let packet = v4(0xb9, 0x40);
    assert_eq!(packet[..10], [0x45, 0xb9, 0, 28, 0xab, 0xcd, 0x40, 0, 9, 17]);
    assert_eq!((sum(&packet[..20]), &packet[12..20]), (0xffff, &[10, 0, 0, 1, 10, 0, 0, 2][..]));
    let packet = v6(0xb9);
    assert_eq!(packet[..8], [0x6b, 0x9a, 0, 0, 0, 8, 17, 9]);
    let (v4, v6) = ("10.0.0.1".parse().unwrap(), "fd00::2".parse().unwrap());
    let fields = OuterRules::default().fields(&packet).unwrap();
    assert_eq!(write(&mut [0; 60], (v4, v6), fields, 50, 1), Err(BadPacket::Version));
    assert_eq!(write(&mut [0; 19], (v4, v4), fields, 50, 1), Err(BadPacket::Short));
    assert_eq!(write(&mut vec![0; 65_536], (v4, v4), fields, 50, 1), Err(BadPacket::Long));
}
