//! One combination: what both sides hold of it, and the two ways to try it.

use std::net::IpAddr;

use espalier_esp::{Carriage, Inbound, Outbound, OuterFields, restore_header, restored_len};
use espalier_model::profile::{Dscp, Mode, Padding};
use espalier_model::sa::{
    ChildId, ChildSa, Encapsulation, InboundSa, Keyed, OutboundSa, SaSelectors, Transform, UdpPath, UsageLimits,
};
use espalier_model::secret::Secret;
use espalier_model::selector::{PortRange, Protocol, TrafficSelector, everything};
use espalier_model::suite::{AhSuite, Cipher, EspSuite, Hmac};

use crate::judge::{Association, Judge, hex};
use crate::packets::Source;

const ESP_SPI: u32 = 0xc0de_0001;
const AH_SPI: u32 = 0xc0de_0002;
const ESP: u8 = 50;
const UDP: u8 = 17;

/// What protects.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Protection {
    pub(crate) esp: Option<EspSuite>,
    pub(crate) ah: Option<AhSuite>,
}

/// One combination.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) protection: Protection,
    pub(crate) mode: Mode,
    pub(crate) encapsulation: Encapsulation,
    pub(crate) v6: bool,
    pub(crate) esn: bool,
}

/// The keying material of a run.
struct Keys {
    esp: Vec<u8>,
    ah: Vec<u8>,
}

/// We seal, scapy opens.
pub(crate) fn scapy_opens_ours(case: &Case, judge: &mut Judge, source: &mut Source, count: usize) {
    let keys = case.keys(source);
    let sender = Outbound::new(&OutboundSa(case.sa(&keys, true))).unwrap();
    let packets: Vec<Vec<u8>> = (0..count).map(|_| source.packet()).collect();
    let mut wire: Vec<(Vec<u8>, u32)> = vec![];
    let mut expected = vec![];
    for packet in &packets {
        let mut out = vec![0; sender.most_sealed(packet.len())];
        let wrapped = sender.seal_packet(packet, &mut out).unwrap();
        out.truncate(wrapped.length);
        expected.push(case.delivered(packet, wrapped.fields));
        wire.push((case.on_the_wire(sender.carriage(), &out, wrapped.fields), 0));
    }
    let mut spoiled = wire[0].clone();
    *spoiled.0.last_mut().unwrap() ^= 1;
    let sas = case.associations(&keys, true);
    for ((opened, expected), (sealed, _)) in judge.open(&sas, &wire).into_iter().zip(&expected).zip(&wire) {
        let opened = opened.unwrap_or_else(|error| panic!("{case:?}: scapy refuses {}: {error}", hex(sealed)));
        assert_eq!(hex(&opened), hex(expected), "{case:?}: scapy opens {}", hex(sealed));
    }
    let refused = judge.open(&sas, &[spoiled]).remove(0);
    assert_ne!(refused.as_ref(), Ok(&expected[0]), "{case:?}: scapy takes a packet of which a bit is wrong");
}

/// scapy seals, we open.
pub(crate) fn we_open_scapys(case: &Case, judge: &mut Judge, source: &mut Source, count: usize) {
    let keys = case.keys(source);
    let receiver = Inbound::new(&InboundSa(case.sa(&keys, false))).unwrap();
    let packets: Vec<(Vec<u8>, u64)> = (0..count).map(|n| (source.packet(), case.number(n, count))).collect();
    let sealed = judge.seal(&case.associations(&keys, true), &packets);
    for ((packet, number), sealed) in packets.iter().zip(sealed) {
        let sealed = sealed.unwrap_or_else(|error| panic!("{case:?}: scapy does not seal {}: {error}", hex(packet)));
        let arrived = case.arrived(&sealed);
        let mut spoiled = arrived.clone();
        let at = arrived.len() - 1 - source.place(8);
        spoiled[at] ^= 0x10;
        assert!(receiver.open_packet(&mut spoiled).is_err(), "{case:?}: a bit of byte {at} is wrong");
        let mut copy = arrived.clone();
        let opened = receiver.open_packet(&mut copy);
        let opened = opened.unwrap_or_else(|error| panic!("{case:?} {number:#x}: {}: {error}", hex(&arrived)));
        assert_eq!(hex(opened.packet), hex(packet), "{case:?} {number:#x}");
        assert_eq!(receiver.usage().sequence, *number);
        assert!(receiver.open_packet(&mut arrived.clone()).is_err(), "{case:?}: a replay");
    }
}

