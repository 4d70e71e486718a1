//! What the kernel says of a packet, and we of one to it: `struct virtio_net_hdr` (virtio 1.3 §5.1.6), as Linux's TUN has it.

use thiserror::Error;

/// The length of the header before every packet of a TUN interface: without the count of buffers, in the machine's byte order.
pub const FRAME_HEADER_LEN: usize = 10;

/// What is left to do with a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameHeader {
    /// The checksum that is only begun.
    pub checksum: Option<PartialChecksum>,
    /// How the packet is cut.
    pub segmentation: Option<Segmentation>,
}

/// A checksum field that holds the sum of the pseudo-header so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartialChecksum {
    /// Where in the packet summing starts: at the transport header.
    pub start: u16,
    /// Where the field is, from there.
    pub offset: u16,
}

/// How a super-packet is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segmentation {
    /// Which protocol the segments have.
    pub kind: SegmentationKind,
    /// The length of the headers of each segment. What the kernel says is a hint.
    pub header_len: u16,
    /// Bytes of payload in each segment but the last, which may have less.
    pub size: u16,
}

/// Which protocol the segments of a super-packet have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentationKind {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// UDP over either, each segment a datagram.
    Udp,
}

/// A frame that cannot be what the kernel gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadFrame {
    /// Shorter than its headers say.
    #[error("frame is cut short")]
    Short,
    /// An offload that we did not offer.
    #[error("frame needs an offload that was not offered")]
    Unknown,
}

const NEEDS_CHECKSUM: u8 = 1;
const NONE: u8 = 0;
const TCP4: u8 = 1;
const TCP6: u8 = 4;
const UDP: u8 = 5;
/// The first segment has CWR set.
const ECN: u8 = 0x80;

impl FrameHeader {
    /// Takes a frame apart.
    ///
    /// # Errors
    /// The frame is too short, or needs what was never offered.
    pub fn read(frame: &[u8]) -> Result<(Self, &[u8]), BadFrame> {
        let (header, packet) = frame.split_first_chunk::<FRAME_HEADER_LEN>().ok_or(BadFrame::Short)?;
        let [flags, kind, a, b, c, d, e, f, g, h] = *header;
        let word = |a, b| u16::from_ne_bytes([a, b]);
        let checksum = (flags & NEEDS_CHECKSUM != 0).then(|| PartialChecksum { start: word(e, f), offset: word(g, h) });
        let segmentation = |kind| Segmentation { kind, header_len: word(a, b), size: word(c, d) };
        let segmentation = match kind & !ECN {
            NONE => None,
            TCP4 => Some(segmentation(SegmentationKind::Tcp4)),
            TCP6 => Some(segmentation(SegmentationKind::Tcp6)),
            UDP => Some(segmentation(SegmentationKind::Udp)),
            _ => return Err(BadFrame::Unknown),
        };
        Ok((Self { checksum, segmentation }, packet))
    }

    /// Returns the header's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; FRAME_HEADER_LEN] {
        let (flags, [e, f], [g, h]) = match self.checksum {
            Some(it) => (NEEDS_CHECKSUM, it.start.to_ne_bytes(), it.offset.to_ne_bytes()),
            None => Default::default(),
        };
        let (kind, [a, b], [c, d]) = match self.segmentation {
            Some(it) => (it.kind.code(), it.header_len.to_ne_bytes(), it.size.to_ne_bytes()),
            None => Default::default(),
        };
        [flags, kind, a, b, c, d, e, f, g, h]
    }
}

impl SegmentationKind {
    const fn code(self) -> u8 {
        match self {
            Self::Tcp4 => TCP4,
            Self::Tcp6 => TCP6,
            Self::Udp => UDP,
        }
    }
}
