//! From policies to what each node has to do. Pure: the same world gives the same plans, at both ends of each pair.

use std::collections::BTreeSet;

use aws_lc_rs::digest::{SHA256, digest};
use espalier_model::document::mesh::MeshSpec;
use espalier_model::document::node::NodeSpec;
use espalier_model::document::policy::{PolicySpec, TrafficItem};
use espalier_model::envelope::Version;
use espalier_model::identity::{Identity, Name};
use espalier_model::labels::Labels;
use espalier_model::plan::{Action, NodePlan, PeerAuth, PlannedNode, PlannedPeer, Rule};
use espalier_model::profile::BUILT_IN;
use espalier_model::revocation::Revocation;
use espalier_model::selector::{PortRange, Protocol};
use ipnet::IpNet;

/// Everything that plans are made of, at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct World {
    /// How new it is.
    pub version: Version,
    /// The mesh.
    pub mesh: MeshSpec,
    /// Every enrolled node, by name.
    pub nodes: Vec<WorldNode>,
    /// Every policy, by name.
    pub policies: Vec<WorldPolicy>,
    /// The roots, PEM.
    pub trust: Vec<String>,
    /// Serial numbers of revoked certificates that have not ended.
    pub revoked: Vec<String>,
    /// Raised by a rotation of keys.
    pub key_epoch: u64,
    /// Raised by a rotation of certificates.
    pub certificate_epoch: u64,
}

/// A node of the world.
#[derive(Clone, Debug, PartialEq)]
pub struct WorldNode {
    /// Its name.
    pub name: Name,
    /// Its labels.
    pub labels: Labels,
    /// Where it is and what is behind it.
    pub spec: NodeSpec,
}

/// A policy of the world.
#[derive(Clone, Debug, PartialEq)]
pub struct WorldPolicy {
    /// Its name.
    pub name: Name,
    /// What it says.
    pub spec: PolicySpec,
}

/// Which end of a rule's traffic the ports of the policy are at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ports {
    Theirs,
    Ours,
    Any,
}

/// Returns the plan of a node, or nothing where there is no such node.
#[must_use]
pub fn plan(world: &World, name: &Name) -> Option<NodePlan> {
    let me = world.nodes.iter().find(|node| node.name == *name)?;
    let identity = |node: &WorldNode| node.name.node_identity(&world.mesh.trust_domain);
    let (mut peers, mut all) = (Vec::new(), Vec::new());
    for other in world.nodes.iter().filter(|node| node.name != *name) {
        let rules = effective(pair_rules(world, me, other, &identity(other)));
        if let Some(rule) = rules.iter().find(|rule| rule.action == Action::Protect) {
            peers.push(PlannedPeer {
                id: identity(other),
                endpoints: other.spec.endpoints.clone(),
                initiate: initiates(&me.name, &other.name),
                auth: PeerAuth::Certificate,
                profile: rule.profile.clone(),
                key_epoch: world.key_epoch,
                ppk: None,
                encap: None,
                virtual_addresses: None,
            });
        }
        all.extend(rules);
    }
    let strict =
        if world.mesh.strict { world.mesh.pools.iter().chain(&world.mesh.scope).copied().collect() } else { vec![] };
    Some(NodePlan {
        node: PlannedNode {
            id: identity(me),
            endpoints: me.spec.endpoints.clone(),
            addresses: me.spec.addresses.clone(),
            certificate: None,
            key: None,
            certificate_epoch: world.certificate_epoch,
        },
        trust: world.trust.clone(),
        strict,
        profiles: Vec::new(),
        peers,
        rules: all,
        revoked: world.revoked.clone(),
        revocation: Revocation::default(),
    })
}

/// Returns the names of profiles that policies may name.
///
/// # Panics
/// Never: the literals are names.
#[must_use]
pub fn profiles() -> BTreeSet<Name> {
    BUILT_IN.iter().map(|name| name.parse().expect("a literal that is a name")).collect()
}

