//! A data plane with much in its tables: rules and SAs that the measured packets have to be told from.

use std::fmt::Write;

use espalier_e2e::lab::Host;

/// Further rules that protect, each with an SA each way: as many as a mesh of 1,000 nodes has.
pub(super) const PROTECTED: u16 = 999;
/// Further rules that drop; with all others they are 10,000.
const DROPPED: u16 = 9_000;

/// Returns lines to append to a plan, whose last section is its rules. All of them come before the rules that are there.
pub(super) fn rules(host: &Host, peer: &Host) -> String {
    let mut lines = String::new();
    let (ours, theirs) = (host.inner(true), peer.inner(true));
    for n in 0..PROTECTED {
        let [high, low] = n.to_be_bytes();
        let net = format!("10.20.{high}.{low}");
        // The first host's side is the crowd; the second one's mirrors it.
        let (local, remote) =
            if host.number < peer.number { (net, theirs.to_string()) } else { (ours.to_string(), net) };
        let _ = writeln!(
            lines,
            "  - {{ name: crowd-{n}, action: protect, priority: 1, local: [{local}/32], remote: [{remote}/32], \
             peer: host{}.example }}",
            peer.number
        );
    }
    for n in 0..DROPPED {
        let [high, low] = n.to_be_bytes();
        let _ = writeln!(
            lines,
            "  - {{ name: drop-{n}, action: drop, priority: 2, local: [{ours}/32], remote: [10.21.{high}.{low}/32] }}"
        );
    }
    lines
}
