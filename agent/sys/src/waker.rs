//! Waking a thread that waits in [`crate::poll::wait`].

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// A descriptor that becomes readable when another thread asks for it (eventfd(2)). Share it by reference or `Arc`.
#[derive(Debug)]
pub struct Waker(OwnedFd);

impl Waker {
    /// Makes one that nobody has woken.
    ///
    /// # Errors
    /// What eventfd(2) says: no descriptors left.
    pub fn new() -> io::Result<Self> {
        // SAFETY: eventfd(2) takes no pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new, open and owned by nobody else.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Makes the descriptor readable until [`Self::clear`]. Waking twice is as good as once.
    pub fn wake(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: write(2) reads eight bytes, which `one` holds. The only failure is a full counter, and then it is readable.
        unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Takes the wake-up back, and tells whether there was one.
    pub fn clear(&self) -> bool {
        let mut count = [0_u8; 8];
        // SAFETY: read(2) writes at most eight bytes into `count`. It fails only when nobody has woken.
        unsafe { libc::read(self.0.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) == 8 }
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Waker {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::poll;

    #[test]
    fn a_wake_up_ends_the_wait_until_it_is_cleared() {
        let (a, b) = (Waker::new().unwrap(), Waker::new().unwrap());
        let soon = Some(Duration::from_millis(1));
        assert_eq!(poll::wait([a.as_fd(), b.as_fd()], soon).unwrap(), [false, false]);
        std::thread::scope(|scope| {
            scope.spawn(|| b.wake());
            assert_eq!(poll::wait([a.as_fd(), b.as_fd()], None).unwrap(), [false, true]);
        });
        b.wake();
        assert!(b.clear());
        assert!(!b.clear());
        assert_eq!(poll::wait([b.as_fd()], soon).unwrap(), [false]);
        assert!(poll::wait_writable(a.as_fd(), soon).unwrap());
    }
}
