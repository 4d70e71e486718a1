use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::*;
use crate::poll;

/// Waits for a datagram, a second at most.
fn take(socket: &UdpSocket) -> (Vec<u8>, UdpPath) {
    let mut buffer = [0; 65536];
    assert_eq!(poll::wait([socket.as_fd()], Some(Duration::from_secs(1))).unwrap(), [true], "no datagram came");
    let (len, path) = socket.recv(&mut buffer).unwrap();
    (buffer[..len].to_vec(), path)
}

#[test]
fn a_datagram_tells_the_address_it_was_sent_to_and_the_answer_leaves_from_there() {
    let wildcards = [SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))];
    let loopbacks: [std::net::IpAddr; 2] = ["127.0.0.9".parse().unwrap(), Ipv6Addr::LOCALHOST.into()];
    for (wildcard, loopback) in wildcards.into_iter().zip(loopbacks) {
        let (a, b) = (UdpSocket::bind(wildcard, None).unwrap(), UdpSocket::bind(wildcard, None).unwrap());
        let remote = SocketAddr::new(loopback, b.local_addr().port());
        a.send(&UdpPath { local: SocketAddr::new(wildcard.ip(), 0), remote }, b"question").unwrap();
        let (bytes, path) = take(&b);
        assert_eq!((bytes.as_slice(), path.local), (b"question".as_slice(), remote));
        assert_eq!(path.remote.port(), a.local_addr().port());
        b.send(&path, b"answer").unwrap();
        let (bytes, back) = take(&a);
        assert_eq!((bytes.as_slice(), back.remote, back.local), (b"answer".as_slice(), path.local, path.remote));
        assert_eq!(a.recv(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}

#[test]
fn a_datagram_longer_than_the_buffer_is_lost_and_the_next_one_is_not() {
    let a = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0).into(), None).unwrap();
    let path = UdpPath { local: a.local_addr(), remote: a.local_addr() };
    a.send(&path, &[7; 9]).unwrap();
    a.send(&path, &[8; 8]).unwrap();
    poll::wait([a.as_fd()], Some(Duration::from_secs(1))).unwrap();
    assert_eq!(a.recv(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::InvalidData);
    assert_eq!(a.recv(&mut [0; 8]).unwrap().0, 8);
}

#[test]
fn both_versions_share_a_port_and_a_taken_port_is_named() {
    let v6 = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0).into(), None).unwrap();
    let port = v6.local_addr().port();
    let v4 = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port).into(), None).unwrap();
    let error = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port).into(), None).unwrap_err();
    assert!(error.to_string().starts_with(&format!("UDP port {port} on 0.0.0.0 is in use")), "{error}");
    let other = UdpPath { local: v4.local_addr(), remote: v4.local_addr() };
    assert_eq!(v6.send(&other, b"x").unwrap_err().kind(), io::ErrorKind::InvalidInput);
}
