//! What of a header AH does not cover, since it may change on the way (RFC 4302 §3.3.3.1 and appendix A).

use super::{V4_HEADER_LEN, V6_HEADER_LEN, protocol, version};
use crate::flow::BadPacket;

/// Options that no router changes. Every other one is taken for mutable.
const IMMUTABLE_OPTIONS: [u8; 5] = [130, 133, 134, 148, 149];
const LOOSE_SOURCE_ROUTE: u8 = 131;
const STRICT_SOURCE_ROUTE: u8 = 137;
/// The bit of an option of IPv6 that says that its data may change on the way (RFC 8200 §4.2).
const MAY_CHANGE: u8 = 0x20;

/// Turns headers into what AH covers of them: all that stands before AH, from the IP header on, as it will arrive.
///
/// # Errors
/// `BadPacket` for headers that cannot be read, and for one of which nobody knows what of it changes.
pub(crate) fn zero_mutable(headers: &mut [u8]) -> Result<(), BadPacket> {
    match version(headers) {
        Some(4) => v4(headers),
        Some(6) => v6(headers),
        Some(_) => Err(BadPacket::Version),
        None => Err(BadPacket::Short),
    }
}

//= RFC 4302 §3.3.3.1.1: TOS, flags, fragment offset, TTL and checksum are zero, and so is every option that may change
fn v4(headers: &mut [u8]) -> Result<(), BadPacket> {
    let (fixed, options) = headers.split_first_chunk_mut::<V4_HEADER_LEN>().ok_or(BadPacket::Short)?;
    let [_, tos, _, _, _, _, flags, offset, ttl, _, sum_high, sum_low, _, _, _, _, destination @ ..] = fixed;
    for byte in [tos, flags, offset, ttl, sum_high, sum_low] {
        *byte = 0;
    }
    let mut rest = options;
    while let Some(&kind) = rest.first() {
        let length = match kind {
            0 => break,
            1 => 1,
            _ => usize::from(*rest.get(1).ok_or(BadPacket::Short)?),
        };
        if length == 0 || (kind != 1 && length < 2) {
            return Err(BadPacket::Short);
        }
        let (option, after) = rest.split_at_mut_checked(length).ok_or(BadPacket::Short)?;
        if matches!(kind, LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE)
            && let Some(last) = last_hop(option)
        {
            *destination = last;
        }
        if kind != 1 && !IMMUTABLE_OPTIONS.contains(&kind) {
            option.fill(0);
        }
        rest = after;
    }
    Ok(())
}

//= RFC 4302 §3.3.3.1.1.1: with a source route the destination is the one at which the packet will arrive
fn last_hop(option: &[u8]) -> Option<[u8; 4]> {
    let [_, length, pointer, ..] = option else { return None };
    let under_way = pointer <= length;
    option.last_chunk().copied().filter(|_| under_way && option.len() >= 7)
}

//= RFC 4302 §3.3.3.1.2: traffic class, flow label and hop limit are zero, and so are the data of options that may change
fn v6(headers: &mut [u8]) -> Result<(), BadPacket> {
    let (fixed, extensions) = headers.split_first_chunk_mut::<V6_HEADER_LEN>().ok_or(BadPacket::Short)?;
    let [first, second, third, fourth, _, _, next, hop_limit, addresses @ ..] = fixed;
    let (_, destination) = addresses.split_at_mut(16);
    *first &= 0xf0;
    for byte in [second, third, fourth, hop_limit] {
        *byte = 0;
    }
    let (mut kind, mut rest) = (*next, extensions);
    while !rest.is_empty() {
        let [next, length, ..] = *rest else { return Err(BadPacket::Short) };
        let (header, after) = rest.split_at_mut_checked(8 + usize::from(length) * 8).ok_or(BadPacket::Short)?;
        match kind {
            protocol::HOP_BY_HOP | protocol::DESTINATION => zero_options(header)?,
            protocol::ROUTING => arrive(header, destination)?,
            //= RFC 4302 §3.3.3.1.2.3: a packet with an extension header that nobody knows is discarded
            _ => return Err(BadPacket::Uncovered),
        }
        (kind, rest) = (next, after);
    }
    Ok(())
}

fn zero_options(header: &mut [u8]) -> Result<(), BadPacket> {
    let (_, mut rest) = header.split_at_mut_checked(2).ok_or(BadPacket::Short)?;
    while let Some(&kind) = rest.first() {
        let length = if kind == 0 { 1 } else { 2 + usize::from(*rest.get(1).ok_or(BadPacket::Short)?) };
        let (option, after) = rest.split_at_mut_checked(length).ok_or(BadPacket::Short)?;
        if kind & MAY_CHANGE != 0 {
            option.get_mut(2..).unwrap_or_default().fill(0);
        }
        rest = after;
    }
    Ok(())
}

//= RFC 4302 §3.3.3.1.2.1: a routing header is covered as it will arrive
fn arrive(header: &mut [u8], destination: &mut [u8]) -> Result<(), BadPacket> {
    let (fixed, list) = header.split_at_mut_checked(8).ok_or(BadPacket::Short)?;
    let [_, _, kind, left, ..] = fixed else { return Err(BadPacket::Short) };
    let hops = list.len() / 16;
    //= RFC 8200 §4.4, RFC 6275 §6.4: types 0 and 2 hold whole addresses; which fields of others change is not known here
    if !matches!(*kind, 0 | 2) || !list.len().is_multiple_of(16) || usize::from(*left) > hops {
        return Err(BadPacket::Uncovered);
    }
    // Each stop exchanges the destination with the next address of the list.
    for hop in list.chunks_exact_mut(16).skip(hops - usize::from(*left)) {
        hop.swap_with_slice(destination);
    }
    *left = 0;
    Ok(())
}
