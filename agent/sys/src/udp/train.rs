//! Datagrams that leave together: those of one path and class that stand one after the other in the arena, all of one length but the last,
//! are a train, which the kernel takes as one and cuts as late as it can (UDP_SEGMENT, udp(7)).

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use espalier_model::sa::UdpPath;

use super::control::Control;
use super::{UdpSocket, message, set_fragmenting};
use crate::address::RawAddress;

/// Datagrams in one arena, in the order in which they leave.
pub struct Trains {
    arena: Vec<u8>,
    used: usize,
    trains: Vec<Train>,
    /// The first train that has not left.
    next: usize,
    datagrams: usize,
    failed: usize,
    coupling: bool,
    refused: bool,
    /// The path of a datagram that was too long for it.
    too_long: Option<UdpPath>,
}

struct Train {
    path: UdpPath,
    class: u8,
    start: usize,
    length: usize,
    /// The length of each datagram but the last.
    segment: usize,
    datagrams: usize,
    /// Datagrams up to this length may leave in fragments.
    fragmentable: usize,
}

/// Trains that one system call takes at most.
const MOST: usize = 32;
/// Trains in an arena. More of them than that is a sign of small datagrams to many peers: then it is time to send.
const TRAINS: usize = 256;
/// Datagrams in a train: what Linux takes.
const LONGEST_TRAIN: usize = 64;
/// Bytes in a train: what IP takes, less its headers and those of UDP.
const HEAVIEST_TRAIN: usize = 65_000;

impl Trains {
    /// Makes an arena of so many bytes. Without coupling each datagram is a train of its own.
    #[must_use]
    pub fn new(bytes: usize, coupling: bool) -> Self {
        Self {
            arena: vec![0; bytes],
            used: 0,
            trains: Vec::with_capacity(TRAINS),
            next: 0,
            datagrams: 0,
            failed: 0,
            coupling,
            refused: false,
            too_long: None,
        }
    }

    /// Returns the room behind the last datagram, to write the next one to its head.
    pub fn room(&mut self) -> &mut [u8] {
        self.arena.get_mut(self.used..).unwrap_or_default()
    }

    /// Tells whether another datagram of this length has no room.
    #[must_use]
    pub fn is_full(&self, length: usize) -> bool {
        self.used + length > self.arena.len() || self.trains.len() >= TRAINS
    }

    /// Takes what stands at the head of the room for a datagram, whose IP header has this TOS or traffic class. One that nobody would
    /// make shorter is `fragmentable`: where it is longer than its path takes, it leaves in fragments.
    pub fn push(&mut self, path: UdpPath, class: u8, length: usize, fragmentable: bool) {
        let (start, length) = (self.used, length.min(self.arena.len() - self.used));
        (self.used, self.datagrams) = (start + length, self.datagrams + 1);
        let fragmentable = if fragmentable { length } else { 0 };
        match self.trains.last_mut() {
            Some(train) if self.coupling && train.takes(&path, class, length) => {
                train.length += length;
                train.datagrams += 1;
                train.fragmentable = train.fragmentable.max(fragmentable);
            }
            _ => self.trains.push(Train { path, class, start, length, segment: length, datagrams: 1, fragmentable }),
        }
    }

    /// Returns the number of datagrams.
    #[must_use]
    pub const fn datagrams(&self) -> usize {
        self.datagrams
    }

    /// Forgets the datagrams, and returns how many of them were not sent.
    pub fn clear(&mut self) -> usize {
        let left: usize = self.trains.iter().skip(self.next).map(|train| train.datagrams).sum();
        self.trains.clear();
        (self.used, self.next, self.datagrams) = (0, 0, 0);
        std::mem::take(&mut self.failed) + left
    }

    /// Tells, once, that the kernel refused a train of which it took each datagram by itself. None are coupled from then on.
    pub fn take_refused(&mut self) -> bool {
        self.coupling &= !self.refused;
        std::mem::take(&mut self.refused)
    }

    /// Returns, once, the path of a datagram that was left out because it was longer than the path takes.
    pub fn take_too_long(&mut self) -> Option<UdpPath> {
        self.too_long.take()
    }

    /// Notes that datagrams are left out.
    fn fail(&mut self, path: UdpPath, datagrams: usize, error: &io::Error) {
        self.failed += datagrams;
        if is_too_long(error) {
            self.too_long = Some(path);
        }
    }

    fn bytes(&self, train: &Train) -> &[u8] {
        self.arena.get(train.start..train.start + train.length).unwrap_or_default()
    }

    /// Returns the first datagram of a train.
    fn first(&self, train: &Train) -> &[u8] {
        self.arena.get(train.start..train.start + train.first()).unwrap_or_default()
    }

    /// Returns the first train, if it has a datagram that has not left.
    fn first_waiting(&self) -> Option<&Train> {
        self.trains.get(self.next).filter(|train| train.datagrams > 0)
    }

    fn shorten_first(&mut self) {
        if let Some(train) = self.trains.get_mut(self.next) {
            train.shorten();
        }
    }
}

impl Train {
    /// Tells whether a datagram may be the next one: the one before was not shorter than the rest.
    fn takes(&self, path: &UdpPath, class: u8, length: usize) -> bool {
        self.path == *path
            && self.class == class
            && length > 0
            && length <= self.segment
            && self.length == self.segment * self.datagrams
            && self.datagrams < LONGEST_TRAIN
            && self.length + length <= HEAVIEST_TRAIN
    }

