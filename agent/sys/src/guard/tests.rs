use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::*;
use crate::netlink::{Netlink, Route, Target};
use crate::netns::NetNs;
use crate::testing::{A4, A6, B4, B6, Wire, bind, path, take};
use crate::tun::{FRAME_HEADER_LEN, Tun};

const MARK: u32 = 0x4553_5000;

fn spec(protected: &[&str]) -> GuardSpec {
    GuardSpec {
        protected: protected.iter().map(|net| net.parse().unwrap()).collect(),
        local: Vec::new(),
        tunnel_interface: "espalier0".to_owned(),
        mark: MARK,
        exempt: Vec::new(),
    }
}

/// Everything on the wire.
fn whole() -> GuardSpec {
    spec(&["192.0.2.0/24", "2001:db8::/64", "10.9.0.0/16"])
}

fn apply(namespace: &NetNs, spec: &GuardSpec) {
    namespace.enter(|| Guard::apply(spec).unwrap()).unwrap();
}

/// Sends one datagram over the wire, and tells whether it arrived.
fn crosses(from: (&NetNs, &str, u16, Option<u32>), to: (&NetNs, &str, u16)) -> bool {
    let receiver = bind(to.0, to.1, to.2, None);
    let sender = bind(from.0, from.1, from.2, from.3);
    let remote = receiver.local_addr().port();
    // A guard at the sender is felt as an error, one at the receiver as silence.
    match sender.send(&path((from.1, from.2), (to.1, remote)), b"x") {
        Ok(()) => take(&receiver, 150).is_some(),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
            false
        }
    }
}

fn pairs() -> [(&'static str, &'static str); 2] {
    [(A4, B4), (A6, B6)]
}

#[test]
fn protected_traffic_is_dropped_both_ways_and_what_must_pass_does() {
    let wire = Wire::new();
    for (a, b) in pairs() {
        assert!(crosses((&wire.a, a, 7000, None), (&wire.b, b, 7000)), "the wire works without a guard");
    }
    apply(&wire.a, &whole());
    for (a, b) in pairs() {
        assert!(!crosses((&wire.a, a, 7000, None), (&wire.b, b, 7000)), "out to {b}");
        assert!(!crosses((&wire.b, b, 7000, None), (&wire.a, a, 7000)), "in from {b}");
        assert!(crosses((&wire.a, a, 7000, Some(MARK)), (&wire.b, b, 7000)), "the agent's own to {b}");
        assert!(!crosses((&wire.a, a, 7000, Some(MARK + 1)), (&wire.b, b, 7000)), "another mark to {b}");
        assert!(crosses((&wire.a, a, 7000, None), (&wire.a, a, 0)), "loopback of {a}");
        for port in [500, 4500] {
            assert!(crosses((&wire.b, b, 7000, None), (&wire.a, a, port)), "IKE in from {b}");
            assert!(crosses((&wire.a, a, port, None), (&wire.b, b, 7000)), "IKE out to {b}");
        }
    }
    wire.a.enter(|| Guard::remove().unwrap()).unwrap();
    wire.a.enter(|| Guard::remove().unwrap()).unwrap();
    for (a, b) in pairs() {
        assert!(crosses((&wire.a, a, 7000, None), (&wire.b, b, 7000)));
    }
}

#[test]
fn large_ike_messages_cross_as_fragments() {
    let wire = Wire::new();
    apply(&wire.a, &whole());
    for (a, b) in pairs() {
        let (near, far) = (bind(&wire.a, a, 4500, None), bind(&wire.b, b, 4500, None));
        far.send_fragmentable(&path((b, 4500), (a, 4500)), &[5; 4000]).unwrap();
        assert_eq!(take(&near, 500).map(|(bytes, _)| bytes.len()), Some(4000), "from {b}");
    }
}

