use proptest::prelude::*;

use super::*;

fn v4(options: &[u8], flags: u16, upper: u8, payload: &[u8]) -> Vec<u8> {
    let words = u8::try_from(5 + options.len() / 4).unwrap();
    let length = u16::try_from(20 + options.len() + payload.len()).unwrap().to_be_bytes();
    let flags = flags.to_be_bytes();
    let mut packet = vec![0x40 | words, 0xb9, length[0], length[1], 0xab, 0xcd, flags[0], flags[1], 63, upper, 7, 9];
    packet.extend([10, 0, 0, 1, 10, 0, 0, 2]);
    [&packet, options, payload].concat()
}

fn v6(next: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let mut packet = vec![0x6b, 0x91, 0x23, 0x45, length[0], length[1], next, 63];
    packet.extend([[0xfd; 16], [0xfe; 16]].concat());
    [&packet, payload].concat()
}

/// An extension header of so many times 8 bytes.
fn extension(next: u8, units: u8, filling: &[u8]) -> Vec<u8> {
    let mut header = vec![next, units - 1];
    header.extend(filling);
    header.resize(usize::from(units) * 8, 0);
    header
}

fn link(protocol: u8, at: usize, named_at: usize) -> Link {
    Link { protocol, at, named_at }
}

#[test]
fn options_stand_before_the_place_and_extension_headers_of_the_way_as_well() {
    let packet = v4(&[148, 4, 0, 0], 0, 6, &[0; 20]);
    let read = layout(&packet).unwrap();
    assert_eq!((read.place, read.upper), (link(6, 24, 9), link(6, 24, 9)));
    let packet = v6(6, &[0; 20]);
    assert_eq!(layout(&packet).unwrap().place, link(6, 40, 6));
    // Hop-by-hop, destination options, routing, destination options: the last belong to what is protected.
    let (first, second) = (extension(60, 1, &[]), extension(43, 2, &[]));
    let (third, fourth) = (extension(60, 3, &[0, 0]), extension(6, 1, &[]));
    let packet = v6(0, &[&first, &second, &third, &fourth, &[0; 20][..]].concat());
    let read = layout(&packet).unwrap();
    assert_eq!((read.place, read.upper), (link(60, 88, 64), link(6, 96, 88)));
    // Without a routing header all destination options do.
    let packet = v6(0, &[&first, &extension(6, 1, &[]), &[0; 20][..]].concat());
    assert_eq!(layout(&packet).unwrap().place, link(60, 48, 40));
}

#[test]
fn ah_and_esp_are_upper_layers() {
    for security in [protocol::AH, protocol::ESP, protocol::NONE] {
        let packet = v6(0, &[&extension(security, 1, &[]), &[0; 40][..]].concat());
        assert_eq!(layout(&packet).unwrap().upper, link(security, 48, 40));
    }
}

#[test]
fn fragments_are_told_apart() {
    let of_v4 = |flags, upper| layout(&v4(&[], flags, upper, &[0; 8])).map(|read| read.fragment);
    assert_eq!(of_v4(0x4000, 17), Ok(Fragment::Whole));
    assert_eq!(of_v4(0x2000, 17), Ok(Fragment::First));
    assert_eq!(of_v4(0x2001, 17), Ok(Fragment::Later));
    assert_eq!(of_v4(0x0fff, 17), Ok(Fragment::Later));
    assert_eq!(of_v4(0x2001, 6), Err(BadPacket::Overlap), "flags and offset of a TCP header");
    let of_v6 = |low| {
        let header = [17, 0, 0, low, 0, 0, 0, 1];
        layout(&v6(protocol::FRAGMENT, &[&header[..], &[0; 8]].concat())).map(|read| read.fragment)
    };
    assert_eq!(of_v6(0), Ok(Fragment::Whole), "an atomic fragment");
    assert_eq!(of_v6(1), Ok(Fragment::First));
    assert_eq!(of_v6(9), Ok(Fragment::Later));
}

#[test]
fn of_ipv4_what_may_change_is_zero_and_the_rest_as_it_was() {
    let mut headers = v4(&[148, 4, 0, 1, 7, 3, 4, 1], 0x6123, 51, &[]);
    let before = headers.clone();
    zero_mutable(&mut headers).unwrap();
    let mut expected = before.clone();
    for at in [1, 6, 7, 8, 10, 11, 24, 25, 26] {
        expected[at] = 0;
    }
    assert_eq!(headers, expected);
    // Traceroute and what nobody knows are mutable, security options are not.
    for (kind, kept) in [(130, true), (133, true), (134, true), (149, true), (82, false), (68, false), (222, false)] {
        let mut headers = v4(&[kind, 4, 9, 9], 0, 51, &[]);
        zero_mutable(&mut headers).unwrap();
        assert_eq!(headers[20..] == [kind, 4, 9, 9], kept, "{kind}");
        assert_eq!(headers[20..] == [0; 4], !kept, "{kind}");
    }
}

