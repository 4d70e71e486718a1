//! What a sender is told whose packet does not fit into the tunnel (RFC 4301 §8.2): ICMP "fragmentation needed" and ICMPv6 "packet too
//! big".

use std::net::IpAddr;

use crate::flow::BadPacket;
use crate::ip::{self, Fragment, Layout, protocol};
use crate::outer::{self, OuterFields};

const ICMP_HEADER_LEN: usize = 8;
/// Most of an ICMP error of IPv4 (RFC 1812 §4.3.2.3) and of IPv6 (RFC 4443 §2.4).
const MOST: (usize, usize) = (576, 1280);
/// The smallest MTU that a link of IPv6 may have (RFC 8200 §5).
const LEAST_V6_MTU: u16 = 1280;
const ECHO_REQUEST: u8 = 8;
const DESTINATION_UNREACHABLE: u8 = 3;
const FRAGMENTATION_NEEDED: u8 = 4;
const PACKET_TOO_BIG: u8 = 2;
const TTL: u8 = 64;

/// Bytes that a buffer for [`too_big`] needs.
pub const MOST_TOO_BIG: usize = MOST.1;

/// Writes the ICMP packet that tells the sender of `packet` how long its packets may be, from an address of its own network: the
/// destination when there is no other. Returns its length; `None` where nothing may be said: to a packet that routers may fragment,
/// a later fragment, an ICMP error, or one from or to no single host.
///
/// How often it is sent is up to the caller.
#[must_use]
pub fn too_big(packet: &[u8], mtu: u16, from: IpAddr, out: &mut [u8; MOST_TOO_BIG]) -> Option<usize> {
    let layout = ip::layout(packet).ok()?;
    let (sender, destination) = layout.ends;
    if layout.fragment == Fragment::Later || !answers(sender) || is_error(packet, &layout) {
        return None;
    }
    let v6 = match (packet, destination) {
        //= RFC 1812 §4.3.2.7: nothing is said of a packet to many
        ([_, _, _, _, _, _, flags, ..], IpAddr::V4(to)) => {
            (flags & 0x40 != 0 && !to.is_multicast() && !to.is_broadcast()).then_some(false)?
        }
        //= RFC 4443 §2.4: packet too big is said of a packet to many as well
        _ => true,
    };
    let header_len = outer::header_len(v6) + ICMP_HEADER_LEN;
    let most = if v6 { MOST.1 } else { MOST.0 };
    let quoted = packet.get(..layout.length.min(most - header_len))?;
    let length = header_len + quoted.len();
    let message = out.get_mut(..length)?;
    write(message, (from, sender), v6, mtu, quoted).ok()?;
    Some(length)
}

fn write(message: &mut [u8], ends: (IpAddr, IpAddr), v6: bool, mtu: u16, quoted: &[u8]) -> Result<(), BadPacket> {
    let upper = if v6 { protocol::ICMPV6 } else { protocol::ICMP };
    //= RFC 1812 §4.3.2.5: the class of an error is that of network control
    let fields = OuterFields { class: 0xc0, dont_fragment: false, ttl: TTL };
    outer::write(message, ends, fields, upper, 0)?;
    let body = message.get_mut(outer::header_len(v6)..).ok_or(BadPacket::Short)?;
    let (header, text) = body.split_first_chunk_mut::<ICMP_HEADER_LEN>().ok_or(BadPacket::Short)?;
    text.copy_from_slice(quoted);
    *header = if v6 {
        let [a, b] = mtu.max(LEAST_V6_MTU).to_be_bytes();
        [PACKET_TOO_BIG, 0, 0, 0, 0, 0, a, b]
    } else {
        let [a, b] = mtu.to_be_bytes();
        [DESTINATION_UNREACHABLE, FRAGMENTATION_NEEDED, 0, 0, 0, 0, a, b]
    };
    let sum = ip::upper_checksum(v6.then_some((ends, protocol::ICMPV6)), body);
    if let [_, _, high, low, ..] = body {
        [*high, *low] = sum;
    }
    Ok(())
}

/// Tells whether an address is that of one host, which may be answered.
fn answers(sender: IpAddr) -> bool {
    let broadcast = matches!(sender, IpAddr::V4(address) if address.is_broadcast());
    !(sender.is_unspecified() || sender.is_multicast() || broadcast)
}

//= RFC 1122 §3.2.2, RFC 4443 §2.4: an error is not answered with an error
fn is_error(packet: &[u8], layout: &Layout) -> bool {
    let kind = packet.get(layout.upper.at).copied();
    match (layout.upper.protocol, kind) {
        // Of the queries all are known: echo, timestamp, information and mask.
        (protocol::ICMP, Some(kind)) => !matches!(kind, 0 | ECHO_REQUEST | 13..=18),
        (protocol::ICMPV6, Some(kind)) => kind < 128,
        (protocol::ICMP | protocol::ICMPV6, None) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
