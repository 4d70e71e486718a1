//! Packets between nodes, in continuous time: no packet may be lost that an SA in use carries.
//!
//! A packet may leave at any moment at which its sender uses an SA, and arrives after any delay that the network knows. So the
//! receiver must hold the SA from the shortest delay after its first use until the longest delay after its last. Both are checked
//! for every SA, whatever packets really flow; those that flow tell the receiver that an SA is in use.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use espalier_model::identity::Name;
use espalier_model::sa::{ChildId, ChildSa, SaEvent};

use super::world::{Arrival, LEAST_DELAY, World};

/// What is known of packets.
#[derive(Default)]
pub(crate) struct Flows {
    /// Packets that would have been lost, or were.
    pub(crate) lost: Vec<String>,
    /// How many arrived.
    pub(crate) arrived: u64,
    /// Until when the SA of an SPI was used by its sender, by receiver.
    last_use: BTreeMap<(usize, u32), Instant>,
}

/// Time between two packets of a sender whose SA the receiver has not seen in use.
const EVERY: Duration = Duration::from_millis(100);

impl Flows {
    /// Forgets what a node was sent: it has crashed.
    pub(crate) fn forget(&mut self, node: usize) {
        self.last_use.retain(|(to, _), _| *to != node);
    }
}

impl World {
    /// Lets a node send with an SA from now on.
    pub(crate) fn use_outbound(&mut self, node: usize, sa: ChildSa) {
        let (rule, id, spi) = (sa.rule.clone(), sa.id, sa.transform.spi().get());
        let to = self.index(sa.path.remote.ip());
        if let Some(before) = self.nodes[node].outbound.insert(rule.clone(), sa).filter(|before| before.id != id) {
            self.used_last(&before);
        }
        if !self.is_cut(node, to) {
            // What leaves now and is as fast as can be.
            self.put(LEAST_DELAY, to, Arrival::Packet { spi });
        }
        let wait = self.delay();
        self.put(wait, node, Arrival::Turn { rule, id });
    }

    /// Lets a node send no more with a pair.
    pub(crate) fn stop_sending(&mut self, node: usize, id: ChildId) {
        let gone: Vec<_> = self.nodes[node].outbound.extract_if(.., |_, sa| sa.id == id).map(|(_, sa)| sa).collect();
        gone.iter().for_each(|sa| self.used_last(sa));
    }

    fn used_last(&mut self, sa: &ChildSa) {
        let to = self.index(sa.path.remote.ip());
        self.flows.last_use.insert((to, sa.transform.spi().get()), self.now.instant);
    }

    /// Sends a packet, if the pair is still in use and not proven, and the next one later.
    pub(crate) fn send_packet(&mut self, node: usize, rule: &Name, id: ChildId) {
        let Some(sa) = self.nodes[node].outbound.get(rule).filter(|sa| sa.id == id) else { return };
        let (spi, to) = (sa.transform.spi().get(), self.index(sa.path.remote.ip()));
        if self.nodes[to].inbound.get(&spi).is_some_and(|sa| self.nodes[to].used.contains(&sa.id)) {
            return;
        }
        if !self.is_cut(node, to) {
            let delay = self.delay();
            self.put(delay, to, Arrival::Packet { spi });
        }
        self.put(EVERY, node, Arrival::Turn { rule: rule.clone(), id });
    }

    pub(crate) fn receive(&mut self, to: usize, spi: u32) {
        let now = self.now_at(to);
        let node = &mut self.nodes[to];
        match node.inbound.get(&spi) {
            Some(sa) => {
                self.flows.arrived += 1;
                if node.used.insert(sa.id) {
                    node.endpoint.handle_event(now, &SaEvent::FirstAuthentic(sa.id));
                    self.collect(to);
                }
            }
            None => self.flows.lost.push(format!("packet of SPI {spi:08x} at node {to}")),
        }
    }

    /// Lets a node receive no more with a pair. Nothing of it may be under way, nor be sent.
    pub(crate) fn remove_inbound(&mut self, node: usize, id: ChildId) {
        let gone: Vec<_> = self.nodes[node].inbound.extract_if(.., |_, sa| sa.id == id).collect();
        for (spi, sa) in gone {
            let from = self.index(sa.path.remote.ip());
            let sends = self.nodes[from].outbound.values().any(|sa| sa.transform.spi().get() == spi)
                && !self.is_cut(from, node);
            let last = self.flows.last_use.remove(&(node, spi));
            if sends || last.is_some_and(|last| last + self.network.delay > self.now.instant) {
                self.flows.lost.push(format!("whatever node {from} has sent to node {node} with SPI {spi:08x}"));
            }
        }
    }
}
