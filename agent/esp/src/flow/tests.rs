use super::*;

fn v4(protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let fragment = fragment.to_be_bytes();
    let mut packet = vec![0x45, 0, length[0], length[1], 0, 0, fragment[0], fragment[1], 64, protocol, 0, 0];
    packet.extend([10, 0, 0, 1, 10, 0, 0, 2]);
    packet.extend(payload);
    packet
}

fn v6(next: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let mut packet = vec![0x60, 0, 0, 0, length[0], length[1], next, 64];
    packet.extend([0xfd; 16]);
    packet.extend([0xfe; 16]);
    packet.extend(payload);
    packet
}

#[test]
fn ports_are_read_where_the_packet_shows_them() {
    let tcp = flow_of(&v4(6, 0, &[0, 80, 1, 187])).unwrap();
    assert_eq!((tcp.protocol, tcp.ports), (6, Some((80, 443))));
    assert_eq!(flow_of(&v4(47, 0, &[8, 0, 0, 0])).unwrap().ports, None);
    assert_eq!(flow_of(&v4(17, 0x2000, &[0, 1, 0, 2])).unwrap().ports, Some((1, 2)), "the first fragment");
    assert_eq!(flow_of(&v4(17, 0x2001, &[0, 1, 0, 2])).unwrap().ports, None, "a later fragment");
}

#[test]
fn extension_headers_are_walked() {
    let ports = [0, 1, 0, 2];
    let extended = [&[60, 0, 0, 0, 0, 0, 0, 0][..], &[44, 1], &[0; 14], &[17, 0, 0, 1, 0, 0, 0, 9], &ports].concat();
    let flow = flow_of(&v6(protocol::HOP_BY_HOP, &extended)).unwrap();
    assert_eq!((flow.protocol, flow.ports), (17, Some((1, 2))));
    let later = [&[17, 0, 0, 8, 0, 0, 0, 9][..], &ports].concat();
    let flow = flow_of(&v6(protocol::FRAGMENT, &later)).unwrap();
    assert_eq!((flow.protocol, flow.ports), (17, None));
    assert_eq!(flow_of(&v6(protocol::HOP_BY_HOP, &[0; 8 * 9])), Err(BadPacket::Extensions));
}

#[test]
fn every_truncation_is_refused() {
    for packet in [
        v4(6, 0, &[0, 80, 1, 187]),
        v6(17, &[0, 1, 0, 2]),
        v6(protocol::HOP_BY_HOP, &[17, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2]),
    ] {
        assert!(flow_of(&packet).is_ok());
        for length in 0..packet.len() {
            assert!(flow_of(&packet[..length]).is_err(), "{length} of {packet:?}");
        }
    }
    assert_eq!(flow_of(&[0x50; 64]), Err(BadPacket::Version));
}

#[test]
fn icmp_shows_type_and_code_in_place_of_ports() {
    assert_eq!(flow_of(&v4(1, 0, &[3, 4, 0, 0])).unwrap().ports, Some((0x0304, 0x0304)));
    assert_eq!(flow_of(&v6(58, &[128, 0, 0, 0])).unwrap().ports, Some((0x8000, 0x8000)));
    assert_eq!(flow_of(&v6(135, &[59, 0, 5, 0])).unwrap().ports, Some((0x0500, 0x0500)), "the type of mobility");
    assert_eq!(flow_of(&v4(1, 0x2001, &[3, 4, 0, 0])).unwrap().ports, None);
    assert_eq!(flow_of(&v4(1, 0, &[3])), Err(BadPacket::Short));
}

#[test]
fn a_packet_that_is_protected_already_is_no_other_than_that() {
    let ah = [&[6, 4, 0, 0][..], &[9; 20], &[0, 80, 1, 187]].concat();
    for flow in [flow_of(&v4(51, 0, &ah)).unwrap(), flow_of(&v6(51, &ah)).unwrap()] {
        assert_eq!((flow.protocol, flow.ports), (51, None));
    }
}
