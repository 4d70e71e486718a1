//! How long packets may be on a path, as the system knows it: by the interface, the route, and what routers have said (ip(7)).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};

use super::{UdpSocket, set_fragmenting};
use crate::address::RawAddress;
use crate::option::{get, set};

/// Returns the MTU of the path between two addresses for packets with a mark.
///
/// # Errors
/// There is no route, or no privilege for the mark.
pub fn path_mtu(local: IpAddr, remote: IpAddr, mark: Option<u32>) -> io::Result<u16> {
    let fd = super::open(local.is_ipv4(), libc::SOCK_DGRAM, 0)?;
    let socket = UdpSocket { fd, local: SocketAddr::new(local, 0) };
    if let Some(mark) = mark {
        set(socket.as_fd(), libc::SOL_SOCKET, libc::SO_MARK, mark)?;
    }
    set_fragmenting(socket.as_fd(), socket.local, false)?;
    let bound = RawAddress::from(socket.local);
    // SAFETY: bind(2) reads `bound.len` bytes of an address that outlives the call.
    if unsafe { libc::bind(socket.as_raw_fd(), bound.as_ptr(), bound.len) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let other = RawAddress::from(SocketAddr::new(remote, ANY_PORT));
    // SAFETY: connect(2) reads `other.len` bytes of an address that outlives the call. Nothing is sent.
    if unsafe { libc::connect(socket.as_raw_fd(), other.as_ptr(), other.len) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let mtu = if local.is_ipv4() {
        get(socket.as_fd(), libc::IPPROTO_IP, libc::IP_MTU)?
    } else {
        get(socket.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_MTU)?
    };
    // The loopback interface has 65,536.
    Ok(u16::try_from(mtu).unwrap_or(u16::MAX))
}

/// That of "discard": a socket is connected to some port.
const ANY_PORT: u16 = 9;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::{Netlink, Route, Target};
    use crate::testing::{A4, A6, B4, B6, Wire};

    #[test]
    fn the_mtu_is_that_of_the_route_or_else_of_the_interface() {
        let wire = Wire::new();
        let seen = |near: &str, far: &str| {
            let (near, far) = (near.parse().unwrap(), far.parse().unwrap());
            wire.a.enter(|| path_mtu(near, far, None).unwrap()).unwrap()
        };
        assert_eq!((seen(A4, B4), seen(A6, B6)), (1_500, 1_500));
        wire.a
            .enter(|| {
                let mut netlink = Netlink::open().unwrap();
                let index = netlink.link_index("wire").unwrap();
                let (target, metric) = (Target::Interface(index), 1);
                let net = format!("{B4}/32").parse().unwrap();
                let route = Route { destination: net, table: 254, metric, target, source: None, mtu: Some(1_300) };
                netlink.add_route(&route).unwrap();
            })
            .unwrap();
        assert_eq!((seen(A4, B4), seen(A6, B6)), (1_300, 1_500));
        let nowhere = wire.a.enter(|| path_mtu(A4.parse().unwrap(), "203.0.113.1".parse().unwrap(), None)).unwrap();
        assert!(nowhere.is_err());
    }
}