#[test]
fn the_tunnel_carries_protected_traffic_and_nothing_else_does_when_it_is_gone() {
    let wire = Wire::new();
    apply(&wire.a, &whole());
    let tun = wire
        .a
        .enter(|| {
            let tun = Tun::create("espalier0").unwrap();
            let mut netlink = Netlink::open().unwrap();
            netlink.add_address(tun.index(), "10.9.0.1/16".parse().unwrap()).unwrap();
            netlink.set_up(tun.index()).unwrap();
            // Where the packets would go without a tunnel.
            let destination = "0.0.0.0/0".parse().unwrap();
            let target = Target::Gateway(B4.parse().unwrap());
            netlink.add_route(&Route { destination, table: 254, metric: 0, target, source: None, mtu: None }).unwrap();
            tun
        })
        .unwrap();
    let socket = bind(&wire.a, A4, 7000, None);
    let there = path(("0.0.0.0", 7000), ("10.9.0.2", 7000));
    socket.send(&there, b"in the tunnel").unwrap();
    let mut frame = [0; 1500];
    let packet = loop {
        crate::poll::wait([std::os::fd::AsFd::as_fd(&tun)], Some(Duration::from_secs(1))).unwrap();
        let len = tun.read(&mut frame).unwrap();
        if frame[FRAME_HEADER_LEN] == 0x45 {
            break &frame[FRAME_HEADER_LEN..len];
        }
    };
    assert_eq!(&packet[28..], b"in the tunnel");
    drop(tun);
    assert_eq!(socket.send(&there, b"leak").unwrap_err().kind(), ErrorKind::PermissionDenied);
}

#[test]
fn exempted_ports_stay_open_on_the_side_they_are_on() {
    let wire = Wire::new();
    let exempt = |port, side| Exemption { transport: Transport::Tcp, ports: port..=port, side, own: None, other: None };
    let spec = GuardSpec { exempt: vec![exempt(22, Side::Local), exempt(7443, Side::Remote)], ..whole() };
    apply(&wire.a, &spec);
    for (a, b) in pairs() {
        assert!(connects((&wire.b, a, 22), &wire.a), "ssh to {a}");
        assert!(connects((&wire.a, b, 7443), &wire.b), "the controller at {b}");
        assert!(!connects((&wire.a, b, 22), &wire.b), "ssh from {a}");
        assert!(!connects((&wire.b, a, 7443), &wire.a), "controller's port at {a}");
    }
}

#[test]
fn an_exemption_for_one_of_our_addresses_holds_for_no_other() {
    let wire = Wire::new();
    for (a, _) in pairs() {
        let at = |own: &str| Exemption {
            transport: Transport::Tcp,
            ports: 22..=22,
            side: Side::Local,
            own: Some(own.parse().unwrap()),
            other: None,
        };
        apply(&wire.a, &GuardSpec { exempt: vec![at(a)], ..whole() });
        assert!(connects((&wire.b, a, 22), &wire.a), "ssh to {a}");
        apply(&wire.a, &GuardSpec { exempt: vec![at("192.0.2.99"), at("2001:db8::99")], ..whole() });
        assert!(!connects((&wire.b, a, 22), &wire.a), "ssh to another address than {a}");
    }
}

#[test]
fn an_exemption_for_one_address_holds_for_no_other() {
    let wire = Wire::new();
    for (_, b) in pairs() {
        let to = |other: &str| Exemption {
            transport: Transport::Tcp,
            ports: 7443..=7443,
            side: Side::Remote,
            own: None,
            other: Some(other.parse().unwrap()),
        };
        apply(&wire.a, &GuardSpec { exempt: vec![to(b)], ..whole() });
        assert!(connects((&wire.a, b, 7443), &wire.b), "the controller at {b}");
        apply(&wire.a, &GuardSpec { exempt: vec![to("192.0.2.99"), to("2001:db8::99")], ..whole() });
        assert!(!connects((&wire.a, b, 7443), &wire.b), "somebody else at {b}");
    }
}

