//! Which paths lead to a peer: one of our addresses and one of its own, the most wanted first.

use std::net::{IpAddr, SocketAddr};

use espalier_model::sa::UdpPath;

use crate::config::PeerConfig;
use crate::handshake::NAT_TRAVERSAL_PORT;

/// More paths than these are not tried.
pub(crate) const MOST_PATHS: usize = 16;
/// More addresses of one end are not kept.
pub(crate) const MOST_ADDRESSES: usize = 8;

/// Returns our addresses for a peer: those that the plan names, as far as they are there, and then what else is there. Where
/// nobody has said what is there, the plan's own.
pub(crate) fn locals(peer: &PeerConfig, present: Option<&[IpAddr]>) -> Vec<IpAddr> {
    let Some(present) = present else { return peer.local.clone() };
    let wished = peer.local.iter().filter(|wish| present.contains(wish));
    let others = present.iter().filter(|address| !peer.local.contains(address));
    wished.chain(others).take(MOST_ADDRESSES).copied().collect()
}

/// Returns the paths between our addresses and the peer's: the one that has been in use first where it still is one, then the
/// peer's planned addresses, then those that it has told.
pub(crate) fn candidates(peer: &PeerConfig, locals: &[IpAddr], current: UdpPath, told: &[IpAddr]) -> Vec<UdpPath> {
    let traversing = |address: IpAddr| SocketAddr::new(address, NAT_TRAVERSAL_PORT);
    let planned = peer.endpoints.iter().map(|e| traversing(e.ip()));
    let told = told.iter().copied().map(traversing);
    let mut remotes: Vec<SocketAddr> = Vec::new();
    for remote in std::iter::once(current.remote).chain(planned).chain(told) {
        if !remotes.contains(&remote) {
            remotes.push(remote);
        }
    }
    let pairs = remotes.iter().flat_map(|remote| {
        let fitting = locals.iter().filter(|local| local.is_ipv4() == remote.is_ipv4());
        fitting.map(|local| UdpPath { local: SocketAddr::new(*local, current.local.port()), remote: *remote })
    });
    let mut paths: Vec<_> = pairs.collect();
    paths.sort_by_key(|path| *path != current);
    paths.truncate(MOST_PATHS);
    paths
}

/// Tells whether the address can be that of a host which we send to.
pub(crate) fn is_host(address: SocketAddr) -> bool {
    let usable = match address.ip() {
        IpAddr::V4(a) => !a.is_broadcast() && !a.is_link_local() && a.octets().first() != Some(&0),
        IpAddr::V6(a) => !a.is_unicast_link_local() && a.to_ipv4_mapped().is_none(),
    };
    let ip = address.ip();
    usable && address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !ip.is_loopback()
}

/// Tells whether the peer may be at this address: a host's, not one of ours, and not one that lies behind the tunnel itself,
/// which would lead into it again.
pub(crate) fn acceptable(peer: &PeerConfig, present: Option<&[IpAddr]>, remote: SocketAddr) -> bool {
    let ip = remote.ip();
    if peer.endpoints.iter().any(|planned| planned.ip() == ip) {
        return remote.port() != 0;
    }
    let selectors = || peer.children.iter().flat_map(|child| &child.remote);
    // A tunnel for everything says nothing about where its ends are.
    let everything = |first: IpAddr, last: IpAddr| first.is_unspecified() && is_last(last);
    let behind = selectors().any(|ts| ts.first() <= ip && ip <= ts.last() && !everything(ts.first(), ts.last()));
    let ours = locals(peer, present).contains(&ip);
    is_host(remote) && !ours && !behind
}

fn is_last(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => a.is_broadcast(),
        IpAddr::V6(a) => a.octets().iter().all(|byte| *byte == u8::MAX),
    }
}

#[cfg(test)]
mod tests;
