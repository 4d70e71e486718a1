//! Two data planes on a real wire: what one node sends is what the other gets, by whatever offloads, and nothing is unaccounted for.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket as StdUdpSocket};
use std::time::Duration;

use espalier_esp::DropReason;

use super::*;
use ends::{Ends, planes, worker};

mod demand;
mod ends;

const PORT: u16 = 5_201;

fn offloads(on: [bool; 4]) -> Offloads {
    let [tun_segmentation, tun_coalescing, udp_segmentation, udp_coalescing] = on;
    Offloads { tun_segmentation, tun_coalescing, udp_segmentation, udp_coalescing }
}

/// Sends bytes by TCP from one end to an address of the other, and checks each.
fn stream(ends: &Ends, to: IpAddr, megabytes: usize) {
    let address = SocketAddr::new(to, PORT);
    let listener = ends.b.enter(|| TcpListener::bind(address).unwrap()).unwrap();
    let chunk: Vec<u8> = (0..1 << 20).map(|n: u32| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    std::thread::scope(|scope| {
        let (expected, limit) = (&chunk, Some(Duration::from_secs(10)));
        let receiver = scope.spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(limit).unwrap();
            let mut came = vec![0; expected.len()];
            for number in 0..megabytes {
                stream.read_exact(&mut came).unwrap();
                assert!(came == *expected, "megabyte {number} is another one");
            }
        });
        let mut sender =
            ends.a.enter(|| TcpStream::connect_timeout(&address, Duration::from_secs(5)).unwrap()).unwrap();
        (0..megabytes).for_each(|_| sender.write_all(&chunk).unwrap());
        receiver.join().unwrap();
    });
}

/// Sends datagrams of many lengths, with pauses that no buffer needs, and checks that each came, in order.
fn datagrams(ends: &Ends, to: IpAddr, count: usize) {
    let address = SocketAddr::new(to, PORT);
    let receiver = ends.b.enter(|| StdUdpSocket::bind(address).unwrap()).unwrap();
    receiver.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let sender = ends.a.enter(|| StdUdpSocket::bind(SocketAddr::new(ends.inner_a(to), 0)).unwrap()).unwrap();
    let datagram = |n: usize| vec![u8::try_from(n % 251).unwrap(); if n.is_multiple_of(7) { n % 900 } else { 1_000 }];
    for start in (0..count).step_by(20) {
        for n in start..start + 20 {
            sender.send_to(&datagram(n), address).unwrap();
        }
        for n in start..start + 20 {
            let mut came = [0; 2_000];
            let length = receiver.recv(&mut came).unwrap();
            assert!(came[..length] == datagram(n), "datagram {n} is another one");
        }
    }
}

/// Checks that each packet that came went on, was dropped or waits, once the workers rest.
fn assert_accounted_for(plane: &Userspace) {
    let totals = plane.totals();
    let even = || {
        let dropped: u64 = DropReason::ALL.iter().map(|reason| plane.counters().get(*reason)).sum();
        let [a, b, c, d] = [&totals.from_tun, &totals.to_wire, &totals.from_wire, &totals.to_tun].map(Total::get);
        a + c > 0 && a + totals.fragments.get() + c == b + d + dropped + totals.held.get()
    };
    let rests = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        even()
    });
    assert!(rests, "{totals:?}");
}

#[test]
fn every_choice_of_offloads_carries_the_same_bytes_over_both_families() {
    for underlay_ipv4 in [true, false] {
        for off in [None, Some(0), Some(1), Some(2), Some(3), Some(4)] {
            let on = std::array::from_fn(|n| off != Some(n) && off != Some(4));
            let ends = Ends::new(underlay_ipv4);
            let planes = planes(&ends, offloads(on));
            for plane in &planes {
                let expected = on.map(|on| if on { "on" } else { "off" });
                let states = plane.offloads();
                let names = ["tun-segmentation", "tun-coalescing", "udp-segmentation", "udp-coalescing"];
                assert_eq!(names.map(|name| states[name].as_str()), expected);
            }
            for to in [ends.inner_b(true), ends.inner_b(false)] {
                stream(&ends, to, 8);
                datagrams(&ends, to, 100);
            }
            planes.iter().for_each(assert_accounted_for);
        }
    }
}

#[test]
fn what_is_dropped_is_counted_packet_by_packet() {
    let ends = Ends::new(true);
    let planes = planes(&ends, Offloads::default());
    // No rule has a place for it.
    let sender =
        ends.a.enter(|| StdUdpSocket::bind(SocketAddr::new(ends.inner_a(ends.inner_b(true)), 0)).unwrap()).unwrap();
    for n in 0..5 {
        sender.send_to(&[n; 100], "10.77.9.9:9").unwrap();
    }
    let dropped = || planes[0].counters().get(DropReason::PolicyDrop);
    let came = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        dropped() >= 5
    });
    assert!(came, "{}", dropped());
    datagrams(&ends, ends.inner_b(true), 20);
    assert_accounted_for(&planes[0]);
}

#[test]
fn a_packet_of_an_spi_that_nobody_has_is_told_of_once_a_second() {
    let ends = Ends::new(true);
    let [_, mut plane] = planes(&ends, Offloads::default());
    let sender = ends.a.enter(|| StdUdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
    for _ in 0..20 {
        sender.send_to(&[0x77; 100], "192.0.2.2:4500").unwrap();
    }
    let stray = SaEvent::UnknownSpi { spi: 0x7777_7777.try_into().unwrap(), remote: "192.0.2.1".parse().unwrap() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        assert_eq!(plane.event().await, stray);
        // The second may have ended in between.
        let more = async { (plane.event().await, plane.event().await) };
        assert!(tokio::time::timeout(Duration::from_millis(500), more).await.is_err());
    });
    assert!((1..=20).contains(&plane.counters().get(DropReason::UnknownSpi)));
}

#[test]
fn workers_allocate_nothing_once_they_are_warm() {
    let ends = Ends::new(true);
    let [(a, mut outbound, _), (b, _, mut inbound)] = worker(&ends);
    let to = SocketAddr::new(ends.inner_b(true), PORT);
    let receiver = ends.b.enter(|| StdUdpSocket::bind(to).unwrap()).unwrap();
    let sender = ends.a.enter(|| StdUdpSocket::bind(SocketAddr::new(ends.inner_a(to.ip()), 0)).unwrap()).unwrap();
    let mut round = || {
        for n in 0..40_u8 {
            sender.send_to(&[n; 1_000], to).unwrap();
        }
        let counted = allocation_counter::measure(|| {
            outbound.turn(&a).unwrap();
            inbound.turn(&b);
        });
        let mut came = [0; 2_000];
        for _ in 0..40 {
            receiver.recv(&mut came).unwrap();
        }
        counted.count_total
    };
    receiver.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let warming = (round(), round());
    let counts: Vec<u64> = (0..20).map(|_| round()).collect();
    assert_eq!(counts, vec![0; 20], "after {warming:?}");
    let counted = allocation_counter::measure(|| drop(std::hint::black_box(vec![1_u8; 10])));
    assert_eq!(counted.count_total, 1, "the counter counts");
}
