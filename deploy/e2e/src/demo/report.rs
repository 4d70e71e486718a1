//! The report, and what must hold.

use serde::Serialize;

/// What the demo has seen.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    pub(super) nodes: usize,
    pub(super) expected_pairs: usize,
    pub(super) mesh_up_ms: u64,
    pub(super) ike_sas_up: usize,
    pub(super) child_sas_up: usize,
    pub(super) pings_ok: u64,
    pub(super) pings_total: u64,
    pub(super) underlay_esp_packets: u64,
    pub(super) plaintext_packets_seen: u64,
    pub(super) canary_seen_without_ipsec: u64,
    pub(super) policy_push_ms: u64,
    pub(super) policy_checks_ok: usize,
    pub(super) policy_checks_total: usize,
    pub(super) rotation: Rotation,
    pub(super) controller_outage: Outage,
    pub(super) throughput_mbps: f64,
}

/// The rotation of all keys.
#[derive(Debug, Default, Serialize)]
pub(super) struct Rotation {
    pub(super) seconds: f64,
    pub(super) packets_sent: u64,
    pub(super) lost_packets: u64,
    pub(super) ike_sas_replaced: usize,
    pub(super) child_sas_replaced: usize,
}

/// The time without a controller.
#[derive(Debug, Default, Serialize)]
pub(super) struct Outage {
    pub(super) seconds: f64,
    pub(super) packets_sent: u64,
    pub(super) lost_packets: u64,
}

const MESH_UP_MS: u64 = 3_000;
const POLICY_PUSH_MS: u64 = 1_000;
const PACKETS: u64 = 2_000;
const OUTAGE_SECONDS: f64 = 10.0;

impl Report {
    /// Shows every check with what was seen, and tells whether all have held.
    pub(super) fn tell(&self) -> bool {
        let pairs = self.expected_pairs;
        let (rotation, outage) = (&self.rotation, &self.controller_outage);
        // In a larger fleet on the same cores everything takes its time.
        let patience = u64::try_from(pairs.div_ceil(6)).unwrap_or(u64::MAX).max(1);
        let checks = [
            ("IKE SAs up", self.ike_sas_up == pairs, format!("{} of {pairs}", self.ike_sas_up)),
            ("child SAs up", self.child_sas_up >= pairs, format!("{} of at least {pairs}", self.child_sas_up)),
            ("mesh up", self.mesh_up_ms <= MESH_UP_MS * patience, format!("{} ms", self.mesh_up_ms)),
            (
                "pings",
                self.pings_ok == self.pings_total && self.pings_total >= 12,
                format!("{} of {}", self.pings_ok, self.pings_total),
            ),
            ("ESP on the wire", self.underlay_esp_packets > 0, format!("{} packets", self.underlay_esp_packets)),
            (
                "canaries without protection",
                self.canary_seen_without_ipsec >= 1,
                format!("{}", self.canary_seen_without_ipsec),
            ),
            ("canaries in the clear", self.plaintext_packets_seen == 0, format!("{}", self.plaintext_packets_seen)),
            (
                "policy reaches the slowest node",
                self.policy_push_ms <= POLICY_PUSH_MS * patience,
                format!("{} ms", self.policy_push_ms),
            ),
            (
                "policy holds",
                self.policy_checks_ok == self.policy_checks_total,
                format!("{} of {}", self.policy_checks_ok, self.policy_checks_total),
            ),
            (
                "rotation, IKE SAs replaced",
                rotation.ike_sas_replaced == pairs,
                format!("{} of {pairs}", rotation.ike_sas_replaced),
            ),
            (
                "rotation, child SAs replaced",
                rotation.child_sas_replaced >= pairs,
                format!("{}", rotation.child_sas_replaced),
            ),
            (
                "rotation, packets lost",
                rotation.lost_packets == 0 && rotation.packets_sent >= PACKETS,
                format!("{} of {}", rotation.lost_packets, rotation.packets_sent),
            ),
            ("outage, seconds", outage.seconds >= OUTAGE_SECONDS, format!("{:.1}", outage.seconds)),
            (
                "outage, packets lost",
                outage.lost_packets == 0 && outage.packets_sent >= PACKETS,
                format!("{} of {}", outage.lost_packets, outage.packets_sent),
            ),
        ];
        eprintln!();
        for (name, held, seen) in &checks {
            eprintln!("  {} {name:<34} {seen}", if *held { "ok  " } else { "FAIL" });
        }
        let failed = checks.iter().filter(|(_, held, _)| !held).count();
        eprintln!("\n{} checks held, {failed} failed", checks.len() - failed);
        failed == 0
    }
}
