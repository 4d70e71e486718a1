use proptest::prelude::*;

use super::*;

/// A segment with right checksums.
fn tcp(v6: bool, flags: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let words = u8::try_from(5 + options.len() / 4).unwrap();
    let mut segment = vec![0, 80, 1, 187, 0, 0, 0, 1, 0, 0, 0, 0, words << 4, flags, 0xff, 0xff, 0, 0, 0, 0];
    segment.extend(options);
    segment.extend(payload);
    let (length, ends) = (segment.len(), if v6 { [0xfd; 32].to_vec() } else { vec![10, 0, 0, 1, 10, 0, 0, 2] });
    let sum = checksum(&ends, &segment);
    segment[16..18].copy_from_slice(&sum);
    let total = u16::try_from(if v6 { length } else { length + 20 }).unwrap().to_be_bytes();
    let mut packet = if v6 {
        vec![0x60, 0, 0, 0, total[0], total[1], 6, 64]
    } else {
        vec![0x45, 0, total[0], total[1], 0, 0, 0, 0, 64, 6, 0, 0]
    };
    packet.extend(ends);
    packet.extend(segment);
    packet
}

/// The checksum of a segment as RFC 9293 has it: in the field if that is zero, and zero if the field is right.
fn checksum(ends: &[u8], segment: &[u8]) -> [u8; 2] {
    let length = u16::try_from(segment.len()).unwrap().to_be_bytes();
    let mut bytes = [ends, &[0, 6], &length, segment].concat();
    if bytes.len() % 2 == 1 {
        bytes.push(0);
    }
    let sum = bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum::<u32>();
    let folded = (sum & 0xffff) + (sum >> 16);
    (!u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap()).to_be_bytes()
}

fn is_right(packet: &[u8]) -> bool {
    let (ends, segment) = if packet[0] >> 4 == 4 { (&packet[12..20], 20) } else { (&packet[8..40], 40) };
    checksum(ends, &packet[segment..]) == [0, 0]
}

#[test]
fn a_syn_announces_no_more_than_fits() {
    for (v6, expected) in [(false, 1398_u16), (true, 1378)] {
        // Aligned, after one and after two single bytes: the value may straddle the words of the checksum.
        for options in
            [&[2, 4, 5, 180][..], &[1, 2, 4, 5, 180, 1, 1, 1], &[1, 1, 2, 4, 5, 180, 0, 0], &[3, 3, 7, 2, 4, 5, 180, 0]]
        {
            for flags in [0x02, 0x12, 0xc2] {
                let mut packet = tcp(v6, flags, options, &[7; 3]);
                assert!(is_right(&packet));
                assert!(clamp_mss(&mut packet, 1438));
                let at = options.windows(2).position(|two| two == [2, 4]).unwrap() + if v6 { 62 } else { 42 };
                assert_eq!(packet[at..at + 2], expected.to_be_bytes());
                assert!(is_right(&packet), "{options:?}");
                assert!(!clamp_mss(&mut packet, 1438), "it fits now");
            }
        }
    }
}

#[test]
fn other_packets_stay_as_they_are() {
    let cases = [
        tcp(false, 0x10, &[2, 4, 5, 180], &[]),
        tcp(false, 0x02, &[2, 4, 1, 0], &[]),
        tcp(false, 0x02, &[0, 2, 4, 5, 180, 0, 0, 0], &[]),
        tcp(false, 0x02, &[2, 3, 5, 180], &[]),
        tcp(false, 0x02, &[9, 0, 2, 4], &[]),
        tcp(false, 0x02, &[], &[2, 4, 5, 180]),
        vec![0x45],
    ];
    for packet in cases {
        let mut copy = packet.clone();
        assert!(!clamp_mss(&mut copy, 1438) && copy == packet, "{packet:?}");
    }
    let mut fragment = tcp(false, 0x02, &[2, 4, 5, 180], &[]);
    fragment[6] = 0x20;
    assert!(!clamp_mss(&mut fragment, 1438));
}

#[test]
fn a_syn_is_told_by_its_flags_and_what_cannot_be_seen_may_be_one() {
    for (v6, flags) in [(false, 0x10), (true, 0x18), (false, 0x11), (false, 0x02), (true, 0x12), (true, 0xc2)] {
        let packet = tcp(v6, flags, &[1, 1, 1, 1], &[2; 40]);
        assert_eq!(may_be_syn(&packet, 6), flags & 0x02 != 0, "{v6} {flags}");
        assert!(!may_be_syn(&packet, 17), "of another protocol");
    }
    let mut behind = tcp(true, 0x10, &[], &[]);
    behind[6] = 60;
    assert!(may_be_syn(&behind, 6));
    assert!(!may_be_syn(&[0x45], 6));
}

proptest! {
    #[test]
    fn any_options_leave_a_packet_whole(options in prop::collection::vec(prop::sample::select(vec![0_u8, 1, 2, 3, 4, 255]), 0..40), mtu: u16) {
        let mut options = options;
        options.truncate(options.len() / 4 * 4);
        let mut packet = tcp(false, 0x02, &options, &[1, 2, 3]);
        let length = packet.len();
        clamp_mss(&mut packet, mtu);
        prop_assert!(is_right(&packet) && packet.len() == length);
    }
}
