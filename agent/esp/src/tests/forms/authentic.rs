//! What is authentic of a packet, and what is not.

use super::*;

/// Offsets of the bytes that routers may change before the first header of ours.
fn mutable(v6: bool) -> &'static [usize] {
    if v6 { &[1, 2, 3, 7] } else { &[1, 8, 10, 11] }
}

#[test]
fn every_bit_that_ah_covers_counts_and_no_other_one() {
    for case in Case::all().into_iter().filter(|case| case.ah.is_some()) {
        let ends = case.ends();
        let packet = case.packet(20);
        let arrived = ends.carried(&packet);
        for at in 0..arrived.len() {
            for bit in 0..8 {
                let mut copy = arrived.clone();
                copy[at] ^= 1 << bit;
                let congestion = at == 1 && case.mode == Mode::Tunnel;
                let traffic_class = case.v6 && at == 0 && bit < 4;
                let dont_fragment = !case.v6 && at == 6 && bit > 5;
                if mutable(case.v6).contains(&at) || traffic_class || dont_fragment {
                    let same = case.ends();
                    let opened = same.receiver.open_packet(&mut copy).map(|opened| opened.packet.to_vec());
                    assert!(
                        opened.is_ok() || (congestion && opened == Err(OpenError::Congestion)),
                        "{case:?} {at} {opened:?}"
                    );
                } else {
                    assert!(ends.receiver.open_packet(&mut copy).is_err(), "{case:?} byte {at} bit {bit}");
                }
            }
        }
        assert_eq!(ends.receiver.usage().packets, 0, "nothing unauthentic moved the window");
        assert!(ends.receiver.open_packet(&mut arrived.clone()).is_ok());
        assert_eq!(ends.receiver.open_packet(&mut arrived.clone()), Err(OpenError::Replayed));
    }
}

#[test]
fn every_bit_of_esp_counts() {
    for case in Case::all().into_iter().filter(|case| case.esp.is_some()) {
        let ends = case.ends();
        let arrived = ends.carried(&case.packet(20));
        let esp = ip::layout(&arrived).unwrap().upper.at;
        for at in esp..arrived.len() {
            for bit in 0..8 {
                let mut copy = arrived.clone();
                copy[at] ^= 1 << bit;
                assert!(ends.receiver.open_packet(&mut copy).is_err(), "{case:?} byte {at} bit {bit}");
            }
        }
        assert_eq!(ends.receiver.usage().packets, 0);
        assert!(ends.receiver.open_packet(&mut arrived.clone()).is_ok());
    }
}

#[test]
fn routers_may_do_their_work_on_options_and_extension_headers() {
    for ah in AhSuite::ALL {
        for esp in [None, Some(EspSuite::Aes128Gcm16)] {
            let of = |v6| {
                let (mode, encapsulation) = (Mode::Transport, Encapsulation::Ip);
                Case { esp, ah: Some(*ah), mode, encapsulation, v6, esn: true }
            };
            // Record route is filled in, a hop-by-hop option rewritten.
            let case = of(false);
            let ends = case.ends();
            let mut packet = case.packet(20);
            packet[0] = 0x47;
            packet.splice(20..20, [7, 7, 4, 0, 0, 0, 0, 1]);
            fit(&mut packet);
            let mut arrived = ends.carried(&packet);
            assert_eq!((arrived[0], arrived[9], arrived[20]), (0x47, 51, 7));
            arrived[22..27].copy_from_slice(&[8, 192, 0, 2, 1]);
            assert!(ends.receiver.open_packet(&mut arrived.clone()).unwrap().packet.starts_with(&[0x47]));
            arrived[27] = 0;
            assert!(
                of(false).ends().receiver.open_packet(&mut arrived).is_err(),
                "no operation is not changed on the way"
            );

            let case = of(true);
            let ends = case.ends();
            let mut packet = case.packet(20);
            packet[6] = 0;
            packet.splice(40..40, [17, 0, 0x3e, 4, 1, 2, 3, 4]);
            fit(&mut packet);
            let mut arrived = ends.carried(&packet);
            assert_eq!((arrived[6], arrived[40]), (0, 51));
            arrived[44..48].copy_from_slice(&[9; 4]);
            let opened = ends.receiver.open_packet(&mut arrived).unwrap();
            assert_eq!((opened.packet[40], opened.flow.protocol), (17, 17));
        }
    }
}

#[test]
fn an_end_that_aligns_ah_to_64_bits_over_ipv4_is_understood() {
    // HMAC-SHA2-256-128 makes 28 bytes, which such an end writes as 32, authenticating the four zeros.
    let case = Case {
        esp: None,
        ah: Some(AhSuite::Sha256),
        mode: Mode::Tunnel,
        encapsulation: Encapsulation::Ip,
        v6: false,
        esn: false,
    };
    let ends = case.ends();
    let mut arrived = ends.carried(&case.packet(5));
    arrived.splice(48..48, [0; 4]);
    arrived[21] += 1;
    fit(&mut arrived);
    let mut covered = arrived.clone();
    for at in [1, 6, 7, 8, 10, 11].into_iter().chain(32..48) {
        covered[at] = 0;
    }
    let key: Vec<u8> = (0..32).collect();
    let code = espalier_crypto::prf(espalier_model::suite::Prf::HmacSha256, &key, &[&covered]);
    arrived[32..48].copy_from_slice(&code.expose()[..16]);
    assert!(ends.receiver.open_packet(&mut arrived).is_ok());
}

#[test]
fn across_the_wrap_of_the_lower_half_every_form_goes_on() {
    for case in Case::all().into_iter().filter(|case| case.esn) {
        let ends = case.ends();
        ends.sender.go_on_after((1 << 32) - 2);
        ends.receiver.go_on_after((1 << 32) - 2);
        let packets: Vec<_> = (0..4).map(|_| ends.carried(&case.packet(3))).collect();
        for packet in &packets {
            assert!(ends.receiver.open_packet(&mut packet.clone()).is_ok(), "{case:?}");
        }
        assert_eq!(ends.receiver.usage().sequence, (1 << 32) + 2);
        let stranger = case.ends();
        let mut packet = packets[3].clone();
        assert_eq!(
            stranger.receiver.open_packet(&mut packet),
            Err(OpenError::NotAuthentic),
            "{case:?}: same lower half, other upper one"
        );
    }
}
