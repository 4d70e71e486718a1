//! What floods of forged messages do to a node: its tunnels go on, peers still get in, and it grows neither memory nor log.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test fails, in its helpers too")]
#![expect(clippy::print_stdout, reason = "the figures say more than that the test has passed")]

use std::fs;
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use espalier_e2e::agent::{self, Agent, shared_key_plan};
use espalier_e2e::flood::{Flood, Kind, Target};
use espalier_e2e::flow::Flow;
use espalier_e2e::lab::{Host, Lab};
use espalier_e2e::throughput;

/// First messages a second.
const FIRST: u32 = 20_000;
/// Datagrams of garbage a second.
const GARBAGE: u32 = 200_000;
/// Nobody listens there: a flood costs the machine what it costs without IKE.
const CLOSED: u16 = 501;
/// Floods take turns.
static MACHINE: Mutex<()> = Mutex::new(());

/// A node with a peer, one that comes later, and an attacker.
struct Scene {
    lab: Lab,
    agents: [Agent; 2],
}

impl Scene {
    fn new() -> Self {
        let lab = Lab::new(4).unwrap();
        let [late, peer, _, node] = &lab.hosts[..] else { panic!("four hosts") };
        let mut agents = [start(node, &[peer, late]), start(peer, &[node])];
        agents.iter_mut().for_each(|agent| agent.await_children(1).unwrap());
        Self { lab, agents }
    }

    /// The one with the lowest number calls the others.
    fn late(&self) -> &Host {
        &self.lab.hosts[0]
    }

    fn node(&self) -> &Host {
        &self.lab.hosts[3]
    }

    fn flood(&self, port: u16, per_second: u32, kind: Kind) -> Flood {
        Flood::start(&self.lab.hosts[2], Target { host: self.node(), port, per_second }, kind).unwrap()
    }

    /// Returns what a connection from the peer to the node carries, in Mbit/s.
    fn carried(&self, time: Duration) -> f64 {
        throughput::measure(&self.lab.hosts[1], (self.node(), self.node().inner(true)), time).unwrap()
    }

    /// Returns how long it takes a peer that starts now to have its tunnel. It is gone afterwards.
    fn connect(&self) -> Duration {
        let called = Instant::now();
        let mut latecomer = start(self.late(), &[self.node()]);
        latecomer.await_children(1).unwrap();
        let connected = called.elapsed();
        latecomer.program.terminate().unwrap();
        agent::leave(self.late()).unwrap();
        connected
    }

    /// Returns the resident memory of the node's agent in KiB.
    fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.agents[0].program.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    fn lines_of_log(&self) -> usize {
        self.agents[0].program.log().lines().count()
    }

    fn status(&self) -> serde_json::Value {
        let mut command = agent::command(self.node()).unwrap();
        command.args(["status", "--json"]);
        // It fails while a peer is down, as the latecomer is.
        serde_json::from_slice(&command.output().unwrap().stdout).unwrap()
    }

    /// Measures, in turn and so many times, what the tunnel carries while a flood is aimed at a port of the node and while the same
    /// flood is aimed at a closed port. Returns the middle one of the shares that are left.
    fn share(&self, port: u16, per_second: u32, kind: Kind) -> f64 {
        let mut shares = Vec::new();
        for round in 0..ROUNDS {
            let under = |port| {
                let flood = self.flood(port, per_second, kind);
                let carried = self.carried(TURN);
                let rate = flood.stop().unwrap();
                // Beside a tunnel at full speed not every machine sends more than is promised.
                assert!(rate * 10 >= u64::from(FIRST) * 9, "this machine sends only {rate} a second");
                (carried, rate)
            };
            // Who goes first changes.
            let mut ports = [CLOSED, port];
            ports.rotate_left(round % 2);
            let [a, b] = ports.map(under);
            let [(closed, _), (open, rate)] = if round % 2 == 0 { [a, b] } else { [b, a] };
            println!("{kind:?} to {port}: {rate} a second, {open:.0} of {closed:.0} Mbit/s ({:.2})", open / closed);
            shares.push(open / closed);
        }
        shares.sort_by(f64::total_cmp);
        shares[shares.len() / 2]
    }
}

/// Rounds of a comparison, and the time of each of its turns.
const ROUNDS: usize = 5;
const TURN: Duration = Duration::from_secs(1);

