//! Addresses that one end of a pair gives the other (RFC 7296 §2.19), and what they mean for the pair's rules.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Which end gives addresses. The end that takes them starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum VirtualAddresses {
    /// The peer gives this node one of each family that stands here. `0.0.0.0/0` or `::/0` on our side of a rule means it.
    Request(Vec<AddressFamily>),
    /// This node gives the peer addresses of a pool. What lies in the pool on the peer's side of a rule means them.
    Pool(AddressPool),
}

/// A version of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AddressFamily {
    /// Version 4.
    Ipv4,
    /// Version 6.
    Ipv6,
}

/// Where addresses come from. Peers whose pools overlap never have the same address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AddressPool {
    /// Prefixes; the first address of each is not given, nor is the last of an IPv4 one.
    pub prefixes: Vec<IpNet>,
    /// Addresses that are never given; those of the node itself are not in any case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<IpAddr>,
    /// Name servers that the peer is told of if it asks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<IpAddr>,
}

impl AddressFamily {
    /// Returns the family of an address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
    }
}

impl VirtualAddresses {
    /// Tells whether the addresses are on our side of the rules, not on the peer's.
    #[must_use]
    pub const fn are_ours(&self) -> bool {
        matches!(self, Self::Request(_))
    }

    /// Returns what stands for a range of a rule's side once addresses are given: they alone, where the range means them.
    /// `None` says that the range means something else, and stays.
    #[must_use]
    pub fn meant(&self, first: IpAddr, last: IpAddr, given: &[IpAddr]) -> Option<Vec<IpAddr>> {
        let overlaps =
            |net: &IpNet| net.addr().is_ipv4() == first.is_ipv4() && net.network() <= last && first <= net.broadcast();
        let dynamic = match self {
            Self::Request(_) => (first, last) == everything(AddressFamily::of(first)),
            Self::Pool(pool) => pool.prefixes.iter().any(overlaps),
        };
        let within = |address: &&IpAddr| address.is_ipv4() == first.is_ipv4() && (first..=last).contains(*address);
        dynamic.then(|| given.iter().filter(within).copied().collect())
    }

    /// Returns what stands for a prefix of a rule's side once addresses are given.
    #[must_use]
    pub fn nets(&self, net: IpNet, given: &[IpAddr]) -> Vec<IpNet> {
        match self.meant(net.network(), net.broadcast(), given) {
            Some(addresses) => addresses.into_iter().map(IpNet::from).collect(),
            None => vec![net],
        }
    }

    /// Says what is wrong, if something is.
    pub(super) fn fault(&self) -> Option<&'static str> {
        match self {
            Self::Request(families) if families.is_empty() => Some("request is empty; name ipv4, ipv6 or both"),
            Self::Request(families) if families.iter().any(|f| families.iter().filter(|g| *g == f).count() > 1) => {
                Some("request names a family twice")
            }
            Self::Request(_) => None,
            Self::Pool(pool) => pool.fault(),
        }
    }
}

impl AddressPool {
    fn fault(&self) -> Option<&'static str> {
        let twice = |(at, net): (usize, &IpNet)| {
            self.prefixes.iter().skip(at + 1).any(|other| net.contains(other) || other.contains(net))
        };
        if self.prefixes.is_empty() {
            Some("the pool has no prefix")
        } else if self.prefixes.len() > MAX_PREFIXES || self.dns.len() > MAX_PREFIXES {
            Some("the pool has more than 16 prefixes or name servers")
        } else if self.prefixes.iter().any(|net| net.trunc() != *net) {
            Some("a prefix of the pool has host bits")
        } else if self.prefixes.iter().enumerate().any(twice) {
            Some("prefixes of the pool overlap")
        } else {
            None
        }
    }
}

fn everything(family: AddressFamily) -> (IpAddr, IpAddr) {
    match family {
        AddressFamily::Ipv4 => (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::BROADCAST.into()),
        AddressFamily::Ipv6 => (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::from(u128::MAX).into()),
    }
}

const MAX_PREFIXES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(addresses: &VirtualAddresses, net: &str, given: &[&str]) -> String {
        let given: Vec<IpAddr> = given.iter().map(|a| a.parse().unwrap()).collect();
        let nets = addresses.nets(net.parse().unwrap(), &given);
        nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn everything_on_our_side_means_the_address_that_we_are_given() {
        let asked = VirtualAddresses::Request(vec![AddressFamily::Ipv4, AddressFamily::Ipv6]);
        assert_eq!(nets(&asked, "0.0.0.0/0", &["10.3.0.7"]), "10.3.0.7/32");
        assert_eq!(nets(&asked, "0.0.0.0/0", &["fd00::7", "10.3.0.7"]), "10.3.0.7/32");
        assert_eq!(nets(&asked, "::/0", &["10.3.0.7"]), "", "nothing, rather than everything");
        assert_eq!(nets(&asked, "10.1.0.0/16", &["10.3.0.7"]), "10.1.0.0/16");
    }

    #[test]
    fn the_pool_on_their_side_means_the_addresses_that_they_are_given() {
        let prefixes = vec!["10.3.0.0/24".parse().unwrap(), "fd00:3::/64".parse().unwrap()];
        let pool = VirtualAddresses::Pool(AddressPool { prefixes, ..AddressPool::default() });
        assert_eq!(nets(&pool, "10.3.0.0/24", &["10.3.0.7"]), "10.3.0.7/32");
        assert_eq!(nets(&pool, "10.0.0.0/8", &["10.3.0.7", "fd00:3::7"]), "10.3.0.7/32");
        assert_eq!(nets(&pool, "10.3.0.128/25", &["10.3.0.7"]), "");
        assert_eq!(nets(&pool, "fd00:3::/64", &[]), "");
        assert_eq!(nets(&pool, "10.4.0.0/24", &[]), "10.4.0.0/24");
    }

    #[test]
    fn a_pool_that_cannot_be_meant_is_refused() {
        let fault = |text: &[&str]| {
            let prefixes = text.iter().map(|p| p.parse().unwrap()).collect();
            VirtualAddresses::Pool(AddressPool { prefixes, ..AddressPool::default() }).fault()
        };
        assert_eq!(fault(&["10.3.0.0/24", "fd00:3::/64"]), None);
        assert_eq!(fault(&[]), Some("the pool has no prefix"));
        assert_eq!(fault(&["10.3.0.1/24"]), Some("a prefix of the pool has host bits"));
        assert_eq!(fault(&["10.3.0.0/24", "10.3.0.0/25"]), Some("prefixes of the pool overlap"));
        assert!(VirtualAddresses::Request(vec![]).fault().is_some());
        assert!(VirtualAddresses::Request(vec![AddressFamily::Ipv4; 2]).fault().is_some());
    }
}
