//! Packets of a peer with an SPI that no SA here has: the peer is told, since it sends into nothing (RFC 7296 §1.5).

use std::time::{Duration, Instant};

use espalier_model::sa::Spi;

use super::established::Established;
use super::exchange::Exchange;
use crate::context::Context;
use crate::explain::{What, Why};
use crate::handshake::Failure;
use crate::wire::{ExchangeType, Notify, NotifyType, Payload};

/// A peer whose answer is still under way may use what we know of only when it is here.
const PATIENCE: Duration = Duration::from_secs(2);
/// Anybody can send packets with an SPI of nobody: they make us write so often at most.
const EVERY: Duration = Duration::from_secs(10);

/// What is noted of such packets.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Strays {
    /// An SPI, and when to tell the peer of it.
    noted: Option<(Spi, Instant)>,
    /// No other is noted before.
    again: Option<Instant>,
}

impl Strays {
    /// Returns when the peer is to be told, if it is.
    pub(super) fn due(&self) -> Option<Instant> {
        self.noted.map(|(_, at)| at)
    }
}

impl Established {
    /// Takes note of a packet from the peer's address.
    pub(crate) fn note_stray(&mut self, now: Instant, spi: Spi) {
        if self.strays.again.is_none_or(|at| at <= now) {
            self.strays = Strays { noted: Some((spi, now + PATIENCE)), again: Some(now + EVERY) };
        }
    }

    /// Tells the peer of an SPI, unless an SA has it by now.
    pub(super) fn tell_stray(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let Some((spi, _)) = self.strays.noted.take() else { return Ok(()) };
        if self.children.iter().any(|child| child.sas().any(|sa| sa.inbound == spi)) {
            return Ok(());
        }
        let text = format!("peer sends with SPI {spi}, which no SA here has; it is told so");
        cx.tell(&self.parts.peer.id, What::Fault(Why::Other(text)));
        //= RFC 7296 §1.5: a packet of an SPI that no SA has is told of on the IKE SA with its address
        let notify = Notify::new(NotifyType::INVALID_SPI, spi.get().to_be_bytes().to_vec());
        self.request(cx, ExchangeType::INFORMATIONAL, &[Payload::Notify(notify)], Exchange::Liveness)
    }
}
