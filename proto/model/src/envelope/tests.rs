use super::*;
use crate::plan::PlanError;

const NODE: &str = r#"{"node": {"id": "a.node.example", "endpoints": ["192.0.2.1"]}}"#;
const PEER: &str = r#"{"peer": {"id": "b.node.example", "endpoints": ["192.0.2.2"], "initiate": true}}"#;
const RULE: &str = r#"{"rule": {"name": "b", "action": "protect", "peer": "b.node.example",
    "local": ["10.0.0.1/32"], "remote": ["10.0.0.2/32"]}}"#;

fn entries(texts: &[&str]) -> Vec<PlanEntry> {
    texts.iter().map(|text| PlanEntry::from_json(0, text.as_bytes()).unwrap()).collect()
}

fn envelope(epoch: u64, generation: u64, plan: &[&str]) -> Envelope {
    Envelope {
        node: "a.node.example".parse().unwrap(),
        version: Version { epoch, generation },
        digest: Entries::new(entries(plan)).unwrap().digest(),
        signature: vec![1, 255],
        chain: vec![vec![48], vec![49]],
    }
}

fn whole(epoch: u64, generation: u64, plan: &[&str]) -> Whole {
    Whole { envelope: envelope(epoch, generation, plan), entries: entries(plan) }
}

fn good(_: &Envelope) -> Result<(), String> {
    Ok(())
}

fn held() -> PlanState {
    let mut state = PlanState::new("a.node.example".parse().unwrap());
    state.accept_whole(whole(2, 10, &[NODE, PEER]), good).unwrap();
    state
}

/// Offers something that must be refused, and checks that nothing changed.
#[track_caller]
fn refused(offer: impl FnOnce(&mut PlanState) -> Result<NodePlan, Refusal>) -> Refusal {
    let mut state = held();
    let refusal = offer(&mut state).unwrap_err();
    assert_eq!(state, held());
    refusal
}

#[test]
fn a_newer_plan_replaces_the_one_held() {
    let mut state = held();
    assert_eq!(state.accept_whole(whole(2, 11, &[NODE, PEER, RULE]), good).unwrap().rules.len(), 1);
    assert_eq!(state.accept_whole(whole(2, 11, &[NODE]), good).unwrap().peers.len(), 0);
    state.accept_whole(whole(3, 1, &[NODE]), good).unwrap();
    assert_eq!(state.envelope().unwrap().version, Version { epoch: 3, generation: 1 });
}

#[test]
fn changes_lead_to_the_same_state_as_the_whole() {
    let mut state = held();
    let delta = Delta {
        envelope: envelope(2, 12, &[NODE, PEER, RULE]),
        base_generation: 10,
        upsert: entries(&[RULE]),
        remove: vec![],
    };
    let plan = state.accept_delta(delta, good).unwrap();
    let mut other = PlanState::new("a.node.example".parse().unwrap());
    assert_eq!(other.accept_whole(whole(2, 12, &[NODE, PEER, RULE]), good).unwrap(), plan);
    assert_eq!(other, state);
    let delta = Delta {
        envelope: envelope(2, 13, &[NODE]),
        base_generation: 12,
        upsert: vec![],
        remove: vec!["rule/b".parse().unwrap(), "peer/b.node.example".parse().unwrap()],
    };
    assert_eq!(state.accept_delta(delta, good).unwrap().peers.len(), 0);
}

#[test]
fn an_older_plan_is_refused() {
    for (epoch, generation) in [(2, 9), (1, 99)] {
        let refusal = refused(|state| state.accept_whole(whole(epoch, generation, &[NODE]), good));
        assert!(matches!(refusal, Refusal::Older { .. }), "{refusal}");
    }
}

#[test]
fn the_plan_of_another_node_is_refused() {
    let mut other = whole(2, 11, &[NODE]);
    other.envelope.node = "c.node.example".parse().unwrap();
    assert!(matches!(refused(|state| state.accept_whole(other, good)), Refusal::OtherNode { .. }));
    let node = NODE.replace("a.node", "c.node");
    assert!(matches!(refused(|state| state.accept_whole(whole(2, 11, &[&node]), good)), Refusal::OtherNode { .. }));
}

#[test]
fn entries_that_were_not_signed_are_refused() {
    let mut more = whole(2, 11, &[NODE]);
    more.entries.extend(entries(&[PEER]));
    assert!(matches!(refused(|state| state.accept_whole(more, good)), Refusal::Digest { .. }));
    let delta =
        Delta { envelope: envelope(2, 11, &[NODE]), base_generation: 10, upsert: entries(&[RULE]), remove: vec![] };
    assert!(matches!(refused(|state| state.accept_delta(delta, good)), Refusal::Digest { .. }));
    let forged = |_: &Envelope| Err("unknown signer".to_owned());
    let refusal = refused(|state| state.accept_whole(whole(2, 11, &[NODE]), forged));
    assert_eq!(refusal.to_string(), "the plan's signature does not hold: unknown signer");
}

#[test]
fn a_plan_that_cannot_be_carried_out_is_refused() {
    let refusal = refused(|state| state.accept_whole(whole(2, 11, &[NODE, RULE]), good));
    assert!(matches!(refusal, Refusal::Entry(EntryError::Plan(PlanError::Unknown { .. }))), "{refusal}");
    let refusal = refused(|state| state.accept_whole(whole(2, 11, &[PEER]), good));
    assert_eq!(refusal, Refusal::Entry(EntryError::NoNode));
}

#[test]
fn changes_to_a_plan_that_is_not_held_are_refused() {
    let delta = |epoch, base_generation| Delta {
        envelope: envelope(epoch, 20, &[NODE, PEER]),
        base_generation,
        upsert: vec![],
        remove: vec![],
    };
    assert!(matches!(refused(|state| state.accept_delta(delta(2, 9), good)), Refusal::Base { .. }));
    assert!(matches!(refused(|state| state.accept_delta(delta(3, 10), good)), Refusal::Base { .. }));
    let mut empty = PlanState::new("a.node.example".parse().unwrap());
    let refusal = empty.accept_delta(delta(2, 10), good).unwrap_err();
    assert_eq!(refusal.to_string(), "the changes are to epoch 2 generation 10, but this node holds no plan");
    assert!(held().accept_delta(delta(2, 10), good).is_ok());
}

#[test]
fn what_is_kept_on_disk_is_accepted_again() {
    let text = serde_json::to_string(&held().whole().unwrap()).unwrap();
    assert!(text.contains("\"signature\":\"01ff\""), "{text}");
    let mut state = PlanState::new("a.node.example".parse().unwrap());
    state.accept_whole(serde_json::from_str(&text).unwrap(), good).unwrap();
    assert_eq!(state, held());
}

#[test]
fn every_signed_field_changes_the_signed_bytes() {
    let base = envelope(2, 10, &[NODE]);
    let mut seen = vec![base.signed_bytes()];
    let changes: [fn(&mut Envelope); 4] = [
        |e| e.node = "b.node.example".parse().unwrap(),
        |e| e.version.epoch += 1,
        |e| e.version.generation += 1,
        |e| e.digest = Digest::from_bytes([0; 32]),
    ];
    for change in changes {
        let mut other = base.clone();
        change(&mut other);
        assert!(!seen.contains(&other.signed_bytes()));
        seen.push(other.signed_bytes());
    }
}
