//! How the node fares: one value, shown by the command line, the metrics and the probes.

mod http;
mod metrics;
mod socket;
mod table;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

pub use http::serve as serve_http;
pub use socket::{ask, serve as serve_socket};

/// How a node fares. A tunnel that is down is shown as down, never missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// The version of the agent.
    pub version: String,
    /// The node, once it has a plan.
    pub node: Option<String>,
    /// The controller; `None` where the agent runs from a plan file.
    pub controller: Option<ControllerStatus>,
    /// The Unix second until which the node's certificate is good.
    pub certificate_not_after: Option<u64>,
    /// Whether keys are written out: whoever reads them reads the traffic.
    pub keylog: bool,
    /// How each way of moving packets in bulk fares, by the name of its setting.
    #[serde(default)]
    pub offloads: BTreeMap<String, String>,
    /// Every peer of the plan.
    pub peers: Vec<PeerStatus>,
    /// Packets since the start: those that came, and those that went on.
    #[serde(default)]
    pub packets: BTreeMap<String, u64>,
    /// Packets dropped since the start, by reason; what is zero too.
    pub dropped: BTreeMap<String, u64>,
    /// IKE datagrams since the start, by what became of them.
    pub ike: BTreeMap<String, u64>,
}

/// The way to the controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ControllerStatus {
    /// Its address.
    pub address: String,
    /// Whether the node is connected.
    pub connected: bool,
    /// Why not.
    pub reason: String,
    /// The epoch of the plan that is carried out.
    pub epoch: u64,
    /// The generation of the plan that is carried out.
    pub generation: u64,
}

/// One peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PeerStatus {
    /// Its identity.
    pub id: String,
    /// Whether every SA that the plan wants stands. Rules on demand want none before there are packets.
    pub up: bool,
    /// Whether it is away and has to call: its address is not known, or this node gives it addresses, which only the end that
    /// starts can ask for.
    #[serde(default)]
    pub away: bool,
    /// The rules that have no child SA, and should.
    pub missing: Vec<String>,
    /// The rules on demand that have none: nothing has asked for it.
    #[serde(default)]
    pub waiting: Vec<String>,
    /// The rules on demand that have none yet, but packets that ask for it.
    #[serde(default)]
    pub wanted: Vec<String>,
    /// The underlay path, as `local > remote`; empty without an IKE SA.
    pub path: String,
    /// The key exchanges of the IKE SA, as in `x25519+mlkem768`; empty without one.
    pub key_exchange: String,
    /// On which side of the path a NAT is: `none`, `ours`, `theirs` or `both`; empty without an IKE SA.
    #[serde(default)]
    pub nat: String,
    /// Whether the SAs move to other addresses (RFC 4555).
    #[serde(default)]
    pub mobike: bool,
    /// Seconds for which the IKE SA has stood.
    pub seconds: u64,
    /// The postquantum preshared key that is mixed into the keys of the IKE SA.
    #[serde(default)]
    pub ppk: Option<String>,
    /// Virtual addresses that go with the IKE SA: ours where the peer gives them, the peer's where this node does.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// Name servers that were told along with them.
    #[serde(default)]
    pub dns: Vec<String>,
    /// Its child SAs.
    pub children: Vec<ChildStatus>,
}

/// One pair of child SAs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ChildStatus {
    /// The rule that it serves.
    pub rule: String,
    /// SPI of packets that come in.
    pub spi_in: u32,
    /// SPI of packets that go out.
    pub spi_out: u32,
    /// The algorithms, such as `aes256gcm16`, or `ah-sha256+aes256gcm16`.
    pub suite: String,
    /// `tunnel` or `transport`.
    pub mode: String,
    /// Whether sequence numbers have 64 bits.
    pub esn: bool,
    /// What is around packets: `udp`, or IP alone with `esp` or `ah`.
    pub around: String,
    /// Packets and bytes that came in.
    pub received: Traffic,
    /// Packets and bytes that went out.
    pub sent: Traffic,
    /// Packets dropped as replays.
    pub replayed: u64,
    /// Packets whose ICV was wrong.
    pub unauthentic: u64,
}

/// An amount of traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Bytes of inner packets.
    pub bytes: u64,
}

impl Status {
    /// Returns the status of an agent without a plan.
    #[must_use]
    pub fn new(controller: Option<ControllerStatus>) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: None,
            controller,
            certificate_not_after: None,
            keylog: false,
            offloads: BTreeMap::new(),
            peers: Vec::new(),
            packets: BTreeMap::new(),
            dropped: BTreeMap::new(),
            ike: BTreeMap::new(),
        }
    }

    /// Tells whether all that this node can bring about stands. Without a plan it is not ready; without the controller it may be,
    /// and while peers are away that have to call.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.node.is_some() && self.down().is_empty()
    }

    /// Returns the peers with which something does not stand, and should.
    #[must_use]
    pub fn down(&self) -> Vec<&str> {
        self.peers.iter().filter(|peer| !peer.up && !peer.away).map(|peer| peer.id.as_str()).collect()
    }
}

/// Asks the loop that knows.
#[derive(Clone)]
pub struct Asker(mpsc::Sender<Question>);

/// A question after the status.
pub type Question = oneshot::Sender<Arc<Status>>;

/// More questions than that at once wait.
const QUESTIONS: usize = 8;

impl Asker {
    /// Returns one who asks, and where the questions come out.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Question>) {
        let (sender, questions) = mpsc::channel(QUESTIONS);
        (Self(sender), questions)
    }

    /// Returns the status, or nothing once the loop has ended.
    pub async fn status(&self) -> Option<Arc<Status>> {
        let (question, answer) = oneshot::channel();
        self.0.send(question).await.ok()?;
        answer.await.ok()
    }
}
