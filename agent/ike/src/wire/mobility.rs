//! What the notifications of MOBIKE carry (RFC 4555 §4.2).

use std::net::{IpAddr, SocketAddr};

use espalier_model::sa::UdpPath;

use super::{Notify, NotifyType};

/// Builds the list of the sender's other addresses.
//= RFC 4555 §3.4: each other address has a notify of its own, and having none is told too
#[must_use]
pub fn additional(addresses: &[IpAddr]) -> Vec<Notify> {
    if addresses.is_empty() {
        return vec![Notify::new(NotifyType::NO_ADDITIONAL_ADDRESSES, Vec::new())];
    }
    let notify = |address: &IpAddr| match address {
        IpAddr::V4(a) => Notify::new(NotifyType::ADDITIONAL_IP4_ADDRESS, a.octets().to_vec()),
        IpAddr::V6(a) => Notify::new(NotifyType::ADDITIONAL_IP6_ADDRESS, a.octets().to_vec()),
    };
    addresses.iter().map(notify).collect()
}

/// Reads the list of the sender's other addresses; nothing where the message holds none. An address of another length is
/// left out: the list is a hint where to look for the peer.
#[must_use]
pub fn read_additional(notifies: &[Notify]) -> Option<Vec<IpAddr>> {
    let mut told = None;
    for notify in notifies {
        let data = notify.data.as_slice();
        let address: Option<IpAddr> = match notify.notify_type {
            NotifyType::NO_ADDITIONAL_ADDRESSES => None,
            NotifyType::ADDITIONAL_IP4_ADDRESS => <[u8; 4]>::try_from(data).ok().map(IpAddr::from),
            NotifyType::ADDITIONAL_IP6_ADDRESS => <[u8; 16]>::try_from(data).ok().map(IpAddr::from),
            _ => continue,
        };
        told.get_or_insert_with(Vec::new).extend(address);
    }
    told
}

/// Builds the addresses and ports of a message that leaves by a path.
#[must_use]
pub fn no_nats(path: UdpPath) -> Notify {
    Notify::new(NotifyType::NO_NATS_ALLOWED, octets(path.local, path.remote))
}

/// Tells whether a message that came along a path has the addresses and ports with which it was sent.
#[must_use]
pub fn untranslated(path: UdpPath, data: &[u8]) -> bool {
    data == octets(path.remote, path.local)
}

/// Returns what a `COOKIE2` holds, if it has a length that one may have.
//= RFC 4555 §4.2.5: a COOKIE2 has 8 to 64 bytes
#[must_use]
pub fn cookie(notifies: &[Notify]) -> Option<&[u8]> {
    let found = notifies.iter().find(|n| n.notify_type == NotifyType::COOKIE2)?;
    (8..=64).contains(&found.data.len()).then_some(found.data.as_slice())
}

fn octets(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let mut octets = Vec::with_capacity(36);
    for address in [source.ip(), destination.ip()] {
        match address {
            IpAddr::V4(a) => octets.extend(a.octets()),
            IpAddr::V6(a) => octets.extend(a.octets()),
        }
    }
    octets.extend(source.port().to_be_bytes());
    octets.extend(destination.port().to_be_bytes());
    octets
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn addresses_that_are_told_are_read(addresses: Vec<IpAddr>) {
            prop_assert_eq!(read_additional(&additional(&addresses)), Some(addresses));
        }

        #[test]
        fn addresses_and_ports_are_those_of_the_other_end(a: [u8; 4], b: [u8; 4], p: u16, q: u16, other: u16) {
            let (local, remote) = (SocketAddr::from((a, p)), SocketAddr::from((b, q)));
            let sent = no_nats(UdpPath { local, remote });
            prop_assert_eq!(sent.data.len(), 12);
            let seen = UdpPath { local: remote, remote: local };
            prop_assert!(untranslated(seen, &sent.data));
            let translated = UdpPath { remote: SocketAddr::from((a, other)), ..seen };
            prop_assert_eq!(untranslated(translated, &sent.data), other == p);
        }
    }

    #[test]
    fn what_is_no_list_or_no_cookie_is_none() {
        assert_eq!(read_additional(&[Notify::new(NotifyType::COOKIE2, vec![1; 8])]), None);
        let odd = Notify::new(NotifyType::ADDITIONAL_IP4_ADDRESS, vec![1; 5]);
        assert_eq!(read_additional(&[odd]), Some(vec![]), "an address of another length is not one");
        for (length, good) in [(7, false), (8, true), (64, true), (65, false)] {
            assert_eq!(cookie(&[Notify::new(NotifyType::COOKIE2, vec![1; length])]).is_some(), good);
        }
        let v6 = UdpPath { local: "[::1]:1".parse().unwrap(), remote: "[::2]:2".parse().unwrap() };
        assert_eq!(no_nats(v6).data.len(), 36);
    }
}
