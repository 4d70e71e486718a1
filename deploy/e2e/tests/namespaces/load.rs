//! Many child rekeys under a load that takes all that the tunnel carries: no packet is lost, and none overtakes another.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use espalier_model::sa::UdpPath;
use espalier_sys::poll;
use espalier_sys::udp::{Batch, UdpSocket};

use super::*;

/// What came of the numbers that were sent.
#[derive(Debug, Default, PartialEq, Eq)]
struct Arrivals {
    came: u64,
    lost: u64,
    overtaken: u64,
}

/// Packets under way at once: fewer than any queue on the way holds, so that nothing but the tunnel can lose one.
const UNDER_WAY: u64 = 400;
const BATCH: u64 = 32;
const LENGTH: usize = 1_000;
/// Packets between two rekeys.
const BETWEEN: u64 = 30_000;
/// What has not arrived by then is lost.
const PATIENCE: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(1_800);

/// Returns how many rekeys there are to be.
fn rekeys() -> usize {
    std::env::var("ESPALIER_REKEYS").ok().and_then(|text| text.parse().ok()).unwrap_or(50)
}

#[test]
fn rekeys_at_full_load_lose_no_packet_and_let_none_overtake_another() {
    let lab = Lab::new(2).unwrap();
    let limit = format!("child-rekey-packets: {BETWEEN}");
    let mut agents = pair(&lab, true, |plan| agent::with_profile(plan, &limit));
    let [one, other] = &lab.hosts[..] else { panic!("two hosts") };
    let (near, far) = (socket(one, one.inner(true)), socket(other, other.inner(true)));
    let path = UdpPath { local: near.local_addr(), remote: far.local_addr() };
    let (next, end) = (AtomicU64::new(0), AtomicBool::new(false));
    let arrivals = thread::scope(|scope| {
        let receiver = scope.spawn(|| receive(&far, &next, &end));
        let sender = scope.spawn(|| send(&near, path, &next, &end));
        // The first child SA, and each that has taken the place of another.
        agents[0].program.await_log("child SA in use", 1 + rekeys(), LONGEST).unwrap();
        end.store(true, Ordering::Relaxed);
        let sent = sender.join().unwrap();
        let arrivals = receiver.join().unwrap();
        assert_eq!(arrivals.came + arrivals.lost, sent, "{arrivals:?}");
        arrivals
    });
    assert!(arrivals.came > BETWEEN * 10, "{arrivals:?}");
    assert_eq!((arrivals.lost, arrivals.overtaken), (0, 0), "{arrivals:?}");
}

fn socket(host: &Host, address: IpAddr) -> UdpSocket {
    host.namespace.enter(|| UdpSocket::bind(SocketAddr::new(address, 0), None).unwrap()).unwrap()
}

/// Sends numbers in order, as fast as they arrive, and returns how many. It waits for the last one.
fn send(socket: &UdpSocket, path: UdpPath, next: &AtomicU64, end: &AtomicBool) -> u64 {
    let (mut number, mut progress) = (0, (0, Instant::now()));
    let mut packets = vec![[0; LENGTH]; usize::try_from(BATCH).unwrap()];
    loop {
        let arrived = next.load(Ordering::Relaxed);
        let ending = end.load(Ordering::Relaxed);
        if arrived > progress.0 {
            progress = (arrived, Instant::now());
        }
        if progress.1.elapsed() > PATIENCE || (ending && arrived == number) {
            end.store(true, Ordering::Relaxed);
            return number;
        }
        if ending || number + BATCH > arrived + UNDER_WAY {
            thread::yield_now();
            continue;
        }
        for (packet, number) in packets.iter_mut().zip(number..) {
            packet[..8].copy_from_slice(&number.to_be_bytes());
        }
        let sent = socket.send_batch(packets.iter().map(|packet| (path, &packet[..])));
        number += BATCH;
        assert_eq!(sent, packets.len(), "the sockets of the node take what is sent");
    }
}

/// Takes numbers until the sender has ended, and nothing comes any more.
fn receive(socket: &UdpSocket, next: &AtomicU64, end: &AtomicBool) -> Arrivals {
    let (mut arrivals, mut expected, mut batch) = (Arrivals::default(), 0, Batch::new(2_048));
    loop {
        let [ready] = poll::wait([socket.as_fd()], Some(Duration::from_millis(100))).unwrap();
        if !ready && end.load(Ordering::Relaxed) {
            return arrivals;
        }
        if socket.recv_batch(&mut batch).is_err() {
            continue;
        }
        for datagram in batch.datagrams() {
            let number = u64::from_be_bytes(*datagram.bytes.first_chunk().unwrap());
            arrivals.came += 1;
            if number < expected {
                // It was counted as lost when the next one came.
                (arrivals.overtaken, arrivals.lost) = (arrivals.overtaken + 1, arrivals.lost - 1);
                continue;
            }
            arrivals.lost += number - expected;
            expected = number + 1;
        }
        next.store(expected, Ordering::Relaxed);
    }
}
