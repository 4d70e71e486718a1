//! The loop that joins IKE and the world: the only place that waits.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use espalier_model::envelope::Version;
use espalier_model::plan::NodePlan;
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant as TokioInstant, interval, sleep_until};

use crate::control::{Connection, Control, ControlEvent, state::State, state::StateError};
use crate::dataplane::{DataPlane, DataPlaneError};
use crate::door::IkeDatagram;
use crate::identity::{self, IdentityError};
use crate::node::{Node, now};
use crate::reconcile::{self, ReconcileError};
use crate::settings::Tuning;
use crate::status::{ControllerStatus, Question, Status};

/// Why the agent could not start.
#[derive(Debug, Error)]
pub enum RunError {
    /// The plan cannot be carried out.
    #[error("the plan cannot be carried out")]
    Plan(#[from] ReconcileError),
    /// A file that the plan names cannot serve.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A trusted certificate cannot be read.
    #[error("a trusted certificate cannot be read")]
    Trust(#[from] espalier_ike::certificate::CertificateError),
    /// Linux refused.
    #[error(transparent)]
    System(#[from] espalier_sys::Error),
    /// A thread, a descriptor or a signal handler was refused.
    #[error("the agent cannot start")]
    Start(#[from] io::Error),
    /// The policy was refused.
    #[error("the policy cannot be installed")]
    Policy(#[from] DataPlaneError),
    /// The folder of the key log cannot be written.
    #[error("cannot write keys into {}", .0.display())]
    Keylog(PathBuf, #[source] io::Error),
    /// The node's state cannot be read.
    #[error("the node's state cannot be read")]
    State(#[from] StateError),
}

/// Changes of SAs are looked for, and reported, this often.
const REPORT: Duration = Duration::from_millis(100);
/// Counters are reported even where nothing else has changed.
const REPORT_ANYWAY: Duration = Duration::from_secs(10);
/// A plan that could not be carried out is tried again: a port may have become free.
const TRY_AGAIN: Duration = Duration::from_secs(15);
/// Revocation lists are replaced every few hours or days; a revoked peer is out this long after its authority has said so. Paths become
/// wider as seldom.
const LISTS: Duration = Duration::from_secs(30);

/// Brings the tunnels of a plan up, and keeps them until SIGTERM or SIGINT. The leak guard stays.
///
/// # Errors
/// Why it could not start. Once running, a failure of one peer ends nothing but that peer.
pub async fn run(
    plan: &NodePlan,
    keylog: Option<&Path>,
    tuning: Tuning,
    questions: mpsc::Receiver<Question>,
) -> Result<(), RunError> {
    if let Some(folder) = keylog {
        fs::create_dir_all(folder).map_err(|e| RunError::Keylog(folder.to_owned(), e))?;
        tracing::warn!(folder = %folder.display(), "keys are written out: whoever reads them reads the traffic");
    }
    let node = Node::start(plan, reconcile::certificate(plan)?, keylog, tuning)?;
    Driver { node: Some(node), managed: None, refused: None, controller: None, tuning }.run(questions).await
}

/// Carries out what the controller says until SIGTERM or SIGINT. It begins with the last plan, whether or not the controller is
/// there.
///
/// # Errors
/// Why it could not start. A plan that cannot be carried out is refused, and the one before stays.
pub async fn run_managed(state: State, tuning: Tuning, questions: mpsc::Receiver<Question>) -> Result<(), RunError> {
    let (held, last) = state.plan();
    let version = held.envelope().map_or_else(Version::default, |envelope| envelope.version);
    // Until the first plan has come there is nothing to do.
    let node = match last {
        Some(plan) => Some(Node::start(&plan, Some(state.certificate()?), None, tuning)?),
        None => None,
    };
    tracing::info!(node = %state.identity(), last_plan = node.is_some(), "enrolled");
    let identity = state.identity_file();
    let managed = Managed { control: Control::start(state), identity, version };
    Driver { node, managed: Some(managed), refused: None, controller: None, tuning }.run(questions).await
}

/// Everything that the loop turns around.
struct Driver {
    node: Option<Node>,
    managed: Option<Managed>,
    /// The plan that could not be carried out.
    refused: Option<(Box<NodePlan>, Version)>,
    /// Where the controller was found last.
    controller: Option<SocketAddr>,
    tuning: Tuning,
}

/// What a node with a controller has besides.
struct Managed {
    control: Control,
    /// The file of key and certificate.
    identity: PathBuf,
    /// The plan that is carried out.
    version: Version,
}

impl Driver {
    async fn run(mut self, mut questions: mpsc::Receiver<Question>) -> Result<(), RunError> {
        let mut signals = Signals::new()?;
        let (mut reports, mut reported) = (interval(REPORT), Instant::now());
        let (mut tries, mut lists) = (interval(TRY_AGAIN), interval(LISTS));
        loop {
            // Each branch only waits; what it got is handled after the others are dropped.
            tokio::select! {
                () = signals.any() => break,
                event = event(self.managed.as_mut()) => self.heed(event),
                _ = reports.tick() => {
                    self.node.iter_mut().for_each(Node::follow_paths);
                    self.node.iter_mut().for_each(Node::mend);
                    self.report(&mut reported);
                }
                _ = lists.tick() => {
                    if let Some(node) = &mut self.node {
                        node.read_lists_again();
                        node.look_at_paths();
                    }
                }
                _ = tries.tick(), if self.refused.is_some() => {
                    if let Some((plan, version)) = self.refused.take() {
                        self.carry_out(plan, version);
                    }
                }
                Some(question) = questions.recv() => {
                    // Who asked may have gone.
                    let _ = question.send(Arc::new(self.status()));
                }
                () = waited(self.node.as_mut()) => {}
            }
        }
        if let Some(mut node) = self.node {
            node.stop();
        }
        Ok(())
    }

    fn heed(&mut self, event: ControlEvent) {
        match event {
            ControlEvent::Plan(plan, version) => self.carry_out(plan, version),
            ControlEvent::Address(address) => {
                self.controller = Some(address);
                self.keep_in_reach();
            }
            ControlEvent::Identity(certificate) => {
                // Without a plan it is read from disk once there is one.
                if let Some(node) = &mut self.node {
                    node.renew(*certificate);
                }
            }
        }
    }

    /// Starts the node with its first plan, or changes it to the next; says what came of it.
    fn carry_out(&mut self, plan: Box<NodePlan>, version: Version) {
        let Some(managed) = &mut self.managed else { return };
        let done = match &mut self.node {
            Some(node) => node.apply(&plan),
            None => identity::certificate(&managed.identity, &managed.identity)
                .map_err(RunError::from)
                .and_then(|certificate| Node::start(&plan, Some(certificate), None, self.tuning))
                .map(|node| self.node = Some(node)),
        };
        match done {
            Ok(()) => {
                (managed.version, self.refused) = (version, None);
                managed.control.applied(version);
                self.keep_in_reach();
            }
            Err(error) => {
                managed.control.refused(version, crate::error_chain(&error));
                self.refused = Some((plan, version));
            }
        }
    }

    /// Leaves a way to the controller open in the guard.
    fn keep_in_reach(&mut self) {
        if let (Some(node), Some(address)) = (&mut self.node, self.controller)
            && let Err(error) = node.keep_in_reach(address)
        {
            tracing::error!(%error, "the leak guard has no way to the controller");
        }
    }

    fn report(&mut self, reported: &mut Instant) {
        let (Some(node), Some(managed)) = (&mut self.node, &self.managed) else { return };
        if node.take_changed() || reported.elapsed() > REPORT_ANYWAY {
            *reported = Instant::now();
            managed.control.report(node.report());
        }
    }

    fn status(&self) -> Status {
        let controller = self.managed.as_ref().map(|managed| {
            let Connection { controller, up, reason } = managed.control.connection();
            let Version { epoch, generation } = managed.version;
            ControllerStatus { address: controller, connected: up, reason, epoch, generation }
        });
        let mut status = Status::new(controller);
        if let Some(node) = &self.node {
            node.describe(&mut status);
        }
        status
    }
}

async fn event(managed: Option<&mut Managed>) -> ControlEvent {
    match managed {
        Some(managed) => managed.control.event().await,
        None => std::future::pending().await,
    }
}

/// Lets the node do one thing; without a node, waits for ever.
async fn waited(node: Option<&mut Node>) {
    match node {
        Some(node) => {
            let at = node.drain();
            step(node, at).await;
        }
        None => std::future::pending().await,
    }
}

/// Waits for one thing and has it handled. Dropping the future before loses nothing.
async fn step(node: &mut Node, at: Instant) {
    tokio::select! {
        Some(IkeDatagram { path, bytes }) = node.inbox.recv() => node.endpoint.handle_datagram(now(), path, &bytes),
        event = node.plane.event() => node.endpoint.handle_event(now(), &event),
        () = node.underlay.changed() => node.readdress(),
        Some(path) = node.narrow.recv() => node.look_at_narrow(path),
        () = sleep_until(TokioInstant::from_std(at)) => node.endpoint.handle_timeout(now()),
    }
    node.drain();
}

struct Signals(tokio::signal::unix::Signal, tokio::signal::unix::Signal);

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self(signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?))
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
        }
    }
}
