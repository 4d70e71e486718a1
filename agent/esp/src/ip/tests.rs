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
    for security in [50, 51, 59] {
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
fn a_header_takes_another_length_and_protocol() {
    let mut packet = v4(&[1, 1, 1, 0], 0, 6, &[0; 20]);
    set_length(&mut packet, 1000).unwrap();
    assert_eq!(packet[2..4], [3, 232]);
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
    }
}
