use espalier_model::entry::{Entries, PlanEntry};
use espalier_model::envelope::{Delta, Whole};

use super::*;

const NODE: &str = r#"{"node": {"id": "a.node.example", "endpoints": ["192.0.2.1"]}}"#;
const PEER: &str = r#"{"peer": {"id": "b.node.example", "endpoints": ["192.0.2.2"], "initiate": true}}"#;

fn entries(texts: &[&str]) -> Vec<PlanEntry> {
    texts.iter().map(|text| PlanEntry::from_json(0, text.as_bytes()).unwrap()).collect()
}

fn envelope(generation: u64, plan: &[&str]) -> Envelope {
    Envelope {
        node: "a.node.example".parse().unwrap(),
        version: Version { epoch: 1, generation },
        digest: Entries::new(entries(plan)).unwrap().digest(),
        signature: vec![1],
        chain: vec![vec![48]],
    }
}

fn whole(generation: u64, plan: &[&str]) -> Message {
    Message::Whole(Whole { envelope: envelope(generation, plan), entries: entries(plan) }.try_into().unwrap())
}

fn peer_added(base_generation: u64, generation: u64) -> Message {
    let delta = Delta {
        envelope: envelope(generation, &[NODE, PEER]),
        base_generation,
        upsert: entries(&[PEER]),
        remove: Vec::new(),
    };
    Message::Delta(delta.try_into().unwrap())
}

fn good(_: &Envelope) -> Result<(), String> {
    Ok(())
}

fn version(generation: u64) -> Version {
    Version { epoch: 1, generation }
}

/// A node that carries out generation 5.
fn plans() -> Plans {
    let mut plans = Plans::new(PlanState::new("a.node.example".parse().unwrap()));
    plans.offered(whole(5, &[NODE]), good).unwrap();
    assert!(plans.applied(version(5)).is_some());
    plans
}

#[test]
fn a_plan_counts_once_it_is_carried_out() {
    let mut plans = plans();
    let (plan, offered) = plans.offered(peer_added(5, 6), good).unwrap();
    assert_eq!((plan.peers.len(), offered), (1, version(6)));
    assert!(plans.is_busy());
    assert_eq!(plans.version(), version(5), "nothing says that it is carried out");
    assert!(plans.applied(version(7)).is_none(), "another plan was meant");
    assert_eq!(plans.applied(version(6)).unwrap().entries().iter().count(), 2);
    assert_eq!((plans.version(), plans.is_busy()), (version(6), false));
}

#[test]
fn a_plan_that_the_node_refuses_leaves_the_one_before() {
    let mut plans = plans();
    plans.offered(peer_added(5, 6), good).unwrap();
    plans.refused();
    assert_eq!((plans.version(), plans.is_busy()), (version(5), false));
    assert!(plans.applied(version(6)).is_some(), "it may still come to carry it out");
    assert_eq!(plans.version(), version(6));
}

#[test]
fn the_refusal_of_one_plan_does_not_bring_back_another_refused_one() {
    let mut plans = plans();
    plans.offered(peer_added(5, 6), good).unwrap();
    plans.refused();
    plans.offered(whole(7, &[NODE, PEER]), good).unwrap();
    plans.refused();
    assert_eq!(plans.version(), version(5));
    assert!(plans.applied(version(6)).is_none());
}

#[test]
fn changes_that_do_not_fit_ask_for_the_whole() {
    let mut plans = plans();
    let rejected = plans.offered(peer_added(4, 6), good).unwrap_err();
    assert!(rejected.ask_again && rejected.version == version(6), "{rejected:?}");
    assert_eq!(plans.base(), (Version::default(), Vec::new()), "nothing that changes could be made to");
    plans.offered(whole(6, &[NODE, PEER]), good).unwrap();
    plans.applied(version(6));
    assert_eq!(plans.base().0, version(6));
}

#[test]
fn a_plan_without_a_good_signature_is_not_tried() {
    let mut plans = plans();
    let rejected = plans.offered(whole(6, &[NODE, PEER]), |_| Err("forged".to_owned())).unwrap_err();
    assert!(rejected.reason.contains("forged") && !rejected.ask_again, "{rejected:?}");
    let older = plans.offered(whole(4, &[NODE]), good).unwrap_err();
    assert!(older.reason.contains("older"), "{older:?}");
    assert_eq!((plans.version(), plans.is_busy()), (version(5), false));
}
