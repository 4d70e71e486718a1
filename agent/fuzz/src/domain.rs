//! Who the two ends of every target are, and what they agree on.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use espalier_ike::{Auth, ChildConfig, EndpointConfig, LocalIdentity, Now, PeerConfig, Ppk};
use espalier_model::identity::{Identity, Name};
use espalier_model::plan::{AddressFamily, AddressPool, VirtualAddresses};
use espalier_model::profile::{AdditionalKeyExchanges, Encap, Profile, Protection};
use espalier_model::sa::{ChildSa, UdpPath};
use espalier_model::secret::Secret;
use espalier_model::selector::{PortRange, Protocol, TrafficSelector};
use espalier_model::suite::IkeEncryption;

/// The second of the wall clock at which every target starts.
pub(crate) const UNIX: u64 = 1_790_000_000;

/// Returns the present at the start of a target.
pub(crate) fn start() -> Now {
    Now { instant: Instant::now(), unix: UNIX }
}

/// Returns the identity of an end.
pub(crate) fn id(side: usize) -> Identity {
    ["left.node.mesh.example", "right.node.mesh.example"][side].parse().unwrap()
}

/// Returns the name of a rule.
pub(crate) fn rule(number: usize) -> Name {
    format!("rule{number}").parse().unwrap()
}

/// Returns the path from an end to the other, between the ports of IKE.
pub(crate) fn path(side: usize) -> UdpPath {
    UdpPath { local: address(side), remote: address(1 - side) }
}

fn address(side: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, u8::try_from(side + 1).unwrap()], 500))
}

/// Returns what an end protects under a rule. Rule 2 has so many selectors that messages about it travel in fragments.
pub(crate) fn selectors(side: usize, rule: usize) -> Vec<TrafficSelector> {
    let count = if rule == 2 { 60 } else { 1 };
    let net = |n: usize| format!("10.{}.{}.0/24", 10 * rule + side, 2 * n).parse().unwrap();
    (0..count).map(|n| TrafficSelector::from_net(Protocol::Any, PortRange::ANY, net(n))).collect()
}

/// Returns a profile that has one cipher for IKE, so that keys which are given out are of this one, and no additional key
/// exchanges, which take most of the time.
pub(crate) fn profile(encryption: IkeEncryption) -> Profile {
    let additional_key_exchange = AdditionalKeyExchanges::NONE;
    let standard = Profile::standard("default".parse().unwrap());
    Profile { ike_encryption: vec![encryption], additional_key_exchange, ..standard }
}

/// Gives a profile additional key exchanges.
pub(crate) fn make_hybrid(profile: &mut Profile) {
    profile.additional_key_exchange = AdditionalKeyExchanges::standard();
}

/// Returns how an end sees the other, with some rules.
pub(crate) fn peer(side: usize, profile: &Profile, rules: &[usize]) -> PeerConfig {
    let child = |number: &usize| ChildConfig {
        rule: rule(*number),
        local: selectors(side, *number),
        remote: selectors(1 - side, *number),
        profile: profile.clone(),
    };
    PeerConfig {
        id: id(1 - side),
        endpoints: vec![address(1 - side)],
        local: vec![address(side).ip()],
        initiate: side == 0,
        auth: Auth::Psk(Secret::from(&b"only for tests"[..])),
        profile: profile.clone(),
        key_epoch: 0,
        ppk: None,
        virtual_addresses: None,
        children: rules.iter().map(child).collect(),
    }
}

/// Returns an address that an end may move to.
pub(crate) fn other(side: usize) -> IpAddr {
    IpAddr::from([198, 51, 100, u8::try_from(side + 1).unwrap()])
}

/// Changes what protects a peer's packets.
pub(crate) fn protect(peer: &mut PeerConfig, protection: Protection) {
    peer.profile.encap = Encap::Auto;
    peer.children
        .iter_mut()
        .for_each(|child| (child.profile.protection, child.profile.encap) = (protection, Encap::Auto));
}

/// Has one end give the other addresses.
pub(crate) fn give_addresses(side: usize, peer: &mut PeerConfig) {
    let net = |text: &str| vec![TrafficSelector::from_net(Protocol::Any, PortRange::ANY, text.parse().unwrap())];
    let prefixes = vec!["10.90.0.0/24".parse().unwrap()];
    let pool = AddressPool { prefixes, dns: vec![other(1)], except: vec![] };
    let (addresses, local, remote) = if side == 0 {
        (VirtualAddresses::Request(vec![AddressFamily::Ipv4, AddressFamily::Ipv6]), net("0.0.0.0/0"), selectors(1, 0))
    } else {
        (VirtualAddresses::Pool(pool), selectors(1, 0), net("10.90.0.0/24"))
    };
    peer.virtual_addresses = Some(addresses);
    peer.children.iter_mut().for_each(|child| (child.local, child.remote) = (local.clone(), remote.clone()));
}

/// Returns the postquantum key that both ends have.
pub(crate) fn ppk() -> Ppk {
    Ppk { id: "ppk-1".parse().unwrap(), secret: Secret::from(&[3; 32][..]), required: false }
}

/// Returns all keys of a half.
pub(crate) fn keys(sa: &ChildSa) -> Vec<&[u8]> {
    let ah = sa.transform.ah().map(|ah| ah.keymat.expose());
    ah.into_iter().chain(sa.transform.esp().map(|esp| esp.keymat.expose())).collect()
}

/// Returns the configuration of an end. It gives out its keys, for a target to seal with.
pub(crate) fn config(side: usize) -> EndpointConfig {
    let identity = LocalIdentity { id: id(side), certificate: None };
    EndpointConfig { identity, trust: vec![], revoked: BTreeSet::new(), keylog: true }
}
