//! Transport mode through a NAT: selectors with the addresses that each end sees (RFC 7296 §2.23.1).

use std::net::IpAddr;

use espalier_model::sa::{OriginalAddresses, SaSelectors};
use espalier_model::selector::TrafficSelector;

use crate::handshake::nat::Ends;

/// Puts the addresses that we see in the place of those that the peer has written, and keeps the latter where they differ. `None`
/// when a side is not exactly the address of its end of the IKE SA.
pub(super) fn seen_here(ends: &Ends, told: SaSelectors) -> Option<(SaSelectors, Option<OriginalAddresses>)> {
    //= RFC 7296 §2.23.1: each side of the traffic is exactly one address, that of its end of the IKE SA
    let (local, remote) = (one_address(&told.local)?, one_address(&told.remote)?);
    let (nat, path) = (ends.nat, ends.path);
    //= RFC 7296 §2.23.1: the address of the end behind a NAT is replaced by that of the IKE SA, before anything is looked up
    let ours = if nat.before_us { path.local.ip() } else { local };
    let theirs = if nat.before_peer { path.remote.ip() } else { remote };
    if ours != path.local.ip() || theirs != path.remote.ip() {
        return None;
    }
    let originals = (ours != local || theirs != remote).then_some(OriginalAddresses { local, remote });
    let selectors =
        SaSelectors { local: with_address(&told.local, ours)?, remote: with_address(&told.remote, theirs)? };
    Some((selectors, originals))
}

fn one_address(selectors: &[TrafficSelector]) -> Option<IpAddr> {
    let first = selectors.first()?.first();
    selectors.iter().all(|ts| ts.first() == first && ts.last() == first).then_some(first)
}

fn with_address(selectors: &[TrafficSelector], address: IpAddr) -> Option<Vec<TrafficSelector>> {
    selectors.iter().map(|ts| TrafficSelector::new(ts.protocol(), ts.ports(), address, address).ok()).collect()
}
