//! `CREATE_CHILD_SA`: how SAs come, are replaced, and are refused.

use espalier_crypto::KeyShare;

use super::puppet::{Puppet, Stage, first_request, key_share, nonce, notifies, types};
use super::*;
use crate::content::Content;
use crate::wire::proposal::{self, ChildExchange, key_exchange_id};
use crate::wire::{
    Delete, ExchangeType, Header, IkeSpi, KeyExchangeData, Notify, NotifyType, Payload, PayloadType, ProtocolId,
    SpiField, Transform, TransformType,
};

const CREATE: ExchangeType = ExchangeType::CREATE_CHILD_SA;

fn spi(value: u32) -> espalier_model::sa::Spi {
    value.try_into().unwrap()
}

fn error(kind: NotifyType) -> Payload {
    Payload::Notify(Notify::new(kind, vec![]))
}

/// A peer of the left whose SAs are soon replaced.
fn hasty(change: impl FnOnce(&mut Profile, &mut Profile)) -> PeerConfig {
    let mut config = peer(0, psk("secret"));
    change(&mut config.profile, &mut config.children[0].profile);
    config
}

/// Waits for the request that replaces an SA of the left.
fn asked_for_a_child(seconds: u64) -> (Puppet, Header, Vec<Payload>) {
    let mut puppet = Puppet::responds_with(hasty(|_, child| child.child_rekey_seconds = 5));
    puppet.stage.wait(Duration::from_secs(seconds));
    let (header, payloads) = puppet.receive();
    assert_eq!(header.exchange, CREATE);
    (puppet, header, payloads)
}

fn asked_for_an_ike_sa() -> (Puppet, Header, Vec<Payload>) {
    let mut puppet = Puppet::responds_with(hasty(|ike, _| ike.ike_rekey_seconds = 5));
    puppet.stage.wait(Duration::from_secs(5));
    let (header, payloads) = puppet.receive();
    assert_eq!(header.exchange, CREATE);
    (puppet, header, payloads)
}

/// Builds what the puppet asks for a child SA with.
fn child_request(inbound: u32, rekeyed: Option<u32>) -> Vec<Payload> {
    let share = key_share();
    let method = key_exchange_id(share.method());
    let mut payloads: Vec<_> = rekeyed
        .map(|old| Payload::Notify(Notify::about(NotifyType::REKEY_SA, ProtocolId::ESP, spi(old))))
        .into_iter()
        .collect();
    payloads.extend([
        Payload::SecurityAssociation(proposal::offer_child(&profile(), ChildExchange::Create, spi(inbound))),
        Payload::Nonce(nonce(3)),
        Payload::KeyExchange(KeyExchangeData { method, data: share.public().to_vec() }),
        Payload::SelectorsInitiator(selectors(0)),
        Payload::SelectorsResponder(selectors(1)),
    ]);
    payloads
}

/// The same for an IKE SA.
fn ike_request() -> Vec<Payload> {
    let share = key_share();
    let method = key_exchange_id(share.method());
    vec![
        Payload::SecurityAssociation(proposal::offer_ike(&profile(), SpiField::Ike(IkeSpi(0xabc)))),
        Payload::Nonce(nonce(3)),
        Payload::KeyExchange(KeyExchangeData { method, data: share.public().to_vec() }),
    ]
}

#[test]
fn a_child_sa_is_replaced_by_name_with_a_key_exchange_of_its_own() {
    let (puppet, _, payloads) = asked_for_a_child(5);
    use PayloadType as P;
    assert_eq!(types(&payloads), [P::NOTIFY, P::SA, P::NONCE, P::KE, P::TSI, P::TSR]);
    let Payload::Notify(rekeyed) = &payloads[0] else { panic!("{payloads:?}") };
    assert_eq!((rekeyed.notify_type, rekeyed.protocol), (NotifyType::REKEY_SA, ProtocolId::ESP));
    assert_eq!((rekeyed.spi, rekeyed.data.len()), (SpiField::Child(puppet.stage.node.inbound[0].transform.spi()), 0));
    let content = Content::read(payloads).unwrap();
    let group = Transform::new(TransformType::KE, content.key_exchange.unwrap().method);
    let proposals = content.proposals.unwrap();
    assert!(proposals.iter().all(|p| p.transforms.contains(&group) && p.protocol == ProtocolId::ESP));
    assert!(proposals.iter().all(|p| p.spi.child().is_some_and(|spi| Some(spi) != rekeyed_spi(&puppet))));
    assert_eq!(content.selectors_initiator, Some(selectors(0)), "no less than what is in use");
    assert_eq!(content.selectors_responder, Some(selectors(1)));
}