fn start(host: &Host, others: &[&Host]) -> Agent {
    Agent::start(host, &shared_key_plan(host, others, true).unwrap(), &[]).unwrap()
}

/// Returns how long a flood lasts.
fn seconds() -> Duration {
    let seconds = std::env::var("ESPALIER_FLOOD_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(6))
}

fn first_messages(kind: Kind, port: u16) {
    let _machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let scene = Scene::new();
    let (before, lines) = (scene.memory(), scene.lines_of_log());
    let (begun, flood) = (Instant::now(), scene.flood(port, FIRST, kind));
    sleep(Duration::from_millis(500));
    let mut connected = scene.connect();
    sleep(seconds().saturating_sub(begun.elapsed()).saturating_sub(Duration::from_secs(2)));
    connected = connected.max(scene.connect());
    let (shown, lines) = (scene.status(), scene.lines_of_log() - lines);
    let grown = scene.memory().saturating_sub(before);
    let rate = flood.stop().unwrap();
    let of = |what: &str| shown["ike"][what].as_u64().unwrap();
    let (asked, throttled) = (of("asked_for_cookie"), of("throttled"));
    println!(
        "{kind:?} to {port}: {rate} a second, {asked} asked for a cookie and {throttled} dropped; \
         connected in {connected:?}, {grown} KiB more, {lines} lines of log"
    );
    assert!(rate * 10 >= u64::from(FIRST) * 9, "this machine sends only {rate} a second");
    assert!(asked + throttled > u64::from(FIRST), "the flood reaches IKE: {shown:#}");
    assert!(connected < Duration::from_secs(2), "a peer connects in {connected:?}");
    assert!(grown < 32 << 10, "memory grows by {grown} KiB");
    assert!(lines < 40, "{lines} lines of log");
    let share = scene.share(port, FIRST, kind);
    assert!(share >= 0.7, "established tunnels keep {share:.2} of their throughput");
}

#[test]
fn a_flood_of_forged_first_messages_keeps_nobody_out() {
    first_messages(Kind::FirstMessages, 500);
}

#[test]
fn a_flood_of_first_messages_from_one_address_keeps_nobody_out() {
    first_messages(Kind::FirstMessagesOfOne, 500);
}

#[test]
fn a_flood_of_forged_first_messages_to_the_port_of_esp_keeps_nobody_out() {
    first_messages(Kind::FirstMessages, 4500);
}

#[test]
fn garbage_leaves_a_flow_its_half_and_grows_neither_memory_nor_log() {
    let _machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let scene = Scene::new();
    let spi = scene.status()["peers"][0]["children"][0]["spi-in"].as_u64().unwrap();
    let kind = Kind::Garbage(u32::try_from(spi).unwrap());
    let (before, lines) = (scene.memory(), scene.lines_of_log());
    let flow = Flow::start(&scene.lab.hosts[1], scene.node(), true, Duration::from_millis(1)).unwrap();
    let flood = scene.flood(4500, GARBAGE, kind);
    sleep(seconds());
    let rate = flood.stop().unwrap();
    let delivery = flow.stop().unwrap();
    let (shown, lines) = (scene.status(), scene.lines_of_log() - lines);
    let grown = scene.memory().saturating_sub(before);
    let of = |kind: &str, what: &str| shown[kind][what].as_u64().unwrap();
    let ike = of("ike", "unknown_spi") + of("ike", "throttled");
    let (unknown, unauthentic) = (of("dropped", "unknown_spi"), of("dropped", "unauthentic"));
    println!(
        "{rate} a second: {unknown} without an SA, {unauthentic} forged, {ike} of IKE; {} of {} packets lost, \
         {grown} KiB more, {lines} lines of log",
        delivery.lost, delivery.sent
    );
    assert!([unknown, unauthentic, ike].iter().all(|count| *count > u64::from(GARBAGE) / 10), "{shown:#}");
    assert!(delivery.lost * 2 <= delivery.sent, "{delivery:?}");
    assert!(lines <= 10 * usize::try_from(seconds().as_secs()).unwrap(), "{lines} lines of log");
    assert!(grown < 8 << 10, "memory grows by {grown} KiB");
    let share = scene.share(4500, GARBAGE, kind);
    assert!(share >= 0.5, "the tunnel keeps {share:.2} of its throughput");
}
