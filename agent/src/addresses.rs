//! Virtual addresses on this node: which are its own, and what they make of the plan's rules.

use std::collections::BTreeMap;
use std::net::IpAddr;

use espalier_model::identity::{Identity, Name};
use espalier_model::plan::{Action, NodePlan, Rule, VirtualAddresses};
use ipnet::IpNet;

/// The addresses that go with the SA of each peer that has one: ours where the peer gives them, the peer's where we do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Addresses(BTreeMap<Identity, Vec<IpAddr>>);

impl Addresses {
    /// Notes the addresses that go with a peer's SA; none when it has ended.
    pub(crate) fn set(&mut self, peer: Identity, addresses: Vec<IpAddr>) {
        if addresses.is_empty() {
            self.0.remove(&peer);
        } else {
            self.0.insert(peer, addresses);
        }
    }

    /// Returns those that peers have given this node.
    pub(crate) fn own<'a>(&'a self, plan: &'a NodePlan) -> impl Iterator<Item = IpAddr> + 'a {
        let giving =
            plan.peers.iter().filter(|peer| matches!(peer.virtual_addresses, Some(VirtualAddresses::Request(_))));
        giving.flat_map(|peer| self.of(&peer.id)).copied()
    }

    /// Returns our own address towards a destination, where a peer has given one for it.
    pub(crate) fn source(&self, plan: &NodePlan, destination: &IpNet) -> Option<IpAddr> {
        let leads =
            |rule: &&Rule| rule.action == Action::Protect && rule.remote.iter().any(|net| net.trunc() == *destination);
        let given =
            plan.rules.iter().filter(leads).filter_map(|rule| self.meaning(plan, rule)).filter(|(a, _)| a.are_ours());
        given.flat_map(|(_, given)| given).copied().find(|a| a.is_ipv4() == destination.addr().is_ipv4())
    }

    /// Returns what the rules have on our side.
    pub(crate) fn served<'a>(&'a self, plan: &'a NodePlan) -> impl Iterator<Item = IpNet> + 'a {
        plan.rules.iter().flat_map(|rule| self.narrowed(plan, rule).unwrap_or_else(|| rule.clone()).local)
    }

    /// Returns the rules as packets have to follow them: each means the given addresses alone, and whatever else it would mean is
    /// dropped rather than left to the rules below it.
    pub(crate) fn rules(&self, plan: &NodePlan) -> Vec<Rule> {
        if plan.peers.iter().all(|peer| peer.virtual_addresses.is_none()) {
            return plan.rules.clone();
        }
        let mut ranked: Vec<&Rule> = plan.rules.iter().collect();
        ranked.sort_by(|a, b| a.rank().cmp(&b.rank()));
        let mut names = free_names(plan);
        let (mut rules, mut rests) = (Vec::with_capacity(2 * ranked.len()), Vec::new());
        for rule in ranked {
            let Some(narrowed) = self.narrowed(plan, rule) else {
                rules.append(&mut rests);
                rules.push(rule.clone());
                continue;
            };
            rules.push(narrowed);
            // After the next peers of one pool, whose addresses are in the rest of this one's.
            rests.extend(names.next().map(|name| Rule { name, action: Action::Drop, peer: None, ..rule.clone() }));
        }
        rules.append(&mut rests);
        for (place, rule) in (0..i32::MAX).zip(&mut rules) {
            rule.priority = -place;
        }
        rules
    }

    /// Returns a rule that means given addresses; `None` for one that does not.
    fn narrowed(&self, plan: &NodePlan, rule: &Rule) -> Option<Rule> {
        let (addresses, given) = self.meaning(plan, rule)?;
        let mut narrowed = rule.clone();
        let side = if addresses.are_ours() { &mut narrowed.local } else { &mut narrowed.remote };
        *side = side.iter().flat_map(|net| addresses.nets(*net, given)).collect();
        (narrowed != *rule).then_some(narrowed)
    }

    fn meaning<'a>(&'a self, plan: &'a NodePlan, rule: &Rule) -> Option<(&'a VirtualAddresses, &'a [IpAddr])> {
        let peer = plan.peers.iter().find(|peer| rule.peer.as_ref() == Some(&peer.id))?;
        Some((peer.virtual_addresses.as_ref()?, self.of(&peer.id)))
    }

    fn of(&self, peer: &Identity) -> &[IpAddr] {
        self.0.get(peer).map(Vec::as_slice).unwrap_or_default()
    }
}

