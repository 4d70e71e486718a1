//! Clamping of TCP's maximum segment size to what a tunnel carries whole (RFC 9293 §3.7.1).

use crate::ip::{self, Difference, Fragment, protocol};

const TCP_HEADER_LEN: usize = 20;
/// Where the flags stand.
const FLAGS: usize = 13;
const SYN: u8 = 0x02;
const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const MAXIMUM_SEGMENT_SIZE: u8 = 2;

/// Tells, by one look at its flags, whether a packet may be a SYN: the only one that announces a segment size. `upper` is the
/// protocol of its flow.
#[must_use]
pub fn may_be_syn(packet: &[u8], upper: u8) -> bool {
    let segment = match packet {
        _ if upper != protocol::TCP => return false,
        [first @ 0x40..=0x4f, ..] => usize::from(first & 0x0f) * 4,
        [_, _, _, _, _, _, protocol::TCP, ..] => ip::V6_HEADER_LEN,
        // Behind other headers, which few have.
        _ => return true,
    };
    packet.get(segment + FLAGS).is_some_and(|flags| flags & SYN != 0)
}

/// Lowers the segment size that a SYN announces to what fits into packets of this length. Tells whether it changed anything; every
/// other packet is left as it is.
pub fn clamp_mss(packet: &mut [u8], mtu: u16) -> bool {
    let Ok(layout) = ip::layout(packet) else { return false };
    if layout.upper.protocol != protocol::TCP || layout.fragment != Fragment::Whole {
        return false;
    }
    // The base headers count; options shorten a segment, not what is announced (RFC 6691 §2).
    let base = if layout.ends.0.is_ipv4() { ip::V4_HEADER_LEN } else { ip::V6_HEADER_LEN };
    let most = u16::try_from(usize::from(mtu).saturating_sub(base + TCP_HEADER_LEN)).unwrap_or(u16::MAX);
    let segment = packet.get_mut(layout.upper.at..layout.length).unwrap_or_default();
    clamp(segment, most).is_some()
}

fn clamp(segment: &mut [u8], most: u16) -> Option<()> {
    let (fixed, rest) = segment.split_first_chunk_mut::<TCP_HEADER_LEN>()?;
    let [_, _, _, _, _, _, _, _, _, _, _, _, data_offset, flags, _, _, sum_high, sum_low, ..] = fixed;
    if *flags & SYN == 0 {
        return None;
    }
    let options = rest.get_mut(..(usize::from(*data_offset >> 4) * 4).checked_sub(TCP_HEADER_LEN)?)?;
    let at = find(options)?;
    let value: &mut [u8; 2] = options.get_mut(at..)?.first_chunk_mut()?;
    if u16::from_be_bytes(*value) <= most {
        return None;
    }
    let (old, new) = (*value, most.to_be_bytes());
    // A value that straddles two words of the checksum changes each by one of its bytes.
    let difference = if at.is_multiple_of(2) {
        Difference::default().bytes(&old, &new)
    } else {
        Difference::default().bytes(&[old[1], old[0]], &[new[1], new[0]])
    };
    *value = new;
    [*sum_high, *sum_low] = difference.apply([*sum_high, *sum_low]);
    Some(())
}

/// Finds where the value of the option stands.
fn find(options: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match *options.get(at..)? {
            [NO_OPERATION, ..] => at += 1,
            [MAXIMUM_SEGMENT_SIZE, 4, _, _, ..] => return Some(at + 2),
            [END, ..] | [_] | [] => return None,
            [_, length, ..] if length < 2 => return None,
            [_, length, ..] => at += usize::from(length),
        }
    }
}

#[cfg(test)]
mod tests;
