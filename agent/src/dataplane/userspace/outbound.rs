//! From the TUN to the wire: read a frame, look up its SA, cut it into packets where they are sealed, send them together.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use espalier_esp::offload::Segments;
use espalier_esp::{DropReason, Tables, flow_of};
use espalier_model::sa::SaEvent;
use espalier_sys::poll;
use espalier_sys::udp::{Trains, UdpSocket};

use super::offloads::{Offload, State};
use super::{FRAME, Shared};

/// Runs until the data plane stops or the interface is gone.
pub(super) fn run(shared: &Shared) {
    let mut worker = Worker::new(shared);
    let [stopped, _] = &shared.stopped;
    while !shared.stop.load(Relaxed) {
        if poll::wait([shared.tun.as_fd(), stopped.as_fd()], None).is_err() {
            return;
        }
        if let Err(error) = worker.turn(shared) {
            tracing::error!(%error, "the interface is gone: nothing is sent any more");
            return;
        }
    }
}

/// What the thread works with. It allocates nothing once it is made.
pub(super) struct Worker {
    frame: Vec<u8>,
    /// For IPv4 and IPv6.
    trains: [Trains; 2],
}

/// Frames taken before the tables are looked at again.
const TURN: usize = 64;
/// Bytes that are sealed before they are sent: a train of full length, and most of the next, so that frames fill trains up.
const ARENA: usize = 128 << 10;
/// A full socket is asked again after this time, whatever poll says.
const PATIENCE: Duration = Duration::from_millis(100);

impl Worker {
    pub(super) fn new(shared: &Shared) -> Self {
        let coupling = shared.offloads.is(Offload::UdpSegmentation) == State::On;
        Self { frame: vec![0; FRAME], trains: [Trains::new(ARENA, coupling), Trains::new(ARENA, coupling)] }
    }

    /// Forwards the frames that are there, and leaves none unsent.
    pub(super) fn turn(&mut self, shared: &Shared) -> io::Result<()> {
        let _turn = shared.turns.begin();
        let tables = shared.tables.load();
        for _ in 0..TURN {
            match shared.tun.read(&mut self.frame) {
                Ok(length) => self.take(shared, &tables, length),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => break,
                Err(error) => return Err(error),
            }
        }
        for (trains, socket) in self.trains.iter_mut().zip(&shared.sockets) {
            send(shared, trains, socket);
        }
        Ok(())
    }

    fn take(&mut self, shared: &Shared, tables: &Tables, length: usize) {
        let frame = self.frame.get(..length).unwrap_or_default();
        let Ok(segments) = Segments::of(frame) else {
            shared.totals.from_tun.add(1);
            return shared.counters.count(DropReason::Malformed);
        };
        let packets = segments.count();
        shared.totals.from_tun.add(packets);
        if let Err(reason) = seal(shared, tables, segments, &mut self.trains) {
            shared.counters.count_many(reason, packets);
        }
    }
}

/// Seals the packets of a frame at the tail of their trains. A frame has one flow, so it has one SA, and its numbers are taken in
/// one step.
fn seal(
    shared: &Shared,
    tables: &Tables,
    mut segments: Segments<'_>,
    [v4, v6]: &mut [Trains; 2],
) -> Result<(), DropReason> {
    let sa = tables.outbound(&flow_of(segments.packet())?)?;
    let mut numbers = sa.reserve(segments.count(), segments.bytes())?;
    if numbers.soft() {
        // A full channel only delays the rekey: the hard limit still stands.
        let _ = shared.events.try_send(SaEvent::Soft(sa.id()));
    }
    let (path, headroom, [socket4, socket6]) = (sa.path(), sa.headroom(), &shared.sockets);
    let (trains, socket) = if path.remote.is_ipv4() { (v4, socket4) } else { (v6, socket6) };
    while let Some(length) = segments.next_len() {
        if trains.is_full(sa.sealed_len(length)) {
            send(shared, trains, socket);
        }
        let room = trains.room();
        let place = room.get_mut(headroom..).and_then(|rest| rest.get_mut(..length));
        let Some(()) = place.and_then(|place| segments.write_next(place)) else {
            shared.counters.count_many(DropReason::TooBig, segments.left());
            return Ok(());
        };
        match numbers.seal(room, length) {
            Ok(sealed) => trains.push(path, sealed),
            Err(error) => shared.counters.count(error.into()),
        }
    }
    Ok(())
}

/// Sends what is sealed. While the socket is full the kernel keeps the frames that come meanwhile.
fn send(shared: &Shared, trains: &mut Trains, socket: &UdpSocket) {
    let datagrams = trains.datagrams();
    while datagrams > 0 && socket.send_trains(trains).is_err() && !shared.stop.load(Relaxed) {
        let _ = poll::wait_writable(socket.as_fd(), Some(PATIENCE));
    }
    if trains.take_refused() {
        shared.offloads.refuse(Offload::UdpSegmentation);
    }
    let failed = trains.clear();
    shared.counters.count_many(DropReason::SendFailed, failed);
    shared.totals.to_wire.add(datagrams - failed);
}
