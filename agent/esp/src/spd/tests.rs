use std::net::{IpAddr, Ipv4Addr};

use espalier_model::plan::default_profile;
use espalier_model::selector::{PortRange, Protocol};
use ipnet::IpNet;
use proptest::prelude::*;

use super::*;

fn net() -> impl Strategy<Value = IpNet> {
    (0_u8..4, 28_u8..=32).prop_map(|(last, length)| IpNet::new(IpAddr::from([10, 0, 0, last]), length).unwrap())
}

fn rule() -> impl Strategy<Value = Rule> {
    let action = prop::sample::select(vec![Action::Drop, Action::Protect, Action::Bypass]);
    let traffic = prop::sample::select(vec![
        (Protocol::Any, PortRange::ANY),
        (Protocol::TCP, PortRange::ANY),
        (Protocol::TCP, PortRange::new(2, 3).unwrap()),
        (Protocol::UDP, PortRange::new(1, 1).unwrap()),
    ]);
    let nets = || prop::collection::vec(net(), 1..3);
    (action, -1..2, nets(), nets(), traffic).prop_map(|(action, priority, local, remote, (protocol, ports))| Rule {
        name: "r".parse().unwrap(),
        action,
        priority,
        local,
        remote,
        protocol,
        local_ports: PortRange::ANY,
        remote_ports: ports,
        peer: None,
        profile: default_profile(),
    })
}

fn flow() -> impl Strategy<Value = Flow> {
    let address = || (0_u8..4).prop_map(|n| IpAddr::V4(Ipv4Addr::new(10, 0, 0, n)));
    let upper =
        prop::sample::select(vec![(6, Some((9, 1))), (6, Some((9, 2))), (6, None), (17, Some((9, 1))), (1, None)]);
    (address(), address(), upper).prop_map(|(source, destination, (protocol, ports))| Flow {
        source,
        destination,
        protocol,
        ports,
    })
}

/// Section by section what the documents say, without shared code.
fn obvious(rules: &[Rule], flow: &Flow) -> Option<(Action, Name)> {
    let matching = rules.iter().filter(|rule| {
        let ports = rule.remote_ports == PortRange::ANY
            || flow.ports.is_some_and(|(_, to)| rule.remote_ports.start() <= to && to <= rule.remote_ports.end());
        let protocol = rule.protocol == Protocol::Any || rule.protocol.to_wire() == flow.protocol;
        rule.local.iter().any(|n| n.contains(&flow.source))
            && rule.remote.iter().any(|n| n.contains(&flow.destination))
            && protocol
            && ports
    });
    let best = matching.max_by_key(|r| (r.priority, std::cmp::Reverse((r.action, r.name.clone()))))?;
    Some((best.action, best.name.clone()))
}

proptest! {
    #[test]
    fn a_lookup_finds_what_an_obvious_search_finds(mut rules in prop::collection::vec(rule(), 0..12), flow in flow()) {
        for (index, rule) in rules.iter_mut().enumerate() {
            rule.name = format!("r{index}").parse().unwrap();
        }
        let spd = Spd::compile(&rules);
        let found = match spd.outbound(&flow) {
            Verdict::Protect(name, _) => Some((Action::Protect, name.clone())),
            Verdict::Bypass => Some((Action::Bypass, "any".parse().unwrap())),
            Verdict::Drop => None,
        };
        let expected = obvious(&rules, &flow).and_then(|(action, name)| match action {
            Action::Protect => Some((action, name)),
            Action::Bypass => Some((action, "any".parse().unwrap())),
            Action::Drop => None,
        });
        prop_assert_eq!(found, expected);
        prop_assert_eq!(spd.inbound(&flow.reversed()), spd.outbound(&flow));
    }
}
