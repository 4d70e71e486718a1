//! UDP sockets that know, packet by packet, which of our addresses a datagram came to, and from which one it leaves.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use espalier_model::sa::UdpPath;

use crate::address::RawAddress;
use crate::error::Error;
use crate::option::{set, set_buffers};

mod batch;
mod control;
mod path;
mod raw;
mod steer;
mod train;

pub use batch::{Batch, Datagram};
use control::Control;
pub use path::path_mtu;
pub use raw::RawSocket;
pub use steer::Word;
pub use train::Trains;

/// A non-blocking UDP socket of one IP version, bound to one port.
///
/// Datagrams leave unfragmented (path MTU discovery), except through [`Self::send_fragmentable`].
#[derive(Debug)]
pub struct UdpSocket {
    fd: OwnedFd,
    local: SocketAddr,
}

impl UdpSocket {
    /// Binds a socket, usually to a wildcard address; one for `::` takes no IPv4. A mark goes onto each packet it sends.
    ///
    /// # Errors
    /// The port is taken, or the privilege for the mark or the port is missing.
    pub fn bind(address: SocketAddr, mark: Option<u32>) -> Result<Self, Error> {
        let socket = Self::open(address, mark)?;
        socket.bind_to(address)
    }

    /// Binds a socket like [`Self::bind`] and others to the same port, of which the n-th gets the datagrams that have all words of
    /// the n-th list; what no list fits comes to the first socket. The kernel decides, so each has a buffer of its own.
    ///
    /// # Errors
    /// As [`Self::bind`]; the port counts as taken even where its holder would share it.
    pub fn bind_steered<const N: usize>(
        address: SocketAddr,
        mark: Option<u32>,
        lists: [&[Word]; N],
    ) -> Result<(Self, [Self; N]), Error> {
        let refused = |source| Error::new(format!("share UDP port {} among sockets", address.port()), source);
        let first = Self::bind(address, mark)?;
        steer::share_port(&first).map_err(refused)?;
        let mut others = Vec::with_capacity(N);
        for _ in &lists {
            let socket = Self::open(first.local, mark)?;
            steer::share_port(&socket).map_err(refused)?;
            others.push(socket.bind_to(first.local)?);
        }
        steer::attach(first.as_fd(), &lists).map_err(refused)?;
        Ok((first, others.try_into().expect("one for each list")))
    }

    fn open(address: SocketAddr, mark: Option<u32>) -> Result<Self, Error> {
        let action = || format!("open UDP socket {address}");
        let fd = open(address.is_ipv4(), libc::SOCK_DGRAM, 0).map_err(|source| Error::new(action(), source))?;
        let prepared = separate(fd.as_fd(), address).and_then(|()| prepare(fd.as_fd(), address));
        prepared.map_err(|source| Error::new(action(), source))?;
        if let Some(mark) = mark {
            set(fd.as_fd(), libc::SOL_SOCKET, libc::SO_MARK, mark)
                .map_err(|source| Error::new(format!("mark the packets of UDP socket {address}"), source))?;
        }
        Ok(Self { fd, local: address })
    }

    fn bind_to(mut self, address: SocketAddr) -> Result<Self, Error> {
        let action = || format!("open UDP socket {address}");
        let raw = RawAddress::from(address);
        // SAFETY: bind(2) reads `raw.len` bytes of an address that outlives the call.
        if unsafe { libc::bind(self.fd.as_raw_fd(), raw.as_ptr(), raw.len) } < 0 {
            let source = io::Error::last_os_error();
            return Err(match source.raw_os_error() {
                Some(libc::EADDRINUSE) => Error::PortInUse { address, source },
                _ => Error::with_capability(action(), "CAP_NET_BIND_SERVICE", source),
            });
        }
        self.local = bound_address(self.as_fd()).map_err(|source| Error::new(action(), source))?;
        Ok(self)
    }

    /// Asks for a receive buffer of this size: what a worker may be behind where processors are short.
    ///
    /// # Errors
    /// What setsockopt(2) says; without the privilege to exceed it, the system's limit is taken.
    pub fn enlarge_receive_buffer(&self, bytes: i32) -> io::Result<()> {
        set(self.as_fd(), libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, bytes)
            .or_else(|_| set(self.as_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF, bytes))
    }

