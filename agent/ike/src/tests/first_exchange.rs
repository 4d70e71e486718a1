//! What the first exchange looks like, byte for byte, and the detours that it may take.

use super::puppet::{Puppet, Stage, first_request, key_share, nonce, notifies, types};
use super::*;
use crate::content::Content;
use crate::wire::proposal::key_exchange_id;
use crate::wire::{ExchangeType, Flags, Header, IkeSpi, Message, Notify, NotifyType, Payload, PayloadType};

const ORDER: [PayloadType; 5] =
    [PayloadType::SA, PayloadType::KE, PayloadType::NONCE, PayloadType::NOTIFY, PayloadType::NOTIFY];
const NAT: [NotifyType; 2] = [NotifyType::NAT_DETECTION_SOURCE_IP, NotifyType::NAT_DETECTION_DESTINATION_IP];

fn called() -> (Stage, Message, Vec<u8>) {
    let mut stage = Stage::new(0, peer(0, psk("secret")));
    let (message, datagram) = stage.take_message();
    (stage, message, datagram)
}

/// Answers a first message with one notification, in clear.
fn answer(stage: &mut Stage, to: &Message, notify: Notify) -> Message {
    let header = Header { flags: Flags { initiator: false, response: true }, ..to.header };
    stage.deliver(&Message { header, payloads: vec![Payload::Notify(notify)] }.emit().unwrap());
    stage.take_message().0
}

fn cookie(byte: u8) -> Notify {
    Notify::new(NotifyType::COOKIE, vec![byte; 64])
}

fn wants(method: KeyExchange) -> Notify {
    Notify::new(NotifyType::INVALID_KE_PAYLOAD, key_exchange_id(method).to_be_bytes().to_vec())
}

#[test]
fn a_request_names_no_responder_yet_and_has_its_payloads_in_order() {
    let (_, message, datagram) = called();
    let Header { initiator_spi, responder_spi, exchange, flags, message_id } = message.header;
    assert!(initiator_spi != IkeSpi::ZERO && responder_spi == IkeSpi::ZERO);
    assert_eq!(
        (exchange, flags, message_id),
        (ExchangeType::IKE_SA_INIT, Flags { initiator: true, response: false }, 0)
    );
    assert_eq!((datagram[17], datagram[19]), (0x20, 0x08), "version 2.0, and only the bit of the initiator");
    assert_eq!(types(&message.payloads)[..5], ORDER);
    assert_eq!(notifies(&message.payloads)[..2], NAT);
    let content = Content::read(message.payloads).unwrap();
    assert_eq!(content.nonce.unwrap().as_bytes().len(), 32, "half a key of the longest function");
    assert!(content.proposals.unwrap().iter().all(|p| p.spi == crate::wire::SpiField::None));
}

#[test]
fn both_ends_announce_their_hash_functions() {
    let (_, request, _) = called();
    let mut stage = Stage::new(1, peer(1, psk("secret")));
    stage.deliver(&first_request(0x77, &nonce(1), &key_share(), &[]));
    for message in [request, stage.take_message().0] {
        let announced = message.payloads.iter().find_map(|payload| {
            if let Payload::Notify(n) = payload { Some(n) } else { None }
                .filter(|n| n.notify_type == NotifyType::SIGNATURE_HASH_ALGORITHMS)
        });
        let announced = announced.unwrap();
        assert_eq!(announced, &Notify::new(NotifyType::SIGNATURE_HASH_ALGORITHMS, announced.data.clone()));
        let mut numbers: Vec<_> = announced.data.chunks(2).map(|n| u16::from_be_bytes([n[0], n[1]])).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [2, 3, 4, 5], "SHA-2 and none, and not SHA-1");
    }
}

#[test]
fn a_response_names_both_ends_and_has_its_payloads_in_order() {
    let mut stage = Stage::new(1, peer(1, psk("secret")));
    stage.deliver_from("192.0.2.0:61234", &first_request(0x77, &nonce(1), &key_share(), &[]));
    assert_eq!(stage.path.unwrap().remote, "192.0.2.0:61234".parse().unwrap(), "it goes where the request came from");
    assert_eq!(stage.path.unwrap().local, "192.0.2.1:4500".parse().unwrap(), "and comes from where that went");
    let (message, datagram) = stage.take_message();
    assert!(message.header.initiator_spi == IkeSpi(0x77) && message.header.responder_spi != IkeSpi::ZERO);
    assert_eq!((message.header.message_id, datagram[17], datagram[19]), (0, 0x20, 0x20));
    assert_eq!(types(&message.payloads)[..5], ORDER);
    assert_eq!(notifies(&message.payloads)[..2], NAT);
}

#[test]
fn two_requests_with_one_spi_from_two_ports_are_two_sas_and_a_repetition_is_none() {
    let mut stage = Stage::new(1, peer(1, psk("secret")));
    let requests = [1, 2].map(|byte| first_request(0x77, &nonce(byte), &key_share(), &[]));
    let from = ["192.0.2.0:4001", "192.0.2.0:4002"];
    let answers = [0, 1].map(|n| {
        stage.deliver_from(from[n], &requests[n]);
        stage.take()
    });
    assert!(answers[0] != answers[1]);
    for n in [1, 0] {
        stage.deliver_from(from[n], &requests[n]);
        assert!(stage.take() == answers[n], "a repetition has the same answer");
    }
    assert_eq!(stage.node.endpoint.sa_count(), 2);
}

