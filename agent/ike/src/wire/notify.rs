//! Notify and Delete payloads (RFC 7296 §3.10, §3.11).

use espalier_model::sa::Spi;

use super::buffer::{Reader, Writer};
use super::registry::{NotifyType, ProtocolId};
use super::sa::SpiField;
use super::{Malformed, Oversized};

/// A notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    /// Protocol of the SA it is about, or none.
    pub protocol: ProtocolId,
    /// SPI of the SA it is about, or none.
    pub spi: SpiField,
    /// What it tells.
    pub notify_type: NotifyType,
    /// Depends on the type.
    pub data: Vec<u8>,
}

/// SAs that the sender has deleted. For IKE the list is empty: the IKE SA that carries the message is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delete {
    /// Protocol of the SAs.
    pub protocol: ProtocolId,
    /// Inbound SPIs of the sender.
    pub spis: Vec<Spi>,
}

impl Notify {
    /// Builds a notification about no SA in particular.
    #[must_use]
    pub const fn new(notify_type: NotifyType, data: Vec<u8>) -> Self {
        //= RFC 7296 §3.10: only a notification about a child SA has protocol and SPI
        Self { protocol: ProtocolId::NONE, spi: SpiField::None, notify_type, data }
    }

    /// Builds a notification about a child SA, such as `REKEY_SA`.
    #[must_use]
    pub const fn about(notify_type: NotifyType, protocol: ProtocolId, spi: Spi) -> Self {
        Self { protocol, spi: SpiField::Child(spi), notify_type, data: Vec::new() }
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        //= RFC 7296 §3.10: without an SPI the protocol is ignored
        let protocol = ProtocolId(r.u8("notify")?);
        let spi_len = r.u8("notify")?;
        let notify_type = NotifyType(r.u16("notify")?);
        let spi = SpiField::read(r, spi_len, "notify SPI")?;
        Ok(Self { protocol, spi, notify_type, data: r.rest().to_vec() })
    }

    pub(super) fn emit(&self, w: &mut Writer) {
        w.u8(self.protocol.0);
        w.u8(self.spi.wire_len());
        w.u16(self.notify_type.0);
        self.spi.emit(w);
        w.bytes(&self.data);
    }
}

impl Delete {
    /// Builds the deletion of the IKE SA that carries it.
    #[must_use]
    pub const fn ike() -> Self {
        Self { protocol: ProtocolId::IKE, spis: Vec::new() }
    }

    /// Builds the deletion of ESP SAs, by the sender's inbound SPIs.
    #[must_use]
    pub const fn esp(spis: Vec<Spi>) -> Self {
        Self { protocol: ProtocolId::ESP, spis }
    }

    /// Builds the deletions of child SAs, by protocols and the sender's inbound SPIs: one for each protocol.
    #[must_use]
    pub fn children(sas: &[(ProtocolId, Spi)]) -> Vec<Self> {
        let of = |protocol| {
            let spis: Vec<_> = sas.iter().filter(|(of, _)| *of == protocol).map(|(_, spi)| *spi).collect();
            (!spis.is_empty()).then_some(Self { protocol, spis })
        };
        [ProtocolId::ESP, ProtocolId::AH].into_iter().filter_map(of).collect()
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let protocol = ProtocolId(r.u8("delete")?);
        let spi_len = r.u8("delete")?;
        let count = usize::from(r.u16("delete")?);
        //= RFC 7296 §3.11: a Delete payload has one protocol, and SPIs of its length
        let expected = if protocol == ProtocolId::IKE { 0 } else { 4 };
        if spi_len != expected || (protocol == ProtocolId::IKE && count != 0) {
            return Err(Malformed::Length("delete SPI"));
        }
        if count > MAX_DELETED {
            return Err(Malformed::TooMany("deleted SPIs"));
        }
        let spis = (0..count)
            .map(|_| Spi::try_from(r.u32("delete")?).map_err(|_| Malformed::Value("delete SPI")))
            .collect::<Result<_, _>>()?;
        Ok(Self { protocol, spis })
    }

    pub(super) fn emit(&self, w: &mut Writer) -> Result<(), Oversized> {
        w.u8(self.protocol.0);
        w.u8(if self.protocol == ProtocolId::IKE { 0 } else { 4 });
        let count = u16::try_from(self.spis.len()).ok().filter(|n| usize::from(*n) <= MAX_DELETED);
        w.u16(count.ok_or(Oversized("delete"))?);
        for spi in &self.spis {
            w.u32(spi.get());
        }
        Ok(())
    }
}

/// More SAs than one node pair ever shares.
const MAX_DELETED: usize = 256;
