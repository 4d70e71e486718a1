//! From a frame of the kernel to packets as they go onto a wire.

use super::checksum::Checksum;
use super::frame::{BadFrame, FrameHeader, PartialChecksum, Segmentation, SegmentationKind};
use super::headers::{IPV6_HEADER_LEN, TCP_HEADER_LEN, UDP_HEADER_LEN, add_to_word, put};

/// The packets of one frame, written one after the other into rooms of the caller's.
#[derive(Clone, Debug)]
pub struct Segments<'f> {
    packet: &'f [u8],
    plan: Plan,
    written: usize,
}

/// What is to be done with the packet.
#[derive(Clone, Copy, Debug)]
enum Plan {
    /// It is one packet; its checksum may be only begun.
    Whole(Option<PartialChecksum>),
    Cut(Cut),
}

/// How a super-packet is cut.
#[derive(Clone, Copy, Debug)]
struct Cut {
    /// Headers of every segment.
    header_len: usize,
    /// Where the transport header starts.
    transport: usize,
    /// Payload of every segment but the last.
    size: usize,
    tcp: bool,
    ipv4: bool,
    /// The sum of the pseudo-header without a length.
    pseudo: Checksum,
}

const CHECKSUM_OF_TCP: usize = 16;
const CHECKSUM_OF_UDP: usize = 6;
const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const CWR: u8 = 0x80;

impl<'f> Segments<'f> {
    /// Reads a frame.
    ///
    /// # Errors
    /// `BadFrame` for what the kernel does not send.
    pub fn of(frame: &'f [u8]) -> Result<Self, BadFrame> {
        let (header, packet) = FrameHeader::read(frame)?;
        let plan = match header {
            FrameHeader { segmentation: Some(how), checksum: Some(partial) } => {
                Plan::Cut(Cut::new(packet, how, partial)?)
            }
            FrameHeader { segmentation: Some(_), checksum: None } => return Err(BadFrame::Unknown),
            FrameHeader { segmentation: None, checksum } => Plan::Whole(checksum.filter(|it| it.is_within(packet))),
        };
        Ok(Self { packet, plan, written: 0 })
    }

    /// Returns the super-packet: the headers of all segments but for lengths, numbers and checksums.
    #[must_use]
    pub const fn packet(&self) -> &'f [u8] {
        self.packet
    }

    /// Returns the number of packets, at least 1.
    #[must_use]
    pub fn count(&self) -> usize {
        match &self.plan {
            Plan::Whole(_) => 1,
            Plan::Cut(cut) => cut.count(self.packet.len()),
        }
    }

    /// Returns the number of packets that are not written yet.
    #[must_use]
    pub fn left(&self) -> usize {
        self.count() - self.written
    }

    /// Returns the bytes of all packets together.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match &self.plan {
            Plan::Whole(_) => self.packet.len(),
            Plan::Cut(cut) => self.packet.len() + (self.count() - 1) * cut.header_len,
        }
    }

    /// Returns the length of the next packet.
    #[must_use]
    pub fn next_len(&self) -> Option<usize> {
        match &self.plan {
            Plan::Whole(_) => (self.written == 0).then_some(self.packet.len()),
            Plan::Cut(cut) => {
                let rest = self.packet.len().checked_sub(cut.header_len + self.written * cut.size)?;
                (rest > 0 || self.written == 0).then(|| cut.header_len + rest.min(cut.size))
            }
        }
    }

    /// Writes the next packet into a room of exactly [`Self::next_len`] bytes. `None` when there is none, or the room is another.
    pub fn write_next(&mut self, room: &mut [u8]) -> Option<()> {
        if self.next_len()? != room.len() {
            return None;
        }
        match &self.plan {
            Plan::Whole(checksum) => {
                room.copy_from_slice(self.packet);
                if let Some(partial) = checksum {
                    partial.finish(room)?;
                }
            }
            Plan::Cut(cut) => cut.write(self.packet, self.written, room)?,
        }
        self.written += 1;
        Some(())
    }
}

impl PartialChecksum {
    fn is_within(&self, packet: &[u8]) -> bool {
        usize::from(self.start) + usize::from(self.offset) + 2 <= packet.len()
    }

    /// Completes a checksum whose field holds the sum of the pseudo-header.
    fn finish(&self, packet: &mut [u8]) -> Option<()> {
        let (start, offset) = (usize::from(self.start), usize::from(self.offset));
        let sum = Checksum::default().with(packet.get(start..)?).finish();
        put(packet, start + offset, on_the_wire(sum, offset == CHECKSUM_OF_UDP))
    }
}

