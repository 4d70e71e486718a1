//! Changes of a header that keep it whole.

use super::checksum::checksum;
use super::{V4_HEADER_LEN, V6_HEADER_LEN, version};
use crate::flow::BadPacket;

/// Makes the byte at this place, in a header, name another protocol. The checksum is left to [`set_length`].
pub(crate) fn set_protocol(packet: &mut [u8], named_at: usize, protocol: u8) {
    if let Some(byte) = packet.get_mut(named_at) {
        *byte = protocol;
    }
}

/// Gives an IPv4 header an identification, where it has none. The checksum is left to [`set_length`].
pub(crate) fn identify(packet: &mut [u8], id: u16) {
    let v4 = version(packet) == Some(4);
    if let Some([_, _, _, _, high, low, ..]) = packet.first_chunk_mut::<V4_HEADER_LEN>().filter(|_| v4)
        && [*high, *low] == [0, 0]
    {
        [*high, *low] = id.to_be_bytes();
    }
}

/// Makes the header say that the packet has this length, and computes the header's checksum where it has one.
///
/// # Errors
/// `BadPacket` for no IP header, and for a length that it cannot say.
pub(crate) fn set_length(packet: &mut [u8], length: usize) -> Result<(), BadPacket> {
    match version(packet) {
        Some(4) => {
            let total = u16::try_from(length).map_err(|_| BadPacket::Long)?.to_be_bytes();
            let header_len = packet.first().map_or(0, |first| usize::from(first & 0x0f) * 4);
            let header = packet.get_mut(..header_len).ok_or(BadPacket::Short)?;
            let fixed: &mut [u8; V4_HEADER_LEN] = header.first_chunk_mut().ok_or(BadPacket::Short)?;
            let [_, _, high, low, _, _, _, _, _, _, sum_high, sum_low, ..] = fixed;
            [*high, *low] = total;
            [*sum_high, *sum_low] = [0, 0];
            set_checksum(header);
            Ok(())
        }
        Some(6) => {
            let payload = length.checked_sub(V6_HEADER_LEN).ok_or(BadPacket::Short)?;
            let payload = u16::try_from(payload).map_err(|_| BadPacket::Long)?.to_be_bytes();
            let fixed: &mut [u8; V6_HEADER_LEN] = packet.first_chunk_mut().ok_or(BadPacket::Short)?;
            let [_, _, _, _, high, low, ..] = fixed;
            [*high, *low] = payload;
            Ok(())
        }
        Some(_) => Err(BadPacket::Version),
        None => Err(BadPacket::Short),
    }
}

/// Writes the checksum of an IPv4 header in which it is 0.
fn set_checksum(header: &mut [u8]) {
    let sum = checksum(header);
    if let Some([_, _, _, _, _, _, _, _, _, _, high, low, ..]) = header.first_chunk_mut::<V4_HEADER_LEN>() {
        [*high, *low] = sum;
    }
}
