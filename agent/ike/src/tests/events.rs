//! What a data plane tells of SAs, and what comes of it.

use espalier_model::sa::SaEvent;

use super::puppet::{Puppet, notifies};
use super::*;
use crate::wire::{ExchangeType, NotifyType, Payload};

fn up() -> Pair {
    let mut pair = Pair::with_peers([peer(0, psk("secret")), peer(1, psk("secret"))]);
    pair.drive(|_| 1);
    pair.assert_up();
    pair
}

#[test]
fn a_pair_at_its_hard_limit_goes_at_once_and_a_new_one_comes() {
    for side in 0..2 {
        let mut pair = up();
        let old = pair.nodes[side].endpoint.status()[0].children[0].clone();
        pair.nodes[side].endpoint.handle_event(pair.now, &SaEvent::Hard(old.id));
        pair.nodes[side].endpoint.handle_event(pair.now, &SaEvent::Hard(old.id));
        pair.collect();
        for _ in 0..20 {
            pair.drive(|_| 1);
            pair.wait(Duration::from_millis(500));
        }
        let rule = "net".parse().unwrap();
        let told = pair.nodes[side].told.iter().filter(|what| matches!(what, What::ChildExhausted { .. })).count();
        assert_eq!(told, 1, "{:?}", pair.nodes[side].told);
        assert!(pair.nodes[side].told.contains(&What::ChildExhausted { rule, child: old.id }));
        let children = pair.nodes.each_ref().map(|node| node.endpoint.status().remove(0).children);
        assert!(children.iter().all(|children| children.len() == 1), "{children:?}");
        assert_ne!(children[side][0].id, old.id);
        assert_eq!(children[0][0].inbound, children[1][0].outbound);
        assert!(pair.nodes.iter().all(|node| node.up == 1 && node.down.is_empty() && node.removed.len() == 2));
    }
}

#[test]
fn a_pair_whose_replacement_the_peer_refuses_is_given_up_at_its_hard_limit() {
    let mut puppet = Puppet::responds();
    let child = puppet.stage.node.endpoint.status()[0].children[0].clone();
    puppet.event(&SaEvent::Soft(child.id));
    let (header, asked) = puppet.receive();
    assert!(notifies(&asked).contains(&NotifyType::REKEY_SA));
    let refusal = [Payload::Notify(crate::wire::Notify::new(NotifyType::NO_ADDITIONAL_SAS, vec![]))];
    puppet.respond(ExchangeType::CREATE_CHILD_SA, header.message_id, &refusal);
    puppet.stage.take();
    puppet.event(&SaEvent::Hard(child.id));
    let (header, asked) = puppet.receive();
    let deleted = |p: &Payload| matches!(p, Payload::Delete(d) if d.spis == [child.inbound]);
    assert!(header.exchange == ExchangeType::INFORMATIONAL && asked.iter().any(deleted), "{asked:?}");
    puppet.respond(ExchangeType::INFORMATIONAL, header.message_id, &[]);
    let (header, asked) = puppet.receive();
    assert_eq!(header.exchange, ExchangeType::CREATE_CHILD_SA, "a new one is asked for without a wait");
    assert!(!notifies(&asked).contains(&NotifyType::REKEY_SA));
}
