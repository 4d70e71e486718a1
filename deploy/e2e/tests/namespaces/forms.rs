//! Every form of packets between two agents: ESP and AH, tunnel and transport mode, in UDP and as IP protocols, over both families.

use std::net::IpAddr;
use std::path::Path;

use espalier_e2e::ping::ping_from;
use espalier_e2e::pki::write_secret;

use super::*;

/// What a profile says of the form, and what the agent says of the SA.
#[derive(Clone, Copy)]
struct Form {
    fields: &'static str,
    shown: &'static str,
    /// Whether who listens sees what is inside.
    readable: bool,
}

const ESP: Form = Form { fields: "encap: never", shown: "suite=aes256gcm16", readable: false };
const AH: Form = Form {
    fields: "encap: never, protection: ah, confidentiality: none, esp: [null-sha256]",
    shown: "suite=ah-sha256",
    readable: true,
};
const BOTH: Form =
    Form { fields: "encap: never, protection: ah+esp", shown: "suite=ah-sha256+aes256gcm16", readable: false };
const SIZE: u16 = 56;

/// Writes the plan of one host with a form, for traffic between the underlay addresses in transport mode.
fn plan(host: &Host, peer: &Host, ipv4: bool, fields: &str, transport: bool) -> String {
    let plan = shared_key_plan(host, &[peer], ipv4).unwrap();
    if !transport {
        return agent::with_profile(&plan, fields);
    }
    let inner = |h: &Host| format!("[{}/32, \"{}/128\"]", h.inner(true), h.inner(false));
    let outer = |h: &Host| format!("[\"{}/{}\"]", h.outer(ipv4), if ipv4 { 32 } else { 128 });
    let mut plan = agent::with_profile(&plan, &format!("mode: transport, {fields}"));
    for (side, end) in [("local", host), ("remote", peer)] {
        plan = plan.replace(&format!("{side}: {}", inner(end)), &format!("{side}: {}", outer(end)));
    }
    plan
}

/// Sets a tunnel up, sends pings of many lengths and a connection both ways, and looks at the wire.
fn passes(form: Form, ipv4: bool, transport: bool) {
    let Form { fields, shown, readable } = form;
    let lab = Lab::new(2).unwrap();
    let [one, other] = &lab.hosts[..] else { panic!("two hosts") };
    // A node that checks sources asks for the way back of what comes.
    lab.hosts.iter().for_each(check_sources);
    let capture = capture(one);
    let mut agents = [(one, other), (other, one)]
        .map(|(host, peer)| Agent::start(host, &plan(host, peer, ipv4, fields, transport), &[]).unwrap());
    agents.iter_mut().for_each(|agent| agent.await_children(1).unwrap());
    let mode = if transport { "transport" } else { "tunnel" };
    agents[0].await_log(&format!("{shown} mode={mode}"), 1).unwrap();
    let ends: Vec<[IpAddr; 2]> = if transport {
        vec![[one, other].map(|host| host.outer(ipv4))]
    } else {
        [true, false].map(|v4| [one, other].map(|host| host.inner(v4))).to_vec()
    };
    let mtu = mtu(one);
    for [near, far] in ends {
        let headers = if near.is_ipv4() { 28 } else { 48 };
        for size in [SIZE, 1_000, mtu - headers] {
            let pings = ping_from(one, near, far, 4, size).unwrap();
            assert_eq!(pings.lost(), 0, "{fields}, {mode}, {near} to {far}, {size} bytes\n{}", agents[0].program.log());
        }
        for (from, to) in [(one, (other, far)), (other, (one, near))] {
            assert!(measure(from, to, Duration::from_millis(300)).unwrap() > 1.0, "{fields}, {mode}");
        }
    }
    agents.iter_mut().for_each(|agent| assert!(agent.program.terminate().unwrap().success()));
    let seen = capture.stop().unwrap();
    assert!(seen.esp > 100, "{fields}, {mode}: {seen:?}");
    assert_eq!(seen.canaries > 0, readable, "{fields}, {mode}: {seen:?}");
    assert_eq!(seen.ip_fragments, 0, "{fields}, {mode}: {seen:?}");
}

fn check_sources(host: &Host) {
    for name in ["all", "default", UPLINK] {
        let mut command = host.namespace.command("sysctl");
        command.args(["--quiet", "--write", &format!("net.ipv4.conf.{name}.rp_filter=1")]);
        assert!(command.status().unwrap().success());
    }
}