fn rekeyed_spi(puppet: &Puppet) -> Option<espalier_model::sa::Spi> {
    puppet.stage.node.inbound.first().map(|sa| sa.transform.spi())
}

#[test]
fn the_time_of_a_rekey_differs_from_node_to_node() {
    let mut waits = std::collections::BTreeSet::new();
    for seed in 0..8 {
        let config = hasty(|ike, child| (ike.ike_rekey_seconds, child.child_rekey_seconds) = (9_000, 1_000));
        let mut stage = Stage::new(0, config);
        // One more draw before the handshake makes all that follows another.
        (0..seed)
            .for_each(|n| stage.deliver_from("203.0.113.9:500", &first_request(n + 1, &nonce(1), &key_share(), &[])));
        stage.sent.truncate(1);
        let mut puppet = Puppet::answers(stage);
        let mut waited = 0;
        loop {
            puppet.stage.wait(Duration::from_secs(1));
            waited += 1;
            let sent = puppet.stage.take();
            let Some(datagram) = sent.first() else { continue };
            let header = Header::parse(datagram).unwrap().0;
            if header.exchange == CREATE {
                break;
            }
            puppet.respond(header.exchange, header.message_id, &[]);
        }
        assert!((900..=1_000).contains(&waited), "{waited}");
        waits.insert(waited);
    }
    assert!(waits.len() > 3, "{waits:?}");
}

#[test]
fn a_temporary_failure_is_not_tried_again_at_once() {
    let (mut puppet, header, _) = asked_for_a_child(5);
    puppet.respond(CREATE, header.message_id, &[error(NotifyType::TEMPORARY_FAILURE)]);
    assert!(puppet.stage.take().is_empty());
    puppet.stage.wait(Duration::from_secs(1));
    let (again, payloads) = puppet.receive();
    assert_eq!((again.exchange, again.message_id), (CREATE, header.message_id + 1));
    assert_eq!(notifies(&payloads), [NotifyType::REKEY_SA]);
}

#[test]
fn a_child_sa_that_the_peer_does_not_have_is_made_anew() {
    let (mut puppet, header, _) = asked_for_a_child(5);
    puppet.respond(CREATE, header.message_id, &[error(NotifyType::CHILD_SA_NOT_FOUND)]);
    let (again, payloads) = puppet.receive();
    assert_eq!(again.exchange, CREATE);
    assert!(notifies(&payloads).is_empty(), "nothing is replaced");
    assert!(puppet.stage.node.removed.contains(&Direction::Outbound));
}

#[test]
fn a_child_sa_that_cannot_be_replaced_does_not_outlive_its_time() {
    let (mut puppet, header, _) = asked_for_a_child(5);
    puppet.respond(CREATE, header.message_id, &[error(NotifyType::NO_PROPOSAL_CHOSEN)]);
    assert_eq!(puppet.stage.node.endpoint.status().len(), 1, "a refusal alone ends nothing");
    for _ in 0..300 {
        puppet.stage.wait(Duration::from_secs(1));
        for datagram in puppet.stage.take() {
            let header = Header::parse(&datagram).unwrap().0;
            match header.exchange {
                CREATE => puppet.respond(CREATE, header.message_id, &[error(NotifyType::NO_PROPOSAL_CHOSEN)]),
                ExchangeType::INFORMATIONAL => puppet.respond(header.exchange, header.message_id, &[]),
                _ => {}
            }
        }
        if puppet.stage.node.endpoint.status().is_empty() {
            break;
        }
    }
    puppet.stage.wait(Duration::from_secs(6));
    assert!(puppet.stage.node.endpoint.status().is_empty(), "the IKE SA and its child SA are closed");
    assert!(puppet.stage.node.removed.contains(&Direction::Inbound));
}

