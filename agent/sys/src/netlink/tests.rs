use super::*;
use crate::testing::{A4, A6, B4, B6, Wire, bind, namespace, path, take};
use crate::tun::{FRAME_HEADER_LEN, Tun};

#[test]
fn datagrams_cross_a_wire_in_both_versions_with_their_addresses() {
    let wire = Wire::new();
    for (a, b) in [(A4, B4), (A6, B6)] {
        let (near, far) = (bind(&wire.a, a, 4500, Some(7)), bind(&wire.b, b, 4500, None));
        let there = path((a, 4500), (b, 4500));
        near.send(&there, b"ping").unwrap();
        assert_eq!(take(&far, 1000).unwrap(), (b"ping".to_vec(), path((b, 4500), (a, 4500))));
        // More than the wire's MTU: refused, unless fragments are asked for.
        assert_eq!(near.send(&there, &[1; 3000]).unwrap_err().raw_os_error(), Some(libc::EMSGSIZE));
        near.send_fragmentable(&there, &[1; 3000]).unwrap();
        assert_eq!(take(&far, 1000).unwrap().0, [1; 3000]);
        assert_eq!(near.send(&there, &[1; 3000]).unwrap_err().raw_os_error(), Some(libc::EMSGSIZE));
    }
}

#[test]
fn a_tun_interface_gives_and_takes_packets() {
    let ns = namespace("tun");
    let tun = ns.enter(|| Tun::create("espalier0").unwrap()).unwrap();
    let link = ns
        .enter(|| {
            let mut netlink = Netlink::open().unwrap();
            netlink.set_mtu(tun.index(), 1418).unwrap();
            netlink.set_queue_length(tun.index(), 2_000).unwrap();
            let shown = ns.command("ip").args(["link", "show", "espalier0"]).output().unwrap();
            assert!(String::from_utf8(shown.stdout).unwrap().contains("qlen 2000"));
            netlink.add_address(tun.index(), "10.9.0.1/24".parse().unwrap()).unwrap();
            netlink.set_up(tun.index()).unwrap();
            let taken = Tun::create("espalier0").unwrap_err().to_string();
            assert!(taken.contains("an interface of that name exists"), "{taken}");
            netlink.link("espalier0").unwrap()
        })
        .unwrap();
    assert_eq!((link.index, link.mtu, link.up, tun.name()), (tun.index(), 1418, true, "espalier0"));
    let socket = bind(&ns, "10.9.0.1", 5000, None);
    socket.send(&path(("10.9.0.1", 5000), ("10.9.0.2", 6000)), b"out").unwrap();
    let mut packet = read_udp(&tun);
    assert_eq!((&packet[12..20], &packet[28..]), ([10, 9, 0, 1, 10, 9, 0, 2].as_slice(), b"out".as_slice()));
    // The packet turned round is an answer; its checksums, being sums, stay right.
    packet.copy_within(12..16, 16);
    packet[12..16].copy_from_slice(&[10, 9, 0, 2]);
    let ports: [u8; 4] = packet[20..24].try_into().unwrap();
    packet[20..24].copy_from_slice(&[ports[2], ports[3], ports[0], ports[1]]);
    let frame = |packet: &[u8]| [&[0; FRAME_HEADER_LEN], packet].concat();
    tun.write(&frame(&packet)).unwrap();
    assert_eq!(take(&socket, 1000).unwrap(), (b"out".to_vec(), path(("10.9.0.1", 5000), ("10.9.0.2", 6000))));
    assert_eq!(tun.write(&frame(&[0; 3])).unwrap_err().raw_os_error(), Some(libc::EINVAL));
}

