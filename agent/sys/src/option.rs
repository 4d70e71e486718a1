//! Socket options.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use crate::error::Error;

/// Sets an option whose value is a plain C value of type `T`.
pub(crate) fn set<T: Copy>(fd: BorrowedFd<'_>, level: i32, name: i32, value: T) -> io::Result<()> {
    // SAFETY: setsockopt(2) reads `size_of::<T>()` bytes from the pointer, and `value` lives across the call.
    let result = unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast(), size::<T>()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reads an option whose value is one `int`.
pub(crate) fn get(fd: BorrowedFd<'_>, level: i32, name: i32) -> io::Result<libc::c_int> {
    let (mut value, mut len) = (0, size::<libc::c_int>());
    // SAFETY: getsockopt(2) writes at most `len` bytes to `value`, and the length; both live across the call.
    let result = unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut len) };
    if result == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
}

/// Puts a mark onto every packet that a socket sends.
///
/// # Errors
/// Without `CAP_NET_ADMIN`.
pub fn set_mark(socket: &impl AsFd, mark: u32) -> Result<(), Error> {
    let marked = set(socket.as_fd(), libc::SOL_SOCKET, libc::SO_MARK, mark);
    marked.map_err(|source| Error::with_capability("mark the packets of a socket".to_owned(), "CAP_NET_ADMIN", source))
}

/// Asks for receive and send buffers beyond the system's limit, and takes the limit where that privilege is missing.
pub(crate) fn set_buffers(fd: BorrowedFd<'_>, bytes: i32) -> io::Result<()> {
    for (force, plain) in [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)] {
        if set(fd, libc::SOL_SOCKET, force, bytes).is_err() {
            set(fd, libc::SOL_SOCKET, plain, bytes)?;
        }
    }
    Ok(())
}

/// Returns the size of a C structure as the socket calls take it.
pub(crate) fn size<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).expect("C structures are far below 4 GiB")
}
