//! SAs, rules and packets to measure with.

use std::net::Ipv4Addr;

use espalier_esp::{Inbound, Outbound};
use espalier_model::plan::{Action, Rule, default_profile};
use espalier_model::profile::{Dscp, Mode, Padding};
use espalier_model::sa::{
    ChildId, ChildSa, Encapsulation, InboundSa, Keyed, OutboundSa, SaSelectors, Transform, UdpPath, UsageLimits,
};
use espalier_model::secret::Secret;
use espalier_model::selector::{Flow, PortRange, Protocol};
use espalier_model::suite::EspSuite;
use ipnet::IpNet;

/// As the default profile has it.
const WINDOW: u32 = 4096;
const OURS: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 1);

/// Returns the address of a peer.
fn theirs(peer: u16) -> Ipv4Addr {
    let [high, low] = peer.to_be_bytes();
    Ipv4Addr::new(10, 11, high, low)
}

/// Returns the rule that protects what passes between us and a peer.
pub(crate) fn rule(peer: u16) -> Rule {
    Rule {
        name: format!("r{peer}").parse().unwrap(),
        action: Action::Protect,
        priority: 0,
        local: vec![IpNet::from(std::net::IpAddr::from(OURS))],
        remote: vec![IpNet::from(std::net::IpAddr::from(theirs(peer)))],
        protocol: Protocol::Any,
        local_ports: PortRange::ANY,
        remote_ports: PortRange::ANY,
        peer: Some(format!("n{peer}.example").parse().unwrap()),
        profile: default_profile(),
    }
}

/// Returns both ends of an SA from us to a peer.
pub(crate) fn pair(suite: EspSuite, peer: u16) -> (Outbound, Inbound) {
    let (near, far) = ("192.0.2.1:4500".parse().unwrap(), "192.0.2.2:4500".parse().unwrap());
    let rule = rule(peer);
    let sa = |local, remote, path| ChildSa {
        id: ChildId(peer.into()),
        rule: rule.name.clone(),
        transform: Transform::Esp(Keyed {
            spi: spi(peer).try_into().unwrap(),
            suite,
            keymat: Secret::new(vec![7; suite.keymat_len()]),
            esn: true,
        }),
        mode: Mode::Tunnel,
        encapsulation: Encapsulation::Udp,
        originals: None,
        padding: true,
        pad_to: Padding::None,
        dscp: Dscp::Copy,
        selectors: SaSelectors { local, remote },
        path,
        replay_window: WINDOW,
        limits: UsageLimits::NONE,
    };
    let (local, remote) = (rule.local_selectors(), rule.remote_selectors());
    let sender = sa(local.clone(), remote.clone(), UdpPath { local: near, remote: far });
    let receiver = sa(remote, local, UdpPath { local: far, remote: near });
    (Outbound::new(&OutboundSa(sender)).unwrap(), Inbound::new(&InboundSa(receiver)).unwrap())
}

/// Returns the SPI of a peer's SA.
pub(crate) fn spi(peer: u16) -> u32 {
    0xc0de_0000 + u32::from(peer)
}

/// Returns a UDP packet of so many bytes, headers included, from us to a peer.
pub(crate) fn packet(peer: u16, length: usize) -> Vec<u8> {
    let [high, low] = u16::try_from(length).unwrap().to_be_bytes();
    let mut packet = vec![0x45, 0, high, low, 0, 0, 0, 0, 64, 17, 0, 0];
    packet.extend(OURS.octets());
    packet.extend(theirs(peer).octets());
    packet.extend([0, 9, 0, 53, 0, 0, 0, 0]);
    packet.resize(length, 0xa5);
    packet
}

/// Returns the flow of such a packet.
pub(crate) fn flow(peer: u16) -> Flow {
    Flow { source: OURS.into(), destination: theirs(peer).into(), protocol: 17, ports: Some((9, 53)) }
}
