//! What tests do to an endpoint that no peer could: have it send what it never would, wind its counters, look into it.

use espalier_model::sa::UdpPath;

use super::Endpoint;
use super::slot::Sa;
use crate::config::Now;
use crate::handshake::initiator::header;
use crate::sa::established::Established;
use crate::sa::opener::Arrival;
use crate::wire::{ExchangeType, Flags, Header, Message, Payload, PayloadType};

impl Endpoint {
    /// Lends the only established SA.
    pub(crate) fn only_sa(&mut self) -> &mut Established {
        let mut standing = self.sas.values_mut().filter_map(|sa| match sa {
            Sa::Established(sa) => Some(sa),
            Sa::InitSent(_) | Sa::IntermediateSent(_) | Sa::AuthSent(_) | Sa::HalfOpen(_) => None,
        });
        standing.next().expect("an SA stands")
    }

    /// Returns how many things are kept that a peer or a stranger can make more of.
    pub(crate) fn all_kept(&self) -> Vec<(&'static str, usize)> {
        vec![
            ("SAs", self.sas.len()),
            ("half-open SAs", self.half_open.len()),
            ("children", self.holders.len()),
            ("lingering", self.retired.len()),
            ("outputs", self.outputs.len()),
        ]
    }

    /// Seals any payloads as the next request on the only SA.
    pub(crate) fn request(&mut self, now: Now, exchange: ExchangeType, payloads: &[Payload]) -> (UdpPath, Vec<u8>) {
        let (header, path) = self.next_header(exchange);
        let sa = self.only_sa();
        let datagram = sa.parts.sealing.key().seal(&header, payloads).unwrap();
        sa.parts.requests.open(now.instant, path, vec![datagram.clone()]);
        (path, datagram)
    }

    /// Seals any bytes as the next request on the only SA.
    pub(crate) fn request_of(
        &mut self,
        now: Now,
        exchange: ExchangeType,
        first: PayloadType,
        text: &[u8],
    ) -> (UdpPath, Vec<u8>) {
        let (header, path) = self.next_header(exchange);
        let sa = self.only_sa();
        let datagram = sa.parts.sealing.key().seal_text(&header, first, text.to_vec());
        sa.parts.requests.open(now.instant, path, vec![datagram.clone()]);
        (path, datagram)
    }

    fn next_header(&mut self, exchange: ExchangeType) -> (Header, UdpPath) {
        let sa = self.only_sa();
        sa.parts.requests.close();
        let id = sa.parts.requests.free().expect("there are message IDs");
        let flags = Flags { initiator: sa.parts.initiator, response: false };
        (header(sa.parts.spis, exchange, flags, id), sa.parts.path)
    }

    /// Seals any payloads as the response to a request.
    pub(crate) fn response_to(&mut self, request: &[u8], payloads: &[Payload]) -> Vec<u8> {
        let (asked, _) = Header::parse(request).unwrap();
        let sa = self.only_sa();
        let flags = Flags { initiator: sa.parts.initiator, response: true };
        sa.parts.sealing.key().seal(&Header { flags, ..asked }, payloads).unwrap()
    }

    /// Opens what the peer has sent on the only SA, without acting upon it.
    pub(crate) fn read(&mut self, datagram: &[u8]) -> Message {
        match self.only_sa().parts.opening.open(datagram).unwrap() {
            Arrival::Message(message) => Message { header: message.header, payloads: message.payloads.unwrap() },
            Arrival::Fragment => panic!("a fragment"),
        }
    }
}
