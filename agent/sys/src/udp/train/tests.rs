use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::*;
use crate::option::set;
use crate::poll;
use crate::testing::{A4, A6, B4, B6, Wire, bind, path, take};
use crate::udp::Batch;
use std::os::fd::AsFd;

fn datagram(number: usize, length: usize) -> Vec<u8> {
    let number = u8::try_from(number % 251).unwrap();
    (0..length).map(|at| number.wrapping_add(u8::try_from(at % 7).unwrap())).collect()
}

/// Lengths of which some form trains: of one length, with a shorter end, and alone.
const LENGTHS: [usize; 12] = [1_000, 1_000, 1_000, 400, 1_000, 1_200, 1_200, 0, 0, 9, 9, 8];

fn fill(trains: &mut Trains, path: UdpPath, lengths: &[usize]) {
    for (number, length) in lengths.iter().enumerate() {
        trains.room()[..*length].copy_from_slice(&datagram(number, *length));
        trains.push(path, 0, *length, false);
    }
}

fn receive(socket: &UdpSocket, batch: &mut Batch, count: usize) -> Vec<Vec<u8>> {
    let mut came = Vec::new();
    while came.len() < count && poll::wait([socket.as_fd()], Some(Duration::from_secs(1))).unwrap() == [true] {
        socket.recv_batch(batch).unwrap();
        came.extend(batch.datagrams().map(|datagram| datagram.bytes.to_vec()));
    }
    came
}

#[test]
fn trains_arrive_as_the_datagrams_they_are_whether_or_not_the_receiver_takes_them_whole() {
    let addresses: [SocketAddr; 2] = [(Ipv4Addr::LOCALHOST, 0).into(), (Ipv6Addr::LOCALHOST, 0).into()];
    for (address, taken, coupled) in
        addresses.iter().flat_map(|a| [(a, true, true), (a, false, true), (a, true, false)])
    {
        let (from, to) = (UdpSocket::bind(*address, None).unwrap(), UdpSocket::bind(*address, None).unwrap());
        to.take_trains(taken).unwrap();
        let mut trains = Trains::new(1 << 17, coupled);
        let path = UdpPath { local: from.local_addr(), remote: to.local_addr() };
        fill(&mut trains, path, &LENGTHS);
        assert_eq!(trains.trains.len(), if coupled { 6 } else { LENGTHS.len() });
        from.send_trains(&mut trains).unwrap();
        assert!(!trains.take_refused());
        assert_eq!((trains.datagrams(), trains.clear(), trains.datagrams()), (LENGTHS.len(), 0, 0));
        let expected: Vec<_> = LENGTHS.iter().enumerate().map(|(n, length)| datagram(n, *length)).collect();
        assert_eq!(
            receive(&to, &mut Batch::with_rooms(65_535, 4), LENGTHS.len()),
            expected,
            "{address} {taken} {coupled}"
        );
    }
}

#[test]
fn a_train_is_no_longer_than_linux_takes() {
    let (from, to) = (
        UdpSocket::bind((Ipv4Addr::LOCALHOST, 0).into(), None).unwrap(),
        UdpSocket::bind((Ipv4Addr::LOCALHOST, 0).into(), None).unwrap(),
    );
    to.take_trains(true).unwrap();
    let path = UdpPath { local: from.local_addr(), remote: to.local_addr() };
    for (length, count) in [(1_472, 100), (100, 200), (30_000, 5)] {
        let mut trains = Trains::new(1 << 18, true);
        fill(&mut trains, path, &vec![length; count]);
        assert!(trains.trains.len() < count);
        from.send_trains(&mut trains).unwrap();
        assert_eq!((trains.take_refused(), trains.clear()), (false, 0), "{length}");
        let came = receive(&to, &mut Batch::with_rooms(65_535, 8), count);
        assert!(came.len() == count && came.iter().enumerate().all(|(n, came)| *came == datagram(n, length)));
    }
}

#[test]
fn a_refused_train_is_sent_singly_and_no_other_is_made() {
    let wire = Wire::new();
    let (from, to) = (bind(&wire.a, A4, 7_000, None), bind(&wire.b, B4, 7_000, None));
    // Linux makes no trains of datagrams without a checksum.
    set(from.as_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK, 1_i32).unwrap();
    let mut trains = Trains::new(1 << 17, true);
    let there = path(("0.0.0.0", 7_000), (B4, 7_000));
    fill(&mut trains, there, &[1_000; 5]);
    from.send_trains(&mut trains).unwrap();
    assert_eq!((trains.take_refused(), trains.take_refused(), trains.clear()), (true, false, 0));
    for number in 0..5 {
        assert_eq!(take(&to, 1_000).unwrap().0, datagram(number, 1_000));
    }
    fill(&mut trains, there, &[1_000; 5]);
    assert_eq!(trains.trains.len(), 5);
}

#[test]
fn datagrams_beyond_the_mtu_fail_without_a_word_against_trains() {
    let wire = Wire::new();
    let from = bind(&wire.a, A4, 7_000, None);
    let mut trains = Trains::new(1 << 17, true);
    fill(&mut trains, path(("0.0.0.0", 7_000), (B4, 7_000)), &[1_600, 1_600, 1_600, 1_000]);
    from.send_trains(&mut trains).unwrap();
    // The last one, which fits, has left.
    assert_eq!((trains.take_refused(), trains.clear()), (false, 3));
    let told = trains.take_too_long().map(|path| path.remote);
    assert_eq!((told, trains.take_too_long()), (Some(SocketAddr::new(B4.parse().unwrap(), 7_000)), None));
}

#[test]
fn what_nobody_would_make_shorter_leaves_in_fragments_and_speaks_against_nothing() {
    let wire = Wire::new();
    for (near, far) in [(A4, B4), (A6, B6)] {
        let (from, to) = (bind(&wire.a, near, 7_000, None), bind(&wire.b, far, 7_000, None));
        let there = path((near, 7_000), (far, 7_000));
        let lengths = [1_600, 1_600, 1_600, 1_550, 1_000, 1_700, 1_700, 900];
        for coupling in [true, false] {
            let mut trains = Trains::new(1 << 17, coupling);
            for (number, length) in lengths.into_iter().enumerate() {
                trains.room()[..length].copy_from_slice(&datagram(number, length));
                trains.push(there, 0, length, length <= 1_600);
            }
            from.send_trains(&mut trains).unwrap();
            // Those of 1,700 bytes have somebody who makes them shorter.
            let told = trains.take_too_long().map(|path| path.remote);
            assert_eq!(
                (trains.take_refused(), trains.clear(), told),
                (false, 2, Some(there.remote)),
                "{far} {coupling}"
            );
            for (number, length) in lengths.into_iter().enumerate().filter(|(_, length)| *length <= 1_600) {
                assert_eq!(take(&to, 1_000).unwrap().0, datagram(number, length), "{far} {coupling}");
            }
            assert_eq!(from.send(&there, &[0; 1_600]).unwrap_err().raw_os_error(), Some(libc::EMSGSIZE), "as before");
        }
    }
}
