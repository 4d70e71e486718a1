//! A peer in place: two hosts, and its tunnel between them.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use espalier_e2e::lab::Pair;

use crate::peer::{Peer, Tunnel};
use crate::stop;
use crate::udp::Flow;

/// Time for a tunnel to come up.
pub(crate) const START: Duration = Duration::from_secs(15);

/// A peer in place. Programs end before the hosts go.
pub(crate) struct Scene {
    pub(crate) peer: Peer,
    /// Addresses of the near and the far end, between which the tunnel carries packets.
    pub(crate) addresses: [IpAddr; 2],
    pub(crate) tunnel: Tunnel,
    pub(crate) pair: Pair,
}

impl Scene {
    /// Puts a peer in place and waits until packets pass.
    pub(crate) fn start(peer: Peer) -> Result<Self> {
        let pair = Pair::named("esp-dp")?;
        let (tunnel, addresses) = peer.start(&pair)?;
        let scene = Self { peer, addresses, tunnel, pair };
        scene.await_passing()?;
        Ok(scene)
    }

    fn await_passing(&self) -> Result<()> {
        let flow = Flow::open(self)?;
        let deadline = Instant::now() + START;
        while flow.step(64, Some(100.0), Duration::from_millis(100))?.arrived == 0.0 {
            stop::check()?;
            ensure!(Instant::now() < deadline, "nothing passes within {START:?}; it wrote:\n{}", self.tunnel.log());
        }
        Ok(())
    }
}
