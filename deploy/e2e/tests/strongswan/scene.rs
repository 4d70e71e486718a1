//! Node and gateway of the how-to, with what a scenario changes in their files.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use espalier_e2e::agent::{Agent, documented, with_profile};
use espalier_e2e::flow::Flow;
use espalier_e2e::lab::{Host, Lab, UPLINK};
use espalier_e2e::ping::ping_from;
use espalier_e2e::pki::{Leaf, Pki, write_secret};
use espalier_e2e::strongswan::{self, StrongSwan};
use espalier_e2e::wire::{Capture, Seen};

/// Who starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Agent,
    Gateway,
}

/// Declares scenarios, each as two tests: one for each end that may start.
macro_rules! both_roles {
    ($($name:ident => $scenario:expr;)*) => {$(
        mod $name {
            #[allow(unused_imports, reason = "not every scenario needs all")]
            use super::*;

            #[test]
            fn when_the_agent_starts() {
                $scenario($crate::scene::By::Agent);
            }

            #[test]
            fn when_the_gateway_starts() {
                $scenario($crate::scene::By::Gateway);
            }
        }
    )*};
}
pub(crate) use both_roles;

/// Certificates of both ends, PEM.
pub(crate) struct Papers {
    pub(crate) node: (String, String),
    pub(crate) node_trusts: String,
    pub(crate) gateway: (String, String),
    pub(crate) gateway_trusts: [String; 2],
}

impl Papers {
    /// Both ends have these leaves of one authority, which both trust.
    pub(crate) fn new(pki: &Pki, node: Leaf<'_>, gateway: Leaf<'_>) -> Self {
        let (certificate, key) = pki.issue(node).unwrap();
        Self {
            node: (certificate + pki.issuing(), key),
            node_trusts: pki.root().to_owned(),
            gateway: pki.issue(gateway).unwrap(),
            gateway_trusts: [pki.root().to_owned(), pki.issuing().to_owned()],
        }
    }

    pub(crate) fn usual() -> Self {
        Self::new(&Pki::new().unwrap(), Leaf::of(NODE), Leaf::of(GATEWAY))
    }

    fn write(&self, node: &Path, gateway: &Path) {
        fs::write(node.join("node.pem"), &self.node.0).unwrap();
        fs::write(node.join("root.pem"), &self.node_trusts).unwrap();
        write_secret(&node.join("node.key"), &self.node.1).unwrap();
        fs::write(gateway.join("x509/gateway.pem"), &self.gateway.0).unwrap();
        write_secret(&gateway.join("private/gateway.key"), &self.gateway.1).unwrap();
        let [root, issuing] = &self.gateway_trusts;
        fs::write(gateway.join("x509ca/root.pem"), root).unwrap();
        fs::write(gateway.join("x509ca/issuing.pem"), issuing).unwrap();
    }
}

/// The files of both ends, as the how-to shows them until they are changed.
pub(crate) struct Files {
    pub(crate) plan: String,
    pub(crate) settings: String,
    /// The node's own copy of the shared key.
    pub(crate) key: String,
    papers: Option<Papers>,
    charon: &'static str,
    /// Further secrets of the node, by the names of their files.
    pub(crate) secrets: Vec<(&'static str, String)>,
}

impl Files {
    /// Both prove themselves by a shared key.
    pub(crate) fn psk() -> Self {
        let block = |n| documented(&page("strongswan"), "With a pre-shared key", n).unwrap();
        let (plan, key, settings) = (block(0), block(1), block(2));
        Self { plan, key, settings, papers: None, charon: "", secrets: Vec::new() }
    }

    /// Both prove themselves by a shared key, and mix in a postquantum preshared key.
    pub(crate) fn ppk() -> Self {
        let block = |n| documented(&page("postquantum-preshared-keys"), "On both ends", n).unwrap();
        let (plan, key, settings) = (block(0), block(1), block(3));
        Self { plan, key, settings, papers: None, charon: "", secrets: vec![("gateway.ppk", block(2))] }
    }

    /// Both prove themselves by a shared key, and one gives the other addresses, as a section says.
    pub(crate) fn virtual_addresses(section: &str) -> Self {
        let block = |n| documented(&page("virtual-addresses"), section, n).unwrap();
        let (plan, key, settings) = (block(0), block(1), block(2));
        let secrets = vec![("road.psk", key.clone())];
        Self { plan, key, settings, papers: None, charon: "", secrets }
    }

