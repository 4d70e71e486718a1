//! Every form of packets, from a peer that has the keys and from one that has not: what is sealed comes out as it was, what is altered
//! or made up comes to nothing.

use std::net::IpAddr;

use espalier_esp::{Carriage, Inbound, Outbound, restore_header, restored_len};
use espalier_model::profile::{Dscp, Mode, Padding};
use espalier_model::sa::{
    ChildId, ChildSa, Encapsulation, InboundSa, Keyed, OutboundSa, SaSelectors, Spi, Transform, UdpPath, UsageLimits,
};
use espalier_model::secret::Secret;
use espalier_model::selector::{PortRange, Protocol, TrafficSelector};
use espalier_model::suite::{AhSuite, EspSuite};

use crate::input::Input;

const ESP: u8 = 50;
const ESP_SPI: u32 = 0xc0de_0001;
const AH_SPI: u32 = 0xc0de_0002;
const MOST_STEPS: usize = 40;
/// Room for any packet with all that goes around it.
const ROOM: usize = 66_000;
/// Where an IPv4 header may change on the way: class, the bit that forbids fragments, TTL, checksum.
const MUTABLE_V4: [usize; 6] = [1, 6, 7, 8, 10, 11];

/// Both ends of an SA.
struct Bench {
    sender: Outbound,
    receiver: Inbound,
    ends: (IpAddr, IpAddr),
}

/// Takes a form, then packets and what becomes of them.
pub fn target(data: &[u8]) {
    let mut input = Input::new(data);
    let Some(bench) = Bench::new(&mut input) else { return };
    for _ in 0..MOST_STEPS {
        if input.is_empty() {
            break;
        }
        match input.below(4) {
            0 => bench.genuine(input.string()),
            1 => bench.altered(&mut input),
            2 => bench.dummy(input.u8()),
            _ => assert!(bench.receiver.open_packet(&mut input.string().to_vec()).is_err(), "nobody has the keys"),
        }
    }
}

impl Bench {
    /// Builds the form; none for AH inside UDP, which does not exist.
    fn new(input: &mut Input<'_>) -> Option<Self> {
        let (esp, ah, way) = (input.pick(EspSuite::ALL), input.pick(AhSuite::ALL), input.u8());
        let (mode, ipv6, esn) = (if way & 1 != 0 { Mode::Transport } else { Mode::Tunnel }, way & 2 != 0, way & 4 != 0);
        let encapsulation = if way & 8 != 0 { Encapsulation::Udp } else { Encapsulation::Ip };
        let spi = |number: u32| Spi::try_from(number).unwrap();
        let key = |length| Secret::new(vec![9; length]);
        let esp = Keyed { spi: spi(ESP_SPI), suite: esp, keymat: key(esp.keymat_len()), esn };
        let ah = Keyed { spi: spi(AH_SPI), suite: ah, keymat: key(ah.keymat_len()), esn };
        let transform = match way >> 4 & 3 {
            0 | 1 => Transform::Esp(esp),
            2 => Transform::Ah(ah),
            _ => Transform::AhEsp { ah, esp },
        };
        let ends = if ipv6 { ("fd00::1", "fd00::2") } else { ("10.0.0.1", "10.0.0.2") };
        let ends: (IpAddr, IpAddr) = (ends.0.parse().unwrap(), ends.1.parse().unwrap());
        let everything = || {
            let nets = ["0.0.0.0/0", "::/0"].map(|net| net.parse().unwrap());
            nets.map(|net| TrafficSelector::from_net(Protocol::Any, PortRange::ANY, net)).to_vec()
        };
        let sa = |local: IpAddr, remote: IpAddr| ChildSa {
            id: ChildId(7),
            rule: "net".parse().unwrap(),
            transform: transform.clone(),
            mode,
            encapsulation,
            originals: None,
            padding: true,
            pad_to: Padding::None,
            dscp: Dscp::Copy,
            selectors: SaSelectors { local: everything(), remote: everything() },
            path: UdpPath { local: (local, 4500).into(), remote: (remote, 4500).into() },
            replay_window: 1_024,
            limits: UsageLimits::NONE,
        };
        let sender = Outbound::new(&OutboundSa(sa(ends.0, ends.1))).ok()?;
        let receiver = Inbound::new(&InboundSa(sa(ends.1, ends.0))).unwrap();
        Some(Self { sender, receiver, ends })
    }