/// Returns the MTU of the agent's interface.
fn mtu(host: &Host) -> u16 {
    let mtu = host.namespace.enter(|| {
        let mut netlink = espalier_sys::netlink::Netlink::open().unwrap();
        netlink.link("espalier0").unwrap().mtu
    });
    u16::try_from(mtu.unwrap()).unwrap()
}

fn passes_over_both(form: Form, transport: bool) {
    [true, false].into_iter().for_each(|ipv4| passes(form, ipv4, transport));
}

#[test]
fn esp_as_an_ip_protocol_in_tunnel_mode() {
    passes_over_both(ESP, false);
    passes(Form { fields: "encap: auto", ..ESP }, true, false);
}

#[test]
fn esp_as_an_ip_protocol_in_transport_mode() {
    passes_over_both(ESP, true);
}

#[test]
fn esp_in_udp_in_transport_mode() {
    passes_over_both(Form { fields: "encap: always", ..ESP }, true);
}

#[test]
fn ah_in_tunnel_mode() {
    passes_over_both(AH, false);
}

#[test]
fn ah_in_transport_mode() {
    passes_over_both(AH, true);
}

#[test]
fn esp_inside_ah_in_both_modes() {
    [false, true].into_iter().for_each(|transport| passes_over_both(BOTH, transport));
}

#[test]
fn the_plan_that_the_page_on_forms_shows_works() {
    let lab = Lab::new(2).unwrap();
    let [one, other] = &lab.hosts[..] else { panic!("two hosts") };
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/how-to/forms.md");
    let left = agent::documented(&page, "Transport mode", 0).unwrap();
    // The same from the other side.
    let swapped =
        [("left", "LEFT"), ("right", "left"), ("LEFT", "right"), (".2.1", ".2.X"), (".2.2", ".2.1"), (".2.X", ".2.2")];
    let right = swapped.iter().fold(left.clone(), |plan, (from, to)| plan.replace(from, to));
    let mut agents = [(one, left), (other, right)].map(|(host, plan)| {
        let ends = [("192.0.2.1", one), ("192.0.2.2", other)];
        let plan = ends.iter().fold(plan, |plan, (from, host)| plan.replace(from, &host.outer(true).to_string()));
        for key in ["left.psk", "right.psk"] {
            write_secret(&host.folder().join(key), "only for tests\n").unwrap();
        }
        Agent::start(host, &plan, &[]).unwrap()
    });
    agents.iter_mut().for_each(|agent| agent.await_children(1).unwrap());
    let capture = capture(one);
    let pings = ping_from(one, one.outer(true), other.outer(true), 5, SIZE).unwrap();
    assert_eq!(pings.lost(), 0, "{}", agents[0].program.log());
    assert_protected(capture.stop().unwrap(), 10);
}

/// Counts, and changes, what the network does to headers on the way.
const CONGESTED: &str = "table ip path {
  chain leaving { type filter hook postrouting priority 400; udp dport 4500 ip dscp ef ip ecn ect1 ip ecn set ce; }
}";
const COUNTED: &str = "table ip path {
  counter outer {}
  counter inner {}
  chain arriving {
    type filter hook prerouting priority -400
    iifname eth0 udp dport 4500 ip dscp ef ip ecn ce counter name outer
    iifname espalier0 icmp type echo-request ip dscp ef ip ecn ce counter name inner
  }
}";

#[test]
fn classes_are_shown_outside_and_congestion_is_told_inside() {
    let lab = Lab::new(2).unwrap();
    let [one, other] = &lab.hosts[..] else { panic!("two hosts") };
    let _agents = pair(&lab, true, str::to_owned);
    nft(one, CONGESTED);
    nft(other, COUNTED);
    let mut command = one.namespace.command("ping");
    let (source, to) = (one.inner(true).to_string(), other.inner(true).to_string());
    // Expedited forwarding, ECT(1).
    command.args(["-q", "-c", "5", "-i", "0.2", "-Q", "0xb9", "-I", &source, &to]);
    assert!(command.output().unwrap().status.success());
    let mut command = other.namespace.command("nft");
    let counted = String::from_utf8(command.args(["list", "counters"]).output().unwrap().stdout).unwrap();
    assert_eq!(counted.matches("packets 5 ").count(), 2, "{counted}");
}

fn nft(host: &Host, rules: &str) {
    let file = host.folder().join("path.nft");
    fs::write(&file, rules).unwrap();
    let mut command = host.namespace.command("nft");
    assert!(command.arg("-f").arg(&file).status().unwrap().success());
}