#[test]
fn temporary_failures_that_never_end_close_the_ike_sa() {
    let (mut puppet, header, _) = asked_for_a_child(5);
    puppet.respond(CREATE, header.message_id, &[error(NotifyType::TEMPORARY_FAILURE)]);
    let closed = (0..2_000).find(|_| {
        puppet.stage.wait(Duration::from_millis(200));
        for datagram in puppet.stage.take() {
            let header = Header::parse(&datagram).unwrap().0;
            if header.exchange == CREATE {
                puppet.respond(CREATE, header.message_id, &[error(NotifyType::TEMPORARY_FAILURE)]);
            } else if header.exchange == ExchangeType::INFORMATIONAL {
                puppet.respond(header.exchange, header.message_id, &[]);
            }
        }
        puppet.stage.node.endpoint.status().is_empty()
    });
    let minutes = closed.unwrap() / 5 / 60;
    assert!((2..6).contains(&minutes), "after {minutes} minutes");
}

#[test]
fn a_child_sa_that_is_refused_for_an_unknown_reason_is_asked_for_later() {
    let (mut puppet, header, _) = asked_for_a_child(5);
    puppet.respond(CREATE, header.message_id, &[error(NotifyType(8_000))]);
    assert!(puppet.stage.take().is_empty(), "the request has failed");
    puppet.stage.wait(Duration::from_secs(5));
    let again = puppet.stage.take().iter().any(|d| Header::parse(d).unwrap().0.exchange == CREATE);
    assert!(!again, "and is not repeated soon");
    assert_eq!(puppet.stage.node.endpoint.status()[0].children.len(), 1, "what was to be replaced is still there");
}

#[test]
fn a_key_exchange_that_is_not_chosen_is_ignored() {
    let mut puppet = Puppet::initiates();
    let mut payloads = child_request(0x5100, Some(0x5000));
    let Payload::SecurityAssociation(proposals) = &mut payloads[1] else { panic!("SA") };
    for proposal in proposals.iter_mut() {
        proposal.transforms.retain(|t| t.kind != TransformType::KE);
        proposal.transforms.push(Transform::new(TransformType::KE, 0));
    }
    let answer = puppet.request(CREATE, &payloads);
    use PayloadType as P;
    assert_eq!(types(&answer), [P::SA, P::NONCE, P::TSI, P::TSR]);
}

#[test]
fn fragments_but_the_first_are_agreed_to_where_all_ports_are() {
    let asked = |narrow: bool, ask: bool| {
        let mut config = peer(1, psk("secret"));
        let https = |ts: &TrafficSelector| {
            TrafficSelector::new(Protocol::TCP, PortRange::new(443, 443).unwrap(), ts.first(), ts.last()).unwrap()
        };
        if narrow {
            config.children[0].local = config.children[0].local.iter().map(https).collect();
        }
        let (mut puppet, mut payloads) = Puppet::half_open(config);
        payloads.extend(ask.then(|| error(NotifyType::NON_FIRST_FRAGMENTS_ALSO)));
        let answer = puppet.request(ExchangeType::IKE_AUTH, &payloads);
        assert_eq!(puppet.stage.node.inbound.len(), 1);
        notifies(&answer).contains(&NotifyType::NON_FIRST_FRAGMENTS_ALSO)
    };
    assert!(asked(false, true));
    assert!(!asked(false, false), "the initiator has not asked for them");
    assert!(!asked(true, true), "their ports cannot be seen");
}

#[test]
fn a_replacement_keeps_the_traffic_of_what_it_replaces() {
    let mut puppet = Puppet::initiates();
    let mut payloads = child_request(0x5100, Some(0x5000));
    let wider = TrafficSelector::from_net(Protocol::Any, PortRange::ANY, "10.0.0.0/16".parse().unwrap());
    *payloads.last_mut().unwrap() = Payload::SelectorsResponder(vec![wider]);
    let answer = Content::read(puppet.request(CREATE, &payloads)).unwrap();
    assert_eq!(answer.selectors_initiator, Some(selectors(0)));
    assert_eq!(answer.selectors_responder, Some(selectors(1)));
}