    /// Both prove themselves by certificates.
    pub(crate) fn certificates(papers: Papers) -> Self {
        let block = |n| documented(&page("strongswan"), "With certificates", n).unwrap();
        let (plan, key, settings) = (block(0), String::new(), block(1));
        Self { plan, key, settings, papers: Some(papers), charon: "", secrets: Vec::new() }
    }

    /// Replaces a text of the node's plan.
    pub(crate) fn plan(mut self, from: &str, to: &str) -> Self {
        self.plan = replaced(&self.plan, from, to);
        self
    }

    /// Replaces a text of the gateway's settings.
    pub(crate) fn gateway(mut self, from: &str, to: &str) -> Self {
        self.settings = replaced(&self.settings, from, to);
        self
    }

    /// Names the gateway's proposals for IKE and for the child SA.
    pub(crate) fn proposals(self, ike: &str, esp: &str) -> Self {
        self.gateway("aes256gcm16-prfsha384-x25519", ike).gateway("aes256gcm16-x25519", esp)
    }

    /// Gives the node's only profile these fields.
    pub(crate) fn profile(mut self, fields: &str) -> Self {
        self.plan = with_profile(&self.plan, fields);
        self
    }

    /// Starts charon with further settings of strongswan.conf(5).
    pub(crate) const fn charon(mut self, settings: &'static str) -> Self {
        self.charon = settings;
        self
    }

    /// Gives the node a further secret, in a file of this name.
    pub(crate) fn secret(mut self, name: &'static str, text: &str) -> Self {
        self.secrets.retain(|(other, _)| *other != name);
        self.secrets.push((name, text.to_owned()));
        self
    }

    /// Puts all in place and starts the gateway.
    pub(crate) fn scene(self) -> Scene {
        self.scene_in(Lab::new(2).unwrap())
    }

    /// The same in a lab that is there.
    pub(crate) fn scene_in(self, lab: Lab) -> Scene {
        let [node, gateway, ..] = lab.hosts.as_slice() else { panic!("a lab has two hosts") };
        let folder = strongswan::folders(gateway).unwrap();
        match &self.papers {
            Some(papers) => papers.write(node.folder(), &folder),
            None => write_secret(&node.folder().join("gateway.psk"), &self.key).unwrap(),
        }
        for (name, text) in &self.secrets {
            write_secret(&node.folder().join(name), text).unwrap();
        }
        fs::write(folder.join("swanctl.conf"), &self.settings).unwrap();
        for ipv4 in [true, false] {
            give_address(gateway, &format!("{}/{}", gateway.inner(ipv4), if ipv4 { 32 } else { 128 }));
        }
        let swan = StrongSwan::start_set(gateway, self.charon).unwrap();
        Scene { plan: self.plan, arguments: &[], lab, swan }
    }
}

/// Node and gateway.
pub(crate) struct Scene {
    pub(crate) lab: Lab,
    pub(crate) plan: String,
    /// Further arguments of the agent.
    pub(crate) arguments: &'static [&'static str],
    pub(crate) swan: StrongSwan,
}

impl Scene {
    pub(crate) fn node(&self) -> &Host {
        &self.lab.hosts[0]
    }

    pub(crate) fn gateway(&self) -> &Host {
        &self.lab.hosts[1]
    }

    /// Starts the agent; it begins if it is its turn.
    pub(crate) fn agent(&self, by: By) -> Agent {
        let plan = replaced(&self.plan, "initiate: true", &format!("initiate: {}", by == By::Agent));
        let mut agent = Agent::start(self.node(), &plan, self.arguments).unwrap();
        agent.await_log("running", 1).unwrap();
        agent
    }

    /// Starts the agent, lets the given end begin, and waits for the tunnel.
    pub(crate) fn tunnel(&self, by: By) -> Agent {
        let mut agent = self.agent(by);
        if by == By::Gateway {
            self.swan.control(&["--initiate", "--child", "gateway"]).unwrap();
        }
        agent.await_children(1).unwrap();
        agent
    }

    /// Watches the node's wire.
    pub(crate) fn capture(&self) -> Capture {
        Capture::start(&self.node().namespace, UPLINK, None).unwrap()
    }

    /// Pings both ways at once, with large packets as well.
    pub(crate) fn assert_passes(&self) {
        self.assert_passes_between(true, &[56, 1300]);
    }

