//! From packets that arrived to frames for the kernel: packets of a flow that could have been one become one.

use super::frame::{FRAME_HEADER_LEN, FrameHeader, PartialChecksum, Segmentation, SegmentationKind};
use super::headers::{Class, IPV4_HEADER_LEN, IPV6_HEADER_LEN, LONGEST_HEADERS, Plain, put, word};

/// Collects the packets of one batch into frames. Frames leave in the order of their first packets, and a packet only ever joins
/// the newest frame of its flow: so no two packets of a flow change places.
pub struct Coalescer {
    room: Vec<u8>,
    frames: Vec<Frame>,
    /// The newest frame of each flow, by the flow's hash, while packets may join it.
    open: [Option<u8>; BUCKETS],
    tcp: bool,
    udp: bool,
}

/// There is no room for another frame: take those out that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Frames of one batch.
const FRAMES: usize = 64;
/// Open flows are looked up by some bits of their hash; one that meets another there ends the other's frame.
const BUCKETS: usize = 128;
/// The longest packet with its frame header. An odd number of cache lines: heads of frames must not all fall on one line's place.
const SLOT: usize = 65_600;
const LONGEST: usize = 65_535;
/// What Linux takes in one UDP super-packet.
const MOST_DATAGRAMS: usize = 64;

/// Packets that became one.
struct Frame {
    /// Bytes in its slot, the frame header among them.
    len: usize,
    packets: usize,
    tail: Option<Tail>,
}

/// What the next packet must be to join.
struct Tail {
    template: Template,
    shape: Shape,
    size: usize,
    next_number: u32,
    next_id: u16,
    pushed: bool,
}

/// Where things are in a plain packet.
#[derive(Clone, Copy)]
struct Shape {
    ipv4: bool,
    tcp: bool,
    transport: usize,
    headers: usize,
}

/// The headers of a packet without what may differ between segments of one super-packet: lengths, identification, sequence
/// number, PSH and checksums. All else must be equal.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Template {
    bytes: [u8; LONGEST_HEADERS],
    len: usize,
}

const ACK: u8 = 0x10;
const PSH: u8 = 0x08;
const DONT_FRAGMENT: u8 = 0x40;

impl Coalescer {
    /// Makes one that coalesces TCP, UDP, both or nothing. It takes its memory now.
    #[must_use]
    pub fn new(tcp: bool, udp: bool) -> Self {
        Self { room: vec![0; FRAMES * SLOT], frames: Vec::with_capacity(FRAMES), open: [None; BUCKETS], tcp, udp }
    }

    /// Coalesces nothing from the next batch on.
    pub fn switch_off(&mut self) {
        (self.tcp, self.udp) = (false, false);
    }

    /// Takes a packet that is as long as its IP header says.
    ///
    /// # Errors
    /// `Full`; the packet is not taken.
    pub fn push(&mut self, packet: &[u8]) -> Result<(), Full> {
        if !self.tcp && !self.udp {
            return self.place(packet, None).map(drop);
        }
        match Class::of(packet) {
            Class::Plain(plain) => self.push_plain(packet, &plain),
            Class::Other => self.place(packet, None).map(drop),
            Class::Unclear => {
                self.place(packet, None)?;
                self.open = [None; BUCKETS];
                Ok(())
            }
        }
    }

    /// Hands out every frame, with the number of its packets, and starts anew.
    pub fn flush(&mut self, mut take: impl FnMut(&[u8], usize)) {
        for (frame, slot) in self.frames.iter().zip(self.room.chunks_exact_mut(SLOT)) {
            let Some(bytes) = slot.get_mut(..frame.len) else { continue };
            frame.finish(bytes);
            take(bytes, frame.packets);
        }
        self.frames.clear();
        self.open = [None; BUCKETS];
    }

    fn push_plain(&mut self, packet: &[u8], plain: &Plain<'_>) -> Result<(), Full> {
        let bucket = usize::try_from(plain.hash() >> 57).unwrap_or(0) % BUCKETS;
        let offered = if plain.tcp { self.tcp } else { self.udp };
        // An offload must not repair a packet: what is wrong goes on as it is, alone.
        let tail = if offered && is_mergeable(plain) && plain.is_right(packet) { Tail::new(plain) } else { None };
        let Some(tail) = tail else {
            self.place(packet, None)?;
            self.set_open(bucket, None);
            return Ok(());
        };
        if let Some(index) = self.open.get(bucket).copied().flatten()
            && let Some(frame) = self.frames.get_mut(usize::from(index))
            && let Some(slot) = self.room.chunks_exact_mut(SLOT).nth(usize::from(index))
            && let Some(stays_open) = frame.join(slot, &tail, plain)
        {
            if !stays_open {
                self.set_open(bucket, None);
            }
            return Ok(());
        }
        let stays_open = !tail.pushed;
        let index = self.place(packet, Some(tail))?;
        self.set_open(bucket, u8::try_from(index).ok().filter(|_| stays_open));
        Ok(())
    }

    fn set_open(&mut self, bucket: usize, frame: Option<u8>) {
        if let Some(slot) = self.open.get_mut(bucket) {
            *slot = frame;
        }
    }

    /// Puts a packet into a frame of its own and returns the frame's place.
    fn place(&mut self, packet: &[u8], tail: Option<Tail>) -> Result<usize, Full> {
        let index = self.frames.len();
        let slot = self.room.chunks_exact_mut(SLOT).nth(index).ok_or(Full)?;
        let len = FRAME_HEADER_LEN + packet.len();
        let (header, body) = slot.get_mut(..len).ok_or(Full)?.split_at_mut(FRAME_HEADER_LEN);
        header.fill(0);
        body.copy_from_slice(packet);
        self.frames.push(Frame { len, packets: 1, tail });
        Ok(index)
    }
}