#[test]
fn an_ike_sa_is_replaced_with_a_key_exchange_and_deleted_last_of_all() {
    let (mut puppet, header, payloads) = asked_for_an_ike_sa();
    use PayloadType as P;
    assert_eq!(types(&payloads), [P::SA, P::NONCE, P::KE], "no selectors");
    let content = Content::read(payloads).unwrap();
    let proposals = content.proposals.unwrap();
    assert!(proposals.iter().all(|p| p.spi.ike().is_some_and(|spi| spi != puppet.spis.initiator)));
    assert!(proposals.iter().all(|p| p.transforms.iter().all(|t| t.kind != TransformType::KE || t.id != 0)));
    let chosen = proposal::choose_ike(&profile(), &proposals).unwrap();
    let (public, _) = KeyShare::respond(chosen.suite.key_exchange, &content.key_exchange.unwrap().data).unwrap();
    let answer = [
        Payload::SecurityAssociation(vec![chosen.suite.answer(chosen.number, SpiField::Ike(IkeSpi(0xdef)))]),
        Payload::Nonce(nonce(3)),
        Payload::KeyExchange(KeyExchangeData { method: key_exchange_id(chosen.suite.key_exchange), data: public }),
    ];
    puppet.respond(CREATE, header.message_id, &answer);
    let (last, payloads) = puppet.receive();
    assert_eq!((last.message_id, payloads), (header.message_id + 1, vec![Payload::Delete(Delete::ike())]));
    puppet.respond(ExchangeType::INFORMATIONAL, last.message_id, &[]);
    let status = puppet.stage.node.endpoint.status();
    assert_eq!((status.len(), status[0].children.len()), (1, 1), "the successor has the child SA");
    assert_eq!(status[0].spis.responder, IkeSpi(0xdef));
    assert!(status[0].initiator && puppet.stage.node.removed.is_empty());
    puppet.stage.wait(Duration::from_secs(11));
    let sent = puppet.stage.take();
    let (first, _) = Header::parse(&sent[0]).unwrap();
    assert_eq!((first.responder_spi, first.message_id, first.flags.initiator), (IkeSpi(0xdef), 0, true));
    assert_eq!(puppet.stage.node.endpoint.sa_count(), 1, "nothing is left of the old one");
}

#[test]
fn a_request_to_replace_what_is_not_there_names_it() {
    let mut puppet = Puppet::initiates();
    let answer = puppet.request(CREATE, &child_request(0x5100, Some(0x7777)));
    let [Payload::Notify(notify)] = &answer[..] else { panic!("{answer:?}") };
    assert_eq!((notify.notify_type, notify.spi), (NotifyType::CHILD_SA_NOT_FOUND, SpiField::Child(spi(0x7777))));
    assert_eq!(notify.protocol, ProtocolId::ESP);
}

#[test]
fn a_replacement_is_answered_in_order_and_stands_before_its_answer_leaves() {
    let mut puppet = Puppet::initiates();
    puppet.stage.orders.clear();
    let answer = puppet.request(CREATE, &child_request(0x5100, Some(0x5000)));
    use PayloadType as P;
    assert_eq!(types(&answer), [P::SA, P::NONCE, P::KE, P::TSI, P::TSR]);
    let at = |kind| puppet.stage.orders.iter().position(|order| *order == kind);
    assert!(at("inbound").unwrap() < at("transmit").unwrap(), "{:?}", puppet.stage.orders);
    assert_eq!(at("outbound"), None, "what it sends still goes through the old one");
    puppet.request(ExchangeType::INFORMATIONAL, &[Payload::Delete(Delete::esp(vec![spi(0x5000)]))]);
    assert_eq!(puppet.stage.node.outbound.last().map(|sa| sa.transform.spi()), Some(spi(0x5100)));
}

#[test]
fn another_method_in_a_replacement_is_refused_with_the_one_that_is_wanted() {
    let mut config = peer(1, psk("secret"));
    config.children[0].profile.key_exchange = vec![KeyExchange::P256];
    let mut puppet = Puppet::initiates_with(config, |_| {});
    let answer = puppet.request(CREATE, &child_request(0x5100, Some(0x5000)));
    let data = key_exchange_id(KeyExchange::P256).to_be_bytes().to_vec();
    assert_eq!(answer, [Payload::Notify(Notify::new(NotifyType::INVALID_KE_PAYLOAD, data))]);
}

#[test]
fn an_ike_sa_is_not_replaced_without_a_key_exchange() {
    let mut puppet = Puppet::initiates();
    let mut payloads = ike_request();
    let Payload::SecurityAssociation(proposals) = &mut payloads[0] else { panic!("SA") };
    for proposal in proposals.iter_mut() {
        proposal.transforms.retain(|t| t.kind != TransformType::KE);
        proposal.transforms.push(Transform::new(TransformType::KE, 0));
    }
    payloads.pop();
    assert_eq!(puppet.request(CREATE, &payloads), [error(NotifyType::NO_PROPOSAL_CHOSEN)]);
    assert_eq!(puppet.stage.node.endpoint.sa_count(), 1);
}

