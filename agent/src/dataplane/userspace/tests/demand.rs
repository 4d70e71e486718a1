//! Packets of a rule without an SA: they wait where it is on demand, and are dropped where it is not.

use espalier_model::selector::Flow;

use super::ends::{bare_planes, install};
use super::*;

fn net() -> BTreeSet<Name> {
    BTreeSet::from(["net".parse().unwrap()])
}

/// Sends numbered datagrams from one end.
struct Sender<'e> {
    socket: StdUdpSocket,
    ends: &'e Ends,
}

impl<'e> Sender<'e> {
    fn new(ends: &'e Ends) -> Self {
        let from = SocketAddr::new(ends.inner_a(ends.inner_b(true)), 0);
        Self { socket: ends.a.enter(|| StdUdpSocket::bind(from).unwrap()).unwrap(), ends }
    }

    fn send(&self, numbers: std::ops::Range<u8>) {
        let to = SocketAddr::new(self.ends.inner_b(true), PORT);
        numbers.for_each(|n| _ = self.socket.send_to(&[n; 100], to).unwrap());
    }
}

/// Waits until a number is what it should be.
fn await_number(expected: u64, seconds: u64, number: impl Fn() -> u64) {
    for _ in 0..seconds * 100 {
        if number() == expected {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(number(), expected);
}

/// Returns what a data plane tells within a time.
fn events(plane: &mut Userspace, time: Duration) -> Vec<SaEvent> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let mut events = Vec::new();
        let collect = async {
            loop {
                events.push(plane.event().await);
            }
        };
        let _ = tokio::time::timeout(time, collect).await;
        events
    })
}

#[test]
fn packets_of_a_rule_on_demand_ask_once_and_come_in_order_before_newer_ones() {
    let ends = Ends::new(true);
    let mut planes = bare_planes(&ends, Offloads::default(), &net());
    let receiver = ends.b.enter(|| StdUdpSocket::bind(SocketAddr::new(ends.inner_b(true), PORT)).unwrap()).unwrap();
    receiver.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let sender = Sender::new(&ends);
    sender.send(0..10);
    await_number(10, 2, || planes[0].totals().held.get());
    assert_accounted_for(&planes[0]);
    let asked = events(&mut planes[0], Duration::from_millis(300));
    let [SaEvent::Acquire { rule, flow: Flow { destination, protocol: 17, .. } }] = &asked[..] else {
        panic!("{asked:?}")
    };
    assert_eq!((rule.to_string().as_str(), *destination), ("net", ends.inner_b(true)));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 10..60 {
                sender.send(n..n + 1);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        install(&ends, &mut planes);
    });
    for n in 0..60 {
        let mut came = [0; 200];
        assert_eq!(receiver.recv(&mut came).unwrap(), 100);
        assert_eq!(came[0], n);
    }
    await_number(0, 2, || planes[0].totals().held.get());
    planes.iter().for_each(assert_accounted_for);
}

#[test]
fn more_than_may_wait_and_what_waits_for_too_long_is_counted() {
    let ends = Ends::new(true);
    let mut planes = bare_planes(&ends, Offloads::default(), &net());
    let sender = Sender::new(&ends);
    sender.send(0..100);
    let count = |planes: &[Userspace; 2], reason| planes[0].counters().get(reason);
    await_number(68, 2, || count(&planes, DropReason::HoldFull));
    assert_eq!(planes[0].totals().held.get(), 32);
    assert_accounted_for(&planes[0]);
    // Nothing else comes meanwhile: the worker wakes by itself, and asks again.
    let asked = events(&mut planes[0], Duration::from_secs(9));
    assert!((7..=10).contains(&asked.len()), "{asked:?}");
    assert_eq!(planes[0].totals().held.get(), 32);
    await_number(32, 4, || count(&planes, DropReason::HoldExpired));
    assert_eq!((planes[0].totals().held.get(), count(&planes, DropReason::NoSa)), (0, 0));
    assert_accounted_for(&planes[0]);
}

#[test]
fn packets_of_another_rule_ask_for_nothing_and_are_dropped() {
    let ends = Ends::new(true);
    let mut planes = bare_planes(&ends, Offloads::default(), &BTreeSet::new());
    Sender::new(&ends).send(0..5);
    await_number(5, 2, || planes[0].counters().get(DropReason::NoSa));
    assert_eq!(events(&mut planes[0], Duration::from_millis(200)), []);
    assert_accounted_for(&planes[0]);
}
