//! Which peer has which address of our pools. No two peers have the same one, and a peer that comes again has its own again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use espalier_crypto::sha256;
use espalier_model::identity::Identity;
use espalier_model::plan::{AddressFamily, AddressPool};
use ipnet::IpNet;

/// The addresses that are given. A peer keeps its own when its SA has ended, until another needs it.
#[derive(Default)]
pub(crate) struct Leases {
    holders: BTreeMap<IpAddr, Identity>,
    addresses: BTreeMap<Identity, BTreeSet<IpAddr>>,
    /// Peers without an SA, by when they lost it.
    idle: BTreeMap<u64, Identity>,
    ended: u64,
}

impl Leases {
    /// Gives a peer an address of a family: the one that it has, else the one that it would like, else a free one, else one of a
    /// peer that has had no SA for the longest time.
    pub(crate) fn take(
        &mut self,
        id: &Identity,
        pool: &AddressPool,
        family: AddressFamily,
        wanted: Option<IpAddr>,
    ) -> Option<IpAddr> {
        self.idle.retain(|_, idle| idle != id);
        let own = self.addresses.get(id).into_iter().flatten().copied().filter(|a| AddressFamily::of(*a) == family);
        for address in own.collect::<Vec<_>>() {
            if usable(pool, address) {
                return Some(address);
            }
            self.release(id, address);
        }
        let free = |address: &IpAddr| usable(pool, *address) && !self.holders.contains_key(address);
        let found =
            wanted.filter(|a| AddressFamily::of(*a) == family && free(a)).or_else(|| self.free(id, pool, family));
        let found = found.or_else(|| self.reclaim(pool, family))?;
        self.holders.insert(found, id.clone());
        self.addresses.entry(id.clone()).or_default().insert(found);
        Some(found)
    }

    /// Notes that a peer has no SA any more: its addresses may be given to others.
    pub(crate) fn ended(&mut self, id: &Identity) {
        if self.addresses.contains_key(id) && self.idle.values().all(|idle| idle != id) {
            self.ended += 1;
            self.idle.insert(self.ended, id.clone());
        }
    }

    /// Forgets a peer that is not configured any more.
    pub(crate) fn forget(&mut self, id: &Identity) {
        self.idle.retain(|_, idle| idle != id);
        for address in self.addresses.remove(id).into_iter().flatten() {
            self.holders.remove(&address);
        }
    }

    fn release(&mut self, id: &Identity, address: IpAddr) {
        self.holders.remove(&address);
        if let Some(addresses) = self.addresses.get_mut(id) {
            addresses.remove(&address);
        }
    }

    /// Looks for a free address, from a place that the peer's name decides: so it is mostly the same after a restart too.
    fn free(&self, id: &Identity, pool: &AddressPool, family: AddressFamily) -> Option<IpAddr> {
        let prefixes: Vec<_> = pool.prefixes.iter().filter(|net| AddressFamily::of(net.addr()) == family).collect();
        let total = prefixes.iter().fold(0_u128, |sum, net| sum.saturating_add(size(net)));
        let [a, b, c, d, e, f, g, h, ..] = sha256(&[id.to_string().as_bytes()]);
        let start = u128::from(u64::from_be_bytes([a, b, c, d, e, f, g, h])).checked_rem(total)?;
        // Of more addresses than are held or left out, one is free.
        let most = u128::try_from(self.holders.len() + pool.except.len() + 1).ok()?;
        (0..most.min(total)).find_map(|step| {
            let mut place = start.checked_add(step)?.checked_rem(total)?;
            let net = prefixes.iter().find(|net| {
                let here = place < size(net);
                if !here {
                    place -= size(net);
                }
                here
            })?;
            let address = nth(net, place)?;
            (usable(pool, address) && !self.holders.contains_key(&address)).then_some(address)
        })
    }

    fn reclaim(&mut self, pool: &AddressPool, family: AddressFamily) -> Option<IpAddr> {
        let of = |idle: &Identity| {
            let theirs = self.addresses.get(idle).into_iter().flatten().copied();
            theirs.filter(|a| AddressFamily::of(*a) == family).find(|a| usable(pool, *a))
        };
        let (holder, address) = self.idle.values().find_map(|idle| of(idle).map(|address| (idle.clone(), address)))?;
        self.release(&holder, address);
        Some(address)
    }
}

/// Tells whether a pool gives an address.
fn usable(pool: &AddressPool, address: IpAddr) -> bool {
    let inside = |net: &IpNet| {
        let ends = [Some(net.network()), net.addr().is_ipv4().then(|| net.broadcast())];
        let few = net.max_prefix_len() - net.prefix_len() < 2;
        net.contains(&address) && (few || !ends.contains(&Some(address)))
    };
    pool.prefixes.iter().any(inside) && !pool.except.contains(&address)
}

/// Returns how many addresses of a prefix are given: all but the first, and the last of IPv4, where there are more than two.
fn size(net: &IpNet) -> u128 {
    let bits = u32::from(net.max_prefix_len() - net.prefix_len());
    let all = 1_u128.checked_shl(bits).unwrap_or(u128::MAX);
    match (bits, net) {
        (0 | 1, _) => all,
        (_, IpNet::V4(_)) => all - 2,
        (_, IpNet::V6(_)) => all - 1,
    }
}

/// Returns an address of a prefix by its number among those that are given.
fn nth(net: &IpNet, place: u128) -> Option<IpAddr> {
    let skipped = u128::from(net.max_prefix_len() - net.prefix_len() >= 2);
    let offset = place.checked_add(skipped)?;
    Some(match net {
        IpNet::V4(net) => Ipv4Addr::from(u32::from(net.network()).checked_add(u32::try_from(offset).ok()?)?).into(),
        IpNet::V6(net) => Ipv6Addr::from(u128::from(net.network()).checked_add(offset)?).into(),
    })
}

#[cfg(test)]
mod tests;
