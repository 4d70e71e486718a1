//! What is cut can be put together again, and the other way round; and nothing is ever reordered or repaired.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::testing::{ACK, CWR, FIN, PSH, Sketch, coalesce, cut, slow_sum};
use super::*;

const KINDS: [(bool, bool); 4] = [(true, true), (false, true), (true, false), (false, false)];

fn payload(length: usize) -> Vec<u8> {
    (0..length).map(|n| u8::try_from(n * 7 % 251).unwrap()).collect()
}

/// Tells whether a packet of a sketch has right checksums, by slow sums.
fn is_right(sketch: &Sketch, packet: &[u8]) -> bool {
    let start = sketch.transport();
    let length = u16::try_from(packet.len() - start).unwrap();
    let addresses = if sketch.ipv4 { &packet[12..20] } else { &packet[8..40] };
    let protocol = if sketch.tcp { 6 } else { 17 };
    let whole = [addresses, &length.to_be_bytes(), &[0, protocol], &packet[start..]].concat();
    (!sketch.ipv4 || slow_sum(&packet[..20]) == 0xffff) && slow_sum(&whole) == 0xffff
}

#[test]
fn a_super_packet_becomes_the_packets_that_would_have_been_sent_without_offload() {
    for (ipv4, tcp) in KINDS {
        let flags = ACK | PSH | FIN | CWR;
        let whole = Sketch { id: 0xfffe, number: u32::MAX - 150, flags, ..Sketch::new(ipv4, tcp, payload(350)) };
        let packets = cut(&whole.frame(100));
        assert_eq!(packets.len(), 4);
        for (n, packet) in (0_u16..).zip(&packets) {
            let from = usize::from(n) * 100;
            let flags = match n {
                0 => ACK | CWR,
                3 => ACK | PSH | FIN,
                _ => ACK,
            };
            let expected = Sketch {
                id: whole.id.wrapping_add(n),
                number: whole.number.wrapping_add(u32::from(n) * 100),
                flags,
                payload: whole.payload[from..whole.payload.len().min(from + 100)].to_vec(),
                ..whole.clone()
            };
            assert_eq!(*packet, expected.packet(), "ipv4 {ipv4} tcp {tcp} segment {n}");
            assert!(is_right(&whole, packet));
        }
    }
}

#[test]
fn a_begun_checksum_is_finished_and_zero_is_sent_as_ones_by_udp_alone() {
    for (ipv4, tcp) in KINDS {
        let mut sketch = Sketch::new(ipv4, tcp, payload(4));
        // The last word makes the sum what it must be for a checksum of zero.
        sketch.payload[2..].fill(0);
        let packet = sketch.packet();
        let at = sketch.transport() + if tcp { 16 } else { 6 };
        sketch.payload[2..].copy_from_slice(&packet[at..at + 2]);
        let header = FrameHeader { checksum: Some(sketch.partial()), segmentation: None };
        let done = cut(&[&header.to_bytes()[..], &sketch.with_pseudo_sum()].concat());
        assert_eq!(done, [sketch.packet()]);
        assert_eq!(done[0][at..at + 2], if tcp { [0; 2] } else { [0xff; 2] });
        // What is whole stays as it is.
        let untouched = [&FrameHeader::default().to_bytes()[..], &packet].concat();
        assert_eq!(cut(&untouched), [packet]);
    }
}

#[test]
fn packets_in_sequence_become_one_frame_and_come_out_of_it_as_they_were() {
    for (ipv4, tcp) in KINDS {
        let whole = Sketch { flags: ACK | PSH, ..Sketch::new(ipv4, tcp, payload(1_050)) };
        let packets = cut(&whole.frame(100));
        let frames = coalesce(&mut Coalescer::new(true, true), &packets);
        assert_eq!(frames.iter().map(|(_, packets)| *packets).collect::<Vec<_>>(), [11]);
        assert_eq!(frames[0].0, whole.frame(100), "as Linux would have made it");
        assert_eq!(cut(&frames[0].0), packets);
        for (off, expected) in [((false, false), 11), ((!tcp, tcp), 11), ((tcp, !tcp), 1)] {
            let frames = coalesce(&mut Coalescer::new(off.0, off.1), &packets);
            assert_eq!(frames.len(), expected);
        }
    }
}

