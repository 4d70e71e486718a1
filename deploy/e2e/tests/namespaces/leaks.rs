//! Nothing leaves in the clear and nothing enters that was not protected, whatever befalls a node, and what it can mend it mends.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use espalier_e2e::agent::with_profile;
use espalier_e2e::flow::Delivery;
use espalier_e2e::program::output;
use espalier_sys::netlink::Netlink;
use espalier_sys::netns::NetNs;

use super::*;

/// What befalls the first of two nodes.
struct Fault {
    /// Of the profile.
    fields: &'static str,
    strike: fn(&Lab, &mut [Agent; 2]),
    /// What becomes of the packets under way.
    packets: Packets,
    /// Whether packets pass in the end.
    mended: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Packets {
    NoneIsLost,
    SomeAreLost,
    /// That is not what this is about.
    Whatever,
}

macro_rules! faults {
    ($($name:ident => $fault:expr;)*) => {$(
        #[test]
        fn $name() {
            holds(&$fault);
        }
    )*};
}

faults! {
    nothing_leaks_when_the_agent_is_killed => Fault {
        fields: "",
        strike: |_, agents| {
            agents[0].program.kill().unwrap();
            thread::sleep(A_WHILE);
        },
        packets: Packets::SomeAreLost,
        mended: false,
    };
    nothing_leaks_when_an_sa_has_expired => Fault {
        fields: "child-rekey-packets: 1000, liveness-seconds: 60",
        strike: |_, agents| {
            // Nobody is there to agree on the next one.
            agents[1].program.kill().unwrap();
            agents[0].await_log("child SA carries nothing more", 1).unwrap();
            thread::sleep(A_WHILE);
        },
        packets: Packets::SomeAreLost,
        mended: false,
    };
    nothing_leaks_in_a_rekey => Fault {
        fields: "ike-rekey-seconds: 5, child-rekey-seconds: 2",
        strike: |_, agents| {
            agents[0].await_log("IKE SA replaced", 1).unwrap();
            agents[0].await_children(3).unwrap();
        },
        packets: Packets::NoneIsLost,
        mended: true,
    };
    nothing_leaks_when_trains_are_refused => Fault {
        fields: "",
        strike: |lab, _| {
            let [one, other] = &lab.hosts[..] else { panic!("two hosts") };
            thread::scope(|scope| {
                let connection = scope.spawn(|| measure(one, (other, other.inner(true)), 2 * A_WHILE).unwrap());
                thread::sleep(A_WHILE);
                let peer = other.outer(true).to_string();
                run(&one.namespace, &["ip", "route", "replace", &peer, "dev", UPLINK, "mtu", "1380"]);
                assert!(connection.join().unwrap() > 1.0);
            });
        },
        packets: Packets::Whatever,
        mended: true,
    };
    nothing_leaks_when_the_interface_is_deleted_and_there_is_soon_another => Fault {
        fields: "",
        strike: |lab, agents| {
            for times in 1..=2 {
                run(&lab.hosts[0].namespace, &["ip", "link", "delete", INTERFACE]);
                agents[0].await_log("the interface of the tunnel was gone, and is made anew", times).unwrap();
            }
        },
        packets: Packets::SomeAreLost,
        mended: true,
    };
    nothing_leaks_when_the_interface_is_set_down_and_it_is_soon_up => Fault {
        fields: "",
        strike: |lab, agents| {
            run(&lab.hosts[0].namespace, &["ip", "link", "set", INTERFACE, "down"]);
            agents[0].await_log(PUT_BACK, 1).unwrap();
        },
        packets: Packets::SomeAreLost,
        mended: true,
    };
    nothing_leaks_when_the_routes_to_the_tunnel_are_removed_and_they_are_soon_back => Fault {
        fields: "",
        strike: |lab, agents| {
            for version in ["-4", "-6"] {
                run(&lab.hosts[0].namespace, &["ip", version, "route", "flush", "table", TABLE, "dev", INTERFACE]);
            }
            agents[0].await_log(PUT_BACK, 1).unwrap();
        },
        packets: Packets::SomeAreLost,
        mended: true,
    };
    nothing_leaks_when_all_routes_and_rules_of_the_tunnel_are_removed => Fault {
        fields: "",
        strike: |lab, agents| {
            override_routes(lab, "replace", "main");
            for version in ["-4", "-6"] {
                run(&lab.hosts[0].namespace, &["ip", version, "rule", "delete", "priority", "100"]);
                run(&lab.hosts[0].namespace, &["ip", version, "route", "flush", "table", TABLE]);
            }
            agents[0].await_log(PUT_BACK, 1).unwrap();
        },
        packets: Packets::SomeAreLost,
        mended: true,
    };
    nothing_leaks_when_a_better_route_leads_past_the_tunnel => Fault {
        fields: "",
        strike: |lab, _| {
            override_routes(lab, "replace", TABLE);
            thread::sleep(A_WHILE);
            override_routes(lab, "delete", TABLE);
        },
        packets: Packets::SomeAreLost,
        mended: true,
    };
}

const INTERFACE: &str = "espalier0";
const TABLE: &str = "4500";
const PUT_BACK: &str = "addresses or routes of the tunnel were gone, and are put back";
const A_WHILE: Duration = Duration::from_millis(700);

/// Lets a fault strike under traffic, while somebody forges packets.
fn holds(fault: &Fault) {
    let lab = Lab::new(2).unwrap();
    let [one, other] = &lab.hosts[..] else { panic!("two hosts") };
    let capture = capture(one);
    let mut agents = pair(&lab, true, |plan| match fault.fields {
        "" => plan.to_owned(),
        fields => with_profile(plan, fields),
    });
    let forger = Forger::start(&lab);
    let ways = [(one, other), (other, one)];
    let flows = ways.map(|(a, b)| [true, false].map(|v4| Flow::start(a, b, v4, FAST).unwrap()));
    thread::sleep(A_WHILE / 2);
    (fault.strike)(&lab, &mut agents);
    if fault.mended {
        for (from, to) in ways {
            [true, false].iter().for_each(|v4| await_passage(from, to.inner(*v4)));
        }
    }
    let deliveries = Flow::stop_all(flows.into_iter().flatten().collect()).unwrap();
    let forged = forger.stop();
    assert_protected(capture.stop().unwrap(), 100);
    assert_eq!(forged.delivered, 0, "of {} forged packets", forged.sent);
    assert!(forged.sent > 50);
    let lost: u64 = deliveries.iter().map(|delivery| delivery.lost).sum();
    assert!(deliveries.iter().all(|Delivery { sent, lost, .. }| *sent > 100 && lost < sent), "{deliveries:?}");
    match fault.packets {
        Packets::NoneIsLost => assert_eq!(lost, 0, "{deliveries:?}"),
        Packets::SomeAreLost => assert!(lost > 0, "the fault fell into the traffic: {deliveries:?}"),
        Packets::Whatever => {}
    }
}

#[test]
fn a_guard_that_somebody_has_flushed_is_put_up_again() {
    let lab = Lab::new(2).unwrap();
    let [one, other] = &lab.hosts[..] else { panic!("two hosts") };
    let capture = capture(one);
    let mut agents = pair(&lab, true, str::to_owned);
    run(&one.namespace, &["nft", "flush", "ruleset"]);
    agents[0].await_log("the leak guard was gone, and is put up again", 1).unwrap();
    assert_eq!(ping(one, other.inner(true), 3, 56).unwrap().lost(), 0);
    let forger = Forger::start(&lab);
    agents[0].program.kill().unwrap();
    assert_eq!([true, false].map(|v4| try_to_leak(one, other, v4)), [0, 0]);
    assert_eq!(forger.stop().delivered, 0);
    assert_eq!(capture.stop().unwrap().canaries, 0);
}

#[test]
fn without_a_guard_the_forged_packets_would_be_seen() {
    let lab = Lab::new(2).unwrap();
    for ipv4 in [true, false] {
        give_address(&lab.hosts[0].namespace, lab.hosts[0].inner(ipv4));
    }
    let forger = Forger::start(&lab);
    thread::sleep(A_WHILE);
    let forged = forger.stop();
    assert!(forged.delivered > forged.sent / 2, "{} of {}", forged.delivered, forged.sent);
}

/// Routes protected packets past the tunnel, or no longer.
fn override_routes(lab: &Lab, what: &str, table: &str) {
    let [one, other] = &lab.hosts[..] else { panic!("two hosts") };
    for ipv4 in [true, false] {
        let [inner, next] = [other.inner(ipv4), other.outer(ipv4)].map(|address| address.to_string());
        let way = ["ip", "route", what, &inner, "via", &next, "dev", UPLINK, "table", table, "metric", "1"];
        run(&one.namespace, &way);
    }
}

/// Waits until packets pass again.
fn await_passage(from: &Host, to: IpAddr) {
    let passes = (0..20).any(|_| ping(from, to, 3, 56).is_ok_and(|pings| pings.lost() == 0));
    assert!(passes, "nothing passes from host {} to {to}", from.number);
}

/// Puts an address on the loopback interface, which works at once.
fn give_address(namespace: &NetNs, address: IpAddr) {
    let give = || {
        let mut netlink = Netlink::open().unwrap();
        let index = netlink.link_index("lo").unwrap();
        netlink.add_address(index, address.into()).unwrap();
    };
    namespace.enter(give).unwrap();
}

/// Returns the Ethernet address of a host.
fn link_address(host: &Host) -> String {
    let mut command = host.namespace.command("ip");
    command.args(["-o", "link", "show", UPLINK]);
    let text = output(command).unwrap();
    let mut words = text.split_whitespace().skip_while(|word| *word != "link/ether");
    words.nth(1).unwrap().to_owned()
}

fn run(namespace: &NetNs, words: &[&str]) {
    let (program, arguments) = words.split_first().unwrap();
    let mut command = namespace.command(program);
    command.args(arguments);
    output(command).unwrap();
}

/// Somebody on the underlay who sends packets in the clear as if they were the second host's.
struct Forger {
    stop: Arc<AtomicBool>,
    sender: JoinHandle<u64>,
    receiver: UdpSocket,
}

/// What came of it.
struct Forged {
    sent: u64,
    delivered: u64,
}

impl Forger {
    const PORT: u16 = 7_777;
    const EVERY: Duration = Duration::from_millis(5);

