//! What a data plane tells of SAs, and what comes of it.

use espalier_model::sa::{SaEvent, Spi};

use super::puppet::{Puppet, Stage, notifies};
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

/// Where the peer of side 0 is.
fn elsewhere(host: u8) -> IpAddr {
    format!("192.0.2.{host}").parse().unwrap()
}

#[test]
fn an_spi_that_no_sa_has_is_told_to_the_peer_of_its_address_and_not_often() {
    let mut puppet = Puppet::responds();
    let spi = Spi::try_from(0x0bad_cafe).unwrap();
    let stray = |remote| SaEvent::UnknownSpi { spi, remote };
    let mut told = Vec::new();
    for tenth in 0..250 {
        puppet.event(&stray(elsewhere(1)));
        puppet.stage.wait(Duration::from_millis(100));
        if !puppet.stage.sent.is_empty() {
            let (header, asked) = puppet.receive();
            let [Payload::Notify(notify)] = &asked[..] else { panic!("{asked:?}") };
            assert_eq!(notify.notify_type, NotifyType::INVALID_SPI);
            assert_eq!(notify.data, spi.get().to_be_bytes());
            puppet.respond(ExchangeType::INFORMATIONAL, header.message_id, &[]);
            told.push(tenth);
        }
    }
    assert_eq!(told.len(), 3, "in 25 seconds: {told:?}");
    assert!(told[0] >= 19, "an answer that is under way may explain it");
    assert_eq!(puppet.stage.node.endpoint.status()[0].children.len(), 1, "and nothing else comes of it");
}

#[test]
fn an_spi_from_another_address_or_that_an_sa_has_by_now_is_told_to_nobody() {
    let mut puppet = Puppet::responds();
    let inbound = puppet.stage.node.endpoint.status()[0].children[0].inbound;
    let other = Spi::try_from(0x0bad_cafe).unwrap();
    for (spi, remote) in [(other, elsewhere(7)), (inbound, elsewhere(1))] {
        puppet.event(&SaEvent::UnknownSpi { spi, remote });
        for _ in 0..40 {
            puppet.stage.wait(Duration::from_millis(100));
        }
        assert!(puppet.stage.sent.is_empty());
    }
}

#[test]
fn an_spi_is_told_to_nobody_while_an_sa_is_set_up() {
    let mut stage = Stage::new(0, peer(0, psk("secret")));
    stage.take();
    let spi = Spi::try_from(0x0bad_cafe).unwrap();
    stage.node.endpoint.handle_event(stage.now, &SaEvent::UnknownSpi { spi, remote: elsewhere(1) });
    stage.collect();
    assert!(stage.sent.is_empty());
}
