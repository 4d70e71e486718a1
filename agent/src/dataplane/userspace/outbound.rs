//! From the TUN to the wire: read a frame, look up its SA, cut it into packets where they are sealed, send them together.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use espalier_esp::offload::Segments;
use espalier_esp::{
    Carriage, DropReason, Fragments, Outbound, SealError, Tables, Wrapped, clamp_mss, flow_of, may_be_syn,
};
use espalier_model::sa::{SaEvent, UdpPath};
use espalier_sys::poll;
use espalier_sys::tun::Tun;
use espalier_sys::udp::{RawSocket, Trains};

use super::demand::Waiting;
use super::offloads::{Offload, State};
use super::raw::room;
use super::{FRAME, Shared};

/// Runs until the data plane stops.
pub(super) fn run(shared: &Shared) {
    let mut worker = Worker::new(shared);
    let [waker, _, _] = &shared.wakers;
    while !shared.stop.load(Relaxed) {
        let tun = shared.tun.load();
        let Ok([_, woken]) = poll::wait([tun.as_fd(), waker.as_fd()], worker.patience()) else { return };
        if woken {
            waker.clear();
        }
        if let Err(error) = worker.turn(shared) {
            tracing::warn!(%error, "the interface is gone: nothing is sent until there is another");
            await_another(shared, &tun);
        }
    }
}

/// Waits until there is another interface.
fn await_another(shared: &Shared, gone: &Arc<Tun>) {
    let [waker, _, _] = &shared.wakers;
    while !shared.stop.load(Relaxed) && Arc::ptr_eq(&shared.tun.load(), gone) {
        if matches!(poll::wait([waker.as_fd()], Some(PATIENCE)), Ok([true])) {
            waker.clear();
        }
    }
}

/// What the thread works with. It allocates nothing once it is made, unless a packet has to wait.
pub(super) struct Worker {
    frame: Vec<u8>,
    rooms: Rooms,
    lanes: Lanes,
    waiting: Waiting,
}

/// Room for what cannot be sealed in place.
struct Rooms {
    /// One packet of a frame.
    single: Vec<u8>,
    /// A sealed packet that is to be cut.
    whole: Vec<u8>,
    /// Packets that were cut.
    cut: u32,
}

/// Packets that are sealed, by the sockets through which they leave, each for IPv4 and IPv6.
struct Lanes {
    udp: [Trains; 2],
    esp: [Trains; 2],
    packets: [Trains; 2],
}

/// Frames taken before the tables are looked at again.
const TURN: usize = 64;
/// Bytes that are sealed before they are sent: a train of full length, and most of the next, so that frames fill trains up.
const ARENA: usize = 128 << 10;
/// A full socket is asked again after this time, whatever poll says, and so is a new interface looked for.
const PATIENCE: Duration = Duration::from_millis(100);
//= RFC 2473 §7.2: where the tunnel would be narrower than IPv6 allows, its own packets are fragmented
/// A packet that is no longer is never made shorter (RFC 8200 §5).
const LEAST: usize = 1_280;
/// What a path of IPv4 takes, as far as anybody counts on it (RFC 1122 §3.3.2).
const LEAST_PATH_V4: usize = 576;

impl Worker {
    pub(super) fn new(shared: &Shared) -> Self {
        let coupling = shared.offloads.is(Offload::UdpSegmentation) == State::On;
        let udp = [Trains::new(ARENA, coupling), Trains::new(ARENA, coupling)];
        let lanes = Lanes { udp, esp: room(ARENA), packets: room(ARENA) };
        let rooms = Rooms { single: vec![0; FRAME], whole: vec![0; FRAME], cut: 0 };
        Self { frame: vec![0; FRAME], rooms, lanes, waiting: Waiting::default() }
    }

    /// Returns how long the worker may rest at most.
    fn patience(&self) -> Option<Duration> {
        self.waiting.patience()
    }

    /// Forwards the frames that are there, and leaves none unsent.
    pub(super) fn turn(&mut self, shared: &Shared) -> io::Result<()> {
        let _turn = shared.turns.begin();
        let (tables, tun) = (shared.tables.load(), shared.tun.load());
        if !self.waiting.is_empty() {
            let Self { waiting, lanes, rooms, .. } = self;
            waiting.serve(shared, &tables, |segments| lanes.seal(shared, &tables, segments, rooms));
        }
        for _ in 0..TURN {
            match tun.read(&mut self.frame) {
                Ok(length) => self.take(shared, &tables, length),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => break,
                Err(error) => return Err(error),
            }
        }
        self.lanes.send_all(shared);
        Ok(())
    }

