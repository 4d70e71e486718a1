//! How long packets may be on the way to each peer: asked of the system when an SA comes into use or moves, when a packet was too long, and
//! now and then, since a path may become wider.

use std::time::{Duration, Instant};

use espalier_model::identity::Identity;
use espalier_model::sa::UdpPath;
use espalier_sys::udp::path_mtu;

use super::Node;
use crate::dataplane::DataPlane;
use crate::mtu::{self, PathMtus};
use crate::network::MARK;

/// Between two looks at paths that were too narrow.
const EVERY: Duration = Duration::from_millis(100);

impl Node {
    /// Looks how wide the path to a peer is.
    pub(super) fn look_at_path(&mut self, peer: &Identity, path: UdpPath) {
        match path_mtu(path.local.ip(), path.remote.ip(), Some(MARK)) {
            Ok(found) if found != self.network.path_mtu(peer) => _ = self.found.insert(peer.clone(), found),
            Ok(_) => _ = self.found.remove(peer),
            Err(error) => tracing::debug!(%peer, %error, "the MTU of the path is not known"),
        }
    }

    /// A packet was longer than a path takes. There may be one in each batch, so they are looked at now and then.
    pub(crate) fn look_at_narrow(&mut self, path: UdpPath) {
        if self.looked.is_some_and(|at| at.elapsed() < EVERY) {
            return;
        }
        self.looked = Some(Instant::now());
        let status = self.endpoint.status();
        for sa in status.iter().filter(|sa| sa.path.remote.ip() == path.remote.ip()) {
            self.look_at_path(&sa.peer, sa.path);
        }
        self.follow_paths();
    }

    /// Looks again at paths that were narrower or wider than usual.
    pub(crate) fn look_at_paths(&mut self) {
        for sa in self.endpoint.status() {
            if self.network.path_mtu(&sa.peer) != mtu::USUAL {
                self.look_at_path(&sa.peer, sa.path);
            }
        }
        self.follow_paths();
    }

    /// Follows what was found, for all peers together.
    pub(crate) fn follow_paths(&mut self) {
        if self.found.is_empty() {
            return;
        }
        let found: PathMtus = std::mem::take(&mut self.found);
        for (peer, mtu) in &found {
            tracing::info!(%peer, mtu, before = self.network.path_mtu(peer), "path has another MTU");
        }
        if let Err(error) = self.network.follow_paths(&self.plan, found) {
            tracing::error!(error = crate::error_chain(&error), "packets may be too long for a path");
        }
        self.plane.set_mtus(self.network.longest(&self.plan));
    }
}