    /// Pings both ways at once between addresses of a family, with packets of these sizes.
    pub(crate) fn assert_passes_between(&self, ipv4: bool, sizes: &[u16]) {
        let (near, far) = (self.node().inner(ipv4), self.gateway().inner(ipv4));
        thread::scope(|scope| {
            for size in sizes.iter().copied() {
                scope.spawn(move || assert_answered(self.node(), near, far, size));
                scope.spawn(move || assert_answered(self.gateway(), far, near, size));
            }
        });
    }

    /// Forms a tunnel, passes packets through it, and checks that none was in the clear and what charon says about the SAs.
    pub(crate) fn assert_tunnel(&self, by: By, shown: &[&str]) -> Agent {
        let capture = self.capture();
        let agent = self.tunnel(by);
        self.assert_passes();
        assert_protected(capture.stop().unwrap());
        self.assert_shown(shown);
        agent
    }

    /// Checks that `swanctl --list-sas --raw` has these texts.
    pub(crate) fn assert_shown(&self, texts: &[&str]) {
        let sas = self.swan.sas().unwrap();
        for text in texts {
            assert!(sas.contains(text), "{text:?} is not in {sas}");
        }
    }

    /// Checks that `espalier-agent status` shows these texts.
    pub(crate) fn assert_status(&self, texts: &[&str]) {
        let mut command = espalier_e2e::agent::command(self.node()).unwrap();
        command.arg("status");
        let status = espalier_e2e::program::output(command).unwrap();
        for text in texts {
            assert!(status.contains(text), "{text:?} is not in\n{status}");
        }
    }

    /// When all is quiet the gateway holds one IKE SA and so many child SAs.
    pub(crate) fn assert_one_ike_sa(&self, children: usize) {
        thread::sleep(std::time::Duration::from_secs(1));
        let sas = self.swan.sas().unwrap();
        assert_eq!(sas.matches("state=ESTABLISHED").count(), 1, "{sas}");
        assert_eq!(sas.matches("state=INSTALLED").count(), children, "{sas}");
    }

    /// Starts steady traffic both ways.
    pub(crate) fn flows(&self) -> [Flow; 2] {
        let flow = |from, to| Flow::start(from, to, true, std::time::Duration::from_millis(2)).unwrap();
        [flow(self.node(), self.gateway()), flow(self.gateway(), self.node())]
    }
}

/// Ends flows and checks that all has arrived.
pub(crate) fn assert_nothing_lost(flows: [Flow; 2]) {
    for (way, delivery) in ["to the gateway", "to the node"].into_iter().zip(Flow::stop_all(flows.into()).unwrap()) {
        assert!(delivery.sent > 100, "{way}: {delivery:?}");
        assert_eq!(delivery.lost, 0, "{way}: {delivery:?}");
    }
}

/// Checks that the tunnel was used, and that nothing passed beside it.
pub(crate) fn assert_protected(seen: Seen) {
    assert!(seen.esp >= 40, "the tunnel was used: {seen:?}");
    assert_eq!(seen.canaries, 0, "nothing passed in the clear: {seen:?}");
}

/// Puts an address on the loopback interface of a host.
pub(crate) fn give_address(host: &Host, address: &str) {
    run(host, &["ip", "address", "add", address, "dev", "lo"]);
}

/// Runs a command in a host.
pub(crate) fn run(host: &Host, words: &[&str]) {
    let [program, arguments @ ..] = words else { panic!("a command has a name") };
    assert!(host.namespace.command(program).args(arguments).status().unwrap().success(), "{words:?}");
}

/// Checks that all echo requests from one address to another are answered.
pub(crate) fn assert_answered(from: &Host, source: std::net::IpAddr, to: std::net::IpAddr, size: u16) {
    let pings = ping_from(from, source, to, 5, size).unwrap();
    assert_eq!((pings.sent, pings.lost()), (5, 0), "{size} bytes from host {}", from.number);
}

/// Replaces a text that must be there.
pub(crate) fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from:?} is not in {text}");
    text.replace(from, to)
}

fn page(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../docs/how-to/{name}.md"))
}

/// The node's name in the how-to.
pub(crate) const NODE: &str = "node.example";
/// The gateway's name in the how-to.
pub(crate) const GATEWAY: &str = "gateway.example";