/// Tells whether a connection to a listener works, data in both directions.
fn connects((client, ip, port): (&NetNs, &str, u16), server: &NetNs) -> bool {
    let address = std::net::SocketAddr::new(ip.parse().unwrap(), port);
    let listener = server.enter(|| TcpListener::bind(address).unwrap()).unwrap();
    let stream = client.enter(|| TcpStream::connect_timeout(&address, Duration::from_millis(150))).unwrap();
    let Ok(mut stream) = stream else { return false };
    let (mut accepted, _) = listener.accept().unwrap();
    stream.write_all(b"q").unwrap();
    accepted.read_exact(&mut [0]).unwrap();
    accepted.write_all(b"a").unwrap();
    stream.read_exact(&mut [0]).is_ok()
}

#[test]
fn local_prefixes_within_the_protected_ones_are_not_guarded() {
    let wire = Wire::new();
    apply(
        &wire.a,
        &GuardSpec { local: vec!["192.0.2.2/32".parse().unwrap(), "2001:db8::2/128".parse().unwrap()], ..whole() },
    );
    for (a, b) in pairs() {
        assert!(crosses((&wire.a, a, 7000, None), (&wire.b, b, 7000)));
        assert!(crosses((&wire.b, b, 7000, None), (&wire.a, a, 7000)));
    }
}

#[test]
fn replacing_the_guard_under_traffic_lets_nothing_through() {
    let wire = Wire::new();
    apply(&wire.a, &whole());
    let done = AtomicBool::new(false);
    for (a, b) in pairs() {
        done.store(false, Ordering::Relaxed);
        let (out, listener) = (bind(&wire.a, a, 7000, None), bind(&wire.b, b, 7000, None));
        let (back, near) = (bind(&wire.b, b, 7001, None), bind(&wire.a, a, 7001, None));
        let sent = std::thread::scope(|scope| {
            let sender = scope.spawn(|| {
                let mut sent = 0_u32;
                while !done.load(Ordering::Relaxed) {
                    assert!(out.send(&path((a, 7000), (b, 7000)), b"leak").is_err());
                    back.send(&path((b, 7001), (a, 7001)), b"leak").ok();
                    sent += 1;
                }
                sent
            });
            for round in 0..50 {
                let more = format!("10.{round}.0.0/16");
                apply(&wire.a, &spec(&["192.0.2.0/24", "2001:db8::/64", &more]));
            }
            done.store(true, Ordering::Relaxed);
            sender.join().unwrap()
        });
        assert!(sent > 1000, "{sent} datagrams are too few to find a gap");
        assert!(take(&listener, 100).is_none() && take(&near, 100).is_none());
    }
}

#[test]
fn the_table_reads_as_it_was_meant_and_holds_thousands_of_prefixes() {
    let wire = Wire::new();
    let many: Vec<String> = (0..1500).map(|n| format!("10.{}.{}.0/24", n / 100, 2 * (n % 100))).collect();
    let mut nets: Vec<&str> = many.iter().map(String::as_str).collect();
    nets.extend(["fd00:1::/32", "fd00:3::/32", "255.255.255.0/24"]);
    apply(&wire.a, &spec(&nets));
    let output = wire.a.command("nft").args(["list", "table", "inet", "espalier"]).output();
    let Ok(output) = output else { panic!("this test needs nft: install the package nftables") };
    let text = String::from_utf8(output.stdout).unwrap();
    for line in [
        "type filter hook postrouting priority 300; policy accept;",
        "type filter hook input priority raw; policy accept;",
        "oifname \"espalier0\" accept",
        "iifname \"lo\" accept",
        "meta mark 0x45535000 accept",
        "ip daddr @protected4-0 counter packets 0 bytes 0 drop",
        "ip6 saddr @protected6-0 counter packets 0 bytes 0 drop",
        "elements = { fd00:1::/32,",
        "fd00:3::/32 }",
        "udp dport 4500 accept",
        "10.14.198.0/24",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
}