#[test]
fn no_child_sa_comes_while_the_ike_sa_is_replaced_but_one_may_go() {
    let (mut puppet, _, _) = asked_for_an_ike_sa();
    let temporary = [error(NotifyType::TEMPORARY_FAILURE)];
    for rekeyed in [None, Some(0x6000)] {
        let mut payloads = child_request(0x6100, rekeyed);
        let count = payloads.len();
        payloads.swap(count - 1, count - 2);
        assert_eq!(puppet.request(CREATE, &payloads), temporary);
    }
    let ours = puppet.stage.node.inbound[0].transform.spi();
    let deletion = Payload::Delete(Delete::esp(vec![spi(0x6000)]));
    let answer = puppet.request(ExchangeType::INFORMATIONAL, &[deletion]);
    assert_eq!(answer, [Payload::Delete(Delete::esp(vec![ours]))]);
}

#[test]
fn an_ike_sa_is_not_replaced_while_a_child_sa_is_but_deleted_as_usual() {
    let (mut puppet, _, _) = asked_for_a_child(5);
    assert_eq!(puppet.request(CREATE, &ike_request()), [error(NotifyType::TEMPORARY_FAILURE)]);
    let ours = puppet.stage.node.inbound[0].transform.spi();
    let deletion = Payload::Delete(Delete::esp(vec![spi(0x6000)]));
    let answer = puppet.request(ExchangeType::INFORMATIONAL, &[deletion]);
    assert_eq!(answer, [Payload::Delete(Delete::esp(vec![ours]))], "although it is being replaced");
    assert!(puppet.request(ExchangeType::INFORMATIONAL, &[Payload::Delete(Delete::ike())]).is_empty());
}

#[test]
fn both_ends_may_replace_a_child_sa_or_the_ike_sa_at_once() {
    let (mut puppet, _, _) = asked_for_a_child(5);
    let mut payloads = child_request(0x6100, Some(0x6000));
    let count = payloads.len();
    (payloads[count - 2], payloads[count - 1]) =
        (Payload::SelectorsInitiator(selectors(1)), Payload::SelectorsResponder(selectors(0)));
    assert!(types(&puppet.request(CREATE, &payloads)).contains(&PayloadType::SA), "answered as usual");

    let (mut puppet, _, _) = asked_for_an_ike_sa();
    assert!(types(&puppet.request(CREATE, &ike_request())).contains(&PayloadType::SA));
    assert!(puppet.request(ExchangeType::INFORMATIONAL, &[Payload::Delete(Delete::ike())]).is_empty());
}

#[test]
fn a_child_sa_that_is_being_deleted_is_not_replaced() {
    let mut puppet = Puppet::initiates();
    let config = PeerConfig { children: vec![], ..peer(1, psk("secret")) };
    puppet.stage.node.endpoint.configure(puppet.stage.now, vec![config]);
    puppet.stage.collect();
    puppet.stage.take();
    let answer = puppet.request(CREATE, &child_request(0x5100, Some(0x5000)));
    assert_eq!(answer, [error(NotifyType::TEMPORARY_FAILURE)]);
}

#[test]
fn an_ike_sa_that_is_being_deleted_is_not_replaced() {
    let mut puppet = Puppet::initiates();
    puppet.stage.node.endpoint.configure(puppet.stage.now, vec![]);
    puppet.stage.collect();
    puppet.stage.take();
    assert_eq!(puppet.request(CREATE, &ike_request()), [error(NotifyType::TEMPORARY_FAILURE)]);
    assert_eq!(puppet.request(CREATE, &child_request(0x5100, None)), [error(NotifyType::TEMPORARY_FAILURE)]);
    assert!(puppet.request(ExchangeType::INFORMATIONAL, &[Payload::Delete(Delete::ike())]).is_empty());
    assert_eq!(puppet.stage.node.endpoint.sa_count(), 0);
}

#[test]
fn a_refused_child_sa_leaves_the_ike_sa() {
    let mut puppet = Puppet::initiates();
    let mut payloads = child_request(0x5100, None);
    *payloads.last_mut().unwrap() = Payload::SelectorsResponder(selectors(7));
    assert_eq!(puppet.request(CREATE, &payloads), [error(NotifyType::TS_UNACCEPTABLE)]);
    assert!(puppet.request(ExchangeType::INFORMATIONAL, &[]).is_empty());
}

