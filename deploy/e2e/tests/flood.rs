//! What a flood of forged first messages does to a node: its tunnels go on, and peers still get in.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

use std::fs;
use std::time::{Duration, Instant};

use espalier_e2e::agent::{self, Agent, shared_key_plan};
use espalier_e2e::flood::Flood;
use espalier_e2e::lab::Lab;
use espalier_e2e::program::output;
use espalier_e2e::throughput;

const PER_SECOND: u32 = 20_000;

/// Returns the resident memory of a process in KiB.
fn memory(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn seconds() -> u64 {
    std::env::var("ESPALIER_FLOOD_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(6)
}

#[test]
fn a_flood_of_forged_first_messages_keeps_nobody_out() {
    let lab = Lab::new(4).unwrap();
    let [node, peer, late, attacker] = &lab.hosts[..] else { panic!("four hosts") };
    let start = |host, others: &[_]| Agent::start(host, &shared_key_plan(host, others, true).unwrap(), &[]).unwrap();
    let mut agents = [start(node, &[peer, late]), start(peer, &[node])];
    agents.iter_mut().for_each(|agent| agent.await_children(1).unwrap());
    let (before, half) = (memory(agents[0].program.id()), Duration::from_secs(seconds()) / 2);
    let carried = || throughput::measure(peer, (node, node.inner(true)), half / 2).unwrap();

    // Where nobody listens, the flood costs the machine what it costs without IKE.
    let closed = Flood::start(attacker, node, 501, PER_SECOND).unwrap();
    let at_closed_port = carried();
    let rate = closed.stop().unwrap();
    let flood = Flood::start(attacker, node, 500, PER_SECOND).unwrap();
    let under_flood = carried();
    let called = Instant::now();
    let mut latecomer = start(late, &[node]);
    latecomer.await_children(1).unwrap();
    let connected = called.elapsed();
    std::thread::sleep(half);
    let shown = output({
        let mut command = agent::command(node).unwrap();
        command.args(["status", "--json"]);
        command
    });
    let shown: serde_json::Value = serde_json::from_str(&shown.unwrap()).unwrap();
    let asked = shown["ike"]["refused"].as_u64().unwrap();
    let grown = memory(agents[0].program.id()).saturating_sub(before);
    let flooded = flood.stop().unwrap();

    let share = under_flood / at_closed_port;
    println!(
        "{flooded} of {PER_SECOND} a second ({rate} at a closed port), {asked} asked for a cookie: connected in {connected:?}, {grown} KiB more, \
         {under_flood:.0} of {at_closed_port:.0} Mbit/s ({share:.2})"
    );
    assert!(asked > u64::from(PER_SECOND), "the flood reaches IKE: {shown:#}");
    assert!(connected < Duration::from_secs(2), "a peer connects in {connected:?}");
    assert!(grown < 32 << 10, "memory grows by {grown} KiB");
    assert!(share > 0.7, "established tunnels keep {share:.2} of their throughput");
}
