//! Transport mode: the checksums of what a NAT has given other addresses (RFC 3948 §3.1.2, RFC 7296 §2.23.1).

use std::net::IpAddr;

use crate::ip::{Difference, Layout, protocol};

/// Makes the checksum of the upper layer right for the addresses that the packet shows, when its sender has made it of others.
pub(crate) fn repair(packet: &mut [u8], layout: &Layout, (source, destination): (IpAddr, IpAddr)) {
    let (seen_source, seen_destination) = layout.ends;
    //= RFC 3948 §3.1.2: the checksum is changed by the difference of the addresses
    let difference = Difference::default().address(source, seen_source).address(destination, seen_destination);
    let Some(field) = checksum_at(layout.upper.protocol).map(|at| layout.upper.at + at) else { return };
    let upper = packet.get_mut(..layout.length).and_then(|packet| packet.get_mut(field..));
    let Some([high, low, ..]) = upper else { return };
    let udp = layout.upper.protocol == protocol::UDP;
    //= RFC 3948 §3.1.2: a checksum of UDP that is zero stays so: there is none
    if udp && [*high, *low] == [0, 0] {
        return;
    }
    let sum = difference.apply([*high, *low]);
    // A checksum that is zero is sent as its complement (RFC 768).
    [*high, *low] = if udp && sum == [0, 0] { [0xff, 0xff] } else { sum };
}

/// Returns where a header has its checksum that covers addresses.
const fn checksum_at(upper: u8) -> Option<usize> {
    match upper {
        protocol::TCP => Some(16),
        protocol::UDP | protocol::UDP_LITE | protocol::DCCP => Some(6),
        protocol::ICMPV6 => Some(2),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
