//! What is refused, before sealing and after the wire.

use super::*;

#[test]
fn what_transport_mode_cannot_carry_is_refused_without_a_number() {
    for case in Case::all().into_iter().filter(|case| case.mode == Mode::Transport) {
        let ends = case.ends();
        let mut out = vec![0; 400];
        let mut refused = |packet: &[u8]| ends.sender.seal_packet(packet, &mut out).unwrap_err();
        let mut fragment = case.packet(20);
        if case.v6 {
            fragment[6] = 44;
            fragment.splice(40..40, [17, 0, 0, 1, 0, 0, 0, 9]);
            fit(&mut fragment);
        } else {
            fragment[6] = 0x20;
        }
        assert_eq!(refused(&fragment), SealError::Fragment, "{case:?}");
        let mut stranger = case.packet(20);
        stranger[if case.v6 { 39 } else { 19 }] = 77;
        assert_eq!(refused(&stranger), SealError::NotOurs);
        assert_eq!(refused(&[]), SealError::NotIp);
        if case.encapsulation == Encapsulation::Udp && !case.v6 {
            let mut options = case.packet(20);
            options[0] = 0x46;
            options.splice(20..20, [1, 1, 1, 0]);
            fit(&mut options);
            assert_eq!(refused(&options), SealError::Extensions);
        }
        assert_eq!(ends.sender.seal_packet(&case.packet(20), &mut [0; 30]), Err(SealError::TooSmall));
        assert_eq!(ends.sender.usage().sequence, 0, "{case:?}");
    }
}

#[test]
fn a_fragment_a_truncation_and_another_form_are_refused() {
    for case in Case::all() {
        let ends = case.ends();
        let arrived = ends.carried(&case.packet(20));
        if !case.v6 {
            let mut fragment = arrived.clone();
            fragment[6] = 0x20;
            assert_eq!(ends.receiver.open_packet(&mut fragment), Err(OpenError::Fragment));
        }
        for length in 0..arrived.len() {
            assert!(ends.receiver.open_packet(&mut arrived[..length].to_vec()).is_err(), "{case:?} {length}");
            let mut shorter = arrived[..length].to_vec();
            if ip::set_length(&mut shorter, length).is_ok() {
                assert!(ends.receiver.open_packet(&mut shorter).is_err(), "{case:?} {length}");
            }
        }
        let kind = |case: &Case| (case.esp, case.ah, case.esn, case.mode);
        for other in Case::all().into_iter().filter(|other| other.v6 == case.v6 && kind(other) != kind(&case)) {
            // What is IP inside is one protocol of many in transport mode.
            let tunnel = Case { mode: Mode::Tunnel, ..other };
            if case.mode == Mode::Tunnel && kind(&tunnel) == kind(&case) {
                continue;
            }
            let opened = other.ends().receiver.open_packet(&mut arrived.clone()).map(|_| ());
            assert!(opened.is_err(), "{case:?} as {other:?}");
        }
        assert_eq!(ends.receiver.usage().packets, 0);
    }
}

#[test]
fn esp_that_belongs_inside_ah_is_nothing_without_it() {
    for case in Case::all().into_iter().filter(|case| case.esp.is_some() && case.ah.is_some()) {
        let ends = case.ends();
        let mut arrived = ends.carried(&case.packet(20));
        let at = ip::layout(&arrived).unwrap().upper.at;
        let ah_len = if case.v6 { 32 } else { 28 };
        arrived.drain(at..at + ah_len);
        arrived[if case.v6 { 6 } else { 9 }] = 50;
        fit(&mut arrived);
        assert_eq!(ends.receiver.open_packet(&mut arrived.clone()), Err(OpenError::Form), "{case:?}");
        assert_eq!(ends.receiver.open(&mut arrived[at..].to_vec()), Err(OpenError::Form));
        let tables = Tables::default().with_inbound(Arc::new(ends.receiver));
        assert!(tables.inbound(AH_SPI).is_some() && tables.inbound(SPI).is_none());
    }
}

#[test]
fn the_way_in_place_is_for_esp_in_tunnel_mode_alone() {
    for case in Case::all() {
        let ends = case.ends();
        let plain = case.ah.is_none() && case.mode == Mode::Tunnel;
        let mut out = vec![0; 400];
        let sealed = ends.sender.seal(&case.packet(20), &mut out);
        assert_eq!(sealed.is_ok(), plain, "{case:?} {sealed:?}");
        if let Ok(sealed) = sealed {
            assert_eq!(ends.receiver.open(&mut out[..sealed.length]).unwrap().packet, case.packet(20));
        } else {
            assert_eq!(ends.sender.usage().sequence, 0);
        }
    }
}

#[test]
fn sas_that_cannot_be_are_refused() {
    let case = Case::all().into_iter().find(|case| case.ah.is_some()).unwrap();
    let error = |change: &dyn Fn(&mut ChildSa)| {
        let (mut sa, _) = case.halves();
        change(&mut sa);
        (Outbound::new(&OutboundSa(sa.clone())).err(), Inbound::new(&InboundSa(sa)).err())
    };
    let both = |error| (Some(error), Some(error));
    assert_eq!(error(&|sa| sa.encapsulation = Encapsulation::Udp), both(SaError::AhInUdp));
    assert_eq!(error(&|sa| sa.path.remote = "[fd00::2]:4500".parse().unwrap()), both(SaError::Family));
    assert_eq!(error(&|_| {}), (None, None));
}
