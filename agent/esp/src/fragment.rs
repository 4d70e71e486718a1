//! Fragments of a packet that is longer than its path takes, where the system makes none (RFC 791 §3.2, RFC 8200 §4.5).

use crate::flow::BadPacket;
use crate::ip::{self, Fragment, Link, protocol};

/// The fragments of a packet, written one after the other into rooms of the caller's.
#[derive(Clone, Debug)]
pub struct Fragments<'p> {
    headers: &'p [u8],
    payload: &'p [u8],
    /// The first of what is cut.
    place: Link,
    ipv4: bool,
    /// Bytes of payload in each but the last.
    piece: usize,
    id: u32,
    written: usize,
}

const FRAGMENT_HEADER_LEN: usize = 8;
/// Offsets count in this unit.
const UNIT: usize = 8;
const MORE_OF_V4: u16 = 0x2000;

impl<'p> Fragments<'p> {
    /// Cuts a whole packet into fragments of at most so many bytes. `id` tells fragments of packets between the same ends apart; IPv4
    /// has its own.
    ///
    /// # Errors
    /// `BadPacket` for what is no whole IP packet, or whose headers leave no room.
    pub fn of(packet: &'p [u8], most: usize, id: u32) -> Result<Self, BadPacket> {
        let layout = ip::layout(packet)?;
        if layout.fragment != Fragment::Whole {
            return Err(BadPacket::Overlap);
        }
        let ipv4 = layout.ends.0.is_ipv4();
        let packet = packet.get(..layout.length).ok_or(BadPacket::Short)?;
        let (headers, payload) = packet.split_at_checked(layout.place.at).ok_or(BadPacket::Short)?;
        let own = if ipv4 { 0 } else { FRAGMENT_HEADER_LEN };
        let piece = most.saturating_sub(headers.len() + own) / UNIT * UNIT;
        if piece == 0 {
            return Err(BadPacket::Long);
        }
        Ok(Self { headers, payload, place: layout.place, ipv4, piece, id, written: 0 })
    }

    /// Returns the length of the next fragment.
    #[must_use]
    pub fn next_len(&self) -> Option<usize> {
        let rest = self.payload.len().checked_sub(self.written).filter(|rest| *rest > 0)?;
        let own = if self.ipv4 { 0 } else { FRAGMENT_HEADER_LEN };
        Some(self.headers.len() + own + rest.min(self.piece))
    }

    /// Writes the next fragment into a room of exactly [`Self::next_len`] bytes. `None` when there is none, or the room is another.
    pub fn write_next(&mut self, room: &mut [u8]) -> Option<()> {
        if self.next_len()? != room.len() {
            return None;
        }
        let rest = self.payload.get(self.written..)?;
        let (piece, more) = (rest.get(..rest.len().min(self.piece))?, rest.len() > self.piece);
        let offset = u16::try_from(self.written / UNIT).ok()?;
        let (headers, behind) = room.split_at_mut_checked(self.headers.len())?;
        headers.copy_from_slice(self.headers);
        if self.ipv4 {
            //= RFC 4302 §3.3.3.1.1: flags and offset may change on the way, so AH does not cover them
            let [high, low] = (offset | if more { MORE_OF_V4 } else { 0 }).to_be_bytes();
            headers.get_mut(6..8)?.copy_from_slice(&[high, low]);
            behind.copy_from_slice(piece);
        } else {
            ip::set_protocol(headers, self.place.named_at, protocol::FRAGMENT);
            let (own, behind) = behind.split_first_chunk_mut::<FRAGMENT_HEADER_LEN>()?;
            let ([high, low], [a, b, c, d]) = ((offset << 3 | u16::from(more)).to_be_bytes(), self.id.to_be_bytes());
            *own = [self.place.protocol, 0, high, low, a, b, c, d];
            behind.copy_from_slice(piece);
        }
        let length = room.len();
        ip::set_length(room, length).ok()?;
        self.written += piece.len();
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(v6: bool, payload: usize) -> Vec<u8> {
        let mut packet = if v6 {
            [&[0x60, 0, 0, 0, 0, 0, 51, 64][..], &[0xfd; 32]].concat()
        } else {
            vec![0x45, 0, 0, 0, 0x12, 0x34, 0x40, 0, 64, 51, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]
        };
        packet.extend((0..payload).map(|n| u8::try_from(n % 251).unwrap()));
        let length = packet.len();
        ip::set_length(&mut packet, length).unwrap();
        packet
    }

    fn cut(packet: &[u8], most: usize) -> Vec<Vec<u8>> {
        let mut fragments = Fragments::of(packet, most, 77).unwrap();
        let mut all = Vec::new();
        while let Some(length) = fragments.next_len() {
            let mut room = vec![0; length];
            fragments.write_next(&mut room).unwrap();
            all.push(room);
        }
        all
    }

    #[test]
    fn fragments_are_no_longer_than_asked_for_and_put_together_are_the_packet() {
        for (v6, headers, most) in [(false, 20, 576), (true, 48, 1_280)] {
            for payload in [1, 500, 1_232, 1_233, 2_000, 5_000] {
                let whole = packet(v6, payload);
                let fragments = cut(&whole, most);
                assert_eq!(fragments.len(), payload.div_ceil((most - headers) / 8 * 8));
                let mut carried = Vec::new();
                for (n, fragment) in fragments.iter().enumerate() {
                    assert!(fragment.len() <= most);
                    let last = n + 1 == fragments.len();
                    let field = |at: usize| u16::from_be_bytes([fragment[at], fragment[at + 1]]);
                    let (offset, more) = if v6 {
                        assert_eq!((fragment[6], fragment[40], &fragment[44..48]), (44, 51, &[0, 0, 0, 77][..]));
                        (usize::from(field(42) >> 3), field(42) & 1 != 0)
                    } else {
                        assert_eq!(
                            (fragment[6] & 0x40, &fragment[4..6]),
                            (0, &[0x12, 0x34][..]),
                            "routers may cut it too"
                        );
                        (usize::from(field(6) & 0x1fff), field(6) & 0x2000 != 0)
                    };
                    assert_eq!((offset * 8, more), (carried.len(), !last));
                    assert!(ip::layout(fragment).is_ok_and(|layout| layout.length == fragment.len()));
                    carried.extend_from_slice(&fragment[headers..]);
                }
                assert_eq!(carried, whole[if v6 { 40 } else { 20 }..]);
            }
        }
    }

    #[test]
    fn what_cannot_be_cut_is_refused() {
        assert!(Fragments::of(&packet(false, 100), 27, 1).is_err());
        let mut part = packet(false, 100);
        part[6] = 0x20;
        assert!(Fragments::of(&part, 576, 1).is_err());
        assert!(Fragments::of(&[0x45], 576, 1).is_err());
    }
}
