//! scapy as the judge of ESP and AH: it opens what we seal, and we open what it seals, in every form and with every suite.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test fails, in its helpers too")]

mod case;
mod judge;
mod packets;

use espalier_model::profile::Mode;
use espalier_model::sa::Encapsulation;
use espalier_model::suite::{AhSuite, EspSuite};

use case::{Case, Protection};
use judge::Judge;
use packets::Source;

/// What is not tried, and why. scapy knows every suite, mode and length of sequence numbers that there is here.
const NOT_TRIED: [(&str, &str); 4] = [
    ("TCP and ICMPv6 inside IPv6", "scapy reads them, whatever it is told, and fails on random ones"),
    ("sealed by scapy: the number 2^32", "a lower half of zero is none to it, and it takes its own"),
    (
        "sealed by us: numbers above 2^32",
        "nobody sends so many packets in a test; scapy seals such ones, and we open them",
    ),
    (
        "ESP inside AH with each pair of suites",
        "the AH around it is that of AH alone: one suite of AH goes with each of ESP",
    ),
];

/// Packets of each combination and direction.
fn packets() -> usize {
    std::env::var("ESPALIER_SCAPY_PACKETS").ok().map_or(200, |text| text.parse().unwrap())
}

/// Tries all suites of a protection in a mode and an encapsulation, over both families, with both lengths of numbers.
fn try_all(protections: impl IntoIterator<Item = Protection>, mode: Mode, encapsulation: Encapsulation) {
    let (mut judge, mut tried) = (Judge::start(), 0);
    for protection in protections {
        for v6 in [false, true] {
            for esn in [false, true] {
                let seed = 1_000 + tried;
                let case = Case { protection, mode, encapsulation, v6, esn };
                let mut source = Source::new(seed, &case);
                case::scapy_opens_ours(&case, &mut judge, &mut source, packets());
                case::we_open_scapys(&case, &mut judge, &mut source, packets());
                tried += 1;
            }
        }
    }
    eprintln!(
        "{tried} combinations of {mode} in {encapsulation:?}, {} packets each way; not tried: {NOT_TRIED:?}",
        packets()
    );
}

fn esp() -> impl Iterator<Item = Protection> {
    EspSuite::ALL.iter().map(|suite| Protection { esp: Some(*suite), ah: None })
}

fn ah() -> impl Iterator<Item = Protection> {
    AhSuite::ALL.iter().map(|suite| Protection { esp: None, ah: Some(*suite) })
}

fn both() -> impl Iterator<Item = Protection> {
    EspSuite::ALL.iter().zip(AhSuite::ALL.iter().cycle()).map(|(esp, ah)| Protection { esp: Some(*esp), ah: Some(*ah) })
}

#[test]
fn esp_in_tunnel_mode_as_protocol_50() {
    try_all(esp(), Mode::Tunnel, Encapsulation::Ip);
}

#[test]
fn esp_in_tunnel_mode_inside_udp() {
    try_all(esp(), Mode::Tunnel, Encapsulation::Udp);
}

#[test]
fn esp_in_transport_mode_as_protocol_50() {
    try_all(esp(), Mode::Transport, Encapsulation::Ip);
}

#[test]
fn esp_in_transport_mode_inside_udp() {
    try_all(esp(), Mode::Transport, Encapsulation::Udp);
}

#[test]
fn ah_in_tunnel_mode() {
    try_all(ah(), Mode::Tunnel, Encapsulation::Ip);
}

#[test]
fn ah_in_transport_mode() {
    try_all(ah(), Mode::Transport, Encapsulation::Ip);
}

#[test]
fn esp_inside_ah() {
    try_all(both(), Mode::Tunnel, Encapsulation::Ip);
    try_all(both(), Mode::Transport, Encapsulation::Ip);
}
