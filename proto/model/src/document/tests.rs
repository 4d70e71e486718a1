use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::mesh::MeshSpec;
use super::node::NodeSpec;
use super::policy::PolicySpec;
use super::rotation::{RotationScope, RotationSpec};
use super::token::JoinTokenSpec;
use super::*;
use crate::plan::Action;

const POLICY: &str = "
apiVersion: espalier/v1
kind: Policy
metadata: {name: web, labels: {team: shop}}
spec:
  from: {nodes: [edge-1, edge-2]}
  to:
    labels: {role: web}
    expressions:
      - {key: zone, operator: In, values: [a, b]}
      - {key: old, operator: DoesNotExist}
  traffic:
    - {protocol: tcp, ports: 443}
    - {protocol: icmp}
  action: protect
  priority: 10
  tests:
    - {from: edge-1, to: web-1, protocol: tcp, port: 443, expect: protect}
";

fn change(from: &str, to: &str) -> Result<Document<PolicySpec>, Vec<Fault>> {
    assert!(POLICY.contains(from), "{from}");
    Document::parse(&POLICY.replace(from, to))
}

/// Expects one fault, and returns its place and its message.
#[track_caller]
fn fault<S: Spec>(result: Result<Document<S>, Vec<Fault>>) -> (String, String) {
    let faults = result.unwrap_err();
    assert_eq!(faults.len(), 1, "{faults:?}");
    (faults[0].pointer.clone(), faults[0].message.clone())
}

fn document<S: Spec>(spec: Value) -> Result<Document<S>, Vec<Fault>> {
    let metadata = json!({"name": "a"});
    let value = json!({"apiVersion": "espalier/v1", "kind": S::KIND, "metadata": metadata, "spec": spec});
    Document::parse(&value.to_string())
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    let map: BTreeMap<_, _> = pairs.iter().map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap())).collect();
    map.try_into().unwrap()
}

#[test]
fn a_document_is_read_back_from_what_it_writes() {
    let policy: Document<PolicySpec> = Document::parse(POLICY).unwrap();
    assert_eq!(policy.spec.action, Action::Protect);
    assert_eq!(policy.spec.profile.as_str(), "default");
    let json = serde_json::to_string_pretty(&policy).unwrap();
    assert!(json.contains("\"apiVersion\": \"espalier/v1\"") && json.contains("\"kind\": \"Policy\""), "{json}");
    assert_eq!(Document::parse(&json).unwrap(), policy);
    assert_eq!(Document::parse(&json.replace("  ", "\t")).unwrap(), policy);
    assert_eq!(Document::parse(&serde_saphyr::to_string(&policy).unwrap()).unwrap(), policy);
    let any = json!({"from": "any", "to": "any", "traffic": "any", "action": "drop"});
    let any: Document<PolicySpec> = document(any).unwrap();
    assert_eq!(serde_json::to_value(&any).unwrap()["spec"]["traffic"], json!("any"));
    assert_eq!(Document::parse(&serde_json::to_string(&any).unwrap()).unwrap(), any);
}

#[test]
fn an_error_points_at_the_field() {
    let unknown = fault(change("priority: 10", "prio: 10"));
    assert_eq!(unknown.0, "/spec/prio");
    assert!(unknown.1.contains("unknown field `prio`"), "{}", unknown.1);
    let name = fault(change("edge-2", "Edge_2"));
    assert_eq!(name.0, "/spec/from/nodes/1");
    assert!(name.1.contains("63 lower-case letters"), "{}", name.1);
    assert_eq!(fault(change("ports: 443", "ports: 9-1")).0, "/spec/traffic/0/ports");
    assert_eq!(fault(change("team: shop", "\"te~am/a b\": shop")).0, "/metadata/labels/te~0am~1a b");
    assert_eq!(fault(change("kind: Policy", "kind: Node")).0, "/kind");
    assert_eq!(fault(change("espalier/v1", "espalier/v2")).0, "/apiVersion");
    assert_eq!(fault(change("  action: protect\n", "")), ("/spec".to_owned(), "missing field `action`".to_owned()));
    let syntax = fault(change("spec:", "spec: ["));
    assert!(syntax.0.is_empty() && syntax.1.contains("line"), "{syntax:?}");
    assert!(fault(change("priority: 10", "priority: 10\n  priority: 11")).1.contains("priority"));
}

