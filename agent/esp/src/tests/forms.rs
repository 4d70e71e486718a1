//! Every form: sealed here, carried as a driver would, opened there, and refused in every way that a wire can spoil it.

use espalier_model::sa::{Form, OriginalAddresses};
use espalier_model::suite::AhSuite;

use super::*;
use crate::ip;

mod authentic;
mod refused;

/// One SA pair between the ends of an underlay of one family.
pub(super) struct Ends {
    pub(super) sender: Outbound,
    pub(super) receiver: Inbound,
    v6: bool,
}

/// What protects, in which mode, in what, over which family, with which numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) esp: Option<EspSuite>,
    pub(super) ah: Option<AhSuite>,
    pub(super) mode: Mode,
    pub(super) encapsulation: Encapsulation,
    pub(super) v6: bool,
    pub(super) esn: bool,
}

const SPI: u32 = 0xc0de_0001;
const AH_SPI: u32 = 0xc0de_0002;

impl Case {
    /// Every form with some suites, over both families and with both lengths of numbers.
    pub(super) fn all() -> Vec<Self> {
        let protections = [
            (Some(EspSuite::Aes256Gcm16), None),
            (Some(EspSuite::Aes128CbcSha384), None),
            (Some(EspSuite::NullSha512), None),
            (None, Some(AhSuite::Sha256)),
            (None, Some(AhSuite::Sha384)),
            (None, Some(AhSuite::Sha512)),
            (Some(EspSuite::ChaCha20Poly1305), Some(AhSuite::Sha256)),
        ];
        let mut cases = vec![];
        for (esp, ah) in protections {
            for mode in [Mode::Tunnel, Mode::Transport] {
                for encapsulation in [Encapsulation::Ip, Encapsulation::Udp] {
                    for (v6, esn) in [(false, false), (false, true), (true, false), (true, true)] {
                        cases.push(Self { esp, ah, mode, encapsulation, v6, esn });
                    }
                }
            }
        }
        cases.retain(|case| case.ah.is_none() || case.encapsulation == Encapsulation::Ip);
        cases
    }

    pub(super) fn transform(&self) -> Transform {
        // Other keys where there are two: what is inside has no other meaning alone.
        let first = if self.esp.is_some() && self.ah.is_some() { 100 } else { 0 };
        let keymat = |length: usize| Secret::new((first..first + length).map(|n| u8::try_from(n).unwrap()).collect());
        let esp = self.esp.map(|suite| Keyed {
            spi: SPI.try_into().unwrap(),
            suite,
            keymat: keymat(suite.keymat_len()),
            esn: self.esn,
        });
        let ah = self.ah.map(|suite| Keyed {
            spi: AH_SPI.try_into().unwrap(),
            suite,
            keymat: keymat(suite.keymat_len()),
            esn: self.esn,
        });
        match (esp, ah) {
            (Some(esp), None) => Transform::Esp(esp),
            (None, Some(ah)) => Transform::Ah(ah),
            (Some(esp), Some(ah)) => Transform::AhEsp { ah, esp },
            (None, None) => panic!("a case without protection"),
        }
    }

    pub(super) fn halves(&self) -> (ChildSa, ChildSa) {
        let (near, far) =
            if self.v6 { ("[fd00::1]:4500", "[fd00::2]:4500") } else { ("10.0.0.1:4500", "10.0.0.2:4500") };
        let (near, far) = (near.parse().unwrap(), far.parse().unwrap());
        let (mut sender, mut receiver) = halves(ChildId(7), "net", NO_LIMITS, |_| self.transform());
        for (sa, local, remote) in [(&mut sender, near, far), (&mut receiver, far, near)] {
            sa.mode = self.mode;
            sa.encapsulation = self.encapsulation;
            sa.path = UdpPath { local, remote };
        }
        (sender, receiver)
    }

    pub(super) fn ends(&self) -> Ends {
        let (sender, receiver) = self.halves();
        Ends {
            sender: Outbound::new(&OutboundSa(sender)).unwrap(),
            receiver: Inbound::new(&InboundSa(receiver)).unwrap(),
            v6: self.v6,
        }
    }

    pub(super) fn form(&self) -> Form {
        self.halves().0.form()
    }

    /// A packet that the SA carries: in transport mode between the ends themselves.
    pub(super) fn packet(&self, payload: usize) -> Vec<u8> {
        let mut packet = packet(self.v6, payload);
        fit(&mut packet);
        packet
    }
}