/// Lists the rules of one node towards another, most urgent first.
fn pair_rules(world: &World, me: &WorldNode, other: &WorldNode, peer: &Identity) -> Vec<Rule> {
    let mut rules = Vec::new();
    for policy in &world.policies {
        let matches = |from: &WorldNode, to: &WorldNode| {
            policy.spec.from.matches(&from.name, &from.labels) && policy.spec.to.matches(&to.name, &to.labels)
        };
        let (out, back) = (matches(me, other), matches(other, me));
        for (at, item) in policy.spec.traffic.items().iter().enumerate() {
            // Selectors are stateless (RFC 4301): without ports both directions are one rule.
            let symmetric = item.ports == PortRange::ANY;
            let ports: &[Ports] = match (symmetric, out, back) {
                (_, false, false) => &[],
                (true, _, _) => &[Ports::Any],
                (false, true, true) => &[Ports::Theirs, Ports::Ours],
                (false, true, false) => &[Ports::Theirs],
                (false, false, true) => &[Ports::Ours],
            };
            rules.extend(ports.iter().map(|ports| rule(policy, at, item, (me, other), *ports, peer)));
        }
    }
    rules.sort_by(|a, b| a.rank().cmp(&b.rank()));
    rules
}

/// Leaves out what an earlier rule for all traffic of the pair has decided.
fn effective(mut rules: Vec<Rule>) -> Vec<Rule> {
    let whole = |rule: &Rule| rule.protocol == Protocol::Any;
    if let Some(at) = rules.iter().position(whole) {
        rules.truncate(at + 1);
    }
    rules
}

fn rule(
    policy: &WorldPolicy,
    at: usize,
    item: &TrafficItem,
    (me, other): (&WorldNode, &WorldNode),
    ports: Ports,
    peer: &Identity,
) -> Rule {
    let protects = policy.spec.action == Action::Protect;
    let (local_ports, remote_ports) = match ports {
        Ports::Theirs => (PortRange::ANY, item.ports),
        Ports::Ours => (item.ports, PortRange::ANY),
        Ports::Any => (item.types.range(), item.types.range()),
    };
    let ends = match ports {
        Ports::Theirs => [&me.name, &other.name],
        Ports::Ours => [&other.name, &me.name],
        Ports::Any => [(&me.name).min(&other.name), (&me.name).max(&other.name)],
    };
    Rule {
        name: rule_name(&policy.name, at, ends, ports == Ports::Any),
        action: policy.spec.action,
        priority: policy.spec.priority,
        local: nets(me),
        remote: nets(other),
        protocol: item.protocol,
        local_ports,
        remote_ports,
        peer: protects.then(|| peer.clone()),
        profile: policy.spec.profile.clone(),
    }
}

fn nets(node: &WorldNode) -> Vec<IpNet> {
    node.spec.addresses.clone()
}

/// Returns a name that both ends give the rule, and that says which policy it comes from.
fn rule_name(policy: &Name, at: usize, [from, to]: [&Name; 2], symmetric: bool) -> Name {
    let hash = digest(&SHA256, format!("{policy}/{at}/{from}/{to}/{symmetric}").as_bytes());
    let hash: String = hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let policy: String = policy.as_str().chars().take(40).collect();
    format!("{}-{hash}", policy.trim_end_matches('-')).parse().expect("a name and a hash are a name")
}

/// Decides which end starts. Both come to the same answer, and over a fleet every node starts about half of its pairs.
fn initiates(me: &Name, other: &Name) -> bool {
    let (low, high) = if me < other { (me, other) } else { (other, me) };
    let hash = digest(&SHA256, format!("{low}/{high}").as_bytes());
    let low_starts = hash.as_ref().first().is_some_and(|byte| byte.is_multiple_of(2));
    low_starts == (me == low)
}

#[cfg(test)]
mod tests;
