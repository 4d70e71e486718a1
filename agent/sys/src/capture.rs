//! Seeing every frame of an interface, for tests and demonstrations. What passes in bulk stays so: before each frame stands the header
//! that says how it is cut on a wire, as [`crate::tun`] has it; its offsets are from the start of the Ethernet frame.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use crate::address::family;
use crate::error::Error;
use crate::option::{set, set_buffers, size};
use crate::tun::index_of;

/// A non-blocking socket that gives the frames of one interface, those that leave as well as those that arrive.
#[derive(Debug)]
pub struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// Starts a capture on an interface of the calling thread's namespace. All frames from here on are kept, 128 MiB of
    /// them.
    ///
    /// # Errors
    /// There is no such interface, or no privilege.
    pub fn open(interface: &str) -> Result<Self, Error> {
        let fail = |source| Error::with_capability(format!("capture on interface {interface}"), "CAP_NET_RAW", source);
        let index = index_of(interface).map_err(fail)?;
        // SAFETY: socket(2) takes no pointers. Protocol 0 receives nothing until the socket is bound to its interface.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0) };
        if fd < 0 {
            return Err(fail(io::Error::last_os_error()));
        }
        // SAFETY: the descriptor is new, open and owned by nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        set_buffers(fd.as_fd(), BUFFER_BYTES).map_err(fail)?;
        set(fd.as_fd(), libc::SOL_PACKET, libc::PACKET_VNET_HDR, 1_i32).map_err(fail)?;
        // SAFETY: `sockaddr_ll` is a plain C structure for which all zeroes is a value.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = family(libc::AF_PACKET);
        address.sll_protocol = u16::try_from(libc::ETH_P_ALL).expect("sixteen bits").to_be();
        address.sll_ifindex = i32::try_from(index).map_err(io::Error::other).map_err(fail)?;
        // SAFETY: bind(2) reads the address, which outlives the call, within its size (packet(7)).
        let bound = unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), size::<libc::sockaddr_ll>()) };
        if bound < 0 { Err(fail(io::Error::last_os_error())) } else { Ok(Self(fd)) }
    }

    /// Reads one frame behind its header and returns the length of both; what exceeds the buffer is cut off.
    ///
    /// # Errors
    /// `WouldBlock` when there is none.
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        // SAFETY: recv(2) writes at most `buffer.len()` bytes into `buffer`.
        let read = unsafe { libc::recv(self.0.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        usize::try_from(read).map_err(|_| io::Error::last_os_error())
    }

    /// Returns how many frames were lost for want of room since the last call: a capture proves absence only with none.
    ///
    /// # Errors
    /// What getsockopt(2) says.
    pub fn lost(&self) -> io::Result<u32> {
        let mut statistics = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
        let mut length = size::<libc::tpacket_stats>();
        // SAFETY: getsockopt(2) writes at most `length` bytes of the structure (packet(7), PACKET_STATISTICS).
        let result = unsafe {
            let value = (&raw mut statistics).cast();
            libc::getsockopt(self.0.as_raw_fd(), libc::SOL_PACKET, libc::PACKET_STATISTICS, value, &raw mut length)
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(statistics.tp_drops) }
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for PacketSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

const BUFFER_BYTES: i32 = 128 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{A4, B4, Wire, bind, path, take};

    #[test]
    fn a_capture_sees_what_crosses_the_wire() {
        let wire = Wire::new();
        let capture = wire.b.enter(|| PacketSocket::open("wire").unwrap()).unwrap();
        let (near, far) = (bind(&wire.a, A4, 7000, None), bind(&wire.b, B4, 7000, None));
        near.send(&path((A4, 7000), (B4, 7000)), b"canary").unwrap();
        take(&far, 1000).unwrap();
        let mut frame = [0; 2048];
        let mut seen = false;
        while let Ok(length) = capture.recv(&mut frame) {
            seen |= frame[..length].windows(6).any(|bytes| bytes == b"canary");
        }
        assert!(seen);
        assert_eq!(capture.lost().unwrap(), 0);
        let missing = PacketSocket::open("espsys-none").unwrap_err().to_string();
        assert_eq!(missing, "cannot capture on interface espsys-none");
    }
}