impl Case {
    pub(crate) fn is_transport(&self) -> bool {
        self.mode == Mode::Transport
    }

    pub(crate) fn is_in_udp(&self) -> bool {
        self.encapsulation == Encapsulation::Udp
    }

    fn keys(&self, source: &mut Source) -> Keys {
        Keys {
            esp: source.bytes(self.protection.esp.map_or(0, EspSuite::keymat_len)),
            ah: source.bytes(self.protection.ah.map_or(0, AhSuite::keymat_len)),
        }
    }

    /// Numbers that rise, with leaps: with 64 bits across the wrap of the lower half, else to the last one.
    fn number(&self, n: usize, count: usize) -> u64 {
        let (third, n) = (3 * n / count, u64::try_from(n).unwrap());
        match (third, self.esn) {
            (0, _) => n + 1,
            (1, _) => (1 << 31) + n,
            // scapy takes a lower half of zero for none that was given.
            (_, true) => {
                let number = (1 << 32) - u64::try_from(5 * count / 6).unwrap() + n;
                if number < 1 << 32 { number } else { number + 1 }
            }
            (_, false) => (1 << 32) - u64::try_from(count).unwrap() + n,
        }
    }

    fn ends(&self) -> (IpAddr, IpAddr) {
        let (from, to) = if self.v6 { ("fd00::1", "fd00::2") } else { ("10.0.0.1", "10.0.0.2") };
        (from.parse().unwrap(), to.parse().unwrap())
    }

    /// What the sender or the receiver is told.
    fn sa(&self, keys: &Keys, sends: bool) -> ChildSa {
        let (esn, secret) = (self.esn, |bytes: &[u8]| Secret::from(bytes));
        let (esp_spi, ah_spi) = (ESP_SPI.try_into().unwrap(), AH_SPI.try_into().unwrap());
        let esp = self.protection.esp.map(|suite| Keyed { spi: esp_spi, suite, keymat: secret(&keys.esp), esn });
        let ah = self.protection.ah.map(|suite| Keyed { spi: ah_spi, suite, keymat: secret(&keys.ah), esn });
        let transform = match (esp, ah) {
            (Some(esp), Some(ah)) => Transform::AhEsp { ah, esp },
            (Some(esp), None) => Transform::Esp(esp),
            (None, Some(ah)) => Transform::Ah(ah),
            (None, None) => panic!("a case without protection"),
        };
        let (from, to) = self.ends();
        let (local, remote) = if sends { (from, to) } else { (to, from) };
        let all = || {
            [true, false].map(|v4| TrafficSelector::from_net(Protocol::Any, PortRange::ANY, everything(v4))).to_vec()
        };
        ChildSa {
            id: ChildId(1),
            rule: "all".parse().unwrap(),
            transform,
            mode: self.mode,
            encapsulation: self.encapsulation,
            originals: None,
            padding: true,
            pad_to: Padding::None,
            dscp: Dscp::Copy,
            selectors: SaSelectors { local: all(), remote: all() },
            path: UdpPath { local: (local, 4500).into(), remote: (remote, 4500).into() },
            replay_window: 64,
            limits: UsageLimits::NONE,
        }
    }