#[test]
fn narrowing_keeps_the_first_choice_of_the_initiator() {
    let mut config = peer(1, psk("secret"));
    let net = |text: &str| vec![TrafficSelector::from_net(Protocol::Any, PortRange::ANY, text.parse().unwrap())];
    let rule = |name: &str, local: &str| ChildConfig {
        rule: name.parse().unwrap(),
        local: net(local),
        ..config.children[0].clone()
    };
    config.children = vec![rule("low", "10.0.1.0/25"), rule("high", "10.0.1.128/25")];
    let asked = [net("10.0.1.200/32"), net("10.0.1.0/24")].concat();
    let (mut puppet, mut payloads) = Puppet::half_open(config);
    payloads[4] = Payload::SelectorsResponder(asked.clone());
    let answer = puppet.request(ExchangeType::IKE_AUTH, &payloads);
    let narrowed = Content::read(answer).unwrap().selectors_responder.unwrap();
    assert!(narrowed.iter().any(|ts| ts.covers(&asked[0])), "{narrowed:?}");
    assert!(narrowed.iter().all(|ts| asked[1].covers(ts)), "{narrowed:?}");
}

#[test]
fn a_public_value_that_is_none_is_answered_like_every_request() {
    let mut puppet = Puppet::initiates();
    for request in [child_request(0x7000, None), ike_request()] {
        let weak = request.into_iter().map(|payload| {
            // A point of low order, with which every secret would be the same.
            let Payload::KeyExchange(ke) = payload else { return payload };
            Payload::KeyExchange(KeyExchangeData { data: vec![0; ke.data.len()], ..ke })
        });
        let answer = puppet.request(CREATE, &weak.collect::<Vec<_>>());
        assert_eq!(notifies(&answer), [NotifyType::INVALID_SYNTAX]);
    }
    assert_eq!((puppet.stage.node.endpoint.sa_count(), puppet.stage.node.inbound.len()), (1, 1));
    let answer = puppet.request(CREATE, &child_request(0x7000, None));
    assert!(types(&answer).contains(&PayloadType::SA), "the next request is taken: {answer:?}");
}

/// We have asked for a successor of the IKE SA, and so has the peer, which we have answered: the answer to us is to decide.
fn crossed() -> (Puppet, Header, Vec<Payload>, IkeSpi) {
    let (mut puppet, header, payloads) = asked_for_an_ike_sa();
    let answer = Content::read(puppet.request(CREATE, &ike_request())).unwrap();
    let theirs = answer.proposals.unwrap()[0].spi.ike().unwrap();
    assert_eq!(puppet.stage.node.endpoint.sa_count(), 2);
    (puppet, header, payloads, theirs)
}

#[test]
fn a_useless_answer_to_our_offer_leaves_the_sa_that_the_peer_has_made_in_use() {
    let (mut puppet, header, payloads, theirs) = crossed();
    let offer = Content::read(payloads).unwrap().proposals.unwrap();
    let chosen = proposal::choose_ike(&profile(), &offer).unwrap();
    let answer = chosen.suite.answer(chosen.number, SpiField::Ike(IkeSpi(0xdef)));
    puppet.respond(CREATE, header.message_id, &[Payload::SecurityAssociation(vec![answer])]);
    let status = puppet.stage.node.endpoint.status();
    assert_eq!((status.len(), status[0].spis.responder, status[0].children.len()), (1, theirs, 1));
}

#[test]
fn an_answer_that_cannot_be_read_leaves_the_sa_that_the_peer_has_made_in_use() {
    let (mut puppet, header, _, theirs) = crossed();
    let twice = [Payload::Nonce(nonce(1)), Payload::Nonce(nonce(2))];
    puppet.respond(CREATE, header.message_id, &twice);
    let endpoint = &puppet.stage.node.endpoint;
    assert_eq!((endpoint.status()[0].spis.responder, endpoint.sa_count()), (theirs, 1));
}

#[test]
fn a_peer_that_is_no_longer_wanted_leaves_no_sa_behind_that_nothing_decides_on() {
    let (mut puppet, ..) = crossed();
    puppet.stage.node.endpoint.configure(puppet.stage.now, vec![]);
    for _ in 0..60 {
        puppet.stage.wait(Duration::from_secs(5));
    }
    let endpoint = &puppet.stage.node.endpoint;
    assert_eq!((endpoint.sa_count(), endpoint.next_timeout()), (0, None));
}
