use std::net::IpAddr;

use espalier_model::plan::default_profile;
use espalier_model::selector::{PortRange, Protocol};
use ipnet::IpNet;
use proptest::prelude::*;

use super::*;

/// Few addresses of both families, so that much overlaps.
fn address() -> impl Strategy<Value = IpAddr> {
    (0_u8..4, any::<bool>()).prop_map(|(last, ipv4)| {
        let v6 = [0xfd00, 0, 0, 0, 0, 0, 0, u16::from(last)];
        if ipv4 { IpAddr::from([10, 0, 0, last]) } else { IpAddr::from(v6) }
    })
}

fn net() -> impl Strategy<Value = IpNet> {
    (address(), prop::sample::select(vec![0, 1, 28, 30, 31, 32, 126, 128])).prop_map(|(address, length)| {
        let longest = if address.is_ipv4() { 32 } else { 128 };
        IpNet::new(address, length.min(longest)).unwrap()
    })
}

fn ports() -> impl Strategy<Value = PortRange> {
    let range = |start, end| PortRange::new(start, end).unwrap();
    let ranges =
        vec![PortRange::ANY, range(1, 1), range(2, 2), range(2, 3), range(1, 9), range(0, 0), range(3, u16::MAX)];
    prop::sample::select(ranges)
}

fn rule() -> impl Strategy<Value = Rule> {
    let action = prop::sample::select(vec![Action::Drop, Action::Protect, Action::Bypass]);
    let protocol = prop::sample::select(vec![Protocol::Any, Protocol::TCP, Protocol::UDP, Protocol::from_wire(1)]);
    let nets = || prop::collection::vec(net(), 1..4);
    let traffic = (protocol, ports(), ports());
    (action, -1..2, nets(), nets(), traffic).prop_map(|(action, priority, local, remote, traffic)| {
        let (protocol, local_ports, remote_ports) = traffic;
        let (name, peer, profile) = ("r".parse().unwrap(), None, default_profile());
        Rule { name, action, priority, local, remote, protocol, local_ports, remote_ports, peer, profile }
    })
}

fn flow() -> impl Strategy<Value = Flow> {
    let port = || prop::sample::select(vec![0_u16, 1, 2, 3, 4, 9, 10, u16::MAX]);
    let ports = prop::option::of((port(), port()));
    let upper = (prop::sample::select(vec![0_u8, 1, 6, 17, 47]), ports);
    let ends = (address(), address()).prop_filter("one family", |(a, b)| a.is_ipv4() == b.is_ipv4());
    (ends, upper).prop_map(|((source, destination), (protocol, ports))| Flow { source, destination, protocol, ports })
}

/// Section by section what the documents say, without shared code.
fn obvious(rules: &[Rule], flow: &Flow) -> Option<(Action, Name)> {
    let matching = rules.iter().filter(|rule| {
        let within = |range: PortRange, port: u16| range.start() <= port && port <= range.end();
        let all = rule.local_ports == PortRange::ANY && rule.remote_ports == PortRange::ANY;
        let ports =
            flow.ports.map_or(all, |(from, to)| within(rule.local_ports, from) && within(rule.remote_ports, to));
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
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn a_lookup_finds_what_an_obvious_search_finds(mut rules in prop::collection::vec(rule(), 0..40), flow in flow()) {
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