    /// The same as scapy is told, from the innermost to the outermost.
    fn associations(&self, keys: &Keys, sends: bool) -> Vec<Association> {
        let (from, to) = self.ends();
        let (from, to) = if sends { (from, to) } else { (to, from) };
        let mut tunnel = (self.mode == Mode::Tunnel).then(|| (from.to_string(), to.to_string()));
        let mut sas = vec![];
        if let Some(suite) = self.protection.esp {
            let (encryption, integrity) = keys.esp.split_at(suite.cipher().encryption_len());
            sas.push(Association {
                protocol: "esp",
                spi: ESP_SPI,
                crypt: Some(crypt(suite.cipher())),
                crypt_key: Some(hex(encryption)),
                auth: suite.cipher().hmac().map(auth),
                auth_key: Some(hex(integrity)),
                tunnel: tunnel.take(),
                udp: self.is_in_udp(),
                esn: self.esn,
            });
        }
        if let Some(suite) = self.protection.ah {
            sas.push(Association {
                protocol: "ah",
                spi: AH_SPI,
                crypt: None,
                crypt_key: None,
                auth: Some(auth(suite.hmac())),
                auth_key: Some(hex(&keys.ah)),
                tunnel: tunnel.take(),
                udp: false,
                esn: self.esn,
            });
        }
        sas
    }

    /// What a router sees of what a driver has sent.
    fn on_the_wire(&self, carriage: Carriage, sent: &[u8], fields: OuterFields) -> Vec<u8> {
        match carriage {
            Carriage::Packet => sent.to_vec(),
            Carriage::Payload => self.with_header(sent, fields, ESP),
            Carriage::Udp => {
                let [high, low] = u16::try_from(8 + sent.len()).unwrap().to_be_bytes();
                self.with_header(&[&[0x11, 0x94, 0x11, 0x94, high, low, 0, 0], sent].concat(), fields, UDP)
            }
        }
    }

    fn with_header(&self, payload: &[u8], fields: OuterFields, protocol: u8) -> Vec<u8> {
        let mut packet = [vec![0; restored_len(self.v6)], payload.to_vec()].concat();
        restore_header(&mut packet, self.ends(), fields.class, fields.ttl, protocol).unwrap();
        packet
    }

    /// What a receiver has of a packet: the same, but for a header that the system writes.
    fn delivered(&self, packet: &[u8], fields: OuterFields) -> Vec<u8> {
        if !(self.is_transport() && self.is_in_udp()) {
            return packet.to_vec();
        }
        let (header, protocol) = if self.v6 { (40, packet[6]) } else { (20, packet[9]) };
        self.with_header(&packet[header..], fields, protocol)
    }

    /// What a driver hands over of what scapy has sent.
    fn arrived(&self, sealed: &[u8]) -> Vec<u8> {
        if !self.is_in_udp() {
            return sealed.to_vec();
        }
        // The header of UDP goes, and the IP header names ESP.
        let header = restored_len(self.v6);
        let mut packet = sealed.to_vec();
        packet.drain(header..header + 8);
        if self.v6 {
            packet[6] = ESP;
            let length = u16::try_from(packet.len() - header).unwrap().to_be_bytes();
            packet[4..6].copy_from_slice(&length);
        } else {
            packet[9] = ESP;
            let length = u16::try_from(packet.len()).unwrap().to_be_bytes();
            packet[2..4].copy_from_slice(&length);
        }
        packet
    }
}

const fn crypt(cipher: Cipher) -> &'static str {
    match cipher {
        Cipher::Gcm(_) => "AES-GCM",
        Cipher::ChaCha20Poly1305 => "CHACHA20-POLY1305",
        Cipher::Ccm(_) => "AES-CCM",
        Cipher::Gmac(_) => "AES-NULL-GMAC",
        Cipher::Cbc(..) => "AES-CBC",
        Cipher::Ctr(..) => "AES-CTR",
        Cipher::Null(_) => "NULL",
    }
}

const fn auth(hmac: Hmac) -> &'static str {
    match hmac {
        Hmac::Sha256 => "SHA2-256-128",
        Hmac::Sha384 => "SHA2-384-192",
        Hmac::Sha512 => "SHA2-512-256",
    }
}