#[test]
fn what_a_single_packet_could_tell_is_never_merged_away() {
    type Change = fn(&mut Sketch);
    let of_all: [Change; 4] = [|s| s.tos = 1, |s| s.ttl = 63, |s| s.port = 2, |s| s.payload.push(0)];
    let of_tcp: [Change; 10] = [
        |s| s.number += 1,
        |s| s.ack += 1,
        |s| s.window += 1,
        |s| s.flags = ACK | FIN,
        |s| s.flags = ACK | CWR,
        |s| s.flags = ACK | 0x20,
        |s| s.flags = 0,
        |s| s.options[11] = 9,
        |s| s.options.clear(),
        |s| s.payload.clear(),
    ];
    let of_ipv4: [Change; 2] = [|s| s.id += 1, |s| s.dont_fragment = true];
    for (ipv4, tcp) in KINDS {
        let first = Sketch::new(ipv4, tcp, payload(100));
        let second = Sketch { id: 8, number: 1_100, ..first.clone() };
        let together = |second: &Sketch| {
            let packets = [first.packet(), second.packet()];
            let frames = coalesce(&mut Coalescer::new(true, true), &packets);
            let apart: Vec<_> = frames.iter().flat_map(|(frame, _)| cut(frame)).collect();
            assert_eq!(apart, packets);
            frames.len() == 1
        };
        assert!(together(&second));
        let changes = of_all.iter().chain(of_tcp.iter().filter(|_| tcp)).chain(of_ipv4.iter().filter(|_| ipv4));
        for (n, change) in changes.enumerate() {
            let mut changed = second.clone();
            change(&mut changed);
            assert!(!together(&changed), "ipv4 {ipv4} tcp {tcp} change {n}");
        }
    }
}

#[test]
fn identifications_matter_only_where_packets_may_be_fragmented() {
    let first = Sketch { dont_fragment: true, ..Sketch::new(true, true, payload(100)) };
    let second = Sketch { id: 0, number: 1_100, ..first.clone() };
    assert_eq!(coalesce(&mut Coalescer::new(true, true), &[first.packet(), second.packet()]).len(), 1);
}

#[test]
fn no_wrong_checksum_is_made_right() {
    for (ipv4, tcp) in KINDS {
        let first = Sketch::new(ipv4, tcp, payload(100));
        let second = Sketch { id: 8, number: 1_100, ..first.clone() };
        let good = [first.packet(), second.packet()];
        for at in 0..good[1].len() {
            let mut packets = good.clone();
            packets[1][at] ^= 0x10;
            let frames = coalesce(&mut Coalescer::new(true, true), &packets);
            let apart: Vec<_> = frames.iter().flat_map(|(frame, _)| cut(frame)).collect();
            assert_eq!(apart, packets, "ipv4 {ipv4} tcp {tcp} byte {at}");
        }
    }
    let mut unsummed = Sketch::new(true, false, payload(100)).packet();
    unsummed[26..28].fill(0);
    let packets = [unsummed.clone(), unsummed];
    assert_eq!(coalesce(&mut Coalescer::new(true, true), &packets).len(), 2, "without a checksum, none is made");
}

#[test]
fn a_fragment_ends_the_frame_of_every_flow() {
    let part =
        |n: u16| Sketch { id: 7 + n, number: 1_000 + u32::from(n) * 100, ..Sketch::new(true, true, payload(100)) };
    let mut fragment = Sketch::new(true, false, payload(50)).packet();
    fragment[6] = 0x20;
    let packets = [part(0).packet(), part(1).packet(), fragment, part(2).packet()];
    let frames = coalesce(&mut Coalescer::new(true, true), &packets);
    assert_eq!(frames.iter().map(|(_, packets)| *packets).collect::<Vec<_>>(), [2, 1, 1]);
}

#[test]
fn frames_stay_within_what_ip_and_linux_take() {
    for (ipv4, tcp, length, count) in [(true, true, 1_400, 60_u16), (false, true, 1_400, 60), (true, false, 1_000, 70)]
    {
        let part = |n: u16| {
            let number = u32::from(n) * u32::try_from(length).unwrap();
            Sketch { id: n, number, ..Sketch::new(ipv4, tcp, payload(length)) }.packet()
        };
        let packets: Vec<_> = (0..count).map(part).collect();
        let frames = coalesce(&mut Coalescer::new(true, true), &packets);
        assert_eq!(frames.len(), 2);
        assert!(frames.iter().all(|(frame, _)| frame.len() <= FRAME_HEADER_LEN + 65_535));
        assert_eq!(frames.iter().flat_map(|(frame, _)| cut(frame)).collect::<Vec<_>>(), packets);
    }
}

