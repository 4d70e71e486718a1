use proptest::prelude::*;

use super::*;
use crate::ip;

/// A packet between these ends whose checksum is right for others.
fn packet(ends: (IpAddr, IpAddr), made_of: (IpAddr, IpAddr), upper: u8, payload: &[u8]) -> Vec<u8> {
    let mut body = vec![0; 20];
    body.extend(payload);
    body[12] = 0x50;
    if upper == protocol::UDP {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        body[4..6].copy_from_slice(&length);
    }
    let sum = ip::upper_checksum(Some((made_of, upper)), &body);
    let at = checksum_at(upper).unwrap();
    body[at..at + 2].copy_from_slice(&sum);
    let mut packet = vec![0; crate::outer::header_len(ends.0.is_ipv6())];
    packet.extend(body);
    let fields = crate::outer::OuterFields { class: 0, dont_fragment: true, ttl: 64 };
    crate::outer::write(&mut packet, ends, fields, upper, 1).unwrap();
    packet
}

fn is_right(packet: &[u8]) -> bool {
    let layout = ip::layout(packet).unwrap();
    ip::upper_checksum(Some((layout.ends, layout.upper.protocol)), &packet[layout.upper.at..]) == [0, 0]
}

#[test]
fn a_udp_packet_without_a_checksum_gets_none() {
    let (near, far) = ("10.0.0.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
    let mut packet = packet((near, far), (near, far), protocol::UDP, &[1, 2, 3]);
    packet[26..28].copy_from_slice(&[0, 0]);
    let before = packet.clone();
    let layout = ip::layout(&packet).unwrap();
    repair(&mut packet, &layout, (far, near));
    repair(&mut packet, &layout, ("10.9.9.9".parse().unwrap(), near));
    assert_eq!(packet, before);
}

#[test]
fn a_udp_checksum_that_becomes_zero_is_written_as_its_complement() {
    let (from, to): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
    // For each original some payload leads to a sum of zero with the real addresses.
    let found = (0..=u16::MAX).any(|word| {
        let mut packet = packet((from, to), ("192.0.2.7".parse().unwrap(), to), protocol::UDP, &word.to_be_bytes());
        let layout = ip::layout(&packet).unwrap();
        repair(&mut packet, &layout, ("192.0.2.7".parse().unwrap(), to));
        assert!(packet[26..28] != [0, 0]);
        packet[26..28] == [0xff, 0xff] && is_right(&packet)
    });
    assert!(found);
}

#[test]
fn what_has_no_checksum_of_addresses_stays_as_it_is() {
    let ends = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
    for upper in [protocol::ICMP, 132, 47, protocol::ESP] {
        let mut packet = packet(ends, ends, protocol::TCP, &[1, 2, 3]);
        packet[9] = upper;
        let before = packet.clone();
        let layout = ip::layout(&packet).unwrap();
        repair(&mut packet, &layout, ("192.0.2.7".parse().unwrap(), ends.1));
        assert_eq!(packet, before);
    }
    let mut short = packet(ends, ends, protocol::TCP, &[]);
    short[2..4].copy_from_slice(&[0, 30]);
    let layout = ip::layout(&short).unwrap();
    let before = short.clone();
    repair(&mut short, &layout, ("192.0.2.7".parse().unwrap(), ends.1));
    assert_eq!(short, before, "the field lies outside the packet");
}

proptest! {
    #[test]
    fn a_checksum_of_other_addresses_becomes_right(
        v4: bool, seen: [[u8; 16]; 2], made_of: [[u8; 16]; 2],
        upper in prop::sample::select(vec![protocol::TCP, protocol::UDP, protocol::DCCP, protocol::UDP_LITE, protocol::ICMPV6]),
        payload in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let address = |bytes: [u8; 16]| {
            if v4 { IpAddr::from([bytes[0], bytes[1], bytes[2], bytes[3]]) } else { IpAddr::from(bytes) }
        };
        let (seen, made_of) = (seen.map(address), made_of.map(address));
        let mut packet = packet((seen[0], seen[1]), (made_of[0], made_of[1]), upper, &payload);
        let layout = ip::layout(&packet).unwrap();
        let at = layout.upper.at + checksum_at(upper).unwrap();
        if upper == protocol::UDP && packet[at..at + 2] == [0, 0] {
            packet[at..at + 2].copy_from_slice(&[0xff, 0xff]);
        }
        repair(&mut packet, &layout, (made_of[0], made_of[1]));
        prop_assert!(is_right(&packet));
    }
}