#[test]
fn with_a_source_route_the_destination_is_the_last_one() {
    for (kind, pointer, expected) in [(131, 4, [9, 9, 9, 9]), (137, 8, [9, 9, 9, 9]), (131, 12, [10, 0, 0, 2])] {
        let mut headers = v4(&[kind, 11, pointer, 8, 8, 8, 8, 9, 9, 9, 9, 1], 0, 51, &[]);
        zero_mutable(&mut headers).unwrap();
        assert_eq!(headers[16..20], expected);
        assert_eq!(headers[20..], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    }
}

#[test]
fn of_ipv6_class_label_hop_limit_and_data_of_changing_options_are_zero() {
    let options = extension(51, 2, &[0x25, 3, 1, 2, 3, 0x05, 2, 4, 5, 0, 1, 2, 6, 6]);
    let mut headers = v6(0, &options);
    let mut expected = headers.clone();
    for (at, byte) in [(0, 0x60), (1, 0), (2, 0), (3, 0), (7, 0), (44, 0), (45, 0), (46, 0)] {
        expected[at] = byte;
    }
    zero_mutable(&mut headers).unwrap();
    assert_eq!(headers, expected);
}

#[test]
fn a_routing_header_is_covered_as_it_arrives_from_every_stop_of_the_way() {
    let stops = [[1; 16], [2; 16], [3; 16]];
    let on_the_way = |left: usize| {
        // What each stop makes of it: exchange the destination with the next address.
        let (mut list, mut destination) = (stops.to_vec(), [0xfe; 16]);
        for stop in list.iter_mut().take(3 - left) {
            std::mem::swap(stop, &mut destination);
        }
        let left = u8::try_from(left).unwrap();
        let mut packet = v6(43, &extension(51, 7, &[&[0, left, 0, 0, 0, 0], list.concat().as_slice()].concat()));
        packet[24..40].copy_from_slice(&destination);
        packet
    };
    let mut arrived = on_the_way(0);
    assert_eq!((&arrived[24..40], arrived[43]), (&[3; 16][..], 0));
    zero_mutable(&mut arrived).unwrap();
    for left in 1..=3 {
        let mut packet = on_the_way(left);
        zero_mutable(&mut packet).unwrap();
        assert_eq!(packet, arrived, "{left}");
    }
}

#[test]
fn a_header_that_cannot_be_covered_is_refused() {
    for bad in [
        v6(44, &extension(51, 1, &[])),
        v6(43, &extension(51, 3, &[4, 1])),
        v6(43, &extension(51, 2, &[0, 0])),
        v6(43, &extension(51, 3, &[2, 2])),
        v6(200, &extension(51, 1, &[])),
    ] {
        assert_eq!(zero_mutable(&mut bad.clone()), Err(BadPacket::Uncovered), "{bad:?}");
    }
    for bad in [v4(&[7, 0, 0, 0], 0, 51, &[]), v4(&[7, 5, 0, 0], 0, 51, &[]), v6(0, &extension(51, 1, &[5, 9]))] {
        assert_eq!(zero_mutable(&mut bad.clone()), Err(BadPacket::Short), "{bad:?}");
    }
}

#[test]
fn a_header_takes_another_length_and_protocol() {
    let mut packet = v4(&[1, 1, 1, 0], 0, 6, &[0; 20]);
    set_protocol(&mut packet, 9, protocol::ESP);
    set_length(&mut packet, 1000).unwrap();
    assert_eq!((packet[2..4].to_vec(), packet[9]), (vec![3, 232], 50));
    assert_eq!(checksum::checksum(&packet[..24]), [0, 0], "a right header sums to 0");
    assert_eq!(set_length(&mut packet, 65_536), Err(BadPacket::Long));
    let mut packet = v6(6, &[0; 20]);
    set_length(&mut packet, 1040).unwrap();
    assert_eq!(packet[4..6], [3, 232]);
    assert_eq!(
        (set_length(&mut packet, 39), set_length(&mut packet, 65_576)),
        (Err(BadPacket::Short), Err(BadPacket::Long))
    );
    assert_eq!((set_length(&mut [], 9), set_length(&mut [0x50], 9)), (Err(BadPacket::Short), Err(BadPacket::Version)));
}

proptest! {
    #[test]
    fn no_bytes_whatever_make_the_layout_leave_the_packet(
        version in prop::sample::select(vec![4_u8, 6]), next in prop::sample::select(vec![0_u8, 6, 43, 44, 51, 60]),
        mut bytes in prop::collection::vec(prop_oneof![Just(0_u8), Just(60), Just(43), any::<u8>()], 0..200),
    ) {
        if let Some(first) = bytes.first_mut() {
            *first = (version << 4) | (*first & 0x0f);
        }
        if version == 6 && bytes.len() > 40 {
            bytes[6] = next;
            let length = u16::try_from(bytes.len() - 40).unwrap().to_be_bytes();
            bytes[4..6].copy_from_slice(&length);
        }
        if let Ok(read) = layout(&bytes) {
            prop_assert!(read.length <= bytes.len() && read.place.at <= read.upper.at && read.upper.at <= read.length);
            for link in [read.place, read.upper] {
                prop_assert!(link.named_at < link.at);
                prop_assert_eq!(bytes[link.named_at], link.protocol);
            }
        }
        let mut once = bytes.clone();
        if zero_mutable(&mut once).is_ok() {
            prop_assert_eq!(once.len(), bytes.len());
            let mut twice = once.clone();
            if version == 6 {
                prop_assert_eq!(zero_mutable(&mut twice), Ok(()));
                prop_assert_eq!(twice, once);
            }
        }
    }

    #[test]
    fn a_difference_makes_the_sum_that_a_computation_makes(
        mut words in prop::collection::vec(any::<u16>(), 4..40), old: [u8; 4], new: [u8; 4],
    ) {
        words[0] = 0;
        let bytes = |address: &[u8]| [words.iter().flat_map(|word| word.to_be_bytes()).collect(), address.to_vec()].concat();
        let (before, after) = (checksum::checksum(&bytes(&old)), checksum::checksum(&bytes(&new)));
        let changed = Difference::default().bytes(&old, &new).apply(before);
        let canonical = |sum: [u8; 2]| if sum == [0xff; 2] { [0; 2] } else { sum };
        prop_assert_eq!(canonical(changed), canonical(after));
        let by_address = Difference::default().address(IpAddr::from(old), IpAddr::from(new)).apply(before);
        prop_assert_eq!(by_address, changed);
    }
}
