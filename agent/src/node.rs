//! The running node: IKE, the data plane and the network, held to one plan.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use espalier_crypto::random;
use espalier_esp::DropReason;
use espalier_ike::certificate::validity;
use espalier_ike::keylog::KeylogLine;
use espalier_ike::{CertificateIdentity, Endpoint, Now, Output};
use espalier_model::identity::Identity;
use espalier_model::plan::NodePlan;
use espalier_model::sa::{ChildId, UdpPath};
use tokio::sync::mpsc;

use crate::dataplane::userspace::Userspace;
use crate::dataplane::{DataPlane, DataPlaneError};
use crate::door::{self, Door, Inbox};
use crate::driver::RunError;
use crate::mtu::PathMtus;
use crate::network::{INTERFACE, Network};
use crate::reconcile;
use crate::settings::Tuning;
use crate::underlay::Underlay;
use mending::Mending;
use told::Told;

const IDLE: Duration = Duration::from_secs(3600);

mod mending;
mod paths;
mod report;
mod told;

/// All parts of a node.
pub(crate) struct Node {
    pub(crate) endpoint: Endpoint,
    pub(crate) plane: Userspace,
    pub(crate) inbox: Inbox,
    pub(crate) underlay: Underlay,
    /// Paths that were too narrow for a packet.
    pub(crate) narrow: mpsc::Receiver<UdpPath>,
    plan: NodePlan,
    network: Network,
    door: Door,
    keylog: Option<PathBuf>,
    changed: bool,
    certificate_not_after: Option<u64>,
    told: Told,
    /// MTUs that were found and are not followed yet.
    found: PathMtus,
    /// When a path that was too narrow was looked at last.
    looked: Option<Instant>,
    mending: Mending,
}

impl Node {
    /// Starts with a plan.
    pub(crate) fn start(
        plan: &NodePlan,
        certificate: Option<CertificateIdentity>,
        keylog: Option<&Path>,
        Tuning { offloads, limits }: Tuning,
    ) -> Result<Self, RunError> {
        let mut seed = [0; 32];
        random(&mut seed);
        let certificate_not_after = certificate.as_ref().and_then(not_after);
        let config = reconcile::endpoint(plan, certificate, keylog.is_some())?;
        let mut endpoint = Endpoint::new(config, seed)?;
        endpoint.set_revocation_lists(now(), reconcile::revocation_lists(plan)?)?;
        endpoint.set_limits(limits);
        let peers = reconcile::peers(plan)?;
        let (sockets, esp) = door::Sockets::bind()?;
        let (network, tun) = Network::set_up(plan)?;
        let (letterbox, inbox) = door::inbox();
        let (mut plane, narrow) = Userspace::start(tun, esp, letterbox.clone(), offloads)?;
        plane.apply(&network.virtual_addresses().rules(plan), &plan.on_demand())?;
        plane.set_mtus(network.longest(plan));
        let keepers = [endpoint.doorkeeper(now()), endpoint.doorkeeper(now())];
        let door = Door::open(sockets, keepers, letterbox)?;
        door.take_trains(offloads.udp_coalescing);
        let (plan, keylog) = (plan.clone(), keylog.map(Path::to_owned));
        let underlay = Underlay::start(INTERFACE)?;
        let mut node = Self {
            endpoint,
            plane,
            inbox,
            underlay,
            narrow,
            plan,
            network,
            door,
            keylog,
            changed: true,
            certificate_not_after,
            told: Told::default(),
            found: PathMtus::new(),
            looked: None,
            mending: Mending::default(),
        };
        node.readdress();
        node.endpoint.configure(now(), peers);
        tracing::info!(node = %node.plan.node.id, peers = node.plan.peers.len(), rules = node.plan.rules.len(), "running");
        node.drain();
        Ok(node)
    }

