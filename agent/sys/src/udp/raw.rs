//! Raw sockets (raw(7)): IP packets of one protocol, without ports. What is said of paths holds; their ports mean nothing.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};

use espalier_model::sa::UdpPath;

use super::{Batch, Trains, UdpSocket, open, prepare};
use crate::error::Error;
use crate::option::set;

/// A non-blocking raw socket of one IP version and one protocol.
///
/// What it receives over IPv4 has its IP header before it, over IPv6 it has none. Fragments are put together before.
#[derive(Debug)]
pub struct RawSocket(UdpSocket);

/// Asks for no packets: only for sending (raw(7)).
const SENDING: u8 = 255;

impl RawSocket {
    /// Opens a socket that receives the packets of a protocol, and sends such with headers that the system writes. A mark goes onto
    /// each packet it sends.
    ///
    /// # Errors
    /// `CAP_NET_RAW` is missing, or `CAP_NET_ADMIN` for the mark.
    pub fn open(ipv4: bool, protocol: u8, mark: Option<u32>) -> Result<Self, Error> {
        Self::prepared(ipv4, protocol, mark).map_err(|source| refused(ipv4, protocol, source))
    }

    /// Opens a socket that sends whole packets, headers included, and receives none.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_for_packets(ipv4: bool, mark: Option<u32>) -> Result<Self, Error> {
        let socket = Self::prepared(ipv4, SENDING, mark).and_then(|socket| {
            let (level, name) =
                if ipv4 { (libc::IPPROTO_IP, libc::IP_HDRINCL) } else { (libc::IPPROTO_IPV6, libc::IPV6_HDRINCL) };
            set(socket.as_fd(), level, name, 1_i32).map(|()| socket)
        });
        socket.map_err(|source| refused(ipv4, SENDING, source))
    }

    fn prepared(ipv4: bool, protocol: u8, mark: Option<u32>) -> io::Result<Self> {
        let any: IpAddr = if ipv4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let local = SocketAddr::new(any, 0);
        let fd = open(ipv4, libc::SOCK_RAW, protocol)?;
        prepare(fd.as_fd(), local)?;
        if let Some(mark) = mark {
            set(fd.as_fd(), libc::SOL_SOCKET, libc::SO_MARK, mark)?;
        }
        Ok(Self(UdpSocket { fd, local }))
    }

    /// Receives what is there, as far as it fits into a batch, and tells whether there may be more.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing.
    pub fn recv_batch(&self, batch: &mut Batch) -> io::Result<bool> {
        self.0.recv_batch(batch)
    }

    /// Sends what has not left yet, in order, each datagram as a packet.
    ///
    /// # Errors
    /// `WouldBlock` when the send buffer is full: wait and call again.
    pub fn send_trains(&self, trains: &mut Trains) -> io::Result<()> {
        self.0.send_trains(trains)
    }

    /// Asks for a receive buffer of this size.
    ///
    /// # Errors
    /// What setsockopt(2) says.
    pub fn enlarge_receive_buffer(&self, bytes: i32) -> io::Result<()> {
        self.0.enlarge_receive_buffer(bytes)
    }

    /// Returns a path without ports: Linux takes the port of an IPv6 address for the protocol.
    #[must_use]
    pub fn without_ports(path: UdpPath) -> UdpPath {
        let UdpPath { mut local, mut remote } = path;
        local.set_port(0);
        remote.set_port(0);
        UdpPath { local, remote }
    }
}

impl AsFd for RawSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn refused(ipv4: bool, protocol: u8, source: io::Error) -> Error {
    let version = if ipv4 { "IPv4" } else { "IPv6" };
    Error::with_capability(format!("open a raw {version} socket of protocol {protocol}"), "CAP_NET_RAW", source)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::poll;
    use crate::testing::{A4, A6, B4, B6, Wire};

    /// Free for experiments (RFC 3692).
    const EXPERIMENT: u8 = 253;
    const CLASS: u8 = 0xb9;

    fn take(socket: &RawSocket) -> (UdpPath, u8, Vec<u8>) {
        let mut batch = Batch::new(65_535);
        poll::wait([socket.as_fd()], Some(Duration::from_secs(1))).unwrap();
        socket.recv_batch(&mut batch).unwrap();
        let came: Vec<_> = batch.datagrams().map(|d| (d.path, d.class, d.bytes.to_vec())).collect();
        let [one] = <[_; 1]>::try_from(came).expect("one packet came");
        one
    }

    fn send(socket: &RawSocket, path: UdpPath, packet: &[u8]) {
        let mut trains = Trains::new(1 << 16, false);
        trains.room()[..packet.len()].copy_from_slice(packet);
        trains.push(path, CLASS, packet.len(), false);
        socket.send_trains(&mut trains).unwrap();
        assert_eq!(trains.clear(), 0, "it is sent");
    }

    fn path(a: &str, b: &str) -> UdpPath {
        let [local, remote] = [a, b].map(|text| SocketAddr::new(text.parse().unwrap(), 4_500));
        RawSocket::without_ports(UdpPath { local, remote })
    }

    #[test]
    fn packets_without_ports_pass_with_their_class() {
        let wire = Wire::new();
        for (ipv4, there, back) in [(true, path(A4, B4), path(B4, A4)), (false, path(A6, B6), path(B6, A6))] {
            let open = || RawSocket::open(ipv4, EXPERIMENT, None).unwrap();
            let (a, b) = (wire.a.enter(open).unwrap(), wire.b.enter(open).unwrap());
            send(&a, there, b"a payload");
            let (path, class, mut bytes) = take(&b);
            if ipv4 {
                assert_eq!((bytes[0], bytes[9]), (0x45, EXPERIMENT), "the IP header is before it");
                bytes.drain(..20);
            }
            assert_eq!((RawSocket::without_ports(path), class, &bytes[..]), (back, CLASS, &b"a payload"[..]));
        }
    }

    #[test]
    fn a_whole_packet_leaves_as_it_is() {
        let wire = Wire::new();
        let b = wire.b.enter(|| RawSocket::open(true, EXPERIMENT, None).unwrap()).unwrap();
        let a = wire.a.enter(|| RawSocket::open_for_packets(true, None).unwrap()).unwrap();
        let mut packet =
            [0x45, 0x07, 0, 24, 0x12, 0x34, 0x40, 0, 99, EXPERIMENT, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 1, 2, 3, 4];
        send(&a, path(A4, B4), &packet);
        let (_, class, bytes) = take(&b);
        packet[10..12].copy_from_slice(&bytes[10..12]);
        assert_eq!((class, &bytes[..]), (0x07, &packet[..]), "all but the checksum, which the system writes");
        let b = wire.b.enter(|| RawSocket::open(false, EXPERIMENT, None).unwrap()).unwrap();
        let a = wire.a.enter(|| RawSocket::open_for_packets(false, None).unwrap()).unwrap();
        let ends = [A6, B6].map(|text| text.parse::<Ipv6Addr>().unwrap().octets()).concat();
        let packet = [&[0x60, 0x70, 0, 0, 0, 4, EXPERIMENT, 99][..], &ends, &[1, 2, 3, 4]].concat();
        send(&a, path(A6, B6), &packet);
        let (_, class, bytes) = take(&b);
        assert_eq!((class, &bytes[..]), (0x07, &[1, 2, 3, 4][..]));
    }
}
