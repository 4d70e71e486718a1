//! A node: where it is reached, and which addresses are its own inside the mesh.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Fault, Kind, Spec, check_list};

/// The body of a `Node`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NodeSpec {
    /// Underlay addresses in order of preference, 1 to 16.
    pub endpoints: Vec<IpAddr>,
    /// Prefixes inside the mesh, at most 64; enrolment adds what it allocates.
    #[serde(default)]
    pub addresses: Vec<IpNet>,
}

impl Spec for NodeSpec {
    const KIND: Kind = Kind::Node;

    fn check(&self) -> Vec<Fault> {
        let mut faults = check_list("/endpoints", &self.endpoints, 1, MAX_ENDPOINTS);
        for (at, endpoint) in self.endpoints.iter().enumerate() {
            if endpoint.is_unspecified() || endpoint.is_multicast() {
                faults.push(Fault::new(format!("/endpoints/{at}"), format!("{endpoint} is not the address of a host")));
            }
        }
        faults.extend(check_list("/addresses", &self.addresses, 0, MAX_ADDRESSES));
        faults.extend(check_prefixes("/addresses", &self.addresses));
        faults
    }
}

/// Refuses prefixes whose host bits are set: what was meant is unclear.
pub(super) fn check_prefixes(pointer: &str, nets: &[IpNet]) -> Vec<Fault> {
    let unclear = nets.iter().enumerate().filter(|(_, net)| net.trunc() != **net);
    unclear
        .map(|(at, net)| {
            let message = format!("{net} has host bits: write {} or {}", net.trunc(), IpNet::from(net.addr()));
            Fault::new(format!("{pointer}/{at}"), message)
        })
        .collect()
}

const MAX_ENDPOINTS: usize = 16;
const MAX_ADDRESSES: usize = 64;
