//! Packets and frames for tests, and slow ways to do things.

use super::*;

/// Sums word by word.
pub(crate) fn slow_sum(bytes: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap()
}

/// What a test packet has.
#[derive(Clone, Debug)]
pub(crate) struct Sketch {
    pub(crate) ipv4: bool,
    pub(crate) tcp: bool,
    /// Distinguishes flows.
    pub(crate) port: u16,
    pub(crate) tos: u8,
    pub(crate) ttl: u8,
    pub(crate) id: u16,
    pub(crate) dont_fragment: bool,
    pub(crate) number: u32,
    pub(crate) ack: u32,
    pub(crate) window: u16,
    pub(crate) flags: u8,
    /// In words of four bytes.
    pub(crate) options: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

pub(crate) const ACK: u8 = 0x10;
pub(crate) const PSH: u8 = 0x08;
pub(crate) const FIN: u8 = 0x01;
pub(crate) const CWR: u8 = 0x80;

impl Sketch {
    pub(crate) fn new(ipv4: bool, tcp: bool, payload: Vec<u8>) -> Self {
        let options = if tcp { vec![1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2] } else { vec![] };
        Self {
            ipv4,
            tcp,
            port: 1,
            tos: 0,
            ttl: 64,
            id: 7,
            dont_fragment: false,
            number: 1_000,
            ack: 2_000,
            window: 500,
            flags: ACK,
            options,
            payload,
        }
    }

    /// Returns the packet, with right checksums.
    pub(crate) fn packet(&self) -> Vec<u8> {
        let mut packet = self.with_pseudo_sum();
        let start = self.transport();
        let at = start + if self.tcp { 16 } else { 6 };
        let sum = !slow_sum(&packet[start..]);
        let sum = if sum == 0 && !self.tcp { 0xffff } else { sum };
        packet[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        packet
    }

    /// Returns the frame that Linux makes of it, to be cut into segments.
    pub(crate) fn frame(&self, size: u16) -> Vec<u8> {
        let kind = match (self.tcp, self.ipv4) {
            (true, true) => SegmentationKind::Tcp4,
            (true, false) => SegmentationKind::Tcp6,
            (false, _) => SegmentationKind::Udp,
        };
        let word = |n: usize| u16::try_from(n).unwrap();
        let header = FrameHeader {
            checksum: Some(self.partial()),
            segmentation: Some(Segmentation { kind, header_len: word(self.headers()), size }),
        };
        [&header.to_bytes()[..], &self.with_pseudo_sum()].concat()
    }

    pub(crate) fn partial(&self) -> PartialChecksum {
        PartialChecksum { start: u16::try_from(self.transport()).unwrap(), offset: if self.tcp { 16 } else { 6 } }
    }

    pub(crate) fn transport(&self) -> usize {
        if self.ipv4 { 20 } else { 40 }
    }

    pub(crate) fn headers(&self) -> usize {
        self.transport() + if self.tcp { 20 + self.options.len() } else { 8 }
    }

    /// Returns the packet with the sum of the pseudo-header where its checksum goes.
    pub(crate) fn with_pseudo_sum(&self) -> Vec<u8> {
        let upper = self.upper();
        let protocol = if self.tcp { 6 } else { 17 };
        let (mut packet, addresses) =
            if self.ipv4 { self.ipv4_header(protocol, &upper) } else { self.ipv6_header(protocol, &upper) };
        let length = u16::try_from(upper.len()).unwrap();
        let pseudo = [&packet[addresses..self.transport()], &length.to_be_bytes(), &[0, protocol]].concat();
        packet.extend(&upper);
        let at = self.transport() + if self.tcp { 16 } else { 6 };
        packet[at..at + 2].copy_from_slice(&slow_sum(&pseudo).to_be_bytes());
        packet
    }

    fn ipv4_header(&self, protocol: u8, upper: &[u8]) -> (Vec<u8>, usize) {
        let length = u16::try_from(20 + upper.len()).unwrap().to_be_bytes();
        let (id, flags) = (self.id.to_be_bytes(), if self.dont_fragment { 0x40 } else { 0 });
        let mut header = vec![0x45, self.tos, length[0], length[1], id[0], id[1], flags, 0, self.ttl, protocol, 0, 0];
        header.extend([10, 0, 0, 1, 10, 0, 0, 2]);
        let sum = (!slow_sum(&header)).to_be_bytes();
        header[10..12].copy_from_slice(&sum);
        (header, 12)
    }

    fn ipv6_header(&self, protocol: u8, upper: &[u8]) -> (Vec<u8>, usize) {
        let length = u16::try_from(upper.len()).unwrap().to_be_bytes();
        let mut header = vec![0x60 | self.tos >> 4, self.tos << 4, 0, 9, length[0], length[1], protocol, self.ttl];
        for last in [1, 2] {
            header.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
        }
        (header, 8)
    }

    fn upper(&self) -> Vec<u8> {
        let mut upper = [self.port.to_be_bytes(), 443_u16.to_be_bytes()].concat();
        if self.tcp {
            upper.extend(self.number.to_be_bytes());
            upper.extend(self.ack.to_be_bytes());
            upper.extend([u8::try_from(5 + self.options.len() / 4).unwrap() << 4, self.flags]);
            upper.extend(self.window.to_be_bytes());
            upper.extend([0; 4]);
            upper.extend(&self.options);
        } else {
            upper.extend(u16::try_from(8 + self.payload.len()).unwrap().to_be_bytes());
            upper.extend([0; 2]);
        }
        upper.extend(&self.payload);
        upper
    }
}

/// Cuts a frame into its packets.
pub(crate) fn cut(frame: &[u8]) -> Vec<Vec<u8>> {
    let mut segments = Segments::of(frame).unwrap();
    let (count, bytes) = (segments.count(), segments.bytes());
    let mut packets = Vec::new();
    while let Some(length) = segments.next_len() {
        let mut room = vec![0xee; length];
        segments.write_next(&mut room).unwrap();
        packets.push(room);
    }
    assert_eq!((packets.len(), packets.iter().map(Vec::len).sum::<usize>()), (count, bytes));
    packets
}

/// Coalesces packets into frames.
pub(crate) fn coalesce(coalescer: &mut Coalescer, packets: &[Vec<u8>]) -> Vec<(Vec<u8>, usize)> {
    let mut frames = Vec::new();
    for packet in packets {
        if coalescer.push(packet).is_err() {
            coalescer.flush(|frame, packets| frames.push((frame.to_vec(), packets)));
            coalescer.push(packet).unwrap();
        }
    }
    coalescer.flush(|frame, packets| frames.push((frame.to_vec(), packets)));
    frames
}
