use super::*;

const PLAN: &str = "
node:
  id: left.node.example
  endpoints: [10.9.0.1]
  addresses: [10.10.1.1/32]
strict: [10.10.0.0/16]
peers:
  - id: right.node.example
    endpoints: [10.9.0.2]
    initiate: true
    auth: !psk-file /etc/espalier/right.psk
rules:
  - name: net
    action: protect
    peer: right.node.example
    local: [10.10.1.1/32]
    remote: [10.10.2.1/32]
    protocol: tcp
    remote-ports: 443
";

fn error(from: &str, to: &str) -> String {
    assert!(PLAN.contains(from), "{from}");
    NodePlan::parse(&PLAN.replace(from, to)).expect_err(to).to_string()
}

#[test]
fn a_plan_file_is_read() {
    let plan = NodePlan::parse(&PLAN.replace("!psk-file /etc", "{psk-file: /etc").replace(".psk", ".psk}")).unwrap();
    let rule = &plan.rules[0];
    assert_eq!(rule.remote_selectors()[0].to_string(), "10.10.2.1-10.10.2.1 tcp 443");
    assert_eq!(plan.peers[0].auth, PeerAuth::PskFile("/etc/espalier/right.psk".into()));
    assert_eq!(plan.profile(&rule.profile).unwrap().child_rekey_seconds, 3600);
    let compat = plan.profile(&"compat".parse().unwrap()).unwrap();
    compat.check().unwrap();
    assert!(compat.additional_key_exchange.rounds().is_empty());
    let json = serde_json::to_string(&plan).unwrap();
    assert_eq!(NodePlan::parse(&json).unwrap(), plan);
}

#[test]
fn rules_are_on_demand_where_their_profile_is() {
    let on_demand = |profile: &str, rule: &str| {
        let profiles = format!("profiles:\n  - {{ name: {profile}, activation: on-demand }}\npeers:\n");
        let text = PLAN.replace("peers:\n", &profiles).replace("remote-ports: 443", rule);
        NodePlan::parse(&text).unwrap().on_demand().into_iter().collect::<Vec<_>>()
    };
    assert_eq!(on_demand("lazy", "profile: lazy"), ["net".parse().unwrap()]);
    assert_eq!(on_demand("default", "remote-ports: 443"), ["net".parse().unwrap()]);
    assert_eq!(on_demand("lazy", "remote-ports: 443"), [], "its profile is another one");
}

#[test]
fn a_wrong_plan_names_the_place() {
    assert!(error("remote: [10.10.2.1/32]", "remote: []").contains("rule net: remote is empty"));
    assert!(error("peer: right", "peer: wrong").contains("rule net: there is no peer wrong.node.example"));
    assert!(error("protocol: tcp", "protocol: gre").contains("is not a protocol"));
    assert!(error("protocol: tcp", "protocol: 47").contains("rule net: ports need a protocol"));
    assert!(error("protocol: tcp", "protocol: icmp").contains("local-ports and remote-ports are both type"));
    assert!(error("protocol: tcp", "protcol: tcp").contains("protcol"));
    assert!(error("    remote-ports: 443", "    profile: fast").contains("no profile fast"));
    assert!(error("action: protect", "action: drop").contains("only action protect takes a peer"));
}

#[test]
fn rules_are_ordered_by_priority_then_drop_before_protect_before_bypass_then_name() {
    let rule = |name: &str, action, priority| Rule {
        name: name.parse().unwrap(),
        action,
        priority,
        local: vec![],
        remote: vec![],
        protocol: Protocol::Any,
        local_ports: PortRange::ANY,
        remote_ports: PortRange::ANY,
        peer: None,
        profile: default_profile(),
    };
    let mut rules = [
        rule("d", Action::Bypass, 0),
        rule("c", Action::Protect, 0),
        rule("b", Action::Protect, 0),
        rule("e", Action::Drop, 0),
        rule("a", Action::Bypass, 5),
    ];
    rules.sort_by(|a, b| a.rank().cmp(&b.rank()));
    let order: Vec<_> = rules.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(order, ["a", "e", "b", "c", "d"]);
}

const FORMS: &str = "
node: { id: left.node.example, endpoints: [10.9.0.1] }
profiles:
  - { name: ah, protection: ah, confidentiality: none, esp: [null-sha256] }
  - { name: transport, mode: transport }
peers:
  - { id: right.node.example, endpoints: [10.9.0.2], initiate: true, encap: auto }
rules:
  - { name: ends, action: protect, peer: right.node.example, local: [10.9.0.1/32], remote: [10.9.0.2/32], profile: transport }
  - { name: nets, action: protect, peer: right.node.example, local: [10.1.0.0/16], remote: [10.2.0.0/16], profile: ah }
";

#[test]
fn a_form_that_its_rule_cannot_have_is_refused_by_name() {
    let plan = NodePlan::parse(FORMS).unwrap();
    assert_eq!(plan.encap(&plan.peers[0]), Encap::Auto);
    let error = |from: &str, to: &str| NodePlan::parse(&FORMS.replace(from, to)).expect_err(to).to_string();
    assert_eq!(
        error(", encap: auto", ""),
        "rule nets: profile ah: protection: AH does not travel in UDP: set encap auto or never for peer right.node.example"
    );
    let transport = "rule ends: profile transport: mode: transport mode is between one endpoint";
    for (from, to) in [
        ("10.9.0.1/32", "10.9.0.0/31"),
        ("[10.9.0.2/32]", "[10.9.0.2/32, 10.9.0.3/32]"),
        ("10.9.0.2/32", "10.9.0.9/32"),
    ] {
        assert!(error(from, to).starts_with(transport), "{to}");
    }
}

#[test]
fn the_built_in_profiles_need_not_be_written() {
    for name in crate::profile::BUILT_IN {
        let plan = NodePlan::parse(&FORMS.replace("profile: transport", &format!("profile: {name}"))).unwrap();
        assert!(plan.profile(&name.parse().unwrap()).is_some());
    }
}
