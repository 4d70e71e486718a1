//! Two namespaces on a wire, each with an interface for protected packets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use espalier_model::plan::{Action, Rule, default_profile};
use espalier_model::profile::{Dscp, Mode, Padding};
use espalier_model::sa::{
    ChildId, ChildSa, Encapsulation, InboundSa, Keyed, OutboundSa, SaSelectors, Transform, UdpPath, UsageLimits,
};
use espalier_model::secret::Secret;
use espalier_model::selector::{PortRange, Protocol, TrafficSelector};
use espalier_model::suite::EspSuite;
use espalier_sys::netlink::{Netlink, Route, Target, VethEnd};
use espalier_sys::netns::NetNs;
use ipnet::IpNet;

use super::super::{inbound, outbound};
use super::*;
use crate::door;

pub(super) struct Ends {
    pub(super) a: NetNs,
    pub(super) b: NetNs,
    underlay_ipv4: bool,
}

const SUITE: EspSuite = EspSuite::Aes256Gcm16;
const ESP: u16 = 4_500;

impl Ends {
    pub(super) fn new(underlay_ipv4: bool) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let make = |role| NetNs::create(&format!("esppl-{}-{number}-{role}", std::process::id())).unwrap();
        let ends = Self { a: make("a"), b: make("b"), underlay_ipv4 };
        let near = VethEnd { name: "wire", namespace: Some(ends.a.as_fd()) };
        let far = VethEnd { name: "wire", namespace: Some(ends.b.as_fd()) };
        ends.a.enter(|| Netlink::open().unwrap().create_veth(near, far).unwrap()).unwrap();
        for (end, place) in [(&ends.a, 1), (&ends.b, 2)] {
            end.enter(|| {
                let mut netlink = Netlink::open().unwrap();
                let index = netlink.link_index("wire").unwrap();
                netlink.set_up(index).unwrap();
                for ipv4 in [true, false] {
                    let length = if ipv4 { 24 } else { 64 };
                    netlink.add_address(index, IpNet::new(outer(place, ipv4), length).unwrap()).unwrap();
                }
            })
            .unwrap();
        }
        [&ends.a, &ends.b].into_iter().for_each(await_running);
        ends
    }

    /// Returns an address of end b for protected packets.
    pub(super) fn inner_b(&self, ipv4: bool) -> IpAddr {
        inner(2, ipv4)
    }

    /// Returns the address of end a that is of the same family.
    pub(super) fn inner_a(&self, like: IpAddr) -> IpAddr {
        inner(1, like.is_ipv4())
    }

    fn paths(&self) -> [UdpPath; 2] {
        let [one, two] = [1, 2].map(|place| SocketAddr::new(outer(place, self.underlay_ipv4), ESP));
        [UdpPath { local: one, remote: two }, UdpPath { local: two, remote: one }]
    }
}

fn outer(place: u8, ipv4: bool) -> IpAddr {
    if ipv4 {
        Ipv4Addr::new(192, 0, 2, place).into()
    } else {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, place.into()).into()
    }
}

