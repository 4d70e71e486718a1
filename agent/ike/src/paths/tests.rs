use espalier_model::profile::Profile;
use espalier_model::secret::Secret;
use espalier_model::selector::{PortRange, Protocol, TrafficSelector};

use super::*;
use crate::config::{Auth, ChildConfig};

fn peer(endpoints: &[&str], local: &[&str], remote: &str) -> PeerConfig {
    let profile = Profile::standard("default".parse().unwrap());
    let selector = |net: &str| vec![TrafficSelector::from_net(Protocol::Any, PortRange::ANY, net.parse().unwrap())];
    let (rule, local_side) = ("net".parse().unwrap(), selector("10.0.0.0/24"));
    PeerConfig {
        id: "peer.example".parse().unwrap(),
        endpoints: endpoints.iter().map(|e| SocketAddr::new(e.parse().unwrap(), 500)).collect(),
        local: local.iter().map(|l| l.parse().unwrap()).collect(),
        initiate: true,
        auth: Auth::Psk(Secret::from(&b"secret"[..])),
        children: vec![ChildConfig { rule, local: local_side, remote: selector(remote), profile: profile.clone() }],
        profile,
        key_epoch: 0,
        ppk: None,
        virtual_addresses: None,
    }
}

fn ips(list: &[&str]) -> Vec<IpAddr> {
    list.iter().map(|ip| ip.parse().unwrap()).collect()
}

fn path(local: &str, remote: &str) -> UdpPath {
    UdpPath { local: local.parse().unwrap(), remote: remote.parse().unwrap() }
}

#[test]
fn what_is_there_decides_and_the_plan_says_what_comes_first() {
    let peer = peer(&["192.0.2.9"], &["192.0.2.1", "192.0.2.2"], "10.0.1.0/24");
    assert_eq!(locals(&peer, None), ips(&["192.0.2.1", "192.0.2.2"]));
    assert_eq!(locals(&peer, Some(&ips(&["198.51.100.7", "192.0.2.2"]))), ips(&["192.0.2.2", "198.51.100.7"]));
    assert_eq!(locals(&peer, Some(&[])), ips(&[]));
}

#[test]
fn paths_join_addresses_of_one_version_and_the_current_one_leads() {
    let peer = peer(&["192.0.2.9", "2001:db8::9"], &["192.0.2.1"], "10.0.1.0/24");
    let current = path("192.0.2.1:4500", "192.0.2.9:20001");
    let found = candidates(&peer, &ips(&["192.0.2.3", "192.0.2.1", "2001:db8::1"]), current, &ips(&["192.0.2.8"]));
    let expected = [
        ("192.0.2.1:4500", "192.0.2.9:20001"),
        ("192.0.2.3:4500", "192.0.2.9:20001"),
        ("192.0.2.3:4500", "192.0.2.9:4500"),
        ("192.0.2.1:4500", "192.0.2.9:4500"),
        ("[2001:db8::1]:4500", "[2001:db8::9]:4500"),
        ("192.0.2.3:4500", "192.0.2.8:4500"),
        ("192.0.2.1:4500", "192.0.2.8:4500"),
    ];
    assert_eq!(found, expected.map(|(local, remote)| path(local, remote)));
    let many: Vec<IpAddr> = (0..200).map(|n| IpAddr::from([198, 51, 100, n])).collect();
    assert_eq!(candidates(&peer, &ips(&["192.0.2.1"]), current, &many).len(), MOST_PATHS);
}

#[test]
fn no_peer_moves_to_what_is_no_host_or_lies_behind_the_tunnel() {
    let narrow = peer(&["10.0.1.7"], &["192.0.2.1"], "10.0.1.0/24");
    let may = |peer: &PeerConfig, address: &str| acceptable(peer, None, address.parse().unwrap());
    assert!(may(&narrow, "198.51.100.1:4500") && may(&narrow, "[2001:db8::7]:31000"));
    for bad in [
        "0.0.0.0:4500",
        "127.0.0.1:4500",
        "224.0.0.1:4500",
        "255.255.255.255:4500",
        "169.254.1.1:4500",
        "0.1.2.3:4500",
        "198.51.100.1:0",
        "[::]:4500",
        "[::1]:4500",
        "[ff02::1]:4500",
        "[fe80::1]:4500",
        "[::ffff:192.0.2.7]:4500",
        "192.0.2.1:4500",
        "10.0.1.9:4500",
    ] {
        assert!(!may(&narrow, bad), "{bad}");
    }
    assert!(may(&narrow, "10.0.1.7:4500"), "the plan itself says so");
    assert!(may(&peer(&["192.0.2.9"], &["192.0.2.1"], "0.0.0.0/0"), "198.51.100.1:4500"));
}
