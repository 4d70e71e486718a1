//! The mesh: its trust domain, its address pools, and what may never pass in the clear.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::node::check_prefixes;
use super::{Fault, Kind, Spec, check_list};
use crate::identity::DomainName;

/// The body of a `Mesh`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MeshSpec {
    /// The domain that every identity of the mesh ends in.
    pub trust_domain: DomainName,
    /// Where nodes get their addresses from: at most one prefix of each family, at least one.
    pub pools: Vec<IpNet>,
    /// Whether traffic into the pools is dropped unless a policy names it; default true, so that a gap is closed.
    #[serde(default = "strict")]
    pub strict: bool,
    /// Prefixes beyond the pools that are treated the same way, at most 256.
    #[serde(default)]
    pub scope: Vec<IpNet>,
}

impl Spec for MeshSpec {
    const KIND: Kind = Kind::Mesh;

    fn check(&self) -> Vec<Fault> {
        let mut faults = check_list("/pools", &self.pools, 1, 2);
        if let [first, second] = self.pools[..]
            && first.addr().is_ipv4() == second.addr().is_ipv4()
        {
            faults.push(Fault::new("/pools/1", format!("{first} is a pool of the same family: name one of each")));
        }
        for (at, pool) in self.pools.iter().enumerate() {
            let lengths = if pool.addr().is_ipv4() { 8..=30 } else { 16..=126 };
            if !lengths.contains(&pool.prefix_len()) {
                let (least, most) = (lengths.start(), lengths.end());
                let message = format!("{pool} cannot be a pool: its length must be from /{least} to /{most}");
                faults.push(Fault::new(format!("/pools/{at}"), message));
            }
        }
        faults.extend(check_prefixes("/pools", &self.pools));
        faults.extend(check_list("/scope", &self.scope, 0, MAX_SCOPE));
        faults.extend(check_prefixes("/scope", &self.scope));
        faults
    }
}

const fn strict() -> bool {
    true
}

const MAX_SCOPE: usize = 256;
