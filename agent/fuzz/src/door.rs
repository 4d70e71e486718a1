//! The door: any datagrams, from few addresses, at any pace. Real messages among them pass or are asked, and each is counted once.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use espalier_ike::wire::{Header, IkeSpi, Message, Notify, NotifyType, Payload};
use espalier_ike::{DoorPolicy, Verdict};
use espalier_model::suite::IkeEncryption;

use crate::domain;
use crate::input::Input;
use crate::outer::with_length;
use crate::pair::{Pair, total};

const MOST_STEPS: usize = 200;
/// What is sent back without keeping anything: a header and a cookie.
const LONGEST_ANSWER: usize = 128;

/// Takes the policy, then steps: a wait, a sender, and what it sends.
pub fn target(data: &[u8]) {
    let mut input = Input::new(data);
    let menu = input.u8();
    let mut pair = Pair::new(IkeEncryption::Aes256Gcm16);
    let profile = domain::profile(IkeEncryption::Aes256Gcm16);
    pair.configure(1, vec![domain::peer(1, &profile, &[0])]);
    pair.configure(0, vec![domain::peer(0, &profile, &[0])]);
    let genuine = Message::parse(&pair.wire[0].datagram).unwrap();
    let mut keeper = pair.sides[1].endpoint.doorkeeper(pair.now);
    let known = if menu & 2 != 0 { [domain::path(0).local.ip()].into() } else { [].into() };
    let policy = DoorPolicy { cookies: menu & 1 != 0, known: std::sync::Arc::new(known) };
    let mut cookies: Vec<Vec<u8>> = Vec::new();
    let (mut judged, mut passed) = (0, 0);
    while !input.is_empty() && judged < MOST_STEPS {
        pair.now.instant += Duration::from_millis([0, 1, 40, 1_000, 30_000, 200_000][input.below(6)]);
        let sender = input.u8();
        let remote = SocketAddr::from((Ipv4Addr::new(192, 0, 2, sender & 3), 500 + u16::from(sender >> 4)));
        let datagram = match input.below(4) {
            0 => first(&genuine, input.u8(), None),
            1 => first(&genuine, input.u8(), cookies.get(input.below(8)).or_else(|| cookies.last())),
            2 => with_length(&[input.string(), input.string()].concat()),
            _ => altered(&genuine, &mut input),
        };
        judged += 1;
        match keeper.judge(pair.now.instant, &policy, remote, &datagram) {
            Verdict::Drop => {}
            Verdict::Ask(answer) => {
                assert!(answer.len() <= LONGEST_ANSWER, "{} bytes for {}", answer.len(), datagram.len());
                cookies.push(cookie_of(&answer));
            }
            Verdict::First | Verdict::ForSa => {
                passed += 1;
                let opens = Header::parse(&datagram).is_ok_and(|(header, _)| header.opens_sa());
                let shows = |cookie: &Vec<u8>| datagram.windows(cookie.len()).any(|window| window == cookie);
                assert!(!policy.cookies || !opens || cookies.iter().any(shows), "passed without showing an address");
                let endpoint = &mut pair.sides[1].endpoint;
                let before = total(endpoint.counters());
                let path = espalier_model::sa::UdpPath { local: domain::path(1).local, remote };
                endpoint.handle_datagram(pair.now, path, &datagram);
                assert_eq!(total(endpoint.counters()), before + 1, "a datagram is counted once");
                while endpoint.poll_output().is_some() {}
            }
        }
        let dropped = usize::try_from(keeper.counters().total()).unwrap();
        assert_eq!(passed + dropped, judged, "a datagram passes or is counted once");
    }
}

/// A real first message with another SPI, and with a cookie.
fn first(genuine: &Message, spi: u8, cookie: Option<&Vec<u8>>) -> Vec<u8> {
    let cookie = cookie.map(|cookie| Payload::Notify(Notify::new(NotifyType::COOKIE, cookie.clone())));
    let payloads = cookie.into_iter().chain(genuine.payloads.iter().cloned()).collect();
    let header = Header { initiator_spi: IkeSpi(u64::from(spi) + 1), ..genuine.header };
    Message { header, payloads }.emit().unwrap()
}

/// A real first message of which some bytes are others.
fn altered(genuine: &Message, input: &mut Input<'_>) -> Vec<u8> {
    let mut datagram = first(genuine, 0, None);
    for _ in 0..=input.below(4) {
        let at = usize::from(input.u16()) % datagram.len();
        datagram[at] ^= input.u8();
    }
    datagram
}

fn cookie_of(answer: &[u8]) -> Vec<u8> {
    let message = Message::parse(answer).expect("what is sent back can be read");
    assert!(message.header.flags.response && message.header.responder_spi == IkeSpi::ZERO);
    match &message.payloads[..] {
        [Payload::Notify(notify)] if notify.notify_type == NotifyType::COOKIE => notify.data.clone(),
        other => panic!("{other:?} is no demand for a cookie"),
    }
}

/// Inputs to start from: each kind of datagram under each policy, then floods.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for menu in 0..4 {
        let asked =
            [&[0, 1, 0, 5][..], &[1, 1, 1, 5, 0], &[2, 2, 1, 5, 0], &[3, 1, 1, 6, 0], &[5, 1, 1, 5, 0]].concat();
        let garbage = [&[0, 1, 2, 3, 1, 2, 3, 0][..], &[1, 1, 3, 0, 0, 17, 0x30], &[1, 1, 3, 0, 0, 18, 1]].concat();
        all.push([&[menu][..], &asked].concat());
        all.push([&[menu][..], &garbage].concat());
        // More from one address than one may send, then from a few.
        all.push([&[menu][..], &[0, 1, 0, 5].repeat(200)].concat());
        all.push([&[menu][..], &(0..=255_u8).flat_map(|n| [0, n, 0, n]).collect::<Vec<_>>()].concat());
    }
    all
}