/// Returns names that no rule has.
fn free_names(plan: &NodePlan) -> impl Iterator<Item = Name> + '_ {
    let names = (0_u32..).filter_map(|number| format!("unassigned-{number}").parse::<Name>().ok());
    names.filter(|name| plan.rules.iter().all(|rule| rule.name != *name))
}

#[cfg(test)]
mod tests {
    use espalier_esp::{Spd, Verdict};
    use espalier_model::selector::Flow;

    use super::*;

    const PLAN: &str = "
node: { id: gateway.example, endpoints: [10.9.0.2], addresses: [10.10.2.1/32] }
peers:
  - { id: a.example, endpoints: [10.9.0.1], initiate: false, virtual-addresses: { pool: { prefixes: [10.3.0.0/24] } } }
  - { id: b.example, endpoints: [10.9.0.3], initiate: false, virtual-addresses: { pool: { prefixes: [10.3.0.0/24] } } }
  - { id: c.example, endpoints: [10.9.0.4], initiate: true, virtual-addresses: { request: [ipv4] } }
rules:
  - { name: a, action: protect, local: [10.10.2.0/24], remote: [10.3.0.0/24], peer: a.example }
  - { name: b, action: protect, local: [10.10.2.0/24], remote: [10.3.0.0/24], peer: b.example }
  - { name: c, action: protect, local: [0.0.0.0/0], remote: [10.20.0.0/16], peer: c.example }
  - { name: unassigned-0, action: bypass, local: [0.0.0.0/0], remote: [0.0.0.0/0] }
";

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn addresses() -> Addresses {
        let mut addresses = Addresses::default();
        for (peer, given) in [("a.example", "10.3.0.7"), ("b.example", "10.3.0.8"), ("c.example", "10.99.0.1")] {
            addresses.set(peer.parse().unwrap(), vec![address(given)]);
        }
        addresses
    }

    /// Returns the rule that protects what goes from one address to another, or what happens instead.
    fn verdict(addresses: &Addresses, from: &str, to: &str) -> String {
        let spd = Spd::compile(&addresses.rules(&NodePlan::parse(PLAN).unwrap()));
        let flow = Flow { source: address(from), destination: address(to), protocol: 17, ports: Some((1, 1)) };
        match spd.outbound(&flow) {
            Verdict::Protect(rule, _) => rule.to_string(),
            other @ (Verdict::Bypass | Verdict::Drop) => format!("{other:?}"),
        }
    }

    #[test]
    fn peers_of_one_pool_have_each_their_own_packets() {
        let addresses = addresses();
        assert_eq!(verdict(&addresses, "10.10.2.1", "10.3.0.7"), "a");
        assert_eq!(verdict(&addresses, "10.10.2.1", "10.3.0.8"), "b");
        assert_eq!(verdict(&addresses, "10.99.0.1", "10.20.0.1"), "c");
    }

    #[test]
    fn what_nobody_has_been_given_is_dropped_and_not_left_to_the_rules_below() {
        let addresses = addresses();
        assert_eq!(verdict(&addresses, "10.10.2.1", "10.3.0.9"), "Drop");
        assert_eq!(verdict(&addresses, "10.98.0.1", "10.20.0.1"), "Drop");
        assert_eq!(verdict(&Addresses::default(), "10.99.0.1", "10.20.0.1"), "Drop");
        assert_eq!(verdict(&addresses, "10.10.2.1", "192.0.2.1"), "Bypass");
    }

    #[test]
    fn an_address_is_our_own_where_a_peer_has_given_it() {
        let (plan, mut addresses) = (NodePlan::parse(PLAN).unwrap(), addresses());
        assert_eq!(addresses.own(&plan).collect::<Vec<_>>(), [address("10.99.0.1")]);
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        assert_eq!(addresses.source(&plan, &net("10.20.0.0/16")), Some(address("10.99.0.1")));
        assert_eq!(addresses.source(&plan, &net("10.3.0.0/24")), None);
        let served: Vec<_> = addresses.served(&plan).collect();
        assert!(served.contains(&net("10.99.0.1/32")) && served.contains(&net("10.10.2.0/24")));
        addresses.set("c.example".parse().unwrap(), vec![]);
        assert_eq!(addresses.own(&plan).count(), 0);
    }

    #[test]
    fn a_plan_without_virtual_addresses_keeps_its_rules() {
        let mut plan = NodePlan::parse(PLAN).unwrap();
        plan.peers.iter_mut().for_each(|peer| peer.virtual_addresses = None);
        assert_eq!(Addresses::default().rules(&plan), plan.rules);
    }
}