/// Reads until an IPv4 packet of UDP comes, past what IPv6 sends by itself.
fn read_udp(tun: &Tun) -> Vec<u8> {
    use std::os::fd::AsFd;
    let mut buffer = [0; 1500];
    loop {
        let limit = Some(std::time::Duration::from_secs(1));
        assert_eq!(crate::poll::wait([tun.as_fd()], limit).unwrap(), [true], "no packet came");
        let len = tun.read(&mut buffer).unwrap();
        let packet = &buffer[FRAME_HEADER_LEN..len];
        if packet[0] == 0x45 && packet[9] == 17 {
            return packet.to_vec();
        }
    }
}

#[test]
fn routes_are_added_replaced_listed_and_deleted() {
    let wire = Wire::new();
    wire.a
        .enter(|| {
            let mut netlink = Netlink::open().unwrap();
            let index = netlink.link_index("wire").unwrap();
            for (net, gateway) in [("10.9.0.0/16", B4), ("fd00:9::/32", B6)] {
                let destination = net.parse().unwrap();
                let route = Route {
                    destination,
                    table: 4500,
                    metric: 10,
                    target: Target::Interface(index),
                    source: None,
                    mtu: None,
                };
                let refuse = Route { metric: 4000, target: Target::Unreachable, ..route.clone() };
                let via =
                    Route { target: Target::Gateway(gateway.parse().unwrap()), mtu: Some(1_400), ..route.clone() };
                netlink.add_route(&route).unwrap();
                assert!(
                    netlink.add_route(&route).unwrap_err().to_string().ends_with("it exists already; remove it first")
                );
                netlink.replace_route(&refuse).unwrap();
                netlink.replace_route(&refuse).unwrap();
                assert_eq!(netlink.routes(4500).unwrap(), [route, refuse.clone()]);
                netlink.replace_route(&via).unwrap();
                assert_eq!(netlink.routes(4500).unwrap(), [via.clone(), refuse.clone()]);
                assert!(netlink.delete_route(&via).unwrap());
                assert!(netlink.delete_route(&refuse).unwrap());
                assert!(!netlink.delete_route(&refuse).unwrap());
            }
            assert!(netlink.routes(4500).unwrap().is_empty());
        })
        .unwrap();
}

#[test]
fn a_rule_sends_unmarked_packets_into_another_table_and_lets_marked_ones_pass() {
    let wire = Wire::new();
    let rules = wire.a.enter(|| {
        let mut netlink = Netlink::open().unwrap();
        for (ipv6, net) in [(false, "192.0.2.0/24"), (true, "2001:db8::/64")] {
            let destination = net.parse().unwrap();
            let route =
                Route { destination, table: 4500, metric: 9, target: Target::Unreachable, source: None, mtu: None };
            netlink.replace_route(&route).unwrap();
            let rule = Rule::unless_marked(ipv6, 100, 4500, 0x4553_5000);
            netlink.add_rule(&rule).unwrap();
            netlink.add_rule(&rule).unwrap();
        }
        netlink.rules(4500).unwrap()
    });
    let rules = rules.unwrap();
    assert_eq!(rules, [false, true].map(|ipv6| Rule::unless_marked(ipv6, 100, 4500, 0x4553_5000)));
    for (a, b) in [(A4, B4), (A6, B6)] {
        let far = bind(&wire.b, b, 4500, None);
        let there = path((a, 4500), (b, 4500));
        assert!(bind(&wire.a, a, 4500, None).send(&there, b"unmarked").is_err());
        bind(&wire.a, a, 4500, Some(0x4553_5000)).send(&there, b"marked").unwrap();
        assert_eq!(take(&far, 1000).unwrap().0, b"marked");
    }
    wire.a
        .enter(|| {
            let mut netlink = Netlink::open().unwrap();
            assert!(rules.iter().all(|rule| netlink.delete_rule(rule).unwrap()));
            assert!(rules.iter().all(|rule| !netlink.delete_rule(rule).unwrap()));
        })
        .unwrap();
}