#[test]
fn an_unknown_operator_is_answered_with_the_four() {
    let (pointer, message) = fault(change("operator: In", "operator: Has"));
    assert_eq!(pointer, "/spec/to/expressions/0/operator");
    for operator in ["Has", "`In`", "`NotIn`", "`Exists`", "`DoesNotExist`"] {
        assert!(message.contains(operator), "{message}");
    }
    assert_eq!(fault(change(", values: [a, b]", "")).0, "/spec/to/expressions/0");
    assert_eq!(fault(change("operator: DoesNotExist", "operator: Exists, values: [a]")).0, "/spec/to/expressions/1");
}

#[test]
fn nothing_empty_selects_anything() {
    assert_eq!(fault(change("[edge-1, edge-2]", "[]")).0, "/spec/from/nodes");
    assert_eq!(fault(change("{nodes: [edge-1, edge-2]}", "{}")).0, "/spec/from");
    assert_eq!(fault(change("{nodes: [edge-1, edge-2]}", "{labels: {}}")).0, "/spec/from/labels");
    assert_eq!(fault(change("{nodes: [edge-1, edge-2]}", "{nodes: [a], labels: {a: b}}")).0, "/spec/from");
    assert_eq!(fault(change("{nodes: [edge-1, edge-2]}", "all")).0, "/spec/from");
    let spec = json!({"from": "any", "to": "any", "traffic": [], "action": "drop"});
    assert_eq!(fault(document::<PolicySpec>(spec)).0, "/spec/traffic");
}

#[test]
fn a_selection_matches_by_name_or_by_every_label() {
    let policy: Document<PolicySpec> = Document::parse(POLICY).unwrap();
    let edge = "edge-1".parse().unwrap();
    let web = "web-1".parse().unwrap();
    assert!(policy.spec.from.matches(&edge, &Labels::default()) && !policy.spec.from.matches(&web, &Labels::default()));
    let to = &policy.spec.to;
    assert!(to.matches(&web, &labels(&[("role", "web"), ("zone", "a")])));
    assert!(!to.matches(&web, &labels(&[("role", "web"), ("zone", "c")])));
    assert!(!to.matches(&web, &labels(&[("role", "web")])));
    assert!(!to.matches(&web, &labels(&[("role", "db"), ("zone", "a")])));
    assert!(!to.matches(&web, &labels(&[("role", "web"), ("zone", "a"), ("old", "")])));
    let not_in = change("operator: In", "operator: NotIn").unwrap().spec.to;
    assert!(not_in.matches(&web, &labels(&[("role", "web")])));
    assert!(not_in.matches(&web, &labels(&[("role", "web"), ("zone", "c")])));
    assert!(!not_in.matches(&web, &labels(&[("role", "web"), ("zone", "a")])));
}

#[test]
fn ports_and_tests_of_a_policy_must_fit_the_protocol() {
    assert_eq!(fault(change("{protocol: icmp}", "{protocol: icmp, ports: 1}")).0, "/spec/traffic/1/ports");
    assert_eq!(fault(change("{protocol: icmp}", "{protocol: udp, types: 8}")).0, "/spec/traffic/1/types");
    assert!(change("{protocol: icmp}", "{protocol: icmp, types: 8}").is_ok());
    assert_eq!(fault(change("port: 443, expect", "expect")).0, "/spec/tests/0/port");
    assert_eq!(fault(change("protocol: tcp, port: 443,", "protocol: icmp, port: 443,")).0, "/spec/tests/0/port");
    assert_eq!(fault(change("protocol: tcp, port: 443,", "protocol: any,")).0, "/spec/tests/0/protocol");
}