    /// Seals a packet, and returns it as it arrives; nothing where the form has no place for it.
    fn seal(&self, packet: &[u8]) -> Option<Vec<u8>> {
        let mut room = vec![0; ROOM];
        let wrapped = self.sender.seal_packet(packet, &mut room).ok()?;
        room.truncate(wrapped.length);
        Some(self.arriving(&room, wrapped.fields.class))
    }

    fn arriving(&self, sealed: &[u8], class: u8) -> Vec<u8> {
        if self.sender.carriage() == Carriage::Packet {
            return sealed.to_vec();
        }
        let header = restored_len(self.ends.0.is_ipv6());
        let mut packet = vec![0; header + sealed.len()];
        packet[header..].copy_from_slice(sealed);
        restore_header(&mut packet, self.ends, class, 64, ESP).unwrap();
        packet
    }

    fn genuine(&self, packet: &[u8]) {
        let Some(mut sealed) = self.seal(packet) else { return };
        let mut again = sealed.clone();
        // A packet whose inner headers cannot be read is sealed in tunnel mode, and dropped by who opens it.
        let Ok(opened) = self.receiver.open_packet(&mut sealed) else { return };
        let length = opened.packet.len();
        assert!(length <= packet.len(), "more came out than went in");
        if self.sender.seals_in_place() {
            assert_eq!(*opened.packet, packet[..length], "what was sealed comes out");
        }
        assert!(self.receiver.open_packet(&mut again).is_err(), "the same packet comes once");
    }

    fn altered(&self, input: &mut Input<'_>) {
        let (at, by, packet) = (input.u16(), input.u8().max(1), input.string());
        let Some(sealed) = self.seal(packet) else { return };
        let at = usize::from(at) % sealed.len();
        let mut altered = sealed.clone();
        altered[at] ^= by;
        // The headers outside ESP are not covered, and of those outside AH some fields are not.
        let outside = restored_len(self.ends.0.is_ipv6());
        let plain = if self.ends.0.is_ipv6() { !matches!(sealed[6], 0 | 43 | 60) } else { sealed[0] == 0x45 };
        let free = if self.sender.spi().get() == AH_SPI {
            !plain && at < packet.len() || at < 8 && self.ends.0.is_ipv6() || MUTABLE_V4.contains(&at)
        } else {
            at < outside.max(packet.len())
        };
        let opened = self.receiver.open_packet(&mut altered).is_ok();
        assert!(!opened || free, "byte {at} of {} is not covered", sealed.len());
    }

    fn dummy(&self, length: u8) {
        let mut room = vec![0; ROOM];
        if let Ok(wrapped) = self.sender.seal_dummy(length.into(), &mut room) {
            let mut packet = self.arriving(&room[..wrapped.length], 0);
            assert!(self.receiver.open_packet(&mut packet).is_err(), "a dummy is delivered");
        }
    }
}

/// Real packets in each form.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let v4 = [
        0x45, 0, 0, 32, 0, 1, 0x40, 0, 64, 17, 0x26, 0xca, 10, 0, 0, 1, 10, 0, 0, 2, 0, 9, 0, 9, 0, 12, 0, 0, 1, 2, 3,
        4,
    ];
    let mut v6 = vec![0x60, 0, 0, 0, 0, 12, 17, 64];
    v6.extend("fd00::1".parse::<std::net::Ipv6Addr>().unwrap().octets());
    v6.extend("fd00::2".parse::<std::net::Ipv6Addr>().unwrap().octets());
    v6.extend([0, 9, 0, 9, 0, 12, 0, 0, 1, 2, 3, 4]);
    let string = |packet: &[u8]| [&[u8::try_from(packet.len()).unwrap()], packet].concat();
    let ways = (0..64_u8).filter(|way| way >> 4 != 1);
    let steps = |way: u8| {
        let packet = string(if way & 2 != 0 { &v6 } else { &v4 });
        [&[0][..], &packet, &[1, 0, 30, 1], &packet, &[2, 40], &[0], &packet].concat()
    };
    ways.map(|way| [&[way % 22, way % 3, way][..], &steps(way)].concat()).collect()
}
