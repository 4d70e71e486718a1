//! strongSwan as the judge: tunnels between Debian's charon and `espalier-agent run --plan`, from the files of the how-to.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test fails, in its helpers too")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use espalier_e2e::agent::{Agent, documented, with_lifetimes};
use espalier_e2e::flow::Flow;
use espalier_e2e::lab::{Host, Lab, UPLINK};
use espalier_e2e::ping::ping;
use espalier_e2e::pki::{Pki, write_secret};
use espalier_e2e::strongswan::{self, StrongSwan};
use espalier_e2e::wire::{Capture, Seen};

const PSK: &str = "With a pre-shared key";
const CERTIFICATES: &str = "With certificates";

/// Node and gateway of the how-to.
struct Scene {
    lab: Lab,
    plan: String,
    swan: StrongSwan,
}

impl Scene {
    /// Puts the files of a section in place and starts the gateway.
    fn new(section: &str) -> Self {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/how-to/strongswan.md");
        let block = |n| documented(&page, section, n).unwrap();
        let lab = Lab::new(2).unwrap();
        let folder = strongswan::folders(&lab.hosts[1]).unwrap();
        let settings = if section == PSK {
            write_secret(&lab.hosts[0].folder().join("gateway.psk"), &block(1)).unwrap();
            block(2)
        } else {
            certificates(lab.hosts[0].folder(), &folder);
            block(1)
        };
        fs::write(folder.join("swanctl.conf"), settings).unwrap();
        give_address(&lab.hosts[1]);
        let swan = StrongSwan::start(&lab.hosts[1]).unwrap();
        Self { plan: block(0), lab, swan }
    }

    fn node(&self) -> &Host {
        &self.lab.hosts[0]
    }

    fn gateway(&self) -> &Host {
        &self.lab.hosts[1]
    }

    /// Starts the agent, lets the given end begin, and waits for the tunnel.
    fn tunnel(&self, agent_starts: bool, plan: &str, arguments: &[&str]) -> Agent {
        let plan = plan.replace("initiate: true", &format!("initiate: {agent_starts}"));
        let mut agent = Agent::start(self.node(), &plan, arguments).unwrap();
        agent.await_log("running", 1).unwrap();
        if !agent_starts {
            self.swan.control(&["--initiate", "--child", "gateway"]).unwrap();
        }
        agent.await_children(1).unwrap();
        agent
    }

    fn capture(&self) -> Capture {
        Capture::start(&self.node().namespace, UPLINK, None).unwrap()
    }

    /// Pings both ways, the largest packet that fits as well.
    fn assert_passes(&self) {
        let (node, gateway) = (self.node(), self.gateway());
        // 1438 bytes hold an IPv4 header of 20, an ICMP header of 8, and this.
        for (from, to, size) in [(node, gateway, 56), (gateway, node, 56), (node, gateway, 1410)] {
            let pings = ping(from, to.inner(true), 10, size).unwrap();
            assert_eq!((pings.sent, pings.lost()), (10, 0), "{size} bytes from host {}", from.number);
        }
    }
}

fn certificates(node: &Path, gateway: &Path) {
    let pki = Pki::new().unwrap();
    let (certificate, key) = pki.leaf("node.example").unwrap();
    fs::write(node.join("node.pem"), certificate + pki.issuing()).unwrap();
    fs::write(node.join("root.pem"), pki.root()).unwrap();
    write_secret(&node.join("node.key"), &key).unwrap();
    let (certificate, key) = pki.leaf("gateway.example").unwrap();
    fs::write(gateway.join("x509/gateway.pem"), certificate).unwrap();
    write_secret(&gateway.join("private/gateway.key"), &key).unwrap();
    fs::write(gateway.join("x509ca/root.pem"), pki.root()).unwrap();
    fs::write(gateway.join("x509ca/issuing.pem"), pki.issuing()).unwrap();
}

/// The gateway's protected address stands on its loopback interface.
fn give_address(host: &Host) {
    let address = format!("{}/32", host.inner(true));
    let mut command = host.namespace.command("ip");
    assert!(command.args(["address", "add", &address, "dev", "lo"]).status().unwrap().success());
}

fn assert_protected(seen: Seen) {
    assert!(seen.esp >= 60, "the tunnel was used: {seen:?}");
    assert_eq!(seen.canaries, 0, "nothing passed in the clear: {seen:?}");
}

