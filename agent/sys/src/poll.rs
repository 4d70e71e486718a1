//! Waiting for descriptors.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// Waits until one of the descriptors can be read or has failed, and tells for each whether it is ready; none are after the
/// timeout. `None` waits for ever. A signal ends the wait early, with none ready.
///
/// # Errors
/// What poll(2) says, other than the interruption.
pub fn wait<const N: usize>(fds: [BorrowedFd<'_>; N], timeout: Option<Duration>) -> io::Result<[bool; N]> {
    let mut entries = fds.map(|fd| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 });
    poll(&mut entries, timeout)?;
    Ok(entries.map(|entry| entry.revents != 0))
}

/// Waits until the descriptor can be written or has failed, and tells whether it is so within the timeout.
///
/// # Errors
/// What poll(2) says, other than the interruption.
pub fn wait_writable(fd: BorrowedFd<'_>, timeout: Option<Duration>) -> io::Result<bool> {
    let mut entries = [libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLOUT, revents: 0 }];
    poll(&mut entries, timeout)?;
    Ok(entries.iter().any(|entry| entry.revents != 0))
}

fn poll(entries: &mut [libc::pollfd], timeout: Option<Duration>) -> io::Result<()> {
    let limit = timeout.map(|t| libc::timespec {
        tv_sec: libc::time_t::try_from(t.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: t.subsec_nanos().into(),
    });
    let limit = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    let count = libc::nfds_t::try_from(entries.len()).expect("a few descriptors");
    // SAFETY: ppoll(2) writes `count` entries of the array and reads the time, which both outlive the call; no signal mask.
    let result = unsafe { libc::ppoll(entries.as_mut_ptr(), count, limit, std::ptr::null()) };
    if result >= 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    // An interrupted ppoll leaves `revents` alone, that is zero: nothing is ready.
    if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) }
}
