//! The addresses that one end of an SA has given the other, and the rules that they narrow (RFC 7296 §2.19).

use std::net::IpAddr;
use std::sync::Arc;

use espalier_model::selector::TrafficSelector;

use crate::config::{ChildConfig, PeerConfig};

/// What the configuration payloads of `IKE_AUTH` have come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Assigned {
    /// At most one of each family.
    pub(crate) addresses: Vec<IpAddr>,
    /// Name servers that the responder has told of.
    pub(crate) dns: Vec<IpAddr>,
}

impl Assigned {
    /// Returns the peer with rules that mean the given addresses alone; a rule of which nothing is left is left out.
    pub(crate) fn narrow(&self, peer: &Arc<PeerConfig>) -> Arc<PeerConfig> {
        let Some(addresses) = &peer.virtual_addresses else { return Arc::clone(peer) };
        let side = |selectors: &[TrafficSelector]| -> Vec<TrafficSelector> {
            let narrowed = |ts: &TrafficSelector| match addresses.meant(ts.first(), ts.last(), &self.addresses) {
                Some(given) => given.into_iter().filter_map(|address| only(ts, address)).collect(),
                None => vec![*ts],
            };
            selectors.iter().flat_map(narrowed).collect()
        };
        let child = |child: &ChildConfig| {
            let mut child = child.clone();
            let narrowed = if addresses.are_ours() { &mut child.local } else { &mut child.remote };
            *narrowed = side(narrowed);
            (!narrowed.is_empty()).then_some(child)
        };
        Arc::new(PeerConfig { children: peer.children.iter().filter_map(child).collect(), ..PeerConfig::clone(peer) })
    }
}

fn only(ts: &TrafficSelector, address: IpAddr) -> Option<TrafficSelector> {
    TrafficSelector::new(ts.protocol(), ts.ports(), address, address).ok()
}