/// Makes the header say how long the packet is.
pub(super) fn fit(packet: &mut [u8]) {
    let length = packet.len();
    ip::set_length(packet, length).unwrap();
}

impl Ends {
    /// Seals a packet and carries it over a wire: what arrives is a whole IP packet.
    pub(super) fn carried(&self, packet: &[u8]) -> Vec<u8> {
        let mut out = vec![0xee; self.sender.most_sealed(packet.len())];
        let wrapped = self.sender.seal_packet(packet, &mut out).unwrap();
        out.truncate(wrapped.length);
        self.arrived(out, wrapped.fields)
    }

    /// What the driver of the other end hands over: a whole packet, its header restored where the system takes it off.
    pub(super) fn arrived(&self, sent: Vec<u8>, fields: OuterFields) -> Vec<u8> {
        if self.sender.carriage() == Carriage::Packet {
            return sent;
        }
        let path = self.sender.path();
        let mut packet = [vec![0; restored_len(self.v6)], sent].concat();
        restore_header(&mut packet, (path.local.ip(), path.remote.ip()), fields.class, fields.ttl, 50).unwrap();
        packet
    }
}

#[test]
fn what_is_sealed_in_any_form_opens_to_the_same_packet() {
    for case in Case::all() {
        let ends = case.ends();
        for (number, payload) in (1..).zip([0, 1, 2, 3, 15, 16, 700, 1400]) {
            let packet = case.packet(payload);
            let mut arrived = ends.carried(&packet);
            let first = ip::layout(&arrived).unwrap().upper;
            assert_eq!(first.protocol, if case.ah.is_some() { 51 } else { 50 }, "{case:?}");
            assert_eq!(arrived[first.at + if case.ah.is_some() { 8 } else { 4 }..][..4], [0, 0, 0, number]);
            let opened = ends.receiver.open_packet(&mut arrived).unwrap();
            assert_eq!(opened.flow, flow_of(&packet).unwrap());
            assert!(opened.newest);
            // The system drops flags and identification of a header that it writes itself, and zero is no identification.
            let mut expected = packet.clone();
            if !case.v6 && case.mode == Mode::Transport {
                expected[4..8].copy_from_slice(&opened.packet[4..8]);
                ip::set_length(&mut expected, packet.len()).unwrap();
            }
            assert_eq!(opened.packet, expected, "{case:?} {payload}");
        }
        let (sent, received) = (ends.sender.usage(), ends.receiver.usage());
        assert_eq!((sent.packets, sent.bytes, sent.sequence), (8, received.bytes, received.sequence), "{case:?}");
    }
}

#[test]
fn both_families_travel_through_either() {
    for case in Case::all().into_iter().filter(|case| case.mode == Mode::Tunnel) {
        let ends = case.ends();
        for v6 in [false, true] {
            let inner = packet(v6, 30);
            let mut arrived = ends.carried(&inner);
            assert_eq!(arrived[0] >> 4, if case.v6 { 6 } else { 4 });
            assert_eq!(ends.receiver.open_packet(&mut arrived).unwrap().packet, inner, "{case:?}");
        }
    }
}

#[test]
fn no_packet_of_the_longest_length_is_longer_than_the_underlay_takes_and_the_next_one_is() {
    for case in Case::all() {
        let udp = if case.encapsulation == Encapsulation::Udp { 8 } else { 0 };
        let longest = usize::from(longest_packet(&case.form(), 1500, !case.v6));
        let payload = longest - if case.v6 { 48 } else { 28 };
        assert!(case.ends().carried(&case.packet(payload)).len() + udp <= 1500, "{case:?}");
        if case.mode == Mode::Tunnel || case.esp != Some(EspSuite::Aes128CbcSha384) {
            assert!(case.ends().carried(&case.packet(payload + 1)).len() + udp > 1500, "{case:?}");
        }
    }
}

#[test]
fn a_dummy_packet_is_counted_and_dropped() {
    for case in Case::all() {
        let (ends, mut out) = (case.ends(), vec![0; 400]);
        let Ok(wrapped) = ends.sender.seal_dummy(100, &mut out) else {
            assert!(case.esp.is_none());
            continue;
        };
        out.truncate(wrapped.length);
        let mut arrived = ends.arrived(out, wrapped.fields);
        assert!(arrived.len() > 100);
        assert_eq!(ends.receiver.open_packet(&mut arrived), Err(OpenError::Dummy), "{case:?}");
        assert_eq!(ends.receiver.usage().packets, 1);
    }
}