    /// Changes to another plan: what can fail for the plan's own sake does so before anything has changed. What Linux refuses
    /// later brings the plan before back.
    pub(crate) fn apply(&mut self, plan: &NodePlan) -> Result<(), RunError> {
        reconcile::peers(plan)?;
        reconcile::trust(plan)?;
        let before = std::mem::replace(&mut self.plan, plan.clone());
        let done = self.change(&before, plan);
        if let Err(error) = &done {
            tracing::error!(
                error = crate::error_chain(error),
                "the plan cannot be carried out; back to the one before"
            );
            if let Err(error) = self.change(plan, &before) {
                tracing::error!(error = crate::error_chain(&error), "the plan before cannot be carried out either");
            }
            self.plan = before;
        }
        self.drain();
        done
    }

    fn change(&mut self, from: &NodePlan, to: &NodePlan) -> Result<(), RunError> {
        let peers = reconcile::peers(to)?;
        if to.trust != from.trust || to.revoked != from.revoked {
            let trust = reconcile::trust(to)?;
            self.endpoint.set_trust(now(), trust, to.revoked.iter().cloned().collect())?;
        }
        if to.revocation != from.revocation {
            self.endpoint.set_revocation_lists(now(), reconcile::revocation_lists(to)?)?;
        }
        // First what may pass, then who may send it, then where it goes.
        self.plane.apply(&self.network.virtual_addresses().rules(to), &to.on_demand())?;
        self.endpoint.configure(now(), peers);
        self.network.follow(to)?;
        self.plane.set_mtus(self.network.longest(to));
        tracing::info!(peers = to.peers.len(), rules = to.rules.len(), "plan carried out");
        Ok(())
    }

    /// Reads the revocation lists of a plan file again. One that cannot be used leaves those before in force.
    pub(crate) fn read_lists_again(&mut self) {
        if self.plan.revocation.crls.is_empty() {
            return;
        }
        let lists = reconcile::revocation_lists(&self.plan).map_err(RunError::from);
        let set = lists.and_then(|lists| Ok(self.endpoint.set_revocation_lists(now(), lists)?));
        if let Err(error) = set {
            tracing::error!(error = crate::error_chain(&error), "the revocation lists before stay in force");
        }
        self.drain();
    }

    /// Takes note of the addresses that the node has now.
    pub(crate) fn readdress(&mut self) {
        let present = self.underlay.present();
        if self.plan.node.endpoints.iter().all(|wish| !present.contains(wish)) {
            tracing::warn!(planned = ?self.plan.node.endpoints, ?present, "no planned address is there: others are used");
        }
        self.endpoint.set_local_addresses(now(), present);
    }

    /// Leaves a way to the controller open in the leak guard.
    pub(crate) fn keep_in_reach(&mut self, controller: SocketAddr) -> Result<(), espalier_sys::Error> {
        self.network.keep_in_reach(&self.plan, controller)
    }

    /// Proves the node's identity with another certificate from now on.
    pub(crate) fn renew(&mut self, certificate: CertificateIdentity) {
        self.certificate_not_after = not_after(&certificate);
        let config = reconcile::endpoint(&self.plan, Some(certificate), false);
        let set = config.map_err(RunError::from).and_then(|config| Ok(self.endpoint.set_identity(now(), config)?));
        if let Err(error) = set {
            tracing::error!(error = crate::error_chain(&error), "the new certificate is not used");
        }
        self.drain();
    }

    /// Deletes all SAs and tells the peers.
    pub(crate) fn stop(&mut self) {
        self.endpoint.shutdown(now());
        self.drain();
        for reason in DropReason::ALL.iter().copied() {
            let packets = self.plane.counters().get(reason);
            if packets > 0 {
                tracing::info!(reason = reason.name(), packets, "packets were dropped");
            }
        }
        tracing::info!("stopped; the leak guard stays until `espalier-agent leave`");
    }

    /// Tells whether SAs have come or gone since the last call.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Carries out all orders, and returns when the endpoint wants to be woken.
    pub(crate) fn drain(&mut self) -> Instant {
        while let Some(output) = self.endpoint.poll_output() {
            self.carry_out(output);
        }
        self.endpoint.next_timeout().map_or_else(|| Instant::now() + IDLE, |(at, _)| at)
    }

