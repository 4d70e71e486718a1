//! What the running node tells of itself: to the controller, and to who asks on the node.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use espalier_esp::DropReason;
use espalier_ike::{ChildStatus, IkeStatus};
use espalier_model::identity::Name;
use espalier_model::plan::{PlannedPeer, VirtualAddresses};
use espalier_model::sa::SaUsage;
use espalier_proto::v1::{ChildSa, IkeSa};

use super::{Node, now};
use crate::dataplane::DataPlane;
use crate::status::{self, PeerStatus, Status, Traffic};

impl Node {
    /// Describes the SAs that stand.
    pub(crate) fn report(&self) -> Vec<IkeSa> {
        let (unix, present) = (now().unix, Instant::now());
        let child = |child: &ChildStatus| {
            let (inbound, outbound) = self.plane.usage(child.id);
            ChildSa {
                rule: child.rule.to_string(),
                spi_in: child.inbound.get(),
                spi_out: child.outbound.get(),
                packets_in: inbound.map_or(0, |usage| usage.packets),
                packets_out: outbound.map_or(0, |usage| usage.packets),
                lost: None,
            }
        };
        let sa = |sa: &IkeStatus| IkeSa {
            peer: sa.peer.to_string(),
            spi_i: sa.spis.initiator.0,
            spi_r: sa.spis.responder.0,
            path: format!("{} > {}", sa.path.local, sa.path.remote),
            established_unix: i64::try_from(unix.saturating_sub(present.duration_since(sa.since).as_secs()))
                .unwrap_or(0),
            key_epoch: sa.key_epoch,
            child_sas: sa.children.iter().map(child).collect(),
        };
        self.endpoint.status().iter().map(sa).collect()
    }

    /// Fills in all that the node knows.
    pub(crate) fn describe(&self, status: &mut Status) {
        status.node = Some(self.plan.node.id.to_string());
        status.certificate_not_after = self.certificate_not_after;
        status.keylog = self.keylog.is_some();
        let mut standing: BTreeMap<_, Vec<IkeStatus>> = BTreeMap::new();
        for sa in self.endpoint.status() {
            standing.entry(sa.peer.clone()).or_default().push(sa);
        }
        let (none, on_demand) = (Vec::new(), self.plan.on_demand());
        let peer = |peer: &PlannedPeer| self.peer(peer, &on_demand, standing.get(&peer.id).unwrap_or(&none));
        status.peers = self.plan.peers.iter().map(peer).collect();
        status.offloads = self.plane.offloads();
        let totals = self.plane.totals();
        let packets = [
            ("from_node", &totals.from_tun),
            ("to_peers", &totals.to_wire),
            ("from_peers", &totals.from_wire),
            ("to_node", &totals.to_tun),
        ];
        status.packets = packets.iter().map(|(name, total)| ((*name).to_owned(), total.get())).collect();
        status.packets.insert("held".to_owned(), totals.held.get());
        let dropped = |reason: &DropReason| (reason.name().to_owned(), self.plane.counters().get(*reason));
        status.dropped = DropReason::ALL.iter().map(dropped).collect();
        let (counters, door) = (self.endpoint.counters(), self.door.counters());
        let ike = [
            ("accepted", counters.accepted),
            ("fragments", counters.fragments),
            ("malformed", counters.malformed + door.malformed),
            ("unknown_spi", counters.unknown_spi + door.unknown_spi),
            ("asked_for_cookie", door.asked),
            ("throttled", door.throttled),
            ("unauthentic", counters.unauthentic),
            ("retransmitted", counters.retransmitted),
            ("unexpected", counters.unexpected),
            ("refused", counters.refused),
        ];
        status.ike = ike.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    }

    fn peer(&self, peer: &PlannedPeer, on_demand: &BTreeSet<Name>, standing: &[IkeStatus]) -> PeerStatus {
        let children: Vec<_> = standing.iter().flat_map(|sa| &sa.children).map(|child| self.child(child)).collect();
        let wanted = self.plan.rules.iter().filter(|rule| rule.peer.as_ref() == Some(&peer.id)).map(|rule| &rule.name);
        let without = wanted.filter(|rule| children.iter().all(|child| child.rule != rule.as_str()));
        let (lazy, missing): (Vec<&Name>, Vec<&Name>) = without.partition(|rule| on_demand.contains(*rule));
        let (wanted, waiting): (Vec<&Name>, Vec<&Name>) =
            lazy.iter().partition(|rule| self.endpoint.is_wanted(now(), rule));
        let asks = matches!(peer.virtual_addresses, Some(VirtualAddresses::Request(_)));
        let idle = !lazy.is_empty() && !asks;
        let latest = standing.iter().max_by_key(|sa| sa.since);
        PeerStatus {
            id: peer.id.to_string(),
            up: missing.is_empty() && (latest.is_some() || idle),
            away: latest.is_none() && has_to_call(peer),
            missing: texts(&missing),
            waiting: texts(&waiting),
            wanted: texts(&wanted),
            path: latest.map_or_else(String::new, |sa| format!("{} > {}", sa.path.local, sa.path.remote)),
            key_exchange: latest.map_or_else(String::new, |sa| sa.key_exchange.clone()),
            nat: latest.map_or_else(String::new, |sa| sa.nat.to_string()),
            mobike: latest.is_some_and(|sa| sa.mobike),
            seconds: latest.map_or(0, |sa| Instant::now().saturating_duration_since(sa.since).as_secs()),
            ppk: latest.and_then(|sa| sa.ppk.as_ref()).map(ToString::to_string),
            addresses: latest.map_or_else(Vec::new, |sa| texts(&sa.addresses)),
            dns: latest.map_or_else(Vec::new, |sa| texts(&sa.dns)),
            children,
        }
    }

    fn child(&self, child: &ChildStatus) -> status::ChildStatus {
        let (inbound, outbound) = self.plane.usage(child.id);
        let inbound = inbound.unwrap_or_default();
        let traffic = |usage: SaUsage| Traffic { packets: usage.packets, bytes: usage.bytes };
        status::ChildStatus {
            rule: child.rule.to_string(),
            spi_in: child.inbound.get(),
            spi_out: child.outbound.get(),
            suite: child.form.suite(),
            mode: child.form.mode.to_string(),
            esn: child.form.esn,
            around: child.form.around().to_owned(),
            received: traffic(inbound),
            sent: traffic(outbound.unwrap_or_default()),
            replayed: inbound.replayed,
            unauthentic: inbound.unauthentic,
        }
    }
}

/// Tells whether only the peer can start: nobody else knows where it is, or what it wants.
const fn has_to_call(peer: &PlannedPeer) -> bool {
    peer.endpoints.is_empty() || matches!(peer.virtual_addresses, Some(VirtualAddresses::Pool(_)))
}

fn texts(values: &[impl ToString]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}
