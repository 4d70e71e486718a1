//! The loop that joins IKE and the world: the only place that waits.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use espalier_crypto::random;
use espalier_ike::keylog::KeylogLine;
use espalier_ike::{DownReason, Endpoint, Now, Output};
use espalier_model::plan::NodePlan;
use espalier_model::sa::UdpPath;
use espalier_sys::udp::UdpSocket;
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant as TokioInstant, sleep_until};

use crate::dataplane::userspace::Userspace;
use crate::dataplane::{DataPlane, DataPlaneError};
use crate::port500::{IkeDatagram, Port500};
use crate::reconcile::{self, ReconcileError};
use crate::{identity::IdentityError, network};

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
}

const IKE: u16 = 500;
const NAT_TRAVERSAL: u16 = 4500;
const IDLE: Duration = Duration::from_secs(3600);
/// A burst of a whole mesh; beyond it the peers send again.
const IKE_DATAGRAMS: usize = 4_096;

struct Driver {
    endpoint: Endpoint,
    plane: Userspace,
    port500: Port500,
    keylog: Option<PathBuf>,
}

/// Brings the tunnels of a plan up, and keeps them until SIGTERM or SIGINT. The leak guard stays.
///
/// # Errors
/// Why it could not start. Once running, a failure of one peer ends nothing but that peer.
pub async fn run(plan: &NodePlan, keylog: Option<&Path>) -> Result<(), RunError> {
    if let Some(folder) = keylog {
        fs::create_dir_all(folder).map_err(|e| RunError::Keylog(folder.to_owned(), e))?;
        tracing::warn!(folder = %folder.display(), "keys are written out: whoever reads them reads the traffic");
    }
    let mut seed = [0; 32];
    random(&mut seed);
    let endpoint = Endpoint::new(reconcile::endpoint(plan, keylog.is_some())?, seed)?;
    let peers = reconcile::peers(plan)?;
    let bind = |port| Ok::<_, RunError>([bind(port, true)?, bind(port, false)?]);
    let (first, outside) = (bind(IKE)?, bind(NAT_TRAVERSAL)?);
    let tun = network::set_up(plan)?;
    let (sender, mut ike) = mpsc::channel(IKE_DATAGRAMS);
    let port500 = Port500::start(first, sender.clone())?;
    let mut plane = Userspace::start(tun, outside, sender)?;
    plane.apply(&plan.rules)?;
    let mut driver = Driver { endpoint, plane, port500, keylog: keylog.map(Path::to_owned) };
    driver.endpoint.configure(now(), peers);
    tracing::info!(node = %plan.node.id, peers = plan.peers.len(), rules = plan.rules.len(), "running");
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    loop {
        let at = driver.drain();
        tokio::select! {
            // Each branch only waits; what it got is handled after the others are dropped.
            Some(IkeDatagram { path, bytes }) = ike.recv() => driver.endpoint.handle_datagram(now(), path, &bytes),
            event = driver.plane.event() => driver.endpoint.handle_event(now(), &event),
            () = sleep_until(TokioInstant::from_std(at)) => driver.endpoint.handle_timeout(now()),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    driver.endpoint.shutdown(now());
    driver.drain();
    tracing::info!("stopped; the leak guard stays until `espalier-agent leave`");
    Ok(())
}

impl Driver {
    /// Carries out all orders, and returns when the endpoint wants to be woken.
    fn drain(&mut self) -> Instant {
        while let Some(output) = self.endpoint.poll_output() {
            self.carry_out(output);
        }
        self.endpoint.next_timeout().map_or_else(|| Instant::now() + IDLE, |(at, _)| at)
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Transmit { path, datagram } => {
                if let Err(error) = self.transmit(&path, &datagram) {
                    tracing::debug!(remote = %path.remote, %error, "IKE message not sent");
                }
            }
            Output::InstallInbound(sa) => report(sa.0.id, "inbound", self.plane.install_inbound(&sa)),
            Output::UseOutbound(sa) => {
                tracing::info!(child = ?sa.0.id, rule = %sa.0.rule, spi = %sa.0.spi, "child SA in use");
                report(sa.0.id, "outbound", self.plane.use_outbound(&sa));
            }
            Output::Remove(id, direction) => self.plane.remove(id, direction),
            Output::MovePath(id, path) => {
                tracing::info!(child = ?id, remote = %path.remote, "peer has moved");
                self.plane.move_path(id, path);
            }
            Output::Up(peer, spis) => tracing::info!(%peer, spi = %spis.initiator, "IKE SA up"),
            Output::Replaced(peer, spis) => tracing::info!(%peer, spi = %spis.initiator, "IKE SA replaced"),
            Output::Down(peer, DownReason::DeletedByUs) => tracing::info!(%peer, "IKE SA deleted"),
            Output::Down(peer, reason) => tracing::warn!(%peer, %reason, "IKE SA down"),
            Output::Keylog(line) => {
                if let Err(error) = self.log_keys(&line) {
                    tracing::error!(%error, "keys cannot be written");
                }
            }
        }
    }

    fn transmit(&self, path: &UdpPath, datagram: &[u8]) -> io::Result<()> {
        if path.local.port() == NAT_TRAVERSAL {
            return self.plane.send_ike(path, datagram);
        }
        self.port500.send(path, datagram)
    }

    fn log_keys(&self, line: &KeylogLine) -> io::Result<()> {
        let Some(folder) = &self.keylog else { return Ok(()) };
        let path = folder.join(line.table().name());
        let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        writeln!(file, "{}", line.text())
    }
}

fn report(id: espalier_model::sa::ChildId, half: &str, result: Result<(), DataPlaneError>) {
    if let Err(error) = result {
        tracing::error!(child = ?id, half, %error, "SA not installed");
    }
}

fn bind(port: u16, ipv4: bool) -> Result<UdpSocket, espalier_sys::Error> {
    let any = if ipv4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    UdpSocket::bind(SocketAddr::new(any, port), Some(network::MARK))
}

fn now() -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    Now { instant: Instant::now(), unix }
}
