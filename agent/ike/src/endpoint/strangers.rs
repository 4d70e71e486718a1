//! Messages outside an SA: what is answered (RFC 7296 §1.5, §2.5, §2.21.4).

use espalier_model::sa::UdpPath;

use super::Endpoint;
use crate::config::Now;
use crate::limits::STRANGERS;
use crate::wire::buffer::Reader;
use crate::wire::{ExchangeType, Flags, Header, IkeSpi, Malformed, Message, Notify, NotifyType, Payload, header};

impl Endpoint {
    /// Takes a datagram whose header cannot be read.
    pub(super) fn unreadable(&mut self, now: Now, path: UdpPath, datagram: &[u8], reason: Malformed) {
        self.counters.malformed += 1;
        //= RFC 7296 §2.5: a message of a higher major version is dropped, and the sender told which one is supported
        if let Malformed::Version(version) = reason
            && version > header::MAJOR
            && let Ok(header) = header_of_any_version(datagram)
        {
            self.tell_stranger(now, path, header, Notify::new(NotifyType::INVALID_MAJOR_VERSION, vec![]));
        }
    }

    /// Takes a message for an SA that is not there.
    pub(super) fn unknown(&mut self, now: Now, path: UdpPath, header: &Header) {
        self.counters.unknown_spi += 1;
        if self.limits.tell_strangers {
            self.tell_stranger(now, path, *header, Notify::new(NotifyType::INVALID_IKE_SPI, vec![]));
        }
    }

    /// Sends a notification that is no part of an exchange.
    //= RFC 7296 §1.5: SPIs, message ID and exchange are copied from the request; a response is never answered
    fn tell_stranger(&mut self, now: Now, path: UdpPath, request: Header, notify: Notify) {
        //= RFC 7296 §2.21.4: answers to strangers are limited in rate
        if request.flags.response || !self.strangers.take(now.instant, STRANGERS) {
            return;
        }
        let flags = Flags { initiator: !request.flags.initiator, response: true };
        let message = Message { header: Header { flags, ..request }, payloads: vec![Payload::Notify(notify)] };
        if let Ok(datagram) = message.emit() {
            self.transmit_all(path, vec![datagram]);
        }
    }
}

/// Reads the header of a message of another version, which has the fields that every version has.
fn header_of_any_version(datagram: &[u8]) -> Result<Header, Malformed> {
    let mut r = Reader::new(datagram);
    let (initiator_spi, responder_spi) = (IkeSpi(r.u64("header")?), IkeSpi(r.u64("header")?));
    r.take(2, "header")?;
    let (exchange, flags) = (ExchangeType(r.u8("header")?), header::flags(r.u8("header")?));
    Ok(Header { initiator_spi, responder_spi, exchange, flags, message_id: r.u32("header")? })
}
