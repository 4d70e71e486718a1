//! Rules on demand: no SA before there is a packet for it, and the first packet arrives.

use std::io::{Read, Write};
use std::net::TcpStream;

use espalier_e2e::program::output;

use super::*;

/// Returns what an agent says of itself.
fn status(host: &Host) -> String {
    let mut command = agent::command(host).unwrap();
    command.arg("status");
    output(command).unwrap()
}

/// Tells whether an agent says that it is ready.
fn is_ready(host: &Host) -> bool {
    let answer = host.namespace.enter(|| {
        let mut stream = TcpStream::connect("127.0.0.1:9470").unwrap();
        stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    answer.unwrap().starts_with("HTTP/1.1 200")
}

/// Returns how many times a text stands in an agent's log.
fn told(agent: &Agent, text: &str) -> usize {
    agent.program.log().matches(text).count()
}

#[test]
fn no_sa_stands_before_the_first_packet_and_the_first_packet_arrives_from_either_end() {
    let lab = Lab::new(3).unwrap();
    let captures: Vec<_> = lab.hosts.iter().map(capture).collect();
    let start = |host: &Host| {
        let others: Vec<_> = lab.hosts.iter().filter(|other| other.number != host.number).collect();
        let plan = agent::with_profile(&shared_key_plan(host, &others, true).unwrap(), "activation: on-demand");
        Agent::start(host, &plan, &[]).unwrap()
    };
    let mut agents: Vec<_> = lab.hosts.iter().map(start).collect();
    agents.iter_mut().for_each(|agent| agent.await_log("running", 1).unwrap());
    // Longer than an end waits that does not lead.
    std::thread::sleep(Duration::from_secs(4));
    for (host, agent) in lab.hosts.iter().zip(&agents) {
        let shown = status(host);
        assert_eq!(shown.matches("on demand, waits for a packet").count(), 2, "{shown}");
        assert!(shown.contains("2 of 2 up") && is_ready(host), "{shown}");
        assert_eq!(told(agent, "IKE SA"), 0, "{}", agent.program.log());
    }
    // The end that leads, the end that does not, and the other family.
    for (from, to, ipv4) in [(0, 1, true), (2, 0, true), (2, 1, false)] {
        let (from, to) = (&lab.hosts[from], &lab.hosts[to]);
        let pings = ping(from, to.inner(ipv4), 5, 56).unwrap();
        assert_eq!((pings.sent, pings.lost()), (5, 0), "host {} to host {}", from.number, to.number);
    }
    for (host, agent) in lab.hosts.iter().zip(&agents) {
        assert_eq!((told(agent, "IKE SA up"), told(agent, "child SA in use")), (2, 2), "{}", agent.program.log());
        let shown = status(host);
        assert!(!shown.contains("no child SA") && is_ready(host), "{shown}");
    }
    agents.iter_mut().for_each(|agent| assert!(agent.program.terminate().unwrap().success()));
    captures.into_iter().for_each(|capture| assert_protected(capture.stop().unwrap(), 20));
}

#[test]
fn what_waits_is_dropped_by_name_where_nobody_answers() {
    let lab = Lab::new(2).unwrap();
    let [one, other] = &lab.hosts[..] else { panic!("two hosts") };
    let plan = agent::with_profile(&shared_key_plan(one, &[other], true).unwrap(), "activation: on-demand");
    let mut agent = Agent::start(one, &plan, &[]).unwrap();
    agent.await_log("running", 1).unwrap();
    let capture = capture(one);
    assert_eq!(ping(one, other.inner(true), 5, 56).unwrap().lost(), 5);
    let shown = status(one);
    assert!(shown.contains("on demand, and packets ask for it") && is_ready(one), "{shown}");
    std::thread::sleep(Duration::from_secs(11));
    let shown = status(one);
    assert!(shown.contains("5  hold_expired"), "{shown}");
    assert_protected(capture.stop().unwrap(), 0);
}