#[test]
fn tunnels_form_whoever_starts_and_however_identities_are_proven() {
    for section in [PSK, CERTIFICATES] {
        let scene = Scene::new(section);
        for agent_starts in [true, false] {
            let capture = scene.capture();
            let mut agent = scene.tunnel(agent_starts, &scene.plan, &[]);
            scene.assert_passes();
            assert_protected(capture.stop().unwrap());
            assert!(agent.program.terminate().unwrap().success(), "{section}, {agent_starts}");
            assert!(!scene.swan.sas().unwrap().contains("ESTABLISHED"), "the agent takes leave of the gateway");
        }
    }
}

#[test]
fn rekeys_by_the_gateway_lose_nothing() {
    let scene = Scene::new(CERTIFICATES);
    let mut agent = scene.tunnel(true, &scene.plan, &[]);
    let flows = start_flows(&scene);
    for round in 1..=3 {
        scene.swan.control(&["--rekey", "--child", "gateway"]).unwrap();
        agent.await_children(1 + round).unwrap();
        scene.swan.control(&["--rekey", "--ike", "espalier"]).unwrap();
        agent.await_log("IKE SA replaced", round).unwrap();
        std::thread::sleep(Duration::from_millis(300));
    }
    assert_nothing_lost(flows);
    assert_one_pair(&scene);
}

#[test]
fn rekeys_by_the_agent_lose_nothing() {
    let scene = Scene::new(PSK);
    let plan = with_lifetimes(&scene.plan, 5, 2);
    let mut agent = scene.tunnel(true, &plan, &[]);
    let flows = start_flows(&scene);
    agent.await_log("IKE SA replaced", 2).unwrap();
    agent.await_children(5).unwrap();
    assert_nothing_lost(flows);
    assert!(agent.program.terminate().unwrap().success());
}

#[test]
fn rekeys_of_both_ends_at_once_lose_nothing() {
    let scene = Scene::new(PSK);
    let plan = with_lifetimes(&scene.plan, 7, 3);
    let mut agent = scene.tunnel(false, &plan, &[]);
    let flows = start_flows(&scene);
    for _ in 0..10 {
        // A refusal for the time being is an answer too.
        let _ = scene.swan.control(&["--rekey", "--child", "gateway"]);
        let _ = scene.swan.control(&["--rekey", "--ike", "espalier"]);
        std::thread::sleep(Duration::from_millis(900));
    }
    agent.await_children(5).unwrap();
    assert_nothing_lost(flows);
}

#[test]
fn a_gateway_that_vanishes_is_noticed_and_called_again() {
    let scene = Scene::new(PSK);
    let plan = format!("{}profiles:\n  - {{ name: default, liveness-seconds: 1 }}\n", scene.plan);
    let mut agent = scene.tunnel(true, &plan, &[]);
    scene.assert_passes();
    let Scene { lab, swan, .. } = scene;
    drop(swan);
    agent.program.await_log("IKE SA down", 1, Duration::from_secs(60)).unwrap();
    let _ = fs::remove_file(lab.hosts[1].folder().join("vici"));
    let swan = StrongSwan::start(&lab.hosts[1]).unwrap();
    agent.program.await_log("IKE SA up", 2, Duration::from_secs(60)).unwrap();
    let pings = ping(&lab.hosts[0], lab.hosts[1].inner(true), 10, 56).unwrap();
    assert_eq!(pings.lost(), 0, "{}", swan.log());
}

fn start_flows(scene: &Scene) -> [Flow; 2] {
    let flow = |from, to| Flow::start(from, to, true, Duration::from_millis(2)).unwrap();
    [flow(scene.node(), scene.gateway()), flow(scene.gateway(), scene.node())]
}

fn assert_nothing_lost(flows: [Flow; 2]) {
    for flow in flows {
        let delivery = flow.stop().unwrap();
        assert!(delivery.sent > 100, "{delivery:?}");
        assert_eq!(delivery.lost, 0, "{delivery:?}");
    }
}

/// When all is quiet the gateway holds one IKE SA and one child SA.
fn assert_one_pair(scene: &Scene) {
    std::thread::sleep(Duration::from_secs(1));
    let sas = scene.swan.sas().unwrap();
    assert_eq!(sas.matches("state=ESTABLISHED").count(), 1, "{sas}");
    assert_eq!(sas.matches("state=INSTALLED").count(), 1, "{sas}");
}
