//! Word from the kernel that addresses, interfaces or routes have changed.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use crate::error::Error;

/// Learns of changes in the network namespace of the thread which opened it. It is readable when there is one.
#[derive(Debug)]
pub struct Monitor(Socket);

/// rtnetlink(7): interfaces; addresses and routes of both IP versions.
const GROUPS: [u32; 5] = [
    libc::RTNLGRP_LINK,
    libc::RTNLGRP_IPV4_IFADDR,
    libc::RTNLGRP_IPV6_IFADDR,
    libc::RTNLGRP_IPV4_ROUTE,
    libc::RTNLGRP_IPV6_ROUTE,
];

impl Monitor {
    /// Listens from now on: a change after this call is not missed.
    ///
    /// # Errors
    /// What socket(2) says.
    pub fn open() -> Result<Self, Error> {
        let open = || {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind(&SocketAddr::new(0, 0))?;
            GROUPS.iter().try_for_each(|group| socket.add_membership(*group))?;
            socket.set_non_blocking(true)?;
            Ok(socket)
        };
        open().map(Self).map_err(|source| Error::new("listen for changes of addresses and routes", source))
    }

    /// Takes what there is, and tells whether anything has changed since the last call. What it was is for the reader to look
    /// up: word of it may have been lost.
    ///
    /// # Errors
    /// The socket has failed.
    pub fn changed(&self) -> io::Result<bool> {
        let mut changed = false;
        let mut buffer: Vec<u8> = Vec::with_capacity(BUFFER);
        loop {
            buffer.clear();
            match self.0.recv(&mut buffer, 0) {
                Ok(_) => changed = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(changed),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // More has changed at once than the socket holds: then something certainly has.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => changed = true,
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor belongs to the socket, which lives as long as the borrow.
        unsafe { BorrowedFd::borrow_raw(self.0.as_raw_fd()) }
    }
}

/// Nothing of a message is read, so what does not fit is cut off without harm.
const BUFFER: usize = 256;

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use crate::netlink::{Netlink, Route, Target, VethEnd};
    use crate::poll;
    use crate::testing::{A4, A6, Wire};

    use super::*;

    fn hears(monitor: &Monitor) -> bool {
        let heard = poll::wait([monitor.as_fd()], Some(Duration::from_secs(2))).unwrap() == [true];
        // What belongs together comes together.
        std::thread::sleep(Duration::from_millis(20));
        heard && monitor.changed().unwrap()
    }

    #[test]
    fn every_change_of_an_address_an_interface_or_a_route_is_heard_and_seen() {
        let wire = Wire::new();
        let (a4, a6): (IpAddr, IpAddr) = (A4.parse().unwrap(), A6.parse().unwrap());
        let scene = || {
            let mut netlink = Netlink::open().unwrap();
            let index = netlink.link_index("wire").unwrap();
            let monitor = Monitor::open().unwrap();
            assert!(!monitor.changed().unwrap(), "nothing has happened yet");
            let present = netlink.present_addresses(None).unwrap();
            assert!(present.contains(&a4) && present.contains(&a6), "{present:?}");
            assert!(present.iter().all(|ip| !ip.is_loopback()), "{present:?}");

            let new: IpAddr = "198.51.100.1".parse().unwrap();
            netlink.add_address(index, "198.51.100.1/24".parse().unwrap()).unwrap();
            assert!(hears(&monitor));
            assert!(netlink.present_addresses(None).unwrap().contains(&new));
            assert!(netlink.delete_address(index, "192.0.2.1/24".parse().unwrap()).unwrap());
            assert!(hears(&monitor));
            assert!(!netlink.present_addresses(None).unwrap().contains(&a4));
            assert_eq!(netlink.present_addresses(Some(index)).unwrap(), [] as [IpAddr; 0]);

            let gateway = Target::Gateway("198.51.100.2".parse().unwrap());
            let destination = "0.0.0.0/0".parse().unwrap();
            netlink
                .add_route(&Route { destination, table: 254, metric: 0, target: gateway, source: None, mtu: None })
                .unwrap();
            assert!(hears(&monitor));
            netlink.set_down(index).unwrap();
            assert!(hears(&monitor));
            assert_eq!(netlink.present_addresses(None).unwrap(), [] as [IpAddr; 0]);
            assert!(!monitor.changed().unwrap());
        };
        wire.a.enter(scene).unwrap();
    }

    #[test]
    fn the_interface_of_the_best_default_route_comes_first() {
        let wire = Wire::new();
        let scene = || {
            let mut netlink = Netlink::open().unwrap();
            let end = |name| VethEnd { name, namespace: None };
            netlink.create_veth(end("second"), end("its-end")).unwrap();
            for name in ["second", "its-end"] {
                let index = netlink.link_index(name).unwrap();
                netlink.set_up(index).unwrap();
            }
            let [first, second, lo] = ["wire", "second", "lo"].map(|name| netlink.link_index(name).unwrap());
            let carries = |netlink: &mut Netlink| netlink.link("second").unwrap().running;
            for _ in 0..500 {
                if carries(&mut netlink) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            assert!(carries(&mut netlink), "the second wire does not come up");
            netlink.add_address(second, "198.51.100.1/24".parse().unwrap()).unwrap();
            netlink.add_address(lo, "203.0.113.1/32".parse().unwrap()).unwrap();
            let destination = "0.0.0.0/0".parse().unwrap();
            let route = |metric, index| {
                let target = Target::Interface(index);
                Route { destination, table: 254, metric, target, source: None, mtu: None }
            };
            let v4 = |netlink: &mut Netlink| {
                let present = netlink.present_addresses(None).unwrap();
                present.into_iter().filter(IpAddr::is_ipv4).map(|ip| ip.to_string()).collect::<Vec<_>>()
            };
            netlink.add_route(&route(20, first)).unwrap();
            assert_eq!(v4(&mut netlink), [A4, "198.51.100.1", "203.0.113.1"]);
            netlink.add_route(&route(10, second)).unwrap();
            assert_eq!(v4(&mut netlink), ["198.51.100.1", A4, "203.0.113.1"]);
        };
        wire.a.enter(scene).unwrap();
    }
}
