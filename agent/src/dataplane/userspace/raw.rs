//! Packets without UDP: ESP as IP protocol 50, and AH (RFC 4303, RFC 4302).

use std::os::fd::AsFd;
use std::sync::atomic::Ordering::Relaxed;

use espalier_sys::udp::{RawSocket, Trains};
use espalier_sys::{Error, poll};

use super::inbound::{Header, Worker};
use super::{RECEIVE_BUFFER, Shared};
use crate::network::MARK;

pub(super) const ESP: u8 = 50;
pub(super) const AH: u8 = 51;

/// Raw sockets, each for IPv4 and IPv6.
pub(super) struct RawSockets {
    /// Take ESP, and send it with headers that the system writes.
    pub(super) esp: [RawSocket; 2],
    /// Take AH.
    ah: [RawSocket; 2],
    /// Send whole packets.
    pub(super) packets: [RawSocket; 2],
}

impl RawSockets {
    /// Opens them.
    pub(super) fn open() -> Result<Self, Error> {
        let of = |protocol| {
            let open = |ipv4| RawSocket::open(ipv4, protocol, Some(MARK));
            Ok::<_, Error>([open(true)?, open(false)?])
        };
        let packets = |ipv4| RawSocket::open_for_packets(ipv4, Some(MARK));
        let sockets = Self { esp: of(ESP)?, ah: of(AH)?, packets: [packets(true)?, packets(false)?] };
        for socket in sockets.receiving().map(|(socket, _)| socket) {
            // Without it bursts are lost, and nothing else.
            if let Err(error) = socket.enlarge_receive_buffer(RECEIVE_BUFFER) {
                tracing::warn!(%error, "a raw socket keeps its small buffer");
            }
        }
        Ok(sockets)
    }

    /// Returns those that receive, with what stands at the head of their packets.
    fn receiving(&self) -> impl Iterator<Item = (&RawSocket, Header)> {
        let [esp4, esp6] = &self.esp;
        let [ah4, ah6] = &self.ah;
        [(esp4, Header::Ip), (esp6, Header::Taken(ESP)), (ah4, Header::Ip), (ah6, Header::Taken(AH))].into_iter()
    }
}

/// Receives until the data plane stops.
pub(super) fn run(shared: &Shared) {
    let Some(sockets) = shared.raw.load_full() else { return };
    let (mut worker, [_, _, stopped]) = (Worker::new(shared), &shared.wakers);
    let ([esp4, esp6], [ah4, ah6]) = (&sockets.esp, &sockets.ah);
    while !shared.stop.load(Relaxed) {
        let waiting = [esp4.as_fd(), esp6.as_fd(), ah4.as_fd(), ah6.as_fd(), stopped.as_fd()];
        if poll::wait(waiting, None).is_err() {
            return;
        }
        for (socket, header) in sockets.receiving() {
            worker.take(shared, header, |batch| socket.recv_batch(batch));
        }
    }
}

/// Makes room for packets that leave through raw sockets, which take no trains.
pub(super) fn room(bytes: usize) -> [Trains; 2] {
    [Trains::new(bytes, false), Trains::new(bytes, false)]
}
