//! What an endpoint keeps for each peer and for each SA.

use std::net::SocketAddr;
use std::time::Instant;

use espalier_model::sa::UdpPath;

use crate::config::PeerConfig;
use crate::handshake::Failure;
use crate::handshake::initiator::{AuthSent, InitSent};
use crate::handshake::responder::HalfOpen;
use crate::output::DownReason;
use crate::sa::established::Established;
use crate::wire::IkeSpi;

/// A configured peer, its SA or attempt, and when to try again.
pub(super) struct Peer {
    pub(super) config: PeerConfig,
    pub(super) sa: Option<IkeSpi>,
    pub(super) retry: Instant,
    pub(super) failures: u32,
}

/// An SA in one of its states.
pub(super) enum Sa {
    InitSent(Box<InitSent>),
    AuthSent(Box<AuthSent>),
    HalfOpen(Box<HalfOpen>),
    Established(Box<Established>),
}

/// Why the driver is woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// A request is not answered.
    Retransmit,
    /// A half-open SA has not proven itself.
    HalfOpen,
    /// A peer is silent.
    Liveness,
    /// A peer without an SA is tried again.
    Retry,
}

impl Peer {
    pub(super) fn waits(&self) -> bool {
        self.config.initiate && self.sa.is_none()
    }
}

impl Sa {
    pub(super) fn due(&self) -> Option<(Instant, Timer)> {
        let resend = |due| (due, Timer::Retransmit);
        match self {
            Self::InitSent(state) => state.requests.due().map(resend),
            Self::AuthSent(state) => state.requests.due().map(resend),
            Self::HalfOpen(state) => Some((state.expires, Timer::HalfOpen)),
            Self::Established(state) => {
                let silence = (state.silent_at(), Timer::Liveness);
                Some(state.parts.requests.due().map_or(silence, resend))
            }
        }
    }
}

/// Chooses the first address of the peer that one of ours can reach.
pub(super) fn path_to(peer: &PeerConfig) -> Option<UdpPath> {
    let pair = |remote: &SocketAddr| {
        let local = peer.local.iter().find(|l| l.is_ipv4() == remote.is_ipv4())?;
        Some(UdpPath { local: SocketAddr::new(*local, remote.port()), remote: *remote })
    };
    peer.endpoints.iter().find_map(pair)
}

/// Says why an attempt has ended.
pub(super) fn reason(failure: &Failure) -> DownReason {
    if let Failure::Refused(kind) = failure {
        return DownReason::Refused(format!("{kind:?}"));
    }
    DownReason::Failed(chain(failure))
}

/// Writes an error with what caused it.
pub(super) fn chain(failure: &Failure) -> String {
    let mut text = failure.to_string();
    let mut source = std::error::Error::source(failure);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
