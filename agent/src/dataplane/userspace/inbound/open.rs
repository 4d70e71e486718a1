//! One datagram, or packet: its SA, what is inside, whether it may enter, and what IKE is told.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;

use espalier_esp::{
    Carriage, DropReason, Inbound, OpenError, Opened, Outermost, Tables, clamp_mss, give_back, may_be_syn,
    restore_header, restored_len,
};
use espalier_model::sa::{SaEvent, Spi, UdpPath};
use espalier_sys::udp::Datagram;

use super::super::Shared;
use super::super::raw::ESP;
use super::Header;
use crate::door::NON_ESP_MARKER;

/// Of a header that the system has taken, and does not tell.
const HOP_LIMIT: u8 = 64;
/// The bits of a class that are of congestion (RFC 3168 §5).
const ECN: u8 = 0x03;

/// Opens what came; returns nothing for what is no ESP or AH. In `whole` a packet gets its header back where its form needs it.
pub(super) fn open<'d>(
    shared: &Shared,
    tables: &Tables,
    header: Header,
    datagram: Datagram<'d>,
    whole: &'d mut [u8],
) -> Result<Option<&'d mut [u8]>, DropReason> {
    let Datagram { path, class, bytes } = datagram;
    let outermost = match header {
        //= RFC 3948 §2.3: a keepalive of one byte is ignored
        Header::Udp if matches!(bytes, [0xff]) => return Ok(None),
        Header::Udp if bytes.starts_with(&NON_ESP_MARKER) => {
            shared.letterbox.take_stray(path, bytes.get(NON_ESP_MARKER.len()..).unwrap_or_default());
            return Ok(None);
        }
        Header::Udp => Outermost::after_header(ESP, bytes)?,
        Header::Taken(protocol) => Outermost::after_header(protocol, bytes)?,
        Header::Ip => Outermost::of(bytes)?,
    };
    //= RFC 7296 §2.23: ESP in UDP is taken also where no NAT was found
    let Some(sa) = tables.inbound(outermost.spi) else {
        tell_stray(shared, outermost.spi, path.remote.ip());
        return Err(DropReason::UnknownSpi);
    };
    let (opened, class) = if sa.opens_in_place() {
        let esp = bytes.get_mut(outermost.at..).filter(|_| outermost.protocol == ESP);
        (sa.open(esp.ok_or(DropReason::WrongForm)?).map_err(|error| refused(shared, sa, error))?, class)
    } else {
        let packet = match header {
            Header::Ip => bytes,
            Header::Udp | Header::Taken(_) => restored(whole, path, class, outermost.protocol, bytes)?,
        };
        // It has told the packet of congestion itself.
        (sa.open_packet(packet).map_err(|error| refused(shared, sa, error))?, 0)
    };
    let Opened { packet, flow, newest, soft, .. } = opened;
    if !tables.admits(sa, &flow) {
        return Err(DropReason::PolicyMismatch);
    }
    //= RFC 7296 §2.24: tunnels carry congestion marks, in and out
    if class & ECN != 0 {
        give_back(packet, class).map_err(|_| DropReason::CongestionLost)?;
    }
    // What the answers to it will fit into.
    if may_be_syn(packet, flow.protocol) {
        clamp_mss(packet, sa.mtu());
    }
    let source = newest && sa.carriage() == Carriage::Udp && matches!(header, Header::Udp);
    report(shared, sa, source.then_some(path.remote), soft);
    Ok(Some(packet))
}

/// Puts an IP header before what came without.
fn restored<'w>(
    whole: &'w mut [u8],
    path: UdpPath,
    class: u8,
    protocol: u8,
    bytes: &[u8],
) -> Result<&'w mut [u8], DropReason> {
    let header = restored_len(path.remote.is_ipv6());
    let packet = whole.get_mut(..header + bytes.len()).ok_or(DropReason::Malformed)?;
    packet.get_mut(header..).unwrap_or_default().copy_from_slice(bytes);
    restore_header(packet, (path.remote.ip(), path.local.ip()), class, HOP_LIMIT, protocol)?;
    Ok(packet)
}

/// Tells IKE, once, that an SA carries nothing more.
fn refused(shared: &Shared, sa: &Inbound, error: OpenError) -> DropReason {
    if error == OpenError::Expired && sa.take_expired() && shared.events.try_send(SaEvent::Hard(sa.id())).is_err() {
        sa.expiry_not_reported();
    }
    error.into()
}

/// Tells IKE of an SPI that no SA has, once a second at most: anybody can send them.
fn tell_stray(shared: &Shared, spi: u32, remote: IpAddr) {
    let second = shared.start.elapsed().as_secs() + 1;
    if let Ok(spi) = Spi::try_from(spi)
        && shared.stray_told.swap(second, Relaxed) != second
    {
        let _ = shared.events.try_send(SaEvent::UnknownSpi { spi, remote });
    }
}

/// Tells IKE what it wants to know of an authentic packet; its source where that may be believed.
fn report(shared: &Shared, sa: &Inbound, source: Option<SocketAddr>, soft: bool) {
    if sa.take_first() && shared.events.try_send(SaEvent::FirstAuthentic(sa.id())).is_err() {
        sa.not_reported();
    }
    if let Some(remote) = source
        && sa.take_source(remote)
        && shared.events.try_send(SaEvent::NewSource(sa.id(), remote)).is_err()
    {
        sa.source_not_reported();
    }
    if soft {
        let _ = shared.events.try_send(SaEvent::Soft(sa.id()));
    }
}