    fn carry_out(&mut self, output: Output) {
        self.changed |= !output.is_routine();
        match output {
            Output::Transmit { path, datagram } => {
                if let Err(error) = self.door.send(&path, &datagram) {
                    tracing::debug!(remote = %path.remote, %error, "IKE message not sent");
                    if matches!(error.kind(), io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) {
                        self.endpoint.handle_unreachable(now(), path.remote);
                    }
                }
            }
            Output::InstallInbound(sa) => report(sa.0.id, "inbound", self.plane.install_inbound(&sa)),
            Output::UseOutbound(sa) => {
                let (form, spi) = (sa.0.form(), sa.0.transform.spi());
                let (suite, mode, esn, around) = (form.suite(), form.mode, form.esn, form.around());
                tracing::info!(child = ?sa.0.id, rule = %sa.0.rule, %spi, %suite, %mode, esn, %around, "child SA in use");
                report(sa.0.id, "outbound", self.plane.use_outbound(&sa));
                let peer =
                    self.plan.rules.iter().find(|rule| rule.name == sa.0.rule).and_then(|rule| rule.peer.clone());
                if let Some(peer) = peer {
                    self.look_at_path(&peer, sa.0.path);
                }
            }
            Output::Remove(id, direction) => self.plane.remove(id, direction),
            Output::MovePath(id, path) => {
                tracing::debug!(child = ?id, local = %path.local, remote = %path.remote, "child SA moved");
                self.plane.move_path(id, path);
            }
            Output::Moved { peer, from, to, why } => {
                self.look_at_path(&peer, to);
                let path = |path: UdpPath| format!("{} > {}", path.local, path.remote);
                tracing::info!(%peer, from = path(from), to = path(to), %why, "path moved");
            }
            Output::Measure(id) => {
                let (inbound, outbound) = self.plane.usage(id);
                self.endpoint.handle_usage(now(), id, inbound, outbound);
            }
            Output::Keepalive(path) => {
                if let Err(error) = self.door.send_keepalive(&path) {
                    tracing::debug!(remote = %path.remote, %error, "NAT keepalive not sent");
                }
            }
            Output::Up(peer, spis) => Told::up(&peer, spis, false),
            Output::Replaced(peer, spis) => Told::up(&peer, spis, true),
            Output::Down(peer, reason) => Told::down(&peer, &reason),
            Output::TurnedAway(remote, reason) => self.told.turned_away(Instant::now(), remote, &reason),
            Output::Told(event) => self.told.event(Instant::now(), &event),
            Output::ChildRefused { peer, rule, reason } => {
                self.told.child_refused(Instant::now(), &peer, rule.as_ref(), &reason);
            }
            Output::Addresses(peer, addresses) => {
                if let Err(error) = self.assign(peer, addresses) {
                    tracing::error!(error = crate::error_chain(&error), "virtual addresses are not used");
                }
            }
            Output::Door(policy) => self.door.keep(policy),
            Output::Keylog(line) => {
                if let Err(error) = self.log_keys(&line) {
                    tracing::error!(%error, "keys cannot be written");
                }
            }
        }
    }

    /// Puts the addresses that go with a peer's SA to use.
    fn assign(&mut self, peer: Identity, addresses: Vec<IpAddr>) -> Result<(), RunError> {
        self.network.assign(&self.plan, peer.clone(), addresses.clone())?;
        self.plane.apply(&self.network.virtual_addresses().rules(&self.plan), &self.plan.on_demand())?;
        tracing::info!(%peer, ?addresses, "virtual addresses");
        Ok(())
    }

    fn log_keys(&self, line: &KeylogLine) -> io::Result<()> {
        let Some(folder) = &self.keylog else { return Ok(()) };
        let path = folder.join(line.table().name());
        let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        writeln!(file, "{}", line.text())
    }
}

/// Returns the Unix second until which all of a chain is good.
fn not_after(certificate: &CertificateIdentity) -> Option<u64> {
    certificate.chain.iter().filter_map(|der| validity(der).ok()).map(|life| life.1).min()
}

/// Reads both clocks.
pub(crate) fn now() -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    Now { instant: Instant::now(), unix }
}

fn report(id: ChildId, half: &str, result: Result<(), DataPlaneError>) {
    if let Err(error) = result {
        tracing::error!(child = ?id, half, error = crate::error_chain(&error), "SA not installed");
    }
}
