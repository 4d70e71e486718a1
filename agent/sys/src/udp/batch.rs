//! Many datagrams by one system call, received into one arena that is used again and again.
//!
//! A socket that [takes trains](UdpSocket::take_trains) gets datagrams of one sender that came one after the other, all of one length
//! but the last, as one: the kernel does not take them apart (UDP_GRO, udp(7)).

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use espalier_model::sa::UdpPath;

use super::control::{self, Control};
use super::{UdpSocket, message};
use crate::address::RawAddress;
use crate::option::set;

/// Room for datagrams. It takes memory only for what has come in at most.
pub struct Batch {
    room: Vec<u8>,
    slot: usize,
    names: [RawAddress; MOST],
    controls: [Control; MOST],
    arrived: Vec<Arrived>,
}

/// A datagram that came.
#[derive(Debug)]
pub struct Datagram<'b> {
    /// Where it came to, and where from.
    pub path: UdpPath,
    /// TOS or traffic class of its IP header: DSCP and ECN.
    pub class: u8,
    /// What it holds.
    pub bytes: &'b mut [u8],
}

/// What came into one room.
struct Arrived {
    length: usize,
    /// None where the datagrams are lost.
    path: Option<UdpPath>,
    class: u8,
    /// The length of each datagram but the last.
    segment: usize,
}

/// Datagrams, or trains of them, that one system call takes at most.
const MOST: usize = 32;

impl Batch {
    /// Makes room for as many datagrams, or trains, as one system call takes, of up to so many bytes each.
    #[must_use]
    pub fn new(longest: usize) -> Self {
        Self::with_rooms(longest, MOST)
    }

    /// Makes room for some datagrams, or trains, of up to so many bytes each.
    #[must_use]
    pub fn with_rooms(longest: usize, rooms: usize) -> Self {
        Self {
            room: vec![0; longest.max(1) * rooms.clamp(1, MOST)],
            slot: longest.max(1),
            names: std::array::from_fn(|_| RawAddress::empty()),
            controls: std::array::from_fn(|_| Control::empty()),
            arrived: Vec::with_capacity(MOST),
        }
    }

    /// Returns the datagrams of the last [`UdpSocket::recv_batch`], in order. What was longer than the room, or has no address, is
    /// left out.
    pub fn datagrams(&mut self) -> impl Iterator<Item = Datagram<'_>> {
        let slots = self.room.chunks_exact_mut(self.slot);
        self.arrived.iter().zip(slots).filter_map(Arrived::datagrams).flatten()
    }
}

impl Arrived {
    fn datagrams<'s>((it, slot): (&Self, &'s mut [u8])) -> Option<impl Iterator<Item = Datagram<'s>>> {
        let (path, class) = (it.path?, it.class);
        let (train, _) = slot.split_at_mut_checked(it.length)?;
        // An empty datagram is one too.
        let empty: Option<&mut [u8]> = if train.is_empty() { Some(&mut []) } else { None };
        Some(train.chunks_mut(it.segment.max(1)).chain(empty).map(move |bytes| Datagram { path, class, bytes }))
    }
}

impl UdpSocket {
    /// Takes trains of datagrams whole from now on, or no longer. Sockets that share a port must agree: the kernel puts trains
    /// together before it decides which of them gets one, and asks any. [`UdpSocket::recv`] would take a train for a datagram.
    ///
    /// # Errors
    /// This kernel has no such thing (before Linux 5.0).
    pub fn take_trains(&self, take: bool) -> io::Result<()> {
        set(self.fd.as_fd(), libc::SOL_UDP, libc::UDP_GRO, libc::c_int::from(take))
    }

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
        let rooms = batch.room.len() / batch.slot;
        let (count, no_wait) = (libc::c_uint::try_from(rooms).expect("a small number"), libc::MSG_DONTWAIT);
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
            let segment = control::segment(&entry.msg_hdr).unwrap_or(length);
            let class = control::class(&entry.msg_hdr);
            batch.arrived.push(Arrived { length, path: path.filter(|_| whole), class, segment });
        }
        Ok(taken == rooms)
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
