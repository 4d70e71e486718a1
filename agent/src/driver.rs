//! The loop that joins IKE and the world: the only place that waits.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use espalier_ike::CertificateIdentity;
use espalier_model::plan::NodePlan;
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant as TokioInstant, interval, sleep_until};

use crate::control::{Control, ControlEvent, state::State, state::StateError};
use crate::dataplane::{DataPlane, DataPlaneError};
use crate::identity::IdentityError;
use crate::node::{Node, now};
use crate::port500::IkeDatagram;
use crate::reconcile::{self, ReconcileError};

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

/// Brings the tunnels of a plan up, and keeps them until SIGTERM or SIGINT. The leak guard stays.
///
/// # Errors
/// Why it could not start. Once running, a failure of one peer ends nothing but that peer.
pub async fn run(plan: &NodePlan, keylog: Option<&Path>) -> Result<(), RunError> {
    if let Some(folder) = keylog {
        fs::create_dir_all(folder).map_err(|e| RunError::Keylog(folder.to_owned(), e))?;
        tracing::warn!(folder = %folder.display(), "keys are written out: whoever reads them reads the traffic");
    }
    let mut node = Node::start(plan, reconcile::certificate(plan)?, keylog)?;
    let mut signals = Signals::new()?;
    loop {
        let at = node.drain();
        tokio::select! {
            // Each branch only waits; what it got is handled after the others are dropped.
            () = signals.any() => break,
            () = step(&mut node, at) => {}
        }
    }
    node.stop();
    Ok(())
}

/// Carries out what the controller says until SIGTERM or SIGINT. It begins with the last plan, whether or not the controller is
/// there.
///
/// # Errors
/// Why it could not start. A plan that cannot be carried out is refused, and the one before stays.
pub async fn run_managed(state: State) -> Result<(), RunError> {
    let mut signals = Signals::new()?;
    let (_, last) = state.plan();
    // Until the first plan has come there is nothing to do.
    let mut node = match last {
        Some(plan) => Some(Node::start(&plan, Some(state.certificate()?), None)?),
        None => None,
    };
    let (mut certificate, name) = (Some(state.certificate()?), state.identity());
    tracing::info!(node = %name, last_plan = node.is_some(), "enrolled");
    let mut control = Control::start(state);
    let (mut reports, mut reported) = (interval(REPORT), Instant::now());
    loop {
        tokio::select! {
            () = signals.any() => break,
            event = control.event() => match event {
                ControlEvent::Plan(plan, version) => match carry_out(&mut node, &plan, &mut certificate) {
                    Ok(()) => control.applied(version),
                    Err(error) => control.refused(version, crate::error_chain(&error)),
                },
                ControlEvent::Identity(next) => match &mut node {
                    Some(node) => node.renew(*next),
                    None => certificate = Some(*next),
                },
            },
            _ = reports.tick() => {
                let due = reported.elapsed() > REPORT_ANYWAY;
                if let Some(node) = &mut node
                    && (node.take_changed() || due)
                {
                    reported = Instant::now();
                    control.report(node.report());
                }
            }
            () = waited(node.as_mut()) => {}
        }
    }
    if let Some(mut node) = node {
        node.stop();
    }
    Ok(())
}

/// Starts the node with its first plan, or changes it to the next.
fn carry_out(
    node: &mut Option<Node>,
    plan: &NodePlan,
    certificate: &mut Option<CertificateIdentity>,
) -> Result<(), RunError> {
    match node {
        Some(node) => node.apply(plan),
        None => {
            *node = Some(Node::start(plan, certificate.take(), None)?);
            Ok(())
        }
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
        Some(IkeDatagram { path, bytes }) = node.ike.recv() => node.endpoint.handle_datagram(now(), path, &bytes),
        event = node.plane.event() => node.endpoint.handle_event(now(), &event),
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
