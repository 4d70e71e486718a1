//! Use of an SA: counted by its worker, compared with its limits.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use espalier_model::sa::UsageLimits;

/// Packets and bytes carried by one SA.
#[derive(Debug)]
pub(crate) struct Use {
    packets: AtomicU64,
    bytes: AtomicU64,
    limits: UsageLimits,
}

impl Use {
    pub(crate) fn new(limits: UsageLimits) -> Self {
        Self { packets: AtomicU64::new(0), bytes: AtomicU64::new(0), limits }
    }

    /// Tells whether a hard limit is reached.
    pub(crate) fn expired(&self) -> bool {
        self.packets() >= self.limits.hard_packets || self.bytes() >= self.limits.hard_bytes
    }

    /// Counts a packet. Returns true for the one packet that reaches a soft limit.
    pub(crate) fn add(&self, length: usize) -> bool {
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        let packets = self.packets.fetch_add(1, Relaxed);
        let bytes = self.bytes.fetch_add(length, Relaxed);
        let crosses = |before: u64, step: u64, soft: u64| before < soft && before.saturating_add(step) >= soft;
        crosses(packets, 1, self.limits.soft_packets) || crosses(bytes, length, self.limits.soft_bytes)
    }

    pub(crate) fn packets(&self) -> u64 {
        self.packets.load(Relaxed)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }
}
