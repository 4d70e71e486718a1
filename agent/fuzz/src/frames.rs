//! Packets in bulk: whatever frame comes is cut into whole packets or refused, and what is put together comes apart again.

use espalier_esp::offload::{Coalescer, FRAME_HEADER_LEN, Segments};

use crate::input::Input;

const MOST_PACKETS: usize = 64;
const LONGEST: usize = 65_535;

/// Takes a frame to cut, or packets to put together.
pub fn target(data: &[u8]) {
    let mut input = Input::new(data);
    match input.below(2) {
        0 => _ = cut(input.rest()),
        _ => put_together(&mut input),
    }
}

/// Cuts a frame, and returns its packets.
fn cut(frame: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut segments = Segments::of(frame).ok()?;
    let (count, bytes, mut packets) = (segments.count(), segments.bytes(), Vec::new());
    while let Some(length) = segments.next_len() {
        assert!(length <= LONGEST && packets.len() < count, "more packets than announced");
        assert_eq!(segments.left(), count - packets.len());
        let mut packet = vec![0; length];
        segments.write_next(&mut packet).expect("a room of the right length");
        packets.push(packet);
    }
    assert_eq!((packets.len(), packets.iter().map(Vec::len).sum::<usize>()), (count, bytes));
    Some(packets)
}

fn put_together(input: &mut Input<'_>) {
    let which = input.u8();
    let mut coalescer = Coalescer::new(which & 1 != 0, which & 2 != 0);
    let (mut went, mut came) = (Vec::new(), Vec::new());
    while !input.is_empty() && went.len() < MOST_PACKETS {
        let packet = input.string();
        if packet.is_empty() {
            continue;
        }
        if coalescer.push(packet).is_err() {
            take(&mut coalescer, &mut came);
            coalescer.push(packet).expect("there is room again");
        }
        went.push(packet.to_vec());
    }
    take(&mut coalescer, &mut came);
    // Packets of other flows may change places, those of one do not.
    for packets in [&mut went, &mut came] {
        packets.iter_mut().for_each(|packet| forget_identification(packet));
        packets.sort();
    }
    assert_eq!(went, came, "each packet comes apart as it was");
}

/// Where nobody may fragment, the identification of IPv4 means nothing, and may change (RFC 6864 §4.1); its checksum with it.
fn forget_identification(packet: &mut [u8]) {
    if packet.len() >= 20 && packet[0] == 0x45 && packet[6] == 0x40 {
        packet[4..6].fill(0);
        packet[10..12].fill(0);
    }
}

fn take(coalescer: &mut Coalescer, came: &mut Vec<Vec<u8>>) {
    coalescer.flush(|frame, packets| {
        // A frame of one packet is that packet, whether or not it can be read.
        let apart =
            if packets == 1 { vec![frame[FRAME_HEADER_LEN..].to_vec()] } else { cut(frame).expect("our own frame") };
        assert_eq!(apart.len(), packets);
        came.extend(apart);
    });
}

/// Frames as the kernel gives them, and packets that go together.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let tcp = |number: u8, payload: u8| {
        let length = 40 + payload;
        let mut packet = vec![0x45, 0, 0, length, 0, number, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        packet.extend([0, 80, 1, 0, 0, 0, 0, number * payload, 0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0]);
        packet.extend((0..payload).map(|n| n.wrapping_mul(7)));
        let sum = checksum(&packet[..20]);
        packet[10..12].copy_from_slice(&sum);
        let pseudo = [&packet[12..20], &[0, 6, 0, 20 + payload], &packet[20..]].concat();
        let sum = checksum(&pseudo);
        packet[36..38].copy_from_slice(&sum);
        packet
    };
    let string = |packet: Vec<u8>| [vec![u8::try_from(packet.len()).unwrap()], packet].concat();
    let together = |count: u8| [vec![1, 3], (0..count).flat_map(|n| string(tcp(n, 24))).collect()].concat();
    // No segmentation; a partial checksum; TCP over IPv4 in segments of 24 bytes.
    let plain = [vec![0; 1 + FRAME_HEADER_LEN], tcp(0, 24)].concat();
    let mut partial = plain.clone();
    partial[1] = 1;
    partial[7..11].copy_from_slice(&[20, 0, 16, 0]);
    let mut cut = [vec![0; 1 + FRAME_HEADER_LEN], tcp(0, 100)].concat();
    cut[1..11].copy_from_slice(&[1, 1, 40, 0, 24, 0, 20, 0, 16, 0]);
    vec![plain, partial, cut, together(2), together(5), [vec![1, 3], string(tcp(1, 24)), string(tcp(9, 3))].concat()]
}

fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | word.get(1).copied().map_or(0, u32::from));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    (!u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap()).to_be_bytes()
}
