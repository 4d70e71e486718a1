//! The status as Prometheus reads it.

use std::fmt::Error;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::Status;

impl Status {
    /// Returns the metrics as OpenMetrics text. Peers are counted, not listed: a mesh of thousands would be too many series.
    ///
    /// # Errors
    /// Never for a status that is a status.
    pub fn metrics(&self) -> Result<String, Error> {
        let mut registry = Registry::with_prefix("espalier_agent");
        let children = || self.peers.iter().flat_map(|peer| &peer.children);
        let waiting = self.peers.iter().map(|peer| peer.waiting.len()).sum();
        let wanted = self.peers.iter().map(|peer| peer.wanted.len()).sum();
        let gauges = [
            ("peers", "Peers of the plan", count(self.peers.len())),
            ("peers_up", "Peers with all that the plan wants", count(self.peers.iter().filter(|peer| peer.up).count())),
            (
                "peers_away",
                "Peers that have to call, and are away",
                count(self.peers.iter().filter(|peer| peer.away).count()),
            ),
            ("rules_waiting", "Rules on demand that nothing has asked for", count(waiting)),
            ("rules_wanted", "Rules on demand that packets ask for, and that have no child SA yet", count(wanted)),
            ("held_packets", "Packets that wait for an SA", clamp(self.packets("held"))),
            ("child_sas", "Child SA pairs that stand", count(children().count())),
            ("ready", "1 where all that this node can bring about stands", i64::from(self.is_ready())),
            ("controller_connected", "1 where plans come from the controller", connected(self)),
            ("plan_generation", "Generation of the plan that is carried out", generation(self)),
            (
                "certificate_not_after_seconds",
                "When the node's certificate ends",
                clamp(self.certificate_not_after.unwrap_or(0)),
            ),
        ];
        for (name, help, value) in gauges {
            registry.register(name, help, ConstGauge::new(value));
        }
        let totals = [
            (
                "received_packets",
                "Packets that came in through standing SAs",
                children().map(|c| c.received.packets).sum(),
            ),
            ("received_bytes", "Bytes that came in through standing SAs", children().map(|c| c.received.bytes).sum()),
            ("sent_packets", "Packets that went out through standing SAs", children().map(|c| c.sent.packets).sum()),
            ("sent_bytes", "Bytes that went out through standing SAs", children().map(|c| c.sent.bytes).sum::<u64>()),
            ("from_node_packets", "Packets that the node sent into the tunnel interface", self.packets("from_node")),
            ("to_peers_packets", "Of them, packets that were sent to peers", self.packets("to_peers")),
            ("from_peers_packets", "Datagrams of peers that are not IKE", self.packets("from_peers")),
            ("to_node_packets", "Of them, packets that the node got", self.packets("to_node")),
        ];
        for (name, help, value) in totals {
            registry.register(name, help, ConstGauge::new(clamp(value)));
        }
        let families = [
            ("dropped_packets", "Packets dropped, by reason", &self.dropped),
            ("ike_datagrams", "IKE datagrams, by what became of them", &self.ike),
        ];
        let mut text = String::new();
        for (name, help, values) in families {
            let family = Labelled::default();
            for (reason, value) in values {
                let counter = family.get_or_create(&Reason { reason: reason.clone() });
                counter.inc_by(*value);
            }
            registry.register(name, help, family);
        }
        encode(&mut text, &registry)?;
        Ok(text)
    }

    fn packets(&self, end: &str) -> u64 {
        self.packets.get(end).copied().unwrap_or(0)
    }
}

type Labelled = prometheus_client::metrics::family::Family<Reason, prometheus_client::metrics::counter::Counter>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: String,
}

fn connected(status: &Status) -> i64 {
    i64::from(status.controller.as_ref().is_some_and(|controller| controller.connected))
}

fn generation(status: &Status) -> i64 {
    status.controller.as_ref().map_or(0, |controller| clamp(controller.generation))
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn clamp(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
