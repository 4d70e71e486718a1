//! From the TUN to the wire: read, look up, seal into the send buffer, send.

use std::os::fd::AsFd;
use std::sync::atomic::Ordering::Relaxed;

use espalier_esp::{DropReason, Tables, flow_of};
use espalier_model::sa::SaEvent;
use espalier_sys::poll;

use super::{BUFFER, Shared};

/// Runs until the data plane stops or the interface is gone.
pub(super) fn run(shared: &Shared) {
    let [stopped, _] = &shared.stopped;
    let (mut packet, mut sealed) = (vec![0; BUFFER], vec![0; BUFFER]);
    while !shared.stop.load(Relaxed) {
        if poll::wait([shared.tun.as_fd(), stopped.as_fd()], None).is_err() {
            return;
        }
        let tables = shared.tables.load();
        while let Ok(length) = shared.tun.read(&mut packet) {
            let inner = packet.get(..length).unwrap_or_default();
            if let Err(reason) = forward(shared, &tables, inner, &mut sealed) {
                shared.counters.count(reason);
            }
        }
    }
}

fn forward(shared: &Shared, tables: &Tables, inner: &[u8], out: &mut [u8]) -> Result<(), DropReason> {
    let sa = tables.outbound(&flow_of(inner)?)?;
    let sealed = sa.seal(inner, out)?;
    if sealed.soft {
        // A full channel only delays the rekey: the hard limit still stands.
        let _ = shared.events.try_send(SaEvent::Soft(sa.id()));
    }
    let datagram = out.get(..sealed.length).unwrap_or_default();
    let path = sa.path();
    shared.socket(&path).send(&path, datagram).map_err(|_| DropReason::SendFailed)
}
