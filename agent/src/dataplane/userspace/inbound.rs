//! From the wire to the TUN: receive, find the SA, open in place, check the policy, write.

use std::os::fd::AsFd;
use std::sync::atomic::Ordering::Relaxed;

use espalier_esp::{DropReason, Inbound, Tables};
use espalier_model::sa::{SaEvent, UdpPath};
use espalier_sys::poll;

use super::{BUFFER, Shared};
use crate::door::NON_ESP_MARKER;

/// Datagrams taken from one socket before the other is asked and the tables are looked at again.
const BATCH: usize = 64;

/// Runs until the data plane stops.
pub(super) fn run(shared: &Shared) {
    let ([v4, v6], [_, stopped]) = (&shared.sockets, &shared.stopped);
    let mut buffer = vec![0; BUFFER];
    while !shared.stop.load(Relaxed) {
        if poll::wait([v4.as_fd(), v6.as_fd(), stopped.as_fd()], None).is_err() {
            return;
        }
        let tables = shared.tables.load();
        for socket in [v4, v6] {
            for _ in 0..BATCH {
                let Ok((length, path)) = socket.recv(&mut buffer) else { break };
                let datagram = buffer.get_mut(..length).unwrap_or_default();
                if let Err(reason) = deliver(shared, &tables, path, datagram) {
                    shared.counters.count(reason);
                }
            }
        }
    }
}

fn deliver(shared: &Shared, tables: &Tables, path: UdpPath, datagram: &mut [u8]) -> Result<(), DropReason> {
    //= RFC 3948 §2.3: a keepalive of one byte is ignored
    if let [0xff] = datagram {
        return Ok(());
    }
    let spi = datagram.first_chunk().ok_or(DropReason::Malformed)?;
    if *spi == NON_ESP_MARKER {
        shared.letterbox.take_stray(path, datagram.get(NON_ESP_MARKER.len()..).unwrap_or_default());
        return Ok(());
    }
    //= RFC 7296 §2.23: ESP in UDP is taken also where no NAT was found
    let sa = tables.inbound(u32::from_be_bytes(*spi)).ok_or(DropReason::UnknownSpi)?;
    let opened = sa.open(datagram)?;
    if !tables.admits(sa, &opened.flow) {
        return Err(DropReason::PolicyMismatch);
    }
    report(shared, sa, path, opened.newest, opened.soft);
    shared.tun.write(opened.packet).map_err(|_| DropReason::DeliverFailed)
}

fn report(shared: &Shared, sa: &Inbound, path: UdpPath, newest: bool, soft: bool) {
    if sa.take_first() && shared.events.try_send(SaEvent::FirstAuthentic(sa.id())).is_err() {
        sa.not_reported();
    }
    if newest
        && sa.take_source(path.remote)
        && shared.events.try_send(SaEvent::NewSource(sa.id(), path.remote)).is_err()
    {
        sa.source_not_reported();
    }
    if soft {
        let _ = shared.events.try_send(SaEvent::Soft(sa.id()));
    }
}
