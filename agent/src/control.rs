//! The node's side of the controller: enrolment, plans, renewal, reports.

mod client;
pub mod enrol;
mod files;
mod plans;
mod renewal;
pub mod state;
mod tls;
mod verify;

use std::net::SocketAddr;

use espalier_ike::CertificateIdentity;
use espalier_model::envelope::Version;
use espalier_model::plan::NodePlan;
use espalier_proto::v1::IkeSa;
use tokio::sync::{mpsc, watch};

use state::State;

/// What the controller has for the node.
pub enum ControlEvent {
    /// A plan to carry out. It is on disk already.
    Plan(Box<NodePlan>, Version),
    /// Where the controller is: it must stay within reach, whatever the policy says.
    Address(SocketAddr),
    /// A new key and certificate to prove the node's identity with.
    Identity(Box<CertificateIdentity>),
}

/// What the node says of a plan.
enum Verdict {
    Applied(Version),
    Refused(Version, String),
}

/// How the connection stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// The address that was tried last.
    pub controller: String,
    /// Whether plans come and reports go.
    pub up: bool,
    /// Why not.
    pub reason: String,
}

/// The connection to the controller, kept up by a task of its own.
pub struct Control {
    events: mpsc::Receiver<ControlEvent>,
    verdicts: mpsc::Sender<Verdict>,
    sas: watch::Sender<Vec<IkeSa>>,
    connection: watch::Receiver<Connection>,
}

/// Plans and certificates under way: the task waits while the node is busy.
const UNDER_WAY: usize = 4;

impl Control {
    /// Starts the task. It goes on until the value is dropped.
    #[must_use]
    pub fn start(state: State) -> Self {
        let (event_sender, events) = mpsc::channel(UNDER_WAY);
        let (verdicts, verdict_receiver) = mpsc::channel(UNDER_WAY);
        let sas = watch::Sender::new(Vec::new());
        let (noted, connection) = watch::channel(Connection::default());
        let client = client::Client::new(state, event_sender, verdict_receiver, sas.subscribe(), noted);
        tokio::spawn(client.run());
        Self { events, verdicts, sas, connection }
    }

    /// Waits for the next event. Dropping the future loses none.
    pub async fn event(&mut self) -> ControlEvent {
        match self.events.recv().await {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }

    /// Says that a plan is carried out.
    pub fn applied(&self, version: Version) {
        self.say(Verdict::Applied(version));
    }

    /// Says why a plan is not carried out.
    pub fn refused(&self, version: Version, reason: String) {
        self.say(Verdict::Refused(version, reason));
    }

    /// Reports the SAs that stand.
    pub fn report(&self, sas: Vec<IkeSa>) {
        self.sas.send_replace(sas);
    }

    /// Returns how the connection stands.
    #[must_use]
    pub fn connection(&self) -> Connection {
        self.connection.borrow().clone()
    }

    fn say(&self, verdict: Verdict) {
        // There is at most one verdict for each plan, and room for as many as plans.
        if self.verdicts.try_send(verdict).is_err() {
            tracing::warn!("the controller's task has ended or is stuck");
        }
    }
}