#[test]
fn a_cookie_comes_first_and_all_else_stays() {
    let (mut stage, first, _) = called();
    for byte in [1, 2] {
        let again = answer(&mut stage, &first, cookie(byte));
        assert_eq!(again.payloads[0], Payload::Notify(cookie(byte)));
        assert!(again.payloads[1..] == first.payloads[..], "nothing else has changed");
        assert_eq!(again.header, first.header);
    }
}

#[test]
fn a_cookie_without_content_or_too_long_is_not_returned() {
    for length in [0, 65] {
        let (mut stage, first, _) = called();
        let header = Header { flags: Flags { initiator: false, response: true }, ..first.header };
        let notify = Notify::new(NotifyType::COOKIE, vec![1; length]);
        stage.deliver(&Message { header, payloads: vec![Payload::Notify(notify)] }.emit().unwrap());
        assert!(stage.sent.is_empty(), "{length} bytes");
    }
}

#[test]
fn a_cookie_outlasts_a_change_of_method_and_either_may_come_again() {
    let (mut stage, first, _) = called();
    let second = answer(&mut stage, &first, cookie(1));
    let third = answer(&mut stage, &second, wants(KeyExchange::P256));
    assert_eq!(third.payloads[0], Payload::Notify(cookie(1)), "the shorter exchange");
    let fourth = answer(&mut stage, &third, cookie(2));
    assert_eq!(fourth.payloads[0], Payload::Notify(cookie(2)), "a responder that binds its cookie to the method");
    let [a, d] = [first, fourth].map(|message| Content::read(message.payloads).unwrap());
    assert_eq!(d.key_exchange.unwrap().method, key_exchange_id(KeyExchange::P256));
    assert_eq!(a.proposals, d.proposals, "the whole offer again, so that nobody can make it weaker");
}

/// Opens as many half-open SAs as make the endpoint cautious.
fn crowded() -> Stage {
    let mut stage = Stage::new(1, peer(1, psk("secret")));
    for n in 0..1_000_u16 {
        let from = format!("198.51.{}.{}:500", 100 + n / 200, 1 + n % 200);
        stage.deliver_from(&from, &first_request(u64::from(n) + 1, &nonce(3), &key_share(), &[]));
        let (message, _) = stage.take_message();
        if notifies(&message.payloads) == [NotifyType::COOKIE] {
            return stage;
        }
    }
    panic!("no cookie is ever demanded");
}

#[test]
fn with_many_half_open_sas_nothing_is_kept_for_a_sender_without_the_right_cookie() {
    let mut stage = crowded();
    let held = stage.node.endpoint.sa_count();
    let share = key_share();
    let ask = |stage: &mut Stage, cookie: Option<&Notify>| {
        let before: Vec<_> = cookie.cloned().map(Payload::Notify).into_iter().collect();
        stage.deliver_from("203.0.113.5:500", &first_request(0x99, &nonce(4), &share, &before));
        stage.take_message().0
    };
    let demanded = |message: &Message| match &message.payloads[..] {
        [Payload::Notify(notify)] if notify.notify_type == NotifyType::COOKIE => Some(notify.clone()),
        _ => None,
    };
    let first = ask(&mut stage, None);
    assert_eq!((first.header.responder_spi, first.header.message_id), (IkeSpi::ZERO, 0));
    let right = demanded(&first).unwrap();
    assert!((1..=64).contains(&right.data.len()));
    let mut wrong = right.clone();
    wrong.data[0] ^= 1;
    assert_eq!(demanded(&ask(&mut stage, Some(&wrong))), Some(right.clone()), "as if there were none");
    assert_eq!(stage.node.endpoint.sa_count(), held);
    let answered = ask(&mut stage, Some(&right));
    assert_eq!(types(&answered.payloads)[..5], ORDER);
    assert_eq!(stage.node.endpoint.sa_count(), held + 1);
}

#[test]
fn what_cannot_be_agreed_upon_is_refused_by_name_and_keeps_nothing() {
    let mut strict = peer(1, psk("secret"));
    strict.profile.ike_encryption = vec![IkeEncryption::ChaCha20Poly1305];
    let mut other = peer(1, psk("secret"));
    other.profile.key_exchange = vec![KeyExchange::P256];
    let group = key_exchange_id(KeyExchange::P256).to_be_bytes().to_vec();
    for (config, kind, data) in
        [(strict, NotifyType::NO_PROPOSAL_CHOSEN, vec![]), (other, NotifyType::INVALID_KE_PAYLOAD, group)]
    {
        let mut stage = Stage::new(1, config);
        stage.deliver(&first_request(0x77, &nonce(1), &key_share(), &[]));
        let (message, _) = stage.take_message();
        assert_eq!(message.payloads, [Payload::Notify(Notify::new(kind, data))]);
        assert_eq!((message.header.responder_spi, stage.node.endpoint.sa_count()), (IkeSpi::ZERO, 0));
    }
}

#[test]
fn nothing_but_authentication_follows_the_first_exchange() {
    let (mut puppet, auth) = Puppet::half_open(peer(1, psk("secret")));
    for exchange in [ExchangeType::CREATE_CHILD_SA, ExchangeType::INFORMATIONAL, ExchangeType(240)] {
        for payloads in [&[][..], &auth[..]] {
            puppet.next = 1;
            let datagram = puppet.sealed(exchange, payloads);
            puppet.stage.deliver(&datagram);
            assert!(puppet.stage.sent.is_empty() && puppet.stage.node.up == 0, "{exchange:?}");
        }
    }
    puppet.next = 1;
    puppet.request(ExchangeType::IKE_AUTH, &auth);
    assert_eq!((puppet.stage.node.up, puppet.stage.node.inbound.len()), (1, 1));
}
