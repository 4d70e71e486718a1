//! What of a packet rules look at, between two agents: types of ICMP.

use std::net::UdpSocket;

use espalier_e2e::ping::CANARY;

use super::*;

/// Type and code as selectors have them: every code of an echo, and of its reply (RFC 4301 §4.4.1.1).
const ECHO: &str = "2048-2303";
const REPLY: &str = "0-255";
const PORT: u16 = 5_300;

#[test]
fn echoes_pass_where_the_rules_are_for_them_and_nothing_else_does() {
    let lab = Lab::new(2).unwrap();
    let [one, other] = &lab.hosts[..] else { panic!("two hosts") };
    let capture = capture(one);
    let mut agents = pair(&lab, true, |plan| {
        let (before, rule) = plan.rsplit_once("  - { name: ").unwrap();
        let of = |name: &str, types: &str| {
            let fields = format!("protocol: icmp, local-ports: {types}, remote-ports: {types}, action: protect");
            format!("  - {{ name: {name}-{}", rule.replacen("action: protect", &fields, 1))
        };
        format!("{before}{}{}", of("echo", ECHO), of("reply", REPLY))
    });
    agents.iter_mut().for_each(|agent| agent.await_children(2).unwrap());
    for (from, to) in [(one, other), (other, one)] {
        let pings = ping(from, to.inner(true), 5, 56).unwrap();
        assert_eq!(pings.lost(), 0, "{}", agents[0].program.log());
    }
    let bind = |host: &Host| host.namespace.enter(|| UdpSocket::bind((host.inner(true), PORT))).unwrap().unwrap();
    let (near, far) = (bind(one), bind(other));
    far.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let _ = near.send_to(CANARY, (other.inner(true), PORT));
    assert!(far.recv(&mut [0; 64]).is_err(), "no rule has UDP");
    agents.iter_mut().for_each(|agent| assert!(agent.program.terminate().unwrap().success()));
    assert_protected(capture.stop().unwrap(), 20);
}
