//! From the wire to the TUN: receive, find the SA, open in place, check the policy, put together, write.

mod open;

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering::Relaxed;

use espalier_esp::DropReason;
use espalier_esp::offload::{Coalescer, FRAME_HEADER_LEN, Segments};
use espalier_sys::poll;
use espalier_sys::tun::Tun;
use espalier_sys::udp::Batch;

use super::offloads::{Offload, State};
use super::{FRAME, Shared};

/// Runs until the data plane stops.
pub(super) fn run(shared: &Shared) {
    let mut worker = Worker::new(shared);
    let ([v4, v6], [_, stopped, _]) = (&shared.sockets, &shared.wakers);
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
    /// Room for a packet that gets its header back.
    whole: Vec<u8>,
    /// Room for one packet of a frame that the kernel refuses.
    single: Vec<u8>,
}

/// What stands at the head of what a socket gives.
#[derive(Clone, Copy)]
pub(super) enum Header {
    /// ESP, or what is told apart from it on its port.
    Udp,
    /// The whole packet with its IP header.
    Ip,
    /// What followed the IP header, of this protocol.
    Taken(u8),
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
        let (batch, coalescer) = (Batch::with_rooms(LONGEST, ROOMS), Coalescer::new(tcp, udp));
        Self { batch, coalescer, whole: vec![0; FRAME], single: vec![0; FRAME] }
    }

    /// Delivers what is there.
    pub(super) fn turn(&mut self, shared: &Shared) {
        for socket in &shared.sockets {
            self.take(shared, Header::Udp, |batch| socket.recv_batch(batch));
        }
    }

    /// Delivers what one socket has, but leaves some for the next turn when it is much.
    pub(super) fn take(&mut self, shared: &Shared, header: Header, receive: impl Fn(&mut Batch) -> io::Result<bool>) {
        for _ in 0..TURN {
            let Ok(more) = receive(&mut self.batch) else { return };
            self.deliver(shared, header);
            if !more {
                return;
            }
        }
    }

    /// Delivers one batch.
    fn deliver(&mut self, shared: &Shared, header: Header) {
        let tables = shared.tables.load();
        let Self { batch, coalescer, whole, single } = self;
        let mut came = 0;
        for datagram in batch.datagrams() {
            match open::open(shared, &tables, header, datagram, whole) {
                Ok(None) => continue,
                Ok(Some(packet)) => {
                    if coalescer.push(packet).is_err() {
                        write(shared, coalescer, single);
                        // There is room now for any packet.
                        if coalescer.push(packet).is_err() {
                            shared.counters.count(DropReason::DeliverFailed);
                        }
                    }
                }
                Err(reason) => shared.counters.count(reason),
            }
            came += 1;
        }
        shared.totals.from_wire.add(came);
        write(shared, coalescer, single);
    }
}

/// Writes the frames that are ready. One that the kernel refuses is written packet by packet.
fn write(shared: &Shared, coalescer: &mut Coalescer, single: &mut [u8]) {
    let (tun, mut refused) = (shared.tun.load(), false);
    coalescer.flush(|frame, packets| {
        if tun.write(frame).is_ok() {
            return shared.totals.to_tun.add(packets);
        }
        let written = if packets > 1 { write_singly(&tun, frame, single) } else { 0 };
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
fn write_singly(tun: &Tun, frame: &[u8], single: &mut [u8]) -> usize {
    let Ok(mut segments) = Segments::of(frame) else { return 0 };
    let mut written = 0;
    while let Some(length) = segments.next_len() {
        let Some(room) = single.get_mut(..FRAME_HEADER_LEN + length) else { break };
        let (header, packet) = room.split_at_mut(FRAME_HEADER_LEN);
        header.fill(0);
        if segments.write_next(packet).is_none() {
            break;
        }
        written += usize::from(tun.write(room).is_ok());
    }
    written
}