    /// Returns the length of the first datagram.
    fn first(&self) -> usize {
        self.segment.min(self.length)
    }

    /// Tells whether the first datagram may leave in fragments. Then those behind it may too: none is longer.
    fn is_fragmentable(&self) -> bool {
        self.first() <= self.fragmentable
    }

    /// Takes the first datagram off.
    fn shorten(&mut self) {
        let first = self.first();
        self.start += first;
        self.length -= first;
        self.datagrams -= 1;
    }
}

impl UdpSocket {
    /// Sends what has not left yet, in order. A train that the kernel refuses is sent datagram by datagram; a datagram that it
    /// refuses is left out and counted.
    ///
    /// Fragments are made as by [`Self::send_fragmentable`].
    ///
    /// # Errors
    /// `WouldBlock` when the send buffer is full: wait and call again.
    pub fn send_trains(&self, trains: &mut Trains) -> io::Result<()> {
        while trains.next < trains.trains.len() {
            let Err(error) = self.send_some(trains) else { continue };
            let Some(train) = trains.trains.get(trains.next) else { break };
            if error.kind() == io::ErrorKind::WouldBlock {
                return Err(error);
            }
            if train_is_at_fault(train, &error) || is_too_long(&error) && train.is_fragmentable() {
                self.send_singly(trains)?;
            } else if error.kind() != io::ErrorKind::Interrupted {
                let (path, datagrams) = (train.path, train.datagrams);
                trains.fail(path, datagrams, &error);
                trains.next += 1;
            }
        }
        Ok(())
    }

    /// Sends trains by one system call, as many as it takes.
    fn send_some(&self, trains: &mut Trains) -> io::Result<()> {
        // SAFETY: `iovec` and `mmsghdr` are plain C structures for which all zeroes is a value.
        let (mut parts, mut messages): ([libc::iovec; MOST], [libc::mmsghdr; MOST]) = unsafe { std::mem::zeroed() };
        let mut rooms: [(RawAddress, Control); MOST] = std::array::from_fn(|_| (RawAddress::empty(), Control::empty()));
        let mut count = 0;
        let waiting = trains.trains.iter().skip(trains.next);
        for (((part, entry), (name, control)), train) in
            parts.iter_mut().zip(&mut messages).zip(&mut rooms).zip(waiting)
        {
            let bytes = trains.bytes(train);
            *part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
            (*name, *control) = (RawAddress::from(train.path.remote), Control::from_source(train.path.local));
            control.classify(train.class, train.path.remote.is_ipv4());
            if train.datagrams > 1 {
                control.cut_into(u16::try_from(train.segment).unwrap_or(0));
            }
            entry.msg_hdr = message(name, part, control);
            count += 1;
        }
        // SAFETY: sendmmsg(2) reads `count` headers and what they point to, all of which outlives the call, and writes only the
        // lengths in the headers.
        let sent = unsafe { libc::sendmmsg(self.fd.as_raw_fd(), messages.as_mut_ptr(), count, libc::MSG_DONTWAIT) };
        trains.next += usize::try_from(sent).map_err(|_| io::Error::last_os_error())?;
        Ok(())
    }

    fn send_singly(&self, trains: &mut Trains) -> io::Result<()> {
        let mut all_passed = true;
        while let Some(train) = trains.first_waiting() {
            match self.send_classified(&train.path, train.class, trains.first(train)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(error) if is_too_long(&error) && train.is_fragmentable() => {
                    self.send_in_fragments(trains)?;
                    all_passed = false;
                    break;
                }
                Err(error) => {
                    let path = train.path;
                    trains.fail(path, 1, &error);
                    all_passed = false;
                }
                Ok(()) => {}
            }
            trains.shorten_first();
        }
        trains.next += 1;
        trains.refused |= all_passed;
        Ok(())
    }

    /// Sends what is left of the first train singly, and lets IP fragment it.
    fn send_in_fragments(&self, trains: &mut Trains) -> io::Result<()> {
        // Where that cannot be switched they stay too long, and are counted.
        let _ = set_fragmenting(self.as_fd(), self.local, true);
        let sent = self.send_fragmentable_datagrams(trains);
        let _ = set_fragmenting(self.as_fd(), self.local, false);
        sent
    }

    fn send_fragmentable_datagrams(&self, trains: &mut Trains) -> io::Result<()> {
        while let Some(train) = trains.first_waiting() {
            let path = train.path;
            match self.send_classified(&path, train.class, trains.first(train)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(error) => trains.fail(path, 1, &error),
                Ok(()) => {}
            }
            trains.shorten_first();
        }
        Ok(())
    }
}

/// Tells whether an error may be about the train and not its datagrams. `EINVAL` also comes for a datagram beyond the path's MTU.
fn train_is_at_fault(train: &Train, error: &io::Error) -> bool {
    train.datagrams > 1
        && matches!(error.raw_os_error(), Some(libc::EIO | libc::EINVAL | libc::EMSGSIZE | libc::ENOPROTOOPT))
}

fn is_too_long(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EMSGSIZE)
}

#[cfg(test)]
mod tests;
