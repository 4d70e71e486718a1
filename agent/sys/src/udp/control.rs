//! Control messages (cmsg(3)): the local address of a datagram, and the length of those in a train.

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};

use crate::address::{from_in_addr, to_in_addr, to_in6_addr};

/// Room for the control messages of one datagram, aligned as the kernel's structures in it.
#[repr(C, align(8))]
pub(super) struct Control {
    room: [u8; ROOM],
    len: usize,
}

/// Packet information of either version takes 40 bytes at most, the length in a train and the class 24 each; the rest is for what a
/// system may add unasked.
const ROOM: usize = 128;

impl Control {
    /// Returns room to receive into.
    pub(super) fn empty() -> Self {
        Self { room: [0; ROOM], len: ROOM }
    }

    /// Returns what makes a datagram leave from this address; nothing, for a wildcard.
    pub(super) fn from_source(local: SocketAddr) -> Self {
        let mut control = Self { room: [0; ROOM], len: 0 };
        match local {
            SocketAddr::V4(v4) if !v4.ip().is_unspecified() => {
                let source = to_in_addr(*v4.ip());
                let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: source, ipi_addr: source };
                control.put(libc::IPPROTO_IP, libc::IP_PKTINFO, info);
            }
            SocketAddr::V6(v6) if !v6.ip().is_unspecified() => {
                let info = libc::in6_pktinfo { ipi6_addr: to_in6_addr(*v6.ip()), ipi6_ifindex: v6.scope_id() };
                control.put(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
            }
            SocketAddr::V4(_) | SocketAddr::V6(_) => {}
        }
        control
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut libc::c_void {
        self.room.as_mut_ptr().cast()
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Has the kernel cut what is sent into datagrams of this length (UDP_SEGMENT, udp(7)).
    pub(super) fn cut_into(&mut self, segment: u16) {
        self.put(libc::SOL_UDP, libc::UDP_SEGMENT, segment);
    }

    /// Gives what is sent this TOS or traffic class. Zero is what a socket gives by itself.
    pub(super) fn classify(&mut self, class: u8, ipv4: bool) {
        match (class, ipv4) {
            (0, _) => {}
            (_, true) => self.put(libc::IPPROTO_IP, libc::IP_TOS, libc::c_int::from(class)),
            (_, false) => self.put(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, libc::c_int::from(class)),
        }
    }

    fn put<T: Copy>(&mut self, level: i32, kind: i32, value: T) {
        let size = crate::option::size::<T>();
        // SAFETY: CMSG_LEN and CMSG_SPACE only calculate.
        let (len, space) = unsafe { (libc::CMSG_LEN(size), libc::CMSG_SPACE(size)) };
        let space = usize::try_from(space).expect("a small number");
        let room = self.room.get_mut(self.len..).and_then(|rest| rest.get_mut(..space));
        let header = room.expect("the room holds all that is ever put").as_mut_ptr().cast::<libc::cmsghdr>();
        // SAFETY: the room is aligned for `cmsghdr`, as is each length that CMSG_SPACE gives, and holds the header and the value
        // behind it; the value is written without assuming its alignment.
        unsafe {
            (*header).cmsg_level = level;
            (*header).cmsg_type = kind;
            (*header).cmsg_len = usize::try_from(len).expect("a small number");
            libc::CMSG_DATA(header).cast::<T>().write_unaligned(value);
        }
        self.len += space;
    }
}

/// Returns the length of the datagrams in a received train.
pub(super) fn segment(message: &libc::msghdr) -> Option<usize> {
    headers(message).find_map(|header| {
        // SAFETY: it points to a whole header within the room.
        let (level, kind) = unsafe { ((*header).cmsg_level, (*header).cmsg_type) };
        if level != libc::SOL_UDP || kind != libc::UDP_GRO {
            return None;
        }
        // SAFETY: udp(7): the data of UDP_GRO is one `int`; its alignment is not assumed.
        let length = unsafe { libc::CMSG_DATA(header).cast::<libc::c_int>().read_unaligned() };
        usize::try_from(length).ok()
    })
}

/// Returns TOS or traffic class of a received datagram; zero where the system does not tell.
pub(super) fn class(message: &libc::msghdr) -> u8 {
    let told = headers(message).find_map(|header| {
        // SAFETY: it points to a whole header within the room.
        let (level, kind) = unsafe { ((*header).cmsg_level, (*header).cmsg_type) };
        if level == libc::IPPROTO_IP && kind == libc::IP_TOS {
            // SAFETY: ip(7): the data of IP_TOS is one byte.
            return Some(unsafe { libc::CMSG_DATA(header).read() });
        }
        if level == libc::IPPROTO_IPV6 && kind == libc::IPV6_TCLASS {
            // SAFETY: RFC 3542 §6.5: the data of IPV6_TCLASS is one `int`; its alignment is not assumed.
            let class = unsafe { libc::CMSG_DATA(header).cast::<libc::c_int>().read_unaligned() };
            return u8::try_from(class).ok();
        }
        None
    });
    told.unwrap_or(0)
}

/// Returns the control messages of a received datagram.
fn headers(message: &libc::msghdr) -> impl Iterator<Item = *mut libc::cmsghdr> {
    // SAFETY: the kernel has filled the control room and set its length; CMSG_FIRSTHDR stays within it.
    let first = unsafe { libc::CMSG_FIRSTHDR(message) };
    std::iter::successors(Some(first).filter(|first| !first.is_null()), |header| {
        // SAFETY: `header` is a whole header within the room of `message`; CMSG_NXTHDR stays within it.
        Some(unsafe { libc::CMSG_NXTHDR(message, *header) }).filter(|next| !next.is_null())
    })
}

/// Returns the address that a received datagram was sent to, with the socket's port.
pub(super) fn destination(message: &libc::msghdr, port: u16) -> Option<SocketAddr> {
    headers(message).find_map(|header| {
        // SAFETY: it points to a whole header within the room.
        let (level, kind) = unsafe { ((*header).cmsg_level, (*header).cmsg_type) };
        if level == libc::IPPROTO_IP && kind == libc::IP_PKTINFO {
            // SAFETY: ip(7): the data of IP_PKTINFO is one `in_pktinfo`; its alignment is not assumed.
            let info = unsafe { libc::CMSG_DATA(header).cast::<libc::in_pktinfo>().read_unaligned() };
            return Some((from_in_addr(info.ipi_spec_dst), port).into());
        }
        if level == libc::IPPROTO_IPV6 && kind == libc::IPV6_PKTINFO {
            // SAFETY: ipv6(7): the data of IPV6_PKTINFO is one `in6_pktinfo`; its alignment is not assumed.
            let info = unsafe { libc::CMSG_DATA(header).cast::<libc::in6_pktinfo>().read_unaligned() };
            let ip = Ipv6Addr::from(info.ipi6_addr.s6_addr);
            // Only a link-local address needs its interface; elsewhere it would make equal paths differ.
            let scope = if ip.is_unicast_link_local() { info.ipi6_ifindex } else { 0 };
            return Some(SocketAddrV6::new(ip, port, 0, scope).into());
        }
        None
    })
}
