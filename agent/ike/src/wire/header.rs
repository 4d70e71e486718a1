//! The IKE header (RFC 7296 §3.1).

use std::fmt;

use super::Malformed;
use super::buffer::{Reader, Writer};
use super::registry::{ExchangeType, PayloadType};

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 28;

/// One side's SPI of an IKE SA. Zero stands for a side that has not chosen one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IkeSpi(pub u64);

/// The flags of a header; reserved bits are sent as zero and ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags {
    /// The sender is the original initiator of the IKE SA.
    pub initiator: bool,
    /// The message is a response.
    pub response: bool,
}

/// The header without what follows from the payloads: their first type and the length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// SPI of the original initiator.
    pub initiator_spi: IkeSpi,
    /// SPI of the original responder, zero in the first message.
    pub responder_spi: IkeSpi,
    /// The exchange.
    pub exchange: ExchangeType,
    /// Who sent it, and whether it is a response.
    pub flags: Flags,
    /// Number of the request, repeated in its response.
    pub message_id: u32,
}

/// The major version that is spoken.
pub(crate) const MAJOR: u8 = 2;
//= RFC 7296 §3.1: the version is 2.0
const VERSION: u8 = MAJOR << 4;
//= RFC 7296 §3.1: only two flags are read and written
const FLAG_INITIATOR: u8 = 0x08;
const FLAG_RESPONSE: u8 = 0x20;

impl IkeSpi {
    /// Not chosen yet.
    pub const ZERO: Self = Self(0);
}

impl fmt::Display for IkeSpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Reads the flags; those that are reserved say nothing.
pub(crate) const fn flags(byte: u8) -> Flags {
    Flags { initiator: byte & FLAG_INITIATOR != 0, response: byte & FLAG_RESPONSE != 0 }
}

impl Header {
    /// Reads the header of a whole datagram and the type of the first payload, without looking at the payloads.
    ///
    /// # Errors
    /// `Truncated`, `Length` when the datagram is of another length than it says, `Version` for another major version.
    pub fn parse(datagram: &[u8]) -> Result<(Self, PayloadType), Malformed> {
        let mut r = Reader::new(datagram);
        let initiator_spi = IkeSpi(r.u64("header")?);
        let responder_spi = IkeSpi(r.u64("header")?);
        let first = PayloadType(r.u8("header")?);
        let version = r.u8("header")?;
        let exchange = ExchangeType(r.u8("header")?);
        let flags = r.u8("header")?;
        let message_id = r.u32("header")?;
        let length = r.u32("header")?;
        if usize::try_from(length) != Ok(datagram.len()) {
            return Err(Malformed::Length("message"));
        }
        //= RFC 7296 §2.5: the minor version is ignored
        if version >> 4 != MAJOR {
            //= RFC 7296 §2.5: a message of a higher major version is dropped
            return Err(Malformed::Version(version >> 4));
        }
        Ok((Self { initiator_spi, responder_spi, exchange, flags: self::flags(flags), message_id }, first))
    }

    /// Tells whether the message asks for an IKE SA.
    #[must_use]
    pub fn opens_sa(&self) -> bool {
        self.exchange == ExchangeType::IKE_SA_INIT && self.flags.initiator && !self.flags.response
    }

    /// Writes the header in front of payloads of `body_len` bytes.
    ///
    /// # Errors
    /// `Oversized` when the message is longer than a UDP datagram can be.
    pub fn emit(&self, first: PayloadType, body_len: usize, w: &mut Writer) -> Result<(), super::Oversized> {
        let length = u16::try_from(HEADER_LEN + body_len).map_err(|_| super::Oversized("message"))?;
        w.u64(self.initiator_spi.0);
        w.u64(self.responder_spi.0);
        w.u8(first.0);
        w.u8(VERSION);
        w.u8(self.exchange.0);
        //= RFC 7296 §3.1: messages of the original initiator have the Initiator flag, and those of the responder do not
        let initiator = if self.flags.initiator { FLAG_INITIATOR } else { 0 };
        //= RFC 7296 §3.1: a response has the Response flag, and a request does not
        let response = if self.flags.response { FLAG_RESPONSE } else { 0 };
        w.u8(initiator | response);
        w.u32(self.message_id);
        w.u32(u32::from(length));
        Ok(())
    }
}
