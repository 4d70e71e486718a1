//! Packets that came and went: each that came went on, was dropped for one reason, or waits.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Packets at the four ends of the data plane, whatever frames and trains they were in.
#[derive(Debug, Default)]
pub struct Totals {
    /// Came from the node.
    pub from_tun: Total,
    /// Of them, wait for an SA now.
    pub held: Level,
    /// Went to peers.
    pub to_wire: Total,
    /// Of these, fragments but the first of packets that were longer than their path takes.
    pub fragments: Total,
    /// Came from peers: datagrams that are neither IKE nor keepalives.
    pub from_wire: Total,
    /// Went to the node.
    pub to_tun: Total,
}

/// A number that one worker sets and anyone reads.
#[derive(Debug, Default)]
pub struct Level(AtomicU64);

impl Level {
    /// Returns it.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(super) fn set(&self, packets: usize) {
        self.0.store(u64::try_from(packets).unwrap_or(u64::MAX), Relaxed);
    }
}

/// A number that only grows. Workers write, a batch at a time; anyone reads.
#[derive(Debug, Default)]
pub struct Total(AtomicU64);

impl Total {
    /// Returns it.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(super) fn add(&self, packets: usize) {
        self.0.fetch_add(u64::try_from(packets).unwrap_or(u64::MAX), Relaxed);
    }
}