#[test]
fn a_mesh_has_one_pool_of_each_family() {
    let mesh = |pools: &[&str]| document::<MeshSpec>(json!({"trustDomain": "Mesh.Example", "pools": pools}));
    let good = mesh(&["10.0.0.0/16", "fd00::/64"]).unwrap();
    assert!(good.spec.strict && good.spec.trust_domain.as_str() == "mesh.example");
    assert_eq!(fault(mesh(&[])).0, "/spec/pools");
    assert_eq!(fault(mesh(&["10.0.0.0/16", "10.1.0.0/16"])).0, "/spec/pools/1");
    assert_eq!(fault(mesh(&["10.0.0.1/16"])).1, "10.0.0.1/16 has host bits: write 10.0.0.0/16 or 10.0.0.1/32");
    assert_eq!(fault(mesh(&["10.0.0.0/31"])).0, "/spec/pools/0");
    assert_eq!(mesh(&["10.0.0.0/16", "10.0.0.1/32"]).unwrap_err().len(), 2);
}

#[test]
fn a_node_has_an_endpoint_and_clear_prefixes() {
    let node = |spec: Value| document::<NodeSpec>(spec);
    assert!(node(json!({"endpoints": ["192.0.2.1"], "addresses": ["10.0.0.1/32", "10.1.0.0/24"]})).is_ok());
    assert_eq!(fault(node(json!({"endpoints": []}))).0, "/spec/endpoints");
    assert_eq!(fault(node(json!({"endpoints": ["0.0.0.0"]}))).0, "/spec/endpoints/0");
    assert_eq!(fault(node(json!({"endpoints": ["::1", "::1"]}))).0, "/spec/endpoints/1");
    assert_eq!(fault(node(json!({"endpoints": ["::1"], "addresses": ["10.1.0.1/24"]}))).0, "/spec/addresses/0");
}

#[test]
fn a_join_token_ends_within_thirty_days() {
    let token = |spec: Value| document::<JoinTokenSpec>(spec);
    let now = time::OffsetDateTime::from_unix_timestamp(1_900_000_000).unwrap();
    let ends = |spec: Value| token(spec).unwrap().spec.expiry(now).map(|end| (end - now).whole_seconds());
    assert_eq!(ends(json!({})), Ok(3_600));
    assert_eq!(ends(json!({"uses": 3, "expiresInSeconds": 60})), Ok(60));
    assert_eq!(ends(json!({"expires": "2030-03-17T17:47:40Z"})), Ok(60));
    assert_eq!(ends(json!({"expires": "2029-01-01T00:00:00Z"})).unwrap_err().pointer, "/expires");
    assert_eq!(ends(json!({"expires": "2031-01-01T00:00:00Z"})).unwrap_err().pointer, "/expires");
    assert_eq!(fault(token(json!({"expires": "tomorrow"}))).0, "/spec/expires");
    assert_eq!(fault(token(json!({"expiresInSeconds": 2_592_001}))).0, "/spec/expiresInSeconds");
    assert_eq!(fault(token(json!({"uses": 0}))).0, "/spec/uses");
    let both = token(json!({"expires": "2030-03-17T17:47:40Z", "expiresInSeconds": 5}));
    assert_eq!(fault(both).0, "/spec/expiresInSeconds");
}

#[test]
fn a_rotation_names_its_scope() {
    let rotation = document::<RotationSpec>(json!({"scope": "certificates"})).unwrap();
    assert_eq!(rotation.spec.scope, RotationScope::Certificates);
    assert_eq!(fault(document::<RotationSpec>(json!({"scope": "all"}))).0, "/spec/scope");
}

#[test]
fn a_text_beyond_a_mebibyte_is_refused() {
    let text = format!("{POLICY}# {}", "a".repeat(MAX_TEXT));
    assert!(fault(Document::<PolicySpec>::parse(&text)).1.contains("too many"));
}
