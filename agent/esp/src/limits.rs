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

    /// Counts packets, of so many bytes together. Returns true for those that reach a soft limit, once for each limit.
    pub(crate) fn add(&self, packets: usize, bytes: usize) -> bool {
        let crosses = |used: &AtomicU64, step: usize, soft: u64| {
            let step = u64::try_from(step).unwrap_or(u64::MAX);
            let before = used.fetch_add(step, Relaxed);
            before < soft && before.saturating_add(step) >= soft
        };
        let of_packets = crosses(&self.packets, packets, self.limits.soft_packets);
        crosses(&self.bytes, bytes, self.limits.soft_bytes) || of_packets
    }

    pub(crate) fn packets(&self) -> u64 {
        self.packets.load(Relaxed)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }
}
