//! Packets between all pairs of nodes, both ways.

use std::time::Duration;

use anyhow::Result;
use espalier_api::MeshStatus;
use espalier_e2e::flow::Flow;
use espalier_e2e::mesh::{Mesh, address};

use super::ordered_pairs;

/// Fast enough to fall into every gap of some milliseconds, over all pairs together.
const PACKETS_A_SECOND: u32 = 2_000;

/// Starts a flow between each pair.
pub(super) fn start(mesh: &Mesh, status: &MeshStatus) -> Result<Vec<Flow>> {
    let pairs = ordered_pairs(mesh);
    let every = Duration::from_secs(1) * u32::try_from(pairs.len())? / PACKETS_A_SECOND;
    let flow = |(at, (from, to)): (usize, (_, _))| {
        let ipv4 = at % 2 == 0;
        Flow::between((from, address(status, from, ipv4)?), (to, address(status, to, ipv4)?), every)
    };
    pairs.into_iter().enumerate().map(flow).collect()
}

/// Stops all, and returns the packets sent and lost.
pub(super) fn stop(flows: Vec<Flow>) -> Result<(u64, u64)> {
    let all = Flow::stop_all(flows)?;
    Ok((all.iter().map(|delivery| delivery.sent).sum(), all.iter().map(|delivery| delivery.lost).sum()))
}
