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

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

#[test]
fn the_content_of_a_datagram_decides_which_socket_of_a_port_gets_it() {
    let words = |value| Word { offset: 4, mask: 0x00ff_ff00, value };
    let both = [words(0x0002_0300), Word { offset: 0, mask: !0, value: 0 }];
    for address in [loopback(), (Ipv6Addr::LOCALHOST, 0).into()] {
        let (rest, [first, second]) = UdpSocket::bind_steered(address, None, [&both, &both[..1]]).unwrap();
        let port = rest.local_addr();
        assert_eq!([port; 2], [first.local_addr(), second.local_addr()]);
        let sender = UdpSocket::bind(address, None).unwrap();
        let path = UdpPath { local: sender.local_addr(), remote: port };
        let cases: [(&UdpSocket, &[u8]); 6] = [
            (&rest, &[]),
            (&rest, &[0xff]),
            (&rest, &[0, 0, 0, 0, 7, 2, 3]),
            (&first, &[0, 0, 0, 0, 7, 2, 3, 7]),
            (&second, &[0, 0, 0, 1, 7, 2, 3, 7]),
            (&rest, &[0, 0, 0, 0, 7, 2, 4, 7, 9]),
        ];
        for (expected, datagram) in cases {
            sender.send(&path, datagram).unwrap();
            assert_eq!(take(expected), (datagram.to_vec(), UdpPath { local: port, remote: path.local }));
        }
        for socket in [&rest, &first, &second] {
            assert_eq!(socket.recv(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        }
        assert!(matches!(UdpSocket::bind(port, None), Err(Error::PortInUse { .. })));
        assert!(matches!(UdpSocket::bind_steered(port, None, [&both[..]]), Err(Error::PortInUse { .. })));
    }
}

#[test]
fn a_batch_holds_what_has_come_and_leaves_out_what_is_too_long() {
    let (a, b) = (UdpSocket::bind(loopback(), None).unwrap(), UdpSocket::bind(loopback(), None).unwrap());
    let path = UdpPath { local: a.local_addr(), remote: b.local_addr() };
    let mut batch = Batch::new(8);
    assert_eq!(b.recv_batch(&mut batch).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    let sent: Vec<Vec<u8>> = (0..40_u8).map(|n| vec![n; if n == 5 { 9 } else { usize::from(n) % 9 }]).collect();
    let wrong = UdpPath { remote: (Ipv6Addr::LOCALHOST, 1).into(), ..path };
    // One that cannot be sent is in the middle.
    let paths = sent.iter().enumerate().map(|(n, datagram)| (if n == 20 { wrong } else { path }, &datagram[..]));
    assert_eq!(a.send_batch(paths), 39);
    let (mut came, mut more) = (Vec::new(), true);
    while more {
        more = b.recv_batch(&mut batch).unwrap();
        came.extend(batch.datagrams().map(|datagram| (datagram.path, datagram.bytes.to_vec())));
    }
    let expected = sent.iter().enumerate().filter(|(n, _)| ![5, 20].contains(n));
    let back = UdpPath { local: path.remote, remote: path.local };
    assert_eq!(came, expected.map(|(_, datagram)| (back, datagram.clone())).collect::<Vec<_>>());
    assert_eq!(b.recv_batch(&mut batch).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    assert_eq!(batch.datagrams().count(), 0);
}
