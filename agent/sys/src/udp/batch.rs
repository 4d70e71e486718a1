//! Many datagrams by one system call, received into one arena that is used again and again.

use std::io;
use std::os::fd::AsRawFd;

use espalier_model::sa::UdpPath;

use super::control::{self, Control};
use super::{UdpSocket, message};
use crate::address::RawAddress;

/// Room for datagrams. It takes memory only for what has come in at most.
pub struct Batch {
    room: Vec<u8>,
    slot: usize,
    names: [RawAddress; MOST],
    controls: [Control; MOST],
    arrived: Vec<(usize, Option<UdpPath>)>,
}

/// Datagrams that one system call takes at most.
const MOST: usize = 32;

impl Batch {
    /// Makes room for datagrams of up to so many bytes each.
    #[must_use]
    pub fn new(longest: usize) -> Self {
        Self {
            room: vec![0; longest * MOST],
            slot: longest.max(1),
            names: std::array::from_fn(|_| RawAddress::empty()),
            controls: std::array::from_fn(|_| Control::empty()),
            arrived: Vec::with_capacity(MOST),
        }
    }

    /// Returns the datagrams of the last [`UdpSocket::recv_batch`], in order, each with where it came to and where from. What was
    /// longer than the room, or has no address, is left out.
    pub fn datagrams(&mut self) -> impl Iterator<Item = (UdpPath, &mut [u8])> {
        let slots = self.room.chunks_exact_mut(self.slot);
        self.arrived.iter().zip(slots).filter_map(|((length, path), slot)| Some(((*path)?, slot.get_mut(..*length)?)))
    }
}

impl UdpSocket {
    /// Receives what is there, as far as it fits into a batch, and tells whether there may be more.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing.
    pub fn recv_batch(&self, batch: &mut Batch) -> io::Result<bool> {
        batch.arrived.clear();
        // SAFETY: `iovec` and `mmsghdr` are plain C structures for which all zeroes is a value.
        let (mut parts, mut messages): ([libc::iovec; MOST], [libc::mmsghdr; MOST]) = unsafe { std::mem::zeroed() };
        let slots = batch.room.chunks_exact_mut(batch.slot);
        let rooms = batch.names.iter_mut().zip(&mut batch.controls).zip(slots);
        for ((part, entry), ((name, control), slot)) in parts.iter_mut().zip(&mut messages).zip(rooms) {
            *part = libc::iovec { iov_base: slot.as_mut_ptr().cast(), iov_len: slot.len() };
            (*name, *control) = (RawAddress::empty(), Control::empty());
            entry.msg_hdr = message(name, part, control);
        }
        let (count, no_wait) = (libc::c_uint::try_from(MOST).expect("a small number"), libc::MSG_DONTWAIT);
        // SAFETY: recvmmsg(2) writes into `count` headers and into the addresses, slots and control rooms that they point to, each
        // within the length it is told; all of them outlive the call. No timeout.
        let taken =
            unsafe { libc::recvmmsg(self.fd.as_raw_fd(), messages.as_mut_ptr(), count, no_wait, std::ptr::null_mut()) };
        let taken = usize::try_from(taken).map_err(|_| io::Error::last_os_error())?;
        for (entry, name) in messages.iter().zip(&batch.names).take(taken) {
            let length = usize::try_from(entry.msg_len).unwrap_or_default();
            let whole = entry.msg_hdr.msg_flags & libc::MSG_TRUNC == 0;
            let local = control::destination(&entry.msg_hdr, self.local.port());
            let path = name.get().zip(local).map(|(remote, local)| UdpPath { local, remote });
            batch.arrived.push((length, path.filter(|_| whole)));
        }
        Ok(taken == MOST)
    }

    /// Sends datagrams, each to its path's remote end from its local address, and returns how many were sent. Those that cannot be
    /// sent are left out, and once the send buffer is full all that follow.
    pub fn send_batch<'a>(&self, datagrams: impl IntoIterator<Item = (UdpPath, &'a [u8])>) -> usize {
        let (mut datagrams, mut sent) = (datagrams.into_iter(), 0);
        loop {
            // SAFETY: `iovec` and `mmsghdr` are plain C structures for which all zeroes is a value.
            let (mut parts, mut messages): ([libc::iovec; MOST], [libc::mmsghdr; MOST]) = unsafe { std::mem::zeroed() };
            let mut rooms: [(RawAddress, Control); MOST] =
                std::array::from_fn(|_| (RawAddress::empty(), Control::empty()));
            let mut count = 0;
            for (((part, entry), (name, control)), (path, datagram)) in
                parts.iter_mut().zip(&mut messages).zip(&mut rooms).zip(datagrams.by_ref())
            {
                *part = libc::iovec { iov_base: datagram.as_ptr().cast_mut().cast(), iov_len: datagram.len() };
                (*name, *control) = (RawAddress::from(path.remote), Control::from_source(path.local));
                entry.msg_hdr = message(name, part, control);
                count += 1;
            }
            if count == 0 || !self.send_messages(messages.get_mut(..count).unwrap_or_default(), &mut sent) {
                return sent;
            }
        }
    }

    /// Sends messages, counts them, and leaves out what is refused. Returns whether the send buffer takes more.
    fn send_messages(&self, mut messages: &mut [libc::mmsghdr], count_sent: &mut usize) -> bool {
        while !messages.is_empty() {
            let count = libc::c_uint::try_from(messages.len()).expect("a small number");
            // SAFETY: sendmmsg(2) reads `count` headers and what they point to, all of which outlives the call, and writes only
            // the lengths in the headers.
            let passed =
                unsafe { libc::sendmmsg(self.fd.as_raw_fd(), messages.as_mut_ptr(), count, libc::MSG_DONTWAIT) };
            let passed = usize::try_from(passed).unwrap_or_default();
            *count_sent += passed;
            if passed == 0 && io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock {
                return false;
            }
            // The first that is not sent has failed.
            messages = messages.get_mut(passed.max(1)..).unwrap_or_default();
        }
        true
    }
}
