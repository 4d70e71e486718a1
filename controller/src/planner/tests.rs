use espalier_model::document::{Document, policy::PolicySpec};
use proptest::prelude::*;

use super::*;

fn node(index: usize, role: &str) -> WorldNode {
    WorldNode {
        name: format!("node-{index}").parse().unwrap(),
        labels: serde_json::from_str(&format!(r#"{{"role": "{role}"}}"#)).unwrap(),
        spec: NodeSpec {
            endpoints: vec![format!("192.0.2.{}", index + 1).parse().unwrap()],
            addresses: vec![format!("10.10.0.{}/32", index + 1).parse().unwrap()],
        },
    }
}

fn policy(name: &str, spec: &str) -> WorldPolicy {
    let text = format!("{{apiVersion: espalier/v1, kind: Policy, metadata: {{name: {name}}}, spec: {spec}}}");
    let document = Document::<PolicySpec>::parse(&text).unwrap();
    WorldPolicy { name: document.metadata.name, spec: document.spec }
}

fn world(count: usize, policies: Vec<WorldPolicy>) -> World {
    World {
        version: Version { epoch: 1, generation: 1 },
        mesh: serde_json::from_str(r#"{"trustDomain": "mesh.example", "pools": ["10.10.0.0/16"]}"#).unwrap(),
        nodes: (0..count).map(|index| node(index, if index % 2 == 0 { "web" } else { "db" })).collect(),
        policies,
        trust: vec![],
        revoked: vec![],
        key_epoch: 0,
        certificate_epoch: 0,
    }
}

const EVERYTHING: &str = "{from: any, to: any, traffic: any, action: protect}";

fn plan_of(world: &World, index: usize) -> NodePlan {
    plan(world, &format!("node-{index}").parse().unwrap()).unwrap()
}

/// The two ends of each pair hold mirrored rules of the same names, and exactly one of them starts.
fn assert_mirrored(world: &World) {
    let plans: Vec<_> = (0..world.nodes.len()).map(|index| plan_of(world, index)).collect();
    for (a, ours) in plans.iter().enumerate() {
        ours.check().unwrap();
        for (b, theirs) in plans.iter().enumerate().filter(|(b, _)| *b != a) {
            let towards = |plan: &NodePlan, other: usize| -> Vec<Rule> {
                let net = world.nodes[other].spec.addresses.clone();
                plan.rules.iter().filter(|rule| rule.remote == net).cloned().collect()
            };
            let mirrored = |rule: &Rule| Rule {
                local: rule.remote.clone(),
                remote: rule.local.clone(),
                local_ports: rule.remote_ports,
                remote_ports: rule.local_ports,
                peer: rule.peer.as_ref().map(|_| ours.node.id.clone()),
                ..rule.clone()
            };
            let expected: Vec<_> = towards(ours, b).iter().map(mirrored).collect();
            assert_eq!(expected, towards(theirs, a), "rules between {a} and {b}");
            let peer = |plan: &NodePlan, id: &Identity| plan.peers.iter().find(|p| p.id == *id).cloned();
            match (peer(ours, &theirs.node.id), peer(theirs, &ours.node.id)) {
                (Some(x), Some(y)) => assert_ne!(x.initiate, y.initiate, "one of {a} and {b} starts"),
                (None, None) => {}
                _ => panic!("{a} and {b} do not agree that they are peers"),
            }
        }
    }
}

#[test]
fn the_default_policy_makes_a_full_mesh() {
    let world = world(5, vec![policy("default", EVERYTHING)]);
    assert_mirrored(&world);
    let plan = plan_of(&world, 0);
    assert_eq!((plan.peers.len(), plan.rules.len()), (4, 4));
    assert_eq!(plan.strict, ["10.10.0.0/16".parse().unwrap()]);
    assert!(super::plan(&world, &"node-9".parse().unwrap()).is_none());
}

#[test]
fn a_drop_of_all_traffic_ends_the_peering_and_a_narrow_one_stands_before_it() {
    let narrow = "{from: {nodes: [node-0]}, to: {nodes: [node-1]}, traffic: [{protocol: tcp, ports: 80}], \
                  action: protect, priority: 20}";
    let drop = "{from: {nodes: [node-0]}, to: {nodes: [node-1, node-2]}, traffic: any, action: drop, priority: 10}";
    let policies = vec![policy("default", EVERYTHING), policy("narrow", narrow), policy("none", drop)];
    let world = world(4, policies);
    assert_mirrored(&world);
    let plan = plan_of(&world, 0);
    assert_eq!(plan.peers.len(), 2, "node-1 for TCP 80, node-3 for everything; node-2 for nothing");
    let towards_1: Vec<_> = plan
        .rules
        .iter()
        .filter(|r| r.remote == world.nodes[1].spec.addresses)
        .map(|r| (r.action, r.remote_ports))
        .collect();
    assert_eq!(towards_1, [(Action::Protect, "80".parse().unwrap()), (Action::Drop, PortRange::ANY)]);
}

#[test]
fn a_policy_for_types_of_icmp_is_one_rule_that_reads_the_same_from_both_ends() {
    let echo =
        "{from: {nodes: [node-0]}, to: {nodes: [node-1]}, traffic: [{protocol: icmp, types: 8}], action: protect}";
    let world = world(2, vec![policy("echo", echo)]);
    assert_mirrored(&world);
    let [rule] = &plan_of(&world, 0).rules[..] else { panic!("one rule") };
    assert_eq!((rule.local_ports, rule.remote_ports), ("2048-2303".parse().unwrap(), "2048-2303".parse().unwrap()));
}

fn any_policy() -> impl Strategy<Value = String> {
    let side = prop_oneof![
        Just("any".to_owned()),
        (0_usize..4).prop_map(|n| format!("{{nodes: [node-{n}]}}")),
        prop_oneof![Just("web"), Just("db")].prop_map(|role| format!("{{labels: {{role: {role}}}}}")),
    ];
    let traffic = prop_oneof![
        Just("any".to_owned()),
        (1_u16..4).prop_map(|port| format!("[{{protocol: tcp, ports: {port}}}]")),
        (1_u16..4).prop_map(|port| format!("[{{protocol: icmp}}, {{protocol: udp, ports: {port}}}]")),
        (1_u16..4).prop_map(|of| format!("[{{protocol: icmp, types: {of}/0}}, {{protocol: icmpv6, types: {of}-9}}]")),
    ];
    let action = prop_oneof![Just("protect"), Just("drop"), Just("bypass")];
    (side.clone(), side, traffic, action, -2_i32..3).prop_map(|(from, to, traffic, action, priority)| {
        format!("{{from: {from}, to: {to}, traffic: {traffic}, action: {action}, priority: {priority}}}")
    })
}

proptest! {
    #[test]
    fn both_ends_of_each_pair_agree_under_any_policies(specs in prop::collection::vec(any_policy(), 0..6)) {
        let policies = specs.iter().enumerate().map(|(at, spec)| policy(&format!("policy-{at}"), spec)).collect();
        assert_mirrored(&world(4, policies));
    }
}