// RFC 768: a computed checksum of zero is sent as all ones, for zero means that there is none
const fn on_the_wire(sum: u16, udp: bool) -> u16 {
    if udp && sum == 0 { u16::MAX } else { sum }
}

impl Cut {
    fn new(packet: &[u8], how: Segmentation, partial: PartialChecksum) -> Result<Self, BadFrame> {
        let first = *packet.first().ok_or(BadFrame::Short)?;
        let transport = usize::from(partial.start);
        let (tcp, ipv4) = match (how.kind, first >> 4) {
            (SegmentationKind::Tcp4, 4) => (true, true),
            (SegmentationKind::Tcp6, 6) => (true, false),
            (SegmentationKind::Udp, 4) => (false, true),
            (SegmentationKind::Udp, 6) => (false, false),
            _ => return Err(BadFrame::Unknown),
        };
        let least = if ipv4 { usize::from(first & 0x0f) * 4 } else { IPV6_HEADER_LEN };
        let field = if tcp { CHECKSUM_OF_TCP } else { CHECKSUM_OF_UDP };
        if transport < least || least < 20 || usize::from(partial.offset) != field || how.size == 0 {
            return Err(BadFrame::Unknown);
        }
        let upper = packet.get(transport..).ok_or(BadFrame::Short)?;
        let upper_len = match upper.get(TCP_HEADER_LEN - 8).filter(|_| tcp) {
            Some(offset) => usize::from(offset >> 4) * 4,
            None => UDP_HEADER_LEN,
        };
        let (header, _) = upper.split_at_checked(upper_len).ok_or(BadFrame::Short)?;
        let Some([high, low]) = header.get(field..field + 2).and_then(|bytes| bytes.first_chunk()) else {
            return Err(BadFrame::Short);
        };
        // The kernel has summed the pseudo-header with the length of the whole.
        let whole = u16::try_from(upper.len()).map_err(|_| BadFrame::Unknown)?;
        let pseudo = Checksum::default().add_word(u16::from_be_bytes([*high, *low])).remove_word(whole);
        let (header_len, size) = (transport + upper_len, usize::from(how.size));
        Ok(Self { header_len, transport, size, tcp, ipv4, pseudo })
    }

    fn count(&self, packet_len: usize) -> usize {
        packet_len.saturating_sub(self.header_len).div_ceil(self.size).max(1)
    }

    /// Writes the n-th segment.
    fn write(&self, packet: &[u8], n: usize, room: &mut [u8]) -> Option<()> {
        let (headers, payload) = room.split_at_mut_checked(self.header_len)?;
        headers.copy_from_slice(packet.get(..self.header_len)?);
        let before = n * self.size;
        payload.copy_from_slice(packet.get(self.header_len + before..)?.get(..payload.len())?);
        let last = self.header_len + before + payload.len() == packet.len();
        if self.ipv4 {
            self.finish_ipv4(room, n)?
        } else {
            put(room, 4, length(room.len() - IPV6_HEADER_LEN)?)?
        }
        let upper = room.get_mut(self.transport..)?;
        let upper_len = length(upper.len())?;
        let field = if self.tcp {
            number_segment(upper, before, n == 0, last)?;
            CHECKSUM_OF_TCP
        } else {
            put(upper, 4, upper_len)?;
            CHECKSUM_OF_UDP
        };
        put(upper, field, 0)?;
        let sum = self.pseudo.add_word(upper_len).with(upper).finish();
        put(upper, field, on_the_wire(sum, !self.tcp))
    }

    fn finish_ipv4(&self, room: &mut [u8], n: usize) -> Option<()> {
        put(room, 2, length(room.len())?)?;
        // As if each had been sent by itself: identifications go up.
        add_to_word(room, 4, n)?;
        put(room, 10, 0)?;
        let first = room.first().map_or(0, |b| usize::from(b & 0x0f) * 4);
        let sum = Checksum::default().with(room.get(..first)?).finish();
        put(room, 10, sum)
    }
}

/// Gives a TCP segment its sequence number and its flags.
fn number_segment(header: &mut [u8], before: usize, first: bool, last: bool) -> Option<()> {
    let number: &mut [u8; 4] = header.get_mut(4..)?.first_chunk_mut()?;
    *number = u32::from_be_bytes(*number).wrapping_add(u32::try_from(before).ok()?).to_be_bytes();
    let flags = header.get_mut(13)?;
    if !last {
        *flags &= !(FIN | PSH);
    }
    //= RFC 3168 §6.1.2: one CWR answers one window, so one segment carries it
    if !first {
        *flags &= !CWR;
    }
    Some(())
}

fn length(bytes: usize) -> Option<u16> {
    u16::try_from(bytes).ok()
}
