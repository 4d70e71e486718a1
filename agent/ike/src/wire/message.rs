//! A whole message: the header and its payloads in order.

use super::buffer::{Reader, Writer};
use super::header::{HEADER_LEN, Header};
use super::payload::{self, Payload};
use super::{Malformed, Oversized};

/// A message. One that travels encrypted holds a [`Payload::Encrypted`], as last payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The header.
    pub header: Header,
    /// The payloads in order.
    pub payloads: Vec<Payload>,
}

impl Message {
    /// Reads a datagram, without a non-ESP marker.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(datagram: &[u8]) -> Result<Self, Malformed> {
        let (header, first) = Header::parse(datagram)?;
        let mut r = Reader::new(datagram);
        r.take(HEADER_LEN, "header")?;
        let payloads = payload::read_chain(first, r)?;
        Ok(Self { header, payloads })
    }

    /// Writes the datagram.
    ///
    /// # Errors
    /// `Oversized` names the part that does not fit its length field.
    pub fn emit(&self) -> Result<Vec<u8>, Oversized> {
        let mut body = Writer::new();
        let first = payload::emit_chain(&self.payloads, &mut body)?;
        let mut w = Writer::new();
        self.header.emit(first, body.len(), &mut w)?;
        w.bytes(&body.finish());
        Ok(w.finish())
    }
}
