//! INFORMATIONAL exchanges, message IDs, and messages that belong to nothing.

use super::puppet::{Puppet, notifies};
use super::*;
use crate::wire::{
    Delete, ExchangeType, Flags, Header, IkeSpi, Message, Notify, NotifyType, Payload, PayloadType, ProtocolId,
};

const INFORMATIONAL: ExchangeType = ExchangeType::INFORMATIONAL;

fn deletion(spi: u32) -> Payload {
    Payload::Delete(Delete::esp(vec![espalier_model::sa::Spi::try_from(spi).unwrap()]))
}

#[test]
fn every_request_is_answered_with_its_own_number_and_a_repetition_alike() {
    let mut puppet = Puppet::initiates();
    for _ in 0..3 {
        let request = puppet.sealed(INFORMATIONAL, &[]);
        let mut answers = Vec::new();
        for _ in 0..3 {
            puppet.stage.deliver(&request);
            answers.push(puppet.stage.take());
        }
        assert!(answers[0].len() == 1 && answers.iter().all(|answer| *answer == answers[0]));
        let header = Header::parse(&answers[0][0]).unwrap().0;
        assert_eq!((header.message_id, header.flags), (puppet.next - 1, Flags { initiator: false, response: true }));
    }
    let unknown = puppet.request(ExchangeType(240), &[]);
    assert!(notifies(&unknown).iter().all(|kind| kind.is_error()) && !unknown.is_empty());
}

#[test]
fn a_request_outside_the_window_is_not_acknowledged() {
    let mut puppet = Puppet::initiates();
    let next = puppet.next;
    for id in [next + 1, next + 100, u32::MAX, 0, next - 1] {
        let flags = Flags { initiator: true, response: false };
        let header = puppet.header(INFORMATIONAL, flags, id);
        let datagram = puppet.sealed_with(header, &[]);
        puppet.stage.deliver(&datagram);
        let acknowledged = |d: &Vec<u8>| Header::parse(d).unwrap().0.flags.response;
        assert!(!puppet.stage.take().iter().any(acknowledged), "message ID {id}");
    }
    assert!(puppet.request(INFORMATIONAL, &[]).is_empty(), "the window has not moved");
}

#[test]
fn the_deletion_of_a_child_sa_names_the_other_half_and_ends_both() {
    let mut puppet = Puppet::initiates();
    let ours = puppet.stage.node.inbound[0].transform.spi();
    assert!(puppet.request(INFORMATIONAL, &[deletion(0x9999)]).is_empty(), "there is no such child SA");
    let answer = puppet.request(INFORMATIONAL, &[deletion(0x5000)]);
    assert_eq!(answer, [Payload::Delete(Delete::esp(vec![ours]))]);
    assert_eq!(puppet.stage.node.removed, [Direction::Outbound], "late packets are still received");
    puppet.stage.wait(Duration::from_secs(6));
    assert_eq!(puppet.stage.node.removed, [Direction::Outbound, Direction::Inbound]);
}

#[test]
fn deletions_that_cross_name_nothing_twice() {
    let mut puppet = Puppet::initiates();
    let ours = puppet.stage.node.inbound[0].transform.spi();
    let config = PeerConfig { children: vec![], ..peer(1, psk("secret")) };
    puppet.stage.node.endpoint.configure(puppet.stage.now, vec![config]);
    puppet.stage.collect();
    let (header, asked) = puppet.receive();
    assert_eq!(asked, [Payload::Delete(Delete::esp(vec![ours]))], "only the inbound half of the sender");
    assert!(puppet.request(INFORMATIONAL, &[deletion(0x5000)]).is_empty(), "it is being deleted already");
    puppet.respond(INFORMATIONAL, header.message_id, &[]);
    puppet.stage.wait(Duration::from_secs(6));
    assert_eq!(puppet.stage.node.removed, [Direction::Outbound, Direction::Inbound]);
    assert!(puppet.stage.node.endpoint.status()[0].children.is_empty());
}

#[test]
fn the_deletion_of_an_ike_sa_is_answered_with_nothing_and_ends_all() {
    let mut puppet = Puppet::initiates();
    assert!(puppet.request(INFORMATIONAL, &[Payload::Delete(Delete::ike())]).is_empty());
    assert!(puppet.stage.node.endpoint.status().is_empty());
    assert_eq!(puppet.stage.node.removed, [Direction::Outbound, Direction::Inbound]);
}