#[test]
fn a_rule_keeps_all_its_conditions() {
    let ns = namespace("rule");
    let narrow = Rule {
        from: Some("10.0.0.0/8".parse().unwrap()),
        to: Some("10.9.8.0/24".parse().unwrap()),
        protocol: Some(6),
        source_ports: Some(1024..=65534),
        destination_ports: Some(22..=22),
        ..Rule::new(false, 90, 254)
    };
    let listed = ns.enter(|| {
        let mut netlink = Netlink::open().unwrap();
        netlink.add_rule(&narrow).unwrap();
        let listed = netlink.rules(254).unwrap();
        assert!(netlink.delete_rule(&narrow).unwrap());
        listed
    });
    assert!(listed.unwrap().contains(&narrow));
}

#[test]
fn interfaces_and_addresses_come_and_go() {
    let ns = namespace("link");
    ns.enter(|| {
        let mut netlink = Netlink::open().unwrap();
        netlink.create_veth(VethEnd { name: "x", namespace: None }, VethEnd { name: "y", namespace: None }).unwrap();
        netlink.create_bridge("hub").unwrap();
        let (x, hub) = (netlink.link_index("x").unwrap(), netlink.link_index("hub").unwrap());
        netlink.set_bridge(x, hub).unwrap();
        let addresses = ["10.1.0.1/24".parse().unwrap(), "fd00::1/64".parse().unwrap()];
        addresses.iter().for_each(|address| netlink.add_address(hub, *address).unwrap());
        assert_eq!(netlink.addresses(hub).unwrap(), addresses);
        assert!(netlink.delete_address(hub, addresses[0]).unwrap());
        assert!(!netlink.delete_address(hub, addresses[0]).unwrap());
        netlink.set_up(x).unwrap();
        netlink.set_down(x).unwrap();
        assert!(!netlink.link("x").unwrap().up);
        netlink.delete_link(x).unwrap();
        let gone = netlink.link("y").unwrap_err().to_string();
        assert_eq!(gone, "cannot find interface y: there is no such interface in this network namespace");
    })
    .unwrap();
}

#[test]
fn a_namespace_goes_with_its_value_and_runs_commands_inside() {
    let ns = namespace("run");
    let name = ns.name().to_owned();
    let output = ns.command("ip").args(["-brief", "link"]).output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("lo "));
    let taken = crate::netns::NetNs::create(&name).unwrap_err().to_string();
    assert_eq!(taken, format!("cannot create network namespace {name}"));
    drop(ns);
    assert!(crate::netns::NetNs::open(&name).is_err());
    let panicked = std::panic::catch_unwind(|| {
        let ns = namespace("panic");
        let name = ns.name().to_owned();
        ns.enter(|| std::panic::panic_any(name)).unwrap();
    });
    let name = panicked.unwrap_err().downcast::<String>().unwrap();
    assert!(crate::netns::NetNs::open(&name).is_err());
}

#[test]
fn a_missing_privilege_is_named() {
    let refusals = namespace("user").enter(|| {
        drop_capabilities();
        [
            Netlink::open().unwrap().set_up(1).unwrap_err().to_string(),
            Tun::create("espalier0").unwrap_err().to_string(),
            crate::udp::UdpSocket::bind("0.0.0.0:0".parse().unwrap(), Some(1)).unwrap_err().to_string(),
        ]
    });
    let actions = ["set interface 1 up", "create TUN interface espalier0", "mark the packets of UDP socket 0.0.0.0:0"];
    for (refusal, action) in refusals.unwrap().iter().zip(actions) {
        assert_eq!(*refusal, format!("cannot {action}: it needs root or the capability CAP_NET_ADMIN"));
    }
}

/// Takes every capability from this thread alone; it ends with the closure that runs on it.
fn drop_capabilities() {
    const VERSION_3: u32 = 0x2008_0522;
    let (header, none) = ([VERSION_3, 0], [0_u32; 6]);
    // SAFETY: capset(2) of version 3 reads a header of two words and two sets of three words, and writes nothing.
    let result = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) };
    assert_eq!(result, 0, "capset: {}", std::io::Error::last_os_error());
}
