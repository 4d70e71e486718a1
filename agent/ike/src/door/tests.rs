use std::time::Duration;

use super::*;
use crate::wire::{Header, Nonce};

const HERE: &str = "192.0.2.7:500";

struct Door {
    now: Instant,
    keeper: Doorkeeper,
    policy: DoorPolicy,
    mark: SpiMark,
    rng: StdRng,
}

impl Door {
    fn new(cookies: bool, known: &[&str]) -> Self {
        let (now, mut rng) = (Instant::now(), StdRng::from_seed([1; 32]));
        let mark = SpiMark::new(&mut rng);
        let keeper = Doorkeeper::new(Cookies::new(&mut rng, now), mark, [2; 32]);
        let known = Arc::new(known.iter().map(|text| text.parse().unwrap()).collect());
        Self { now, keeper, policy: DoorPolicy { cookies, known }, mark, rng }
    }

    fn judge(&mut self, from: &str, datagram: &[u8]) -> Verdict {
        self.keeper.judge(self.now, &self.policy, from.parse().unwrap(), datagram)
    }

    /// Sends as many first messages in a second from this many addresses of 198.18.0.0/15; returns how many pass, are asked and
    /// are dropped.
    fn flood(&mut self, messages: u32, addresses: u32) -> [u32; 3] {
        let mut counts = [0; 3];
        for n in 0..messages {
            let at = self.now + Duration::from_secs(1) * n / messages;
            let source = IpAddr::from((0xc612_0000 + n % addresses).to_be_bytes());
            let datagram = first(n.into(), None);
            match self.keeper.judge(at, &self.policy, (source, 500).into(), &datagram) {
                Verdict::First => counts[0] += 1,
                Verdict::Ask(_) => counts[1] += 1,
                Verdict::Drop => counts[2] += 1,
                Verdict::ForSa => panic!("a first message is for no SA"),
            }
        }
        counts
    }
}

fn first(spi: u64, cookie: Option<&[u8]>) -> Vec<u8> {
    let spis = IkeSpis { initiator: IkeSpi(spi + 1), responder: IkeSpi::ZERO };
    let header = header(spis, ExchangeType::IKE_SA_INIT, Flags { initiator: true, response: false }, 0);
    let cookie = cookie.map(|cookie| Payload::Notify(Notify::new(NotifyType::COOKIE, cookie.to_vec())));
    let nonce = Payload::Nonce(Nonce::new(vec![9; 32]).unwrap());
    Message { header, payloads: cookie.into_iter().chain([nonce]).collect() }.emit().unwrap()
}

fn message_for(spi: IkeSpi) -> Vec<u8> {
    let spis = IkeSpis { initiator: IkeSpi(5), responder: spi };
    let header = header(spis, ExchangeType::INFORMATIONAL, Flags { initiator: true, response: false }, 3);
    Message { header, payloads: vec![] }.emit().unwrap()
}

