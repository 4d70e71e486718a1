//! The TUN interface: frames to and from the kernel, each a header and an IP packet, which may stand for many packets.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use crate::error::Error;

/// A TUN interface. It lives as long as this value, or a descriptor made from it, and disappears with the process.
///
/// Before every packet, in both directions, stand [`FRAME_HEADER_LEN`] bytes: `struct virtio_net_hdr`, as include/uapi/linux/virtio_net.h
/// has it. All zeroes is a packet by itself. Reading and writing take `&self`: the kernel keeps frames whole, so threads may share it.
#[derive(Debug)]
pub struct Tun {
    fd: OwnedFd,
    name: String,
    index: u32,
}

/// The length of the header before each packet: without the count of buffers.
pub const FRAME_HEADER_LEN: usize = 10;

/// What the kernel leaves to the reader of a TUN interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segmentation {
    /// Nothing: each frame is one packet, and whole.
    Nothing,
    /// To cut TCP into segments, and to finish checksums.
    Tcp,
    /// The same for TCP and UDP.
    TcpAndUdp,
}

impl Tun {
    /// Creates the interface in the namespace of the calling thread: down, without addresses, non-blocking, with nothing left to the
    /// reader.
    ///
    /// # Errors
    /// The device is missing, the privilege is, or the name is not free or not one of 1 to 15 characters.
    pub fn create(name: &str) -> Result<Self, Error> {
        let action = || format!("create TUN interface {name}");
        let mut request = request_named(name).map_err(|source| Error::new(action(), source))?;
        let fd = open_device().map_err(|source| match source.raw_os_error() {
            Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => Error::NoTun { name: name.to_owned(), source },
            _ => Error::new(action(), source),
        })?;
        let flags = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_TUN_EXCL | libc::IFF_VNET_HDR;
        request.ifr_ifru.ifru_flags = libc::c_short::from_ne_bytes(low_half(flags).to_ne_bytes());
        // SAFETY: TUNSETIFF (netdevice(7), tuntap.rst) reads and writes one `ifreq`, which outlives the call.
        if unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETIFF, &raw mut request) } < 0 {
            return Err(refused(action(), io::Error::last_os_error()));
        }
        let size = libc::c_int::try_from(FRAME_HEADER_LEN).expect("a small number");
        // SAFETY: TUNSETVNETHDRSZ (drivers/net/tun.c) reads one `int`, which outlives the call.
        if unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETVNETHDRSZ, &raw const size) } < 0 {
            return Err(Error::new(action(), io::Error::last_os_error()));
        }
        let index = index_of(name).map_err(|source| Error::new(action(), source))?;
        Ok(Self { fd, name: name.to_owned(), index })
    }

    /// Returns the interface's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the interface's index.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Takes work over from the kernel, from the next frame on.
    ///
    /// # Errors
    /// `EINVAL` for what this kernel cannot leave to others: UDP before Linux 6.2. What was agreed on before then still holds.
    pub fn take_over(&self, segmentation: Segmentation) -> io::Result<()> {
        let tcp = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
        let flags = match segmentation {
            Segmentation::Nothing => 0,
            Segmentation::Tcp => tcp,
            Segmentation::TcpAndUdp => tcp | libc::TUN_F_USO4 | libc::TUN_F_USO6,
        };
        // SAFETY: TUNSETOFFLOAD (drivers/net/tun.c) takes its argument as a number.
        let result = unsafe { libc::ioctl(self.fd.as_raw_fd(), libc::TUNSETOFFLOAD, libc::c_ulong::from(flags)) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Reads one frame and returns its length. What does not fit into the buffer is cut off, so it must hold the longest packet.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; otherwise what the kernel says, which for a removed interface is final.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        // SAFETY: read(2) writes at most `buffer.len()` bytes into `buffer`.
        let read = unsafe { libc::read(self.fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
        usize::try_from(read).map_err(|_| io::Error::last_os_error())
    }

    /// Writes one frame, which the kernel takes whole.
    ///
    /// # Errors
    /// `EIO` while the interface is down, `EINVAL` for what is no IP packet, or a super-packet that this kernel does not take.
    pub fn write(&self, frame: &[u8]) -> io::Result<()> {
        // SAFETY: write(2) reads `frame.len()` bytes of `frame`.
        let written = unsafe { libc::write(self.fd.as_raw_fd(), frame.as_ptr().cast(), frame.len()) };
        if written < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Tun {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// Returns the index of the interface of this name in the calling thread's namespace.
pub(crate) fn index_of(name: &str) -> io::Result<u32> {
    let name = CString::new(name)?;
    // SAFETY: if_nametoindex(3) reads a string that ends in a zero, which `CString` guarantees.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

fn open_device() -> io::Result<OwnedFd> {
    let flags = libc::O_RDWR | libc::O_NONBLOCK | libc::O_CLOEXEC;
    // SAFETY: open(2) reads a string that ends in a zero, which a C literal is.
    let fd = unsafe { libc::open(c"/dev/net/tun".as_ptr(), flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, open and owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn request_named(name: &str) -> io::Result<libc::ifreq> {
    if name.is_empty() || name.len() >= libc::IFNAMSIZ || name.contains(['\0', '/', '%']) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "an interface name has 1 to 15 plain characters"));
    }
    // SAFETY: `ifreq` is a plain C structure for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    Ok(request)
}

fn low_half(flags: i32) -> u16 {
    u16::try_from(flags & 0xffff).expect("sixteen bits")
}

fn refused(action: String, source: io::Error) -> Error {
    match source.raw_os_error() {
        Some(libc::EBUSY | libc::EEXIST) => {
            let remedy = "an interface of that name exists; stop the other agent, or choose another name";
            Error::Remedy { action, remedy, source }
        }
        Some(libc::EINVAL) => {
            let remedy = "an interface of that name exists and is not a TUN interface; choose another name";
            Error::Remedy { action, remedy, source }
        }
        _ => Error::new(action, source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_no_interface_can_have_is_refused() {
        for name in ["", "sixteencharacter", "a/b", "tun%d"] {
            let error = Tun::create(name).unwrap_err();
            assert_eq!(error.to_string(), format!("cannot create TUN interface {name}"));
        }
    }
}