    fn take(&mut self, shared: &Shared, tables: &Tables, length: usize) {
        let Self { frame, rooms, lanes, waiting } = self;
        let frame = frame.get(..length).unwrap_or_default();
        let Ok(segments) = Segments::of(frame) else {
            shared.totals.from_tun.add(1);
            return shared.counters.count(DropReason::Malformed);
        };
        let packets = segments.count();
        shared.totals.from_tun.add(packets);
        if let Err(reason) = lanes.seal(shared, tables, segments, rooms)
            && let Err(reason) = waiting.take(shared, tables, frame, reason)
        {
            shared.counters.count_many(reason, packets);
        }
    }
}

impl Lanes {
    /// Seals the packets of a frame at the tail of their trains. A frame has one flow, so it has one SA.
    fn seal(
        &mut self,
        shared: &Shared,
        tables: &Tables,
        segments: Segments<'_>,
        rooms: &mut Rooms,
    ) -> Result<(), DropReason> {
        let flow = flow_of(segments.packet())?;
        let sa = tables.outbound(&flow)?;
        // A SYN is a frame by itself.
        let clamped = may_be_syn(segments.packet(), flow.protocol).then(|| sa.mtu());
        if sa.seals_in_place() {
            return self.seal_in_place(shared, sa, segments, clamped);
        }
        self.seal_packets(shared, sa, segments, rooms, clamped)
    }

    /// Seals packets where they stand; their numbers are taken in one step.
    fn seal_in_place(
        &mut self,
        shared: &Shared,
        sa: &Outbound,
        mut segments: Segments<'_>,
        clamped: Option<u16>,
    ) -> Result<(), DropReason> {
        let class = sa.outer_fields(segments.packet())?.class;
        let mut numbers = sa.reserve(segments.count(), segments.bytes()).map_err(|error| refused(shared, sa, error))?;
        if numbers.soft() {
            ask_for_rekey(shared, sa);
        }
        let (headroom, mut lane) = (sa.headroom(), self.lane(sa));
        while let Some(length) = segments.next_len() {
            let room = lane.room(shared, sa.sealed_len(length));
            let place = room.get_mut(headroom..).and_then(|rest| rest.get_mut(..length));
            let Some(()) = place.and_then(|place| write_next(&mut segments, place, clamped)) else {
                shared.counters.count_many(DropReason::TooBig, segments.left());
                return Ok(());
            };
            match numbers.seal(room, length) {
                Ok(sealed) => lane.trains.push(lane.path, class, sealed, length <= LEAST),
                Err(error) => shared.counters.count(error.into()),
            }
        }
        Ok(())
    }

    /// Seals packets of any form, one by one.
    fn seal_packets(
        &mut self,
        shared: &Shared,
        sa: &Outbound,
        mut segments: Segments<'_>,
        Rooms { single, whole, cut }: &mut Rooms,
        clamped: Option<u16>,
    ) -> Result<(), DropReason> {
        let mut lane = self.lane(sa);
        while let Some(length) = segments.next_len() {
            let packet = single.get_mut(..length).ok_or(DropReason::TooBig)?;
            write_next(&mut segments, packet, clamped).ok_or(DropReason::TooBig)?;
            // The system cuts no packet whose header is ours.
            let too_long = lane.carriage == Carriage::Packet && length <= LEAST && length > usize::from(sa.mtu());
            let room = if too_long { whole.as_mut_slice() } else { lane.room(shared, sa.most_sealed(length)) };
            match sa.seal_packet(packet, room) {
                Ok(Wrapped { length: sealed, soft, fields }) => {
                    if soft {
                        ask_for_rekey(shared, sa);
                    }
                    if too_long {
                        *cut = cut.wrapping_add(1);
                        lane.push_cut(shared, fields.class, whole.get(..sealed).unwrap_or_default(), *cut)?;
                    } else {
                        lane.trains.push(lane.path, fields.class, sealed, length <= LEAST);
                    }
                }
                Err(error) => shared.counters.count(refused(shared, sa, error)),
            }
        }
        Ok(())
    }

    /// Returns where the packets of an SA leave.
    fn lane(&mut self, sa: &Outbound) -> Lane<'_> {
        let (path, carriage) = (sa.path(), sa.carriage());
        let (lanes, path) = match carriage {
            Carriage::Udp => (&mut self.udp, path),
            Carriage::Payload => (&mut self.esp, RawSocket::without_ports(path)),
            Carriage::Packet => (&mut self.packets, RawSocket::without_ports(path)),
        };
        let [v4, v6] = lanes;
        Lane { trains: if path.remote.is_ipv4() { v4 } else { v6 }, path, carriage }
    }

    fn send_all(&mut self, shared: &Shared) {
        let lanes =
            [(Carriage::Udp, &mut self.udp), (Carriage::Payload, &mut self.esp), (Carriage::Packet, &mut self.packets)];
        for (carriage, [v4, v6]) in lanes {
            send(shared, carriage, true, v4);
            send(shared, carriage, false, v6);
        }
    }
}

