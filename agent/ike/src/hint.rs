//! Messages that nobody has proven: a peer that has lost its SAs says so in the clear (RFC 7296 §1.5, §2.21.4).

use crate::wire::{ExchangeType, Header, Message, NotifyType, Payload};

/// What such a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hint {
    /// The sender does not know the IKE SA.
    Ike,
    /// The sender does not know the ESP SA of this SPI, which is one of its own.
    Esp(u32),
}

impl Hint {
    /// Reads a message in the clear; nothing where it is encrypted, or says anything else.
    pub(crate) fn read(header: &Header, datagram: &[u8]) -> Option<Self> {
        if header.exchange == ExchangeType::IKE_SA_INIT {
            return None;
        }
        let message = Message::parse(datagram).ok()?;
        let [Payload::Notify(notify), ..] = message.payloads.as_slice() else { return None };
        match notify.notify_type {
            NotifyType::INVALID_IKE_SPI => Some(Self::Ike),
            NotifyType::INVALID_SPI => notify.data.as_slice().try_into().ok().map(u32::from_be_bytes).map(Self::Esp),
            _ => None,
        }
    }
}