#[test]
fn one_request_is_open_at_a_time_and_sent_again_in_the_same_bytes() {
    let mut puppet = Puppet::responds();
    puppet.stage.wait(Duration::from_secs(31));
    let first = puppet.stage.take();
    assert_eq!(first.len(), 1, "a sign of life is asked for");
    let mut config = peer(0, psk("secret"));
    config.children.push(ChildConfig { rule: "second".parse().unwrap(), ..config.children[0].clone() });
    puppet.stage.node.endpoint.configure(puppet.stage.now, vec![config]);
    puppet.stage.collect();
    assert!(puppet.stage.take().is_empty(), "the next request waits for the answer");
    puppet.stage.wait(Duration::from_secs(1));
    assert!(puppet.stage.take() == first, "the same bytes");
    // A request of the peer is carried out meanwhile.
    assert!(puppet.request(INFORMATIONAL, &[]).is_empty());
    let (header, _) = Header::parse(&first[0]).unwrap();
    puppet.respond(INFORMATIONAL, header.message_id, &[]);
    let (next, _) = puppet.receive();
    assert_eq!((next.exchange, next.message_id), (ExchangeType::CREATE_CHILD_SA, header.message_id + 1));
}

#[test]
fn what_anybody_may_have_sent_ends_nothing_and_is_not_answered() {
    let mut puppet = Puppet::initiates();
    let flags = |initiator, response| Flags { initiator, response };
    let own = |flags| puppet.header(INFORMATIONAL, flags, 3);
    let none = |flags| Header { initiator_spi: IkeSpi::ZERO, responder_spi: IkeSpi::ZERO, ..own(flags) };
    let stranger = |flags| Header { initiator_spi: IkeSpi(1), responder_spi: IkeSpi(2), ..own(flags) };
    for (header, kind) in [
        (own(flags(false, true)), NotifyType::INVALID_IKE_SPI),
        (own(flags(true, true)), NotifyType::INVALID_IKE_SPI),
        (own(flags(true, false)), NotifyType::INVALID_SPI),
        (stranger(flags(true, true)), NotifyType::INVALID_IKE_SPI),
        (stranger(flags(false, true)), NotifyType::INVALID_MAJOR_VERSION),
        (none(flags(true, false)), NotifyType::INVALID_SPI),
    ] {
        let payloads = vec![Payload::Notify(Notify::new(kind, vec![0; 4]))];
        puppet.stage.deliver(&Message { header, payloads }.emit().unwrap());
        // Whether the peer is there may be asked, on the SA itself.
        let in_clear = |d: &Vec<u8>| Header::parse(d).unwrap().1 != PayloadType::SK;
        assert!(!puppet.stage.take().iter().any(in_clear), "{kind:?} {header:?}");
    }
    assert_eq!(puppet.stage.node.endpoint.status().len(), 1);
    assert!(puppet.stage.node.down.is_empty() && puppet.stage.node.removed.is_empty());
}

#[test]
fn what_is_not_understood_has_no_effect() {
    let mut puppet = Puppet::initiates();
    let strange = [
        Payload::VendorId(b"somebody else".to_vec()),
        Payload::Unknown(PayloadType(200), vec![1, 2, 3]),
        Payload::Notify(Notify::new(NotifyType(8_000), vec![1])),
        Payload::Notify(Notify::new(NotifyType(40_000), vec![2; 300])),
        Payload::Notify(Notify::new(NotifyType(65_000), vec![])),
    ];
    assert!(puppet.request(INFORMATIONAL, &strange).is_empty());
    assert_eq!(puppet.stage.node.endpoint.status()[0].children.len(), 1);
    assert!(puppet.stage.node.down.is_empty());
}

#[test]
fn a_response_that_nobody_waits_for_is_not_answered() {
    let mut puppet = Puppet::initiates();
    for id in 0..4 {
        puppet.respond(INFORMATIONAL, id, &[Payload::Delete(Delete { protocol: ProtocolId::IKE, spis: vec![] })]);
        assert!(puppet.stage.take().is_empty(), "message ID {id}");
    }
    assert_eq!(puppet.stage.node.endpoint.status().len(), 1);
}