/// Tells whether a packet may be part of a super-packet at all.
fn is_mergeable(plain: &Plain<'_>) -> bool {
    let flags = plain.headers.get(plain.transport + 13).copied().unwrap_or(0);
    let plain_flags = flags & !PSH == ACK;
    let reserved = plain.headers.get(plain.transport + 12).is_some_and(|b| b & 0x0f != 0);
    !plain.payload.is_empty() && (!plain.tcp || (plain_flags && !reserved))
}

impl Tail {
    fn new(plain: &Plain<'_>) -> Option<Self> {
        let upper = plain.headers.get(plain.transport..)?;
        let number: u32 = match upper.get(4..8)?.first_chunk() {
            Some(bytes) if plain.tcp => u32::from_be_bytes(*bytes),
            _ => 0,
        };
        let length = u32::try_from(plain.payload.len()).ok()?;
        Some(Self {
            template: Template::of(plain)?,
            shape: Shape { ipv4: plain.ipv4, tcp: plain.tcp, transport: plain.transport, headers: plain.headers.len() },
            size: plain.payload.len(),
            next_number: if plain.tcp { number.wrapping_add(length) } else { 0 },
            next_id: if plain.ipv4 { word(plain.headers, 4)?.wrapping_add(1) } else { 0 },
            pushed: plain.tcp && upper.get(13)? & PSH != 0,
        })
    }

    /// Tells whether a packet is the next one.
    fn goes_on_with(&self, next: &Self) -> bool {
        let length = u32::try_from(next.size).unwrap_or(u32::MAX);
        let in_sequence = !self.shape.tcp || next.next_number.wrapping_sub(length) == self.next_number;
        //= RFC 6864 §4.1: of a packet that is never fragmented the identification says nothing
        let id_is_free = !self.shape.ipv4 || self.template.bytes.get(6).is_some_and(|b| b & DONT_FRAGMENT != 0);
        let id_follows = id_is_free || next.next_id == self.next_id.wrapping_add(1);
        in_sequence && id_follows && next.size <= self.size && self.template == next.template
    }
}

impl Template {
    fn of(plain: &Plain<'_>) -> Option<Self> {
        let len = plain.headers.len();
        let mut bytes = [0; LONGEST_HEADERS];
        bytes.get_mut(..len)?.copy_from_slice(plain.headers);
        let at = plain.transport;
        if plain.ipv4 {
            bytes.get_mut(2..6)?.fill(0);
            bytes.get_mut(10..12)?.fill(0);
        } else {
            bytes.get_mut(4..6)?.fill(0);
        }
        if plain.tcp {
            bytes.get_mut(at + 4..at + 8)?.fill(0);
            *bytes.get_mut(at + 13)? &= !PSH;
            bytes.get_mut(at + 16..at + 18)?.fill(0);
        } else {
            bytes.get_mut(at + 4..at + 8)?.fill(0);
        }
        Some(Self { bytes, len })
    }
}

impl Frame {
    /// Takes the next packet of its flow, if it is that. Returns whether another may follow.
    fn join(&mut self, slot: &mut [u8], next: &Tail, plain: &Plain<'_>) -> Option<bool> {
        let tail = self.tail.as_mut().filter(|tail| tail.goes_on_with(next))?;
        let end = self.len + plain.payload.len();
        if end > FRAME_HEADER_LEN + LONGEST || (!plain.tcp && self.packets >= MOST_DATAGRAMS) {
            return None;
        }
        slot.get_mut(self.len..end)?.copy_from_slice(plain.payload);
        (self.len, self.packets) = (end, self.packets + 1);
        (tail.next_number, tail.next_id, tail.pushed) = (next.next_number, next.next_id, next.pushed);
        Some(next.size == tail.size && !next.pushed)
    }

    /// Writes what the whole has otherwise than its first packet.
    fn finish(&self, bytes: &mut [u8]) -> Option<()> {
        let tail = self.tail.as_ref().filter(|_| self.packets > 1)?;
        let Shape { ipv4, tcp, transport, headers } = tail.shape;
        let (frame_header, packet) = bytes.split_at_mut_checked(FRAME_HEADER_LEN)?;
        let length = |bytes: usize| u16::try_from(bytes).ok();
        let upper_len = length(packet.len() - transport)?;
        if ipv4 {
            put(packet, 2, length(packet.len())?)?;
            put(packet, 10, 0)?;
            let sum = super::Checksum::default().with(packet.get(..IPV4_HEADER_LEN)?).finish();
            put(packet, 10, sum)?;
        } else {
            put(packet, 4, length(packet.len() - IPV6_HEADER_LEN)?)?;
        }
        let offset = if tcp { 16 } else { 6 };
        if !tcp {
            put(packet, transport + 4, upper_len)?;
        } else if tail.pushed {
            *packet.get_mut(transport + 13)? |= PSH;
        }
        let plain = Plain { ipv4, tcp, transport, headers: packet.get(..headers)?, payload: &[] };
        let pseudo = plain.pseudo(upper_len).sum();
        put(packet, transport + offset, pseudo)?;
        let kind = match (tcp, ipv4) {
            (true, true) => SegmentationKind::Tcp4,
            (true, false) => SegmentationKind::Tcp6,
            (false, _) => SegmentationKind::Udp,
        };
        let header = FrameHeader {
            checksum: Some(PartialChecksum { start: length(transport)?, offset: length(offset)? }),
            segmentation: Some(Segmentation { kind, header_len: length(headers)?, size: length(tail.size)? }),
        };
        frame_header.copy_from_slice(&header.to_bytes());
        Some(())
    }
}