    fn start(lab: &Lab) -> Self {
        let [victim, other] = &lab.hosts[..] else { panic!("two hosts") };
        // The guard is what keeps them out, not a check of sources.
        for setting in ["net.ipv4.conf.all.rp_filter=0".to_owned(), format!("net.ipv4.conf.{UPLINK}.rp_filter=0")] {
            run(&victim.namespace, &["sysctl", "-q", "-w", &setting]);
        }
        let mut senders = Vec::new();
        for ipv4 in [true, false] {
            let [inner, source, next] = [victim.inner(ipv4), other.inner(ipv4), victim.outer(ipv4)];
            give_address(&lab.switch, source);
            let (inner_text, next) = (inner.to_string(), next.to_string());
            run(&lab.switch, &["ip", "route", "add", &inner_text, "via", &next]);
            // Whoever is asked under a protected address answers into the tunnel.
            run(&lab.switch, &["ip", "neigh", "replace", &next, "lladdr", &link_address(victim), "dev", "switch"]);
            let bound = SocketAddr::new(source, 0);
            let socket = lab.switch.enter(|| UdpSocket::bind(bound)).unwrap().unwrap();
            socket.connect((inner, Self::PORT)).unwrap();
            senders.push(socket);
        }
        // One for both families, whose addresses may come and go.
        let any = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), Self::PORT);
        let receiver = victim.namespace.enter(|| UdpSocket::bind(any)).unwrap().unwrap();
        receiver.set_nonblocking(true).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let sender = thread::spawn(move || {
            let mut sent = 0;
            while !stopped.load(Ordering::Relaxed) {
                sent += senders.iter().map(|socket| u64::from(socket.send(b"forged").is_ok())).sum::<u64>();
                thread::sleep(Self::EVERY);
            }
            sent
        });
        Self { stop, sender, receiver }
    }

    fn stop(self) -> Forged {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.sender.join().unwrap();
        thread::sleep(Self::EVERY);
        let delivered = (0..sent).take_while(|_| self.receiver.recv(&mut [0; 16]).is_ok()).count();
        Forged { sent, delivered: u64::try_from(delivered).unwrap() }
    }
}
