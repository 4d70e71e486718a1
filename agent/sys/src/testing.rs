//! Two network namespaces on one wire, for tests. They need root, and go away with the value, in a panic as well.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use espalier_model::sa::UdpPath;
use ipnet::IpNet;

use crate::netlink::{Netlink, VethEnd};
use crate::netns::NetNs;
use crate::poll;
use crate::udp::UdpSocket;

pub(crate) struct Wire {
    pub(crate) a: NetNs,
    pub(crate) b: NetNs,
}

pub(crate) const A4: &str = "192.0.2.1";
pub(crate) const B4: &str = "192.0.2.2";
pub(crate) const A6: &str = "2001:db8::1";
pub(crate) const B6: &str = "2001:db8::2";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Creates a namespace that no other test has.
pub(crate) fn namespace(role: &str) -> NetNs {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    NetNs::create(&format!("espsys-{}-{number}-{role}", std::process::id())).expect("network namespaces need root")
}

impl Wire {
    /// Joins `a` and `b` by interfaces `wire`, with the addresses above.
    pub(crate) fn new() -> Self {
        let wire = Self { a: namespace("a"), b: namespace("b") };
        let near = VethEnd { name: "wire", namespace: Some(wire.a.as_fd()) };
        let far = VethEnd { name: "wire", namespace: Some(wire.b.as_fd()) };
        // From inside one of them, so that the two names never stand in the machine's own namespace.
        wire.a.enter(|| Netlink::open().unwrap().create_veth(near, far).unwrap()).unwrap();
        for (end, addresses) in [(&wire.a, [A4, A6]), (&wire.b, [B4, B6])] {
            end.enter(|| {
                let mut netlink = Netlink::open().unwrap();
                let index = netlink.link_index("wire").unwrap();
                netlink.set_up(index).unwrap();
                for address in addresses {
                    netlink.add_address(index, network(address)).unwrap();
                }
            })
            .unwrap();
        }
        [&wire.a, &wire.b].into_iter().for_each(await_running);
        wire
    }
}

fn await_running(end: &NetNs) {
    let running = || {
        (0..500).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            Netlink::open().unwrap().link("wire").unwrap().running
        })
    };
    assert!(end.enter(running).unwrap(), "the wire does not come up");
}

fn network(address: &str) -> IpNet {
    let ip: IpAddr = address.parse().unwrap();
    IpNet::new(ip, if ip.is_ipv4() { 24 } else { 64 }).unwrap()
}

/// Binds a socket inside a namespace to the wildcard address of the version of `ip`.
pub(crate) fn bind(namespace: &NetNs, ip: &str, port: u16, mark: Option<u32>) -> UdpSocket {
    let wildcard = if ip.contains(':') { "::" } else { "0.0.0.0" };
    let address = SocketAddr::new(wildcard.parse().unwrap(), port);
    namespace.enter(|| UdpSocket::bind(address, mark).unwrap()).unwrap()
}

pub(crate) fn path(local: (&str, u16), remote: (&str, u16)) -> UdpPath {
    let end = |(ip, port): (&str, u16)| SocketAddr::new(ip.parse().unwrap(), port);
    UdpPath { local: end(local), remote: end(remote) }
}

/// Waits for a datagram for as long as `millis`.
pub(crate) fn take(socket: &UdpSocket, millis: u64) -> Option<(Vec<u8>, UdpPath)> {
    let mut buffer = [0; 65536];
    if poll::wait([socket.as_fd()], Some(Duration::from_millis(millis))).unwrap() == [false] {
        return None;
    }
    let (len, path) = socket.recv(&mut buffer).unwrap();
    Some((buffer[..len].to_vec(), path))
}
