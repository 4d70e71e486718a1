//! What an endpoint keeps for each peer and for each SA.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use espalier_model::sa::UdpPath;

use crate::config::PeerConfig;
use crate::handshake::Failure;
use crate::handshake::initiator::intermediate::IntermediateSent;
use crate::handshake::initiator::{AuthSent, InitSent};
use crate::handshake::responder::HalfOpen;
use crate::output::DownReason;
use crate::paths::locals;
use crate::sa::established::Established;
use crate::wants::Wants;
use crate::wire::{Header, IkeSpi};

/// A configured peer: the SA in use, and our attempt at one.
pub(super) struct Peer {
    pub(super) config: Arc<PeerConfig>,
    pub(super) sa: Option<IkeSpi>,
    pub(super) attempt: Option<IkeSpi>,
    /// SAs that others have replaced, the oldest first; some may be gone.
    pub(super) replaced: VecDeque<IkeSpi>,
    pub(super) failures: u32,
}

/// An SA in one of its states.
pub(super) enum Sa {
    InitSent(Box<InitSent>),
    IntermediateSent(Box<IntermediateSent>),
    AuthSent(Box<AuthSent>),
    HalfOpen(Box<HalfOpen>),
    Established(Box<Established>),
}

impl Sa {
    /// Tells whether a message with a header, which names our SPI, is one that the peer of this SA would send.
    pub(super) fn is_meant_by(&self, header: &Header) -> bool {
        let (spis, initiator) = match self {
            Self::InitSent(_) => return !header.flags.initiator,
            Self::IntermediateSent(state) => (state.pending.auth.spis, true),
            Self::AuthSent(state) => (state.spis, true),
            Self::HalfOpen(state) => (state.spis, false),
            Self::Established(state) => (state.parts.spis, state.parts.initiator),
        };
        header.flags.initiator != initiator
            && (header.initiator_spi, header.responder_spi) == (spis.initiator, spis.responder)
    }

    pub(super) fn due(&self, wants: &Wants) -> Option<Instant> {
        match self {
            Self::InitSent(state) => state.requests.due(),
            Self::IntermediateSent(state) => state.pending.auth.requests.due(),
            Self::AuthSent(state) => state.requests.due(),
            Self::HalfOpen(state) => Some(state.expires),
            Self::Established(state) => state.parts.requests.due().or_else(|| state.acts_at(wants)),
        }
    }
}

/// Chooses an address of the peer that one of ours can reach: another one after each failure.
pub(super) fn path_to(peer: &PeerConfig, present: Option<&[IpAddr]>, failures: u32) -> Option<UdpPath> {
    let locals = locals(peer, present);
    let pair = |remote: &SocketAddr| {
        let local = locals.iter().find(|l| l.is_ipv4() == remote.is_ipv4())?;
        Some(UdpPath { local: SocketAddr::new(*local, remote.port()), remote: *remote })
    };
    let reachable: Vec<_> = peer.endpoints.iter().filter_map(pair).collect();
    let turn = usize::try_from(failures).unwrap_or_default();
    reachable.get(turn.checked_rem(reachable.len())?).copied()
}

/// Says why an attempt has ended.
pub(super) fn reason(failure: &Failure) -> DownReason {
    if let Failure::Refused(kind) = failure {
        return DownReason::Refused(format!("{kind:?}"));
    }
    if let Failure::RefusedDemand(kind, demand) = failure {
        return DownReason::Refused(format!("{kind:?}; we demand an additional key exchange: {demand}"));
    }
    if let Failure::NoCommonSuite(why) = failure {
        return DownReason::NoCommonSuite(why.clone());
    }
    if let Failure::WrongIdentity(why) = failure {
        return DownReason::WrongIdentity(why.clone());
    }
    let mut text = failure.to_string();
    let mut source = std::error::Error::source(failure);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    DownReason::Failed(text)
}
