//! From the wire to the TUN: receive, find the SA, open in place, check the policy, put together, write.

use std::os::fd::AsFd;
use std::sync::atomic::Ordering::Relaxed;

use espalier_esp::offload::{Coalescer, FRAME_HEADER_LEN, Segments};
use espalier_esp::{DropReason, Inbound, Opened, Tables};
use espalier_model::sa::{SaEvent, UdpPath};
use espalier_sys::poll;
use espalier_sys::udp::{Batch, UdpSocket};

use super::offloads::{Offload, State};
use super::{FRAME, Shared};
use crate::door::NON_ESP_MARKER;

/// Runs until the data plane stops.
pub(super) fn run(shared: &Shared) {
    let mut worker = Worker::new(shared);
    let ([v4, v6], [_, stopped]) = (&shared.sockets, &shared.stopped);
    while !shared.stop.load(Relaxed) {
        if poll::wait([v4.as_fd(), v6.as_fd(), stopped.as_fd()], None).is_err() {
            return;
        }
        worker.turn(shared);
    }
}

/// What the thread works with. It allocates nothing once it is made.
pub(super) struct Worker {
    batch: Batch,
    coalescer: Coalescer,
    single: Vec<u8>,
}

/// Batches taken from one socket before the other is asked.
const TURN: usize = 8;
/// Trains, or datagrams, in a batch. More keep TCP waiting longer; fewer cost more where the card puts no trains together.
const ROOMS: usize = 32;
/// The longest datagram.
//= RFC 7296 §2: messages of any length that UDP has are taken
const LONGEST: usize = 65_535;

impl Worker {
    pub(super) fn new(shared: &Shared) -> Self {
        let (tcp, udp) = match shared.offloads.is(Offload::TunCoalescing) {
            State::On => (true, true),
            State::TcpOnly => (true, false),
            State::Off | State::Unknown | State::Refused => (false, false),
        };
        Self { batch: Batch::with_rooms(LONGEST, ROOMS), coalescer: Coalescer::new(tcp, udp), single: vec![0; FRAME] }
    }

    /// Delivers what is there.
    pub(super) fn turn(&mut self, shared: &Shared) {
        for socket in &shared.sockets {
            for _ in 0..TURN {
                if !self.take_batch(shared, socket) {
                    break;
                }
            }
        }
    }

    /// Delivers one batch, and tells whether there may be more.
    fn take_batch(&mut self, shared: &Shared, socket: &UdpSocket) -> bool {
        let Ok(more) = socket.recv_batch(&mut self.batch) else { return false };
        let tables = shared.tables.load();
        let Self { batch, coalescer, single } = self;
        for (path, datagram) in batch.datagrams() {
            match open(shared, &tables, path, datagram) {
                Ok(None) => {}
                Ok(Some(packet)) => {
                    shared.totals.from_wire.add(1);
                    if coalescer.push(packet).is_err() {
                        write(shared, coalescer, single);
                        // There is room now for any packet.
                        if coalescer.push(packet).is_err() {
                            shared.counters.count(DropReason::DeliverFailed);
                        }
                    }
                }
                Err(reason) => {
                    shared.totals.from_wire.add(1);
                    shared.counters.count(reason);
                }
            }
        }
        write(shared, coalescer, single);
        more
    }
}

/// Opens a datagram; returns nothing for one that is no ESP.
fn open<'d>(
    shared: &Shared,
    tables: &Tables,
    path: UdpPath,
    datagram: &'d mut [u8],
) -> Result<Option<&'d [u8]>, DropReason> {
    //= RFC 3948 §2.3: a keepalive of one byte is ignored
    if let [0xff] = datagram {
        return Ok(None);
    }
    let spi = datagram.first_chunk().ok_or(DropReason::Malformed)?;
    if *spi == NON_ESP_MARKER {
        shared.letterbox.take_stray(path, datagram.get(NON_ESP_MARKER.len()..).unwrap_or_default());
        return Ok(None);
    }
    //= RFC 7296 §2.23: ESP in UDP is taken also where no NAT was found
    let sa = tables.inbound(u32::from_be_bytes(*spi)).ok_or(DropReason::UnknownSpi)?;
    let Opened { packet, flow, newest, soft, .. } = sa.open(datagram)?;
    if !tables.admits(sa, &flow) {
        return Err(DropReason::PolicyMismatch);
    }
    report(shared, sa, path, newest, soft);
    Ok(Some(packet))
}

/// Writes the frames that are ready. One that the kernel refuses is written packet by packet.
fn write(shared: &Shared, coalescer: &mut Coalescer, single: &mut [u8]) {
    let mut refused = false;
    coalescer.flush(|frame, packets| {
        if shared.tun.write(frame).is_ok() {
            return shared.totals.to_tun.add(packets);
        }
        let written = if packets > 1 { write_singly(shared, frame, single) } else { 0 };
        shared.totals.to_tun.add(written);
        shared.counters.count_many(DropReason::DeliverFailed, packets - written);
        refused |= written > 0 && written == packets;
    });
    if refused {
        coalescer.switch_off();
        shared.offloads.refuse(Offload::TunCoalescing);
    }
}

/// Writes the packets of a frame one by one, and returns how many were taken.
fn write_singly(shared: &Shared, frame: &[u8], single: &mut [u8]) -> usize {
    let Ok(mut segments) = Segments::of(frame) else { return 0 };
    let mut written = 0;
    while let Some(length) = segments.next_len() {
        let Some(room) = single.get_mut(..FRAME_HEADER_LEN + length) else { break };
        let (header, packet) = room.split_at_mut(FRAME_HEADER_LEN);
        header.fill(0);
        if segments.write_next(packet).is_none() {
            break;
        }
        written += usize::from(shared.tun.write(room).is_ok());
    }
    written
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