/// Writes the next packet of a frame. One that may be a SYN announces no more than fits into the tunnel: its sender may never hear
/// that a packet was too long.
fn write_next(segments: &mut Segments<'_>, place: &mut [u8], clamped: Option<u16>) -> Option<()> {
    segments.write_next(place)?;
    if let Some(mtu) = clamped {
        clamp_mss(place, mtu);
    }
    Some(())
}

/// Where the packets of one SA leave.
struct Lane<'l> {
    trains: &'l mut Trains,
    path: UdpPath,
    carriage: Carriage,
}

impl Lane<'_> {
    /// Returns room for so many bytes, if need be after sending what is there.
    fn room(&mut self, shared: &Shared, length: usize) -> &mut [u8] {
        if self.trains.is_full(length) {
            send(shared, self.carriage, self.path.remote.is_ipv4(), self.trains);
        }
        self.trains.room()
    }

    /// Takes the fragments of a packet that is longer than its path takes.
    fn push_cut(&mut self, shared: &Shared, class: u8, packet: &[u8], id: u32) -> Result<(), DropReason> {
        let most = if self.path.remote.is_ipv4() { LEAST_PATH_V4 } else { LEAST };
        let mut fragments = Fragments::of(packet, most, id)?;
        let mut count = 0;
        while let Some(length) = fragments.next_len() {
            let room = self.room(shared, length).get_mut(..length).ok_or(DropReason::TooBig)?;
            fragments.write_next(room).ok_or(DropReason::TooBig)?;
            self.trains.push(self.path, class, length, false);
            count += 1;
        }
        shared.totals.fragments.add(count - 1);
        Ok(())
    }
}

/// A full channel only delays the rekey: the hard limit still stands.
fn ask_for_rekey(shared: &Shared, sa: &Outbound) {
    let _ = shared.events.try_send(SaEvent::Soft(sa.id()));
}

/// Tells IKE, once, that an SA carries nothing more.
fn refused(shared: &Shared, sa: &Outbound, error: SealError) -> DropReason {
    if error == SealError::Exhausted && sa.take_expired() && shared.events.try_send(SaEvent::Hard(sa.id())).is_err() {
        sa.expiry_not_reported();
    }
    error.into()
}

/// Sends what is sealed. While the socket is full the kernel keeps the frames that come meanwhile.
fn send(shared: &Shared, carriage: Carriage, ipv4: bool, trains: &mut Trains) {
    let datagrams = trains.datagrams();
    if datagrams == 0 {
        return;
    }
    while try_send(shared, carriage, ipv4, trains).is_err() && !shared.stop.load(Relaxed) {}
    if trains.take_refused() {
        shared.offloads.refuse(Offload::UdpSegmentation);
    }
    if let Some(path) = trains.take_too_long() {
        // A full channel has one of the same path, or the next packet tells it.
        let _ = shared.too_long.try_send(path);
    }
    let failed = trains.clear();
    shared.counters.count_many(DropReason::SendFailed, failed);
    shared.totals.to_wire.add(datagrams - failed);
}

/// Sends what the socket takes, and waits a while when it is full.
fn try_send(shared: &Shared, carriage: Carriage, ipv4: bool, trains: &mut Trains) -> io::Result<()> {
    let raw = shared.raw.load();
    match (carriage, raw.as_deref()) {
        (Carriage::Udp, _) => {
            let socket = of_family(&shared.sockets, ipv4);
            socket.send_trains(trains).inspect_err(|_| await_room(socket))
        }
        (Carriage::Payload, Some(raw)) => {
            let socket = of_family(&raw.esp, ipv4);
            socket.send_trains(trains).inspect_err(|_| await_room(socket))
        }
        (Carriage::Packet, Some(raw)) => {
            let socket = of_family(&raw.packets, ipv4);
            socket.send_trains(trains).inspect_err(|_| await_room(socket))
        }
        // They stand before the first SA that needs them.
        (Carriage::Payload | Carriage::Packet, None) => Ok(()),
    }
}

fn of_family<T>([v4, v6]: &[T; 2], ipv4: bool) -> &T {
    if ipv4 { v4 } else { v6 }
}

fn await_room(socket: &impl AsFd) {
    let _ = poll::wait_writable(socket.as_fd(), Some(PATIENCE));
}