#[test]
fn padding_hides_the_length_in_tunnel_mode_where_the_peer_takes_it() {
    for case in Case::all().into_iter().filter(|case| case.esp.is_some()) {
        let ends = case.ends();
        let sender = ends.sender.with_padding(Padding::Full);
        sender.set_mtu(1000);
        let ends = Ends { sender, ..ends };
        let lengths: Vec<usize> = [0, 100, 900].map(|payload| ends.carried(&case.packet(payload)).len()).to_vec();
        let hidden = lengths.iter().all(|length| *length == lengths[0]);
        assert_eq!(hidden, case.mode == Mode::Tunnel, "{case:?}");
        let packet = case.packet(33);
        let mut arrived = ends.carried(&packet);
        assert_eq!(ends.receiver.open_packet(&mut arrived).unwrap().packet.len(), packet.len());
    }
    let case = Case::all()[0];
    for (takes, hidden) in [(false, false), (true, true)] {
        let (mut sa, _) = case.halves();
        (sa.padding, sa.pad_to) = (takes, profile::Padding::Mtu);
        let sender = Outbound::new(&OutboundSa(sa)).unwrap();
        sender.set_mtu(1000);
        assert_eq!(sender.seal_packet(&case.packet(0), &mut [0; 1200]).unwrap().length > 1000, hidden);
    }
}

#[test]
fn congestion_on_the_way_reaches_the_inner_packet_or_drops_it() {
    for case in Case::all().into_iter().filter(|case| case.mode == Mode::Tunnel) {
        for (inner, expected) in [(2, Some(3)), (1, Some(3)), (3, Some(3)), (0, None)] {
            let ends = case.ends();
            let mut packet = case.packet(9);
            packet[1] |= if case.v6 { inner << 4 } else { inner };
            fit(&mut packet);
            let mut arrived = ends.carried(&packet);
            assert_eq!(traffic_class(&arrived).unwrap() & 3, inner, "the outer header has it as well");
            arrived[1] |= if case.v6 { 0x30 } else { 0x03 };
            let opened = ends.receiver.open_packet(&mut arrived);
            let class = opened.as_ref().ok().map(|opened| traffic_class(opened.packet).unwrap() & 3);
            assert_eq!(class, expected, "{case:?} {opened:?}");
        }
    }
}

#[test]
fn a_transport_checksum_survives_addresses_that_a_nat_has_changed() {
    for v6 in [false, true] {
        let (esp, udp) = (Some(EspSuite::Aes256Gcm16), Encapsulation::Udp);
        let case = Case { esp, ah: None, mode: Mode::Transport, encapsulation: udp, v6, esn: true };
        let (sender, mut receiver) = case.halves();
        // The sender is 10.0.0.1 to itself, and 10.0.0.9 here.
        let (own, shown) = if v6 { ("fd00::1", "fd00::9") } else { ("10.0.0.1", "10.0.0.9") };
        let (own, shown): (std::net::IpAddr, std::net::IpAddr) = (own.parse().unwrap(), shown.parse().unwrap());
        let local = receiver.path.local.ip();
        receiver.originals = Some(OriginalAddresses { local, remote: own });
        receiver.path.remote.set_ip(shown);
        receiver.selectors.remote = side(9);
        let sender = Outbound::new(&OutboundSa(sender)).unwrap();
        let receiver = Inbound::new(&InboundSa(receiver)).unwrap();
        let mut packet = case.packet(21);
        let udp_at = if v6 { 40 } else { 20 };
        let length = u16::try_from(packet.len() - udp_at).unwrap().to_be_bytes();
        packet[udp_at + 4..udp_at + 6].copy_from_slice(&length);
        let sum = ip::upper_checksum(Some(((own, local), 17)), &packet[udp_at..]);
        packet[udp_at + 6..udp_at + 8].copy_from_slice(&sum);
        let mut out = vec![0; 300];
        let wrapped = sender.seal_packet(&packet, &mut out).unwrap();
        out.truncate(wrapped.length);
        let mut arrived = [vec![0; restored_len(v6)], out].concat();
        restore_header(&mut arrived, (shown, local), 0, 64, 50).unwrap();
        let opened = receiver.open_packet(&mut arrived).unwrap();
        assert_eq!(opened.flow.source, shown);
        assert_eq!(ip::upper_checksum(Some(((shown, local), 17)), &opened.packet[udp_at..]), [0, 0]);
    }
}