    /// Returns the address and port it is bound to.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Receives one datagram: its length, the address of ours that it was sent to, and its sender.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; `InvalidData` for a datagram longer than the buffer, which is lost. Neither ends the
    /// socket's use.
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<(usize, UdpPath)> {
        let mut name = RawAddress::empty();
        let mut control = Control::empty();
        let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        let mut message = message(&mut name, &mut part, &mut control);
        // SAFETY: recvmsg(2) writes into the address, the buffer and the control room, each within the length it is told;
        // all of them outlive the call.
        let read = unsafe { libc::recvmsg(self.fd.as_raw_fd(), &raw mut message, 0) };
        let length = usize::try_from(read).map_err(|_| io::Error::last_os_error())?;
        if message.msg_flags & libc::MSG_TRUNC != 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "datagram is longer than the buffer"));
        }
        let local = control::destination(&message, self.local.port());
        match (name.get(), local) {
            (Some(remote), Some(local)) => Ok((length, UdpPath { local, remote })),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "datagram without addresses")),
        }
    }

    /// Sends one datagram to the path's remote end, from its local address (from the one routing picks, if that is a wildcard).
    ///
    /// # Errors
    /// `WouldBlock` while the send buffer is full, `EMSGSIZE` beyond the path's MTU, `EPERM` when a firewall drops it,
    /// `InvalidInput` for another IP version than the socket's, and what routing says.
    pub fn send(&self, path: &UdpPath, datagram: &[u8]) -> io::Result<()> {
        self.send_classified(path, 0, datagram)
    }

    /// Sends like [`Self::send`], with this TOS or traffic class.
    fn send_classified(&self, path: &UdpPath, class: u8, datagram: &[u8]) -> io::Result<()> {
        let version = |address: &SocketAddr| address.is_ipv4() == self.local.is_ipv4();
        if !version(&path.remote) || !version(&path.local) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the path is of another IP version than the socket",
            ));
        }
        let mut name = RawAddress::from(path.remote);
        let mut control = Control::from_source(path.local);
        control.classify(class, path.remote.is_ipv4());
        let mut part = libc::iovec { iov_base: datagram.as_ptr().cast_mut().cast(), iov_len: datagram.len() };
        let message = message(&mut name, &mut part, &mut control);
        // SAFETY: sendmsg(2) reads the address, the datagram and the control data within their lengths and writes none of them.
        let sent = unsafe { libc::sendmsg(self.fd.as_raw_fd(), &raw const message, 0) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Sends like [`Self::send`], and lets IP fragment what exceeds the path's MTU: for IKE messages with long certificates, to
    /// peers that do not put IKE fragments together (RFC 7383), and in the first exchange.
    ///
    /// Datagrams that other threads send in the same instant may be fragmented too.
    ///
    /// # Errors
    /// As [`Self::send`], without `EMSGSIZE` for anything below 64 KiB.
    pub fn send_fragmentable(&self, path: &UdpPath, datagram: &[u8]) -> io::Result<()> {
        match self.send(path, datagram) {
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                set_fragmenting(self.as_fd(), self.local, true)?;
                let result = self.send(path, datagram);
                set_fragmenting(self.as_fd(), self.local, false)?;
                result
            }
            result => result,
        }
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for UdpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// Room for bursts: at 10 Gbit/s it holds 3 ms, longer than a worker is away where processors are not short.
const BUFFER_BYTES: i32 = 4 << 20;

fn open(ipv4: bool, kind: i32, protocol: u8) -> io::Result<OwnedFd> {
    let family = if ipv4 { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: socket(2) takes no pointers.
    let fd = unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, protocol.into()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, open and owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Keeps IPv4 out of a socket of IPv6. Raw sockets have it so, and know no such option.
fn separate(fd: BorrowedFd<'_>, address: SocketAddr) -> io::Result<()> {
    if address.is_ipv4() { Ok(()) } else { set(fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1_i32) }
}

fn prepare(fd: BorrowedFd<'_>, address: SocketAddr) -> io::Result<()> {
    if address.is_ipv4() {
        set(fd, libc::IPPROTO_IP, libc::IP_PKTINFO, 1_i32)?;
        set(fd, libc::IPPROTO_IP, libc::IP_RECVTOS, 1_i32)?;
    } else {
        set(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1_i32)?;
        set(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1_i32)?;
    }
    set_fragmenting(fd, address, false)?;
    set_buffers(fd, BUFFER_BYTES)
}

fn set_fragmenting(fd: BorrowedFd<'_>, address: SocketAddr, allowed: bool) -> io::Result<()> {
    if address.is_ipv4() {
        let value = if allowed { libc::IP_PMTUDISC_DONT } else { libc::IP_PMTUDISC_DO };
        set(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, value)
    } else {
        let value = if allowed { libc::IPV6_PMTUDISC_DONT } else { libc::IPV6_PMTUDISC_DO };
        set(fd, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, value)
    }
}

fn bound_address(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    let mut raw = RawAddress::empty();
    let mut len = raw.len;
    // SAFETY: getsockname(2) writes at most `len` bytes of the address and the length itself.
    if unsafe { libc::getsockname(fd.as_raw_fd(), raw.as_mut_ptr(), &raw mut len) } < 0 {
        return Err(io::Error::last_os_error());
    }
    raw.get().ok_or_else(|| io::Error::other("the socket has no IP address"))
}

fn message(name: &mut RawAddress, part: &mut libc::iovec, control: &mut Control) -> libc::msghdr {
    // SAFETY: `msghdr` is a plain C structure for which all zeroes is a value. (Its padding makes a literal impossible.)
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = name.as_mut_ptr().cast();
    message.msg_namelen = name.len;
    message.msg_iov = part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr();
    message.msg_controllen = control.len();
    if control.len() == 0 {
        message.msg_control = std::ptr::null_mut();
    }
    message
}

#[cfg(test)]
mod tests;