fn inner(place: u8, ipv4: bool) -> IpAddr {
    if ipv4 {
        Ipv4Addr::new(10, 77, 0, place).into()
    } else {
        Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, place.into()).into()
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

/// Makes the interface and the sockets of an end.
fn ports(end: &NetNs, place: u8, underlay_ipv4: bool) -> (Tun, [UdpSocket; 2]) {
    end.enter(|| {
        let tun = Tun::create("inner").unwrap();
        let mut netlink = Netlink::open().unwrap();
        let underlay = espalier_esp::inner_mtu(SUITE, 1_500, underlay_ipv4);
        netlink.set_mtu(tun.index(), underlay.into()).unwrap();
        for ipv4 in [true, false] {
            netlink.add_address(tun.index(), IpNet::from(inner(place, ipv4))).unwrap();
        }
        netlink.set_up(tun.index()).unwrap();
        for net in ["10.77.0.0/16", "fd77::/16"] {
            let target = Target::Interface(tun.index());
            let route =
                Route { destination: net.parse().unwrap(), table: 254, metric: 5, target, source: None, mtu: None };
            netlink.add_route(&route).unwrap();
        }
        let wildcards: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        (tun, wildcards.map(|any| UdpSocket::bind(SocketAddr::new(any, ESP), None).unwrap()))
    })
    .unwrap()
}

fn rule(place: u8) -> Rule {
    let nets = |place| vec![IpNet::from(inner(place, true)), IpNet::from(inner(place, false))];
    Rule {
        name: "net".parse().unwrap(),
        action: Action::Protect,
        priority: 0,
        local: nets(place),
        remote: nets(3 - place),
        protocol: Protocol::Any,
        local_ports: PortRange::ANY,
        remote_ports: PortRange::ANY,
        peer: Some("other.example".parse().unwrap()),
        profile: default_profile(),
    }
}

/// The half of an SA at one end, of packets that leave from an end.
fn half(ends: &Ends, place: u8, from: u8) -> ChildSa {
    let selectors = |place| {
        let of = |ipv4| TrafficSelector::from_net(Protocol::Any, PortRange::ANY, IpNet::from(inner(place, ipv4)));
        vec![of(true), of(false)]
    };
    let keymat = Secret::new(vec![from; SUITE.keymat_len()]);
    let [one, two] = ends.paths();
    ChildSa {
        id: ChildId(1),
        rule: "net".parse().unwrap(),
        transform: Transform::Esp(Keyed {
            spi: (0x1000 + u32::from(from)).try_into().unwrap(),
            suite: SUITE,
            keymat,
            esn: true,
        }),
        mode: Mode::Tunnel,
        encapsulation: Encapsulation::Udp,
        originals: None,
        padding: true,
        pad_to: Padding::None,
        dscp: Dscp::Copy,
        selectors: SaSelectors { local: selectors(place), remote: selectors(3 - place) },
        path: if place == 1 { one } else { two },
        replay_window: 1_024,
        limits: UsageLimits::NONE,
    }
}

/// Starts a data plane at each end.
pub(super) fn planes(ends: &Ends, offloads: Offloads) -> [Userspace; 2] {
    let mut planes = bare_planes(ends, offloads, &BTreeSet::new());
    install(ends, &mut planes);
    planes
}

/// Starts a data plane at each end, with a rule and no SA.
pub(super) fn bare_planes(ends: &Ends, offloads: Offloads, on_demand: &BTreeSet<Name>) -> [Userspace; 2] {
    [(&ends.a, 1), (&ends.b, 2)].map(|(end, place)| {
        let (tun, sockets) = ports(end, place, ends.underlay_ipv4);
        let (mut plane, _) = Userspace::start(tun, sockets, door::inbox().0, offloads).unwrap();
        plane.apply(&[rule(place)], on_demand).unwrap();
        plane
    })
}

/// Installs the SA of both ends, the inbound halves first.
pub(super) fn install(ends: &Ends, planes: &mut [Userspace; 2]) {
    for (plane, place) in planes.iter_mut().zip([1, 2]) {
        plane.install_inbound(&InboundSa(half(ends, place, 3 - place))).unwrap();
    }
    for (plane, place) in planes.iter_mut().zip([1, 2]) {
        plane.use_outbound(&OutboundSa(half(ends, place, place))).unwrap();
    }
}

/// Makes what the threads of each end have, without the threads.
pub(super) fn worker(ends: &Ends) -> [(Shared, outbound::Worker, inbound::Worker); 2] {
    [(&ends.a, 1), (&ends.b, 2)].map(|(end, place)| {
        let (tun, sockets) = ports(end, place, ends.underlay_ipv4);
        let shared =
            Shared::new(tun, sockets, door::inbox().0, Offloads::default(), (mpsc::channel(10).0, mpsc::channel(10).0))
                .unwrap();
        let inbound = Inbound::new(&InboundSa(half(ends, place, 3 - place))).unwrap();
        let outbound = Outbound::new(&OutboundSa(half(ends, place, place))).unwrap();
        let tables = Tables::default().with_policy(Spd::compile(&[rule(place)]));
        shared.tables.store(Arc::new(tables.with_inbound(inbound.into()).with_outbound(outbound.into())));
        let workers = (outbound::Worker::new(&shared), inbound::Worker::new(&shared));
        (shared, workers.0, workers.1)
    })
}