/// The choices from which a random packet of one of a few flows is made.
fn choice() -> impl Strategy<Value = (u16, bool, u8, usize)> {
    (0..6_u16, prop::bool::weighted(0.9), 0..20_u8, prop::sample::select(vec![0, 1, 50, 100, 100, 100, 100]))
}

proptest! {
    #[test]
    fn flows_mixed_at_random_keep_their_order_and_their_bytes(choices in prop::collection::vec(choice(), 0..200)) {
        let mut numbers: BTreeMap<u16, (u32, u16)> = BTreeMap::new();
        let packets: Vec<Vec<u8>> = choices.into_iter().map(|(flow, goes_on, oddity, length)| {
            let (ipv4, tcp) = KINDS[usize::from(flow % 4)];
            let (number, id) = numbers.entry(flow).or_insert((1, 1));
            let length = if tcp { length } else { length.max(1) };
            let mut sketch = Sketch { port: flow, number: *number, id: *id, ..Sketch::new(ipv4, tcp, payload(length)) };
            match oddity {
                0 => sketch.flags = ACK | FIN,
                1 => sketch.tos = 3,
                2 | 3 => sketch.flags = ACK | PSH,
                4 => sketch.window = 9,
                _ => {}
            }
            if goes_on {
                *number = number.wrapping_add(u32::try_from(length).unwrap());
                *id = id.wrapping_add(1);
            }
            let mut packet = sketch.packet();
            if oddity == 5 {
                let last = packet.len() - 1;
                packet[last] ^= 1;
            }
            if oddity == 6 && ipv4 {
                packet[6] = 0x20;
            }
            packet
        }).collect();
        let frames = coalesce(&mut Coalescer::new(true, true), &packets);
        let came: Vec<Vec<u8>> = frames.iter().flat_map(|(frame, _)| cut(frame)).collect();
        prop_assert_eq!(frames.iter().map(|(_, packets)| packets).sum::<usize>(), packets.len());
        let of = |all: &[Vec<u8>], port: u16, ipv4: bool| -> Vec<Vec<u8>> {
            let at = if ipv4 { 20 } else { 40 };
            all.iter().filter(|p| (p[0] >> 4 == 4) == ipv4 && p[at..at + 2] == port.to_be_bytes()).cloned().collect()
        };
        for flow in 0..6 {
            let ipv4 = KINDS[usize::from(flow % 4)].0;
            prop_assert_eq!(of(&came, flow, ipv4), of(&packets, flow, ipv4));
        }
    }

    #[test]
    fn segments_of_any_size_are_right(kind in 0..4_usize, length in 0..5_000_usize, size in 1..2_000_u16, id: u16, number: u32) {
        let (ipv4, tcp) = KINDS[kind];
        let whole = Sketch { id, number, ..Sketch::new(ipv4, tcp, payload(length)) };
        let packets = cut(&whole.frame(size));
        prop_assert!(packets.iter().all(|packet| is_right(&whole, packet)));
        let payloads: Vec<u8> = packets.iter().flat_map(|packet| packet[whole.headers()..].to_vec()).collect();
        prop_assert_eq!(payloads, whole.payload);
    }

    #[test]
    fn no_bytes_make_it_panic(
        mut frame in prop::collection::vec(any::<u8>(), 0..300),
        kind in prop::sample::select(vec![0_u8, 1, 4, 5, 0x81]),
        version in prop::sample::select(vec![0x45_u8, 0x46, 0x60]),
        start in 0..60_u8,
    ) {
        if let Some(head) = frame.get_mut(..11) {
            head[0] |= 1;
            head[1] = kind;
            head[4..10].copy_from_slice(&[20, 0, start, 0, if kind == 5 { 6 } else { 16 }, 0]);
            head[10] = version;
        }
        if let Ok(mut segments) = Segments::of(&frame) {
            let mut count = 0;
            while let Some(length) = segments.next_len() {
                if segments.write_next(&mut vec![0; length]).is_none() {
                    break;
                }
                count += 1;
            }
            prop_assert!(count <= segments.count());
        }
        if let Some(packet) = frame.get(10..) {
            let frames = coalesce(&mut Coalescer::new(true, true), &[packet.to_vec(), packet.to_vec()]);
            prop_assert!(frames.iter().all(|(_, packets)| *packets >= 1));
        }
    }
}