fn cookie_of(answer: &[u8]) -> Vec<u8> {
    let Message { header: Header { initiator_spi, responder_spi, message_id, flags, .. }, payloads } =
        Message::parse(answer).unwrap();
    assert_eq!((initiator_spi, responder_spi, message_id), (IkeSpi(8), IkeSpi::ZERO, 0));
    assert!(flags.response && !flags.initiator);
    match &payloads[..] {
        [Payload::Notify(notify)] if notify.notify_type == NotifyType::COOKIE => notify.data.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn under_load_a_sender_passes_with_its_cookie_from_its_address_alone() {
    let mut door = Door::new(true, &[]);
    let Verdict::Ask(answer) = door.judge(HERE, &first(7, None)) else { panic!("no cookie is asked for") };
    let cookie = cookie_of(&answer);
    assert_eq!(door.judge(HERE, &first(7, Some(&cookie))), Verdict::First);
    // A NAT may have given the sender another port meanwhile.
    assert_eq!(door.judge("192.0.2.7:1024", &first(7, Some(&cookie))), Verdict::First);
    for (from, datagram) in [
        ("192.0.2.8:500", first(7, Some(&cookie))),
        (HERE, first(8, Some(&cookie))),
        (HERE, first(7, Some(&cookie[1..]))),
    ] {
        assert!(matches!(door.judge(from, &datagram), Verdict::Ask(_)));
    }
}

#[test]
fn without_load_nobody_is_asked_until_more_call_than_a_mesh_has() {
    let mut door = Door::new(false, &[]);
    assert_eq!(door.flood(1_000, 1_000), [1_000, 0, 0]);
    let mut door = Door::new(false, &[]);
    let [passed, asked, dropped] = door.flood(20_000, 16_384);
    assert!((1_400..=1_600).contains(&passed), "{passed} pass");
    assert_eq!((asked, dropped), (20_000 - passed, 0));
}

#[test]
fn a_flood_from_many_addresses_leaves_the_known_ones_their_answers() {
    let mut door = Door::new(true, &["192.0.2.7"]);
    let [passed, asked, dropped] = door.flood(200_000, 100_000);
    assert_eq!(passed, 0);
    assert!((30_000..=33_100).contains(&asked), "{asked} answers");
    assert_eq!(asked + dropped, 200_000);
    door.now += Duration::from_secs(1);
    assert!(matches!(door.judge(HERE, &first(1, None)), Verdict::Ask(_)));
    assert_eq!(door.judge("198.51.100.1:500", &first(1, None)), Verdict::Drop, "a stranger shares what is left");
}

#[test]
fn a_flood_from_one_address_keeps_nobody_else_out() {
    let mut door = Door::new(true, &[]);
    let [_, asked, dropped] = door.flood(20_000, 1);
    assert!((100..=300).contains(&asked), "{asked} answers to one address");
    assert_eq!(asked + dropped, 20_000);
    door.now += Duration::from_secs(1);
    assert!(matches!(door.judge(HERE, &first(1, None)), Verdict::Ask(_)));
    assert_eq!(door.keeper.counters().throttled, u64::from(dropped));
}

#[test]
fn messages_of_sas_pass_and_guesses_at_them_do_not() {
    let mut door = Door::new(true, &[]);
    let spi = door.mark.draw(&mut door.rng);
    let (ours, guess) = (message_for(spi), message_for(IkeSpi(spi.0 ^ 1)));
    assert_eq!(door.judge(HERE, &ours), Verdict::ForSa);
    // A few are left to the endpoint, which may have something to say about them.
    let passed = (0..100_000).filter(|_| door.judge(HERE, &guess) != Verdict::Drop).count();
    assert_eq!(passed, 20);
    assert_eq!(door.judge(HERE, &ours), Verdict::ForSa, "guesses from its address cost the peer nothing");
    assert_eq!(door.keeper.counters().unknown_spi, 100_000 - 20);
}

#[test]
fn a_peer_that_repeats_itself_without_end_is_throttled() {
    let mut door = Door::new(false, &[]);
    let ours = message_for(door.mark.draw(&mut door.rng));
    let passed = (0..100_000).filter(|_| door.judge(HERE, &ours) == Verdict::ForSa).count();
    assert_eq!(passed, 4_000);
    assert_eq!(door.judge("192.0.2.9:500", &ours), Verdict::ForSa);
}

#[test]
fn what_is_not_ike_is_counted_and_dropped() {
    let mut door = Door::new(false, &[]);
    for datagram in [&b"GET / HTTP/1.1\r\n"[..], &[], &[0; 28], &[0xff; 1_500]] {
        assert_eq!(door.judge(HERE, datagram), Verdict::Drop);
    }
    assert_eq!(door.keeper.counters(), DoorCounters { malformed: 4, ..DoorCounters::default() });
}

#[test]
fn a_higher_major_version_comes_to_the_endpoint_but_seldom() {
    let mut door = Door::new(true, &[]);
    let mut newer = first(7, None);
    newer[17] = 0x30;
    let passed = (0..100).filter(|_| door.judge(HERE, &newer) == Verdict::First).count();
    assert_eq!((passed, door.keeper.counters().malformed), (20, 80));
    newer[17] = 0x10;
    door.now += Duration::from_secs(60);
    assert_eq!(door.judge(HERE, &newer), Verdict::Drop, "an older one never");
}
