//! Sealing in every form: what is carried of a packet, and the headers around it.

use std::net::IpAddr;

use espalier_model::profile::Mode;

use super::{Outbound, SealError, end};
use crate::form::Carriage;
use crate::ip::{self, Fragment, Link, protocol};
use crate::outer::{self, OuterFields};

/// A packet in its form, to be sent as [`Outbound::carriage`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrapped {
    /// Bytes written.
    pub length: usize,
    /// This packet reached a soft limit: ask for a rekey.
    pub soft: bool,
    /// What the header has that the system writes, where it does.
    pub fields: OuterFields,
}

/// What is carried, and the IP header that goes before it.
struct Content<'p> {
    /// The headers of the packet itself, in transport mode.
    headers: &'p [u8],
    /// What follows them, in the first header of ours.
    place: Link,
    body: &'p [u8],
    /// Length of the body with the padding that hides it.
    padded: usize,
    fields: OuterFields,
}

impl Outbound {
    /// Returns the most bytes that [`Self::seal_packet`] makes of a packet of this length.
    #[must_use]
    pub fn most_sealed(&self, length: usize) -> usize {
        // As if all of it were inside, and the longest header before it.
        let ah = self.ah.as_ref().map_or(0, |ah| ah.transform.header_len(true));
        let padded = self.padded(length);
        ip::V6_HEADER_LEN + ah + self.esp.as_ref().map_or(padded, |esp| esp.transform.packet_len(padded))
    }

    /// Seals a packet in the form of the SA: writes what [`Self::carriage`] says to the head of `out`.
    ///
    /// # Errors
    /// `SealError`; the output buffer then holds nothing that may be sent.
    pub fn seal_packet(&self, packet: &[u8], out: &mut [u8]) -> Result<Wrapped, SealError> {
        let content = match self.shape.mode {
            Mode::Tunnel => self.whole(packet)?,
            Mode::Transport => self.upper(packet)?,
        };
        self.write(&content, out)
    }

    /// Writes a packet that carries nothing but `length` bytes that mean nothing: the peer drops it (RFC 4303 §2.6).
    ///
    /// # Errors
    /// As [`Self::seal_packet`], and `Form` without ESP.
    pub fn seal_dummy(&self, length: usize, out: &mut [u8]) -> Result<Wrapped, SealError> {
        if self.esp.is_none() {
            return Err(SealError::Form);
        }
        let fields = OuterFields { class: 0, dont_fragment: true, ttl: self.outer.ttl };
        // In transport mode it stands behind a header of our own as well: there is no sender.
        let place = Link { protocol: protocol::NONE, at: self.header_len(), named_at: 0 };
        self.write(&Content { headers: &[], place, body: &[], padded: length, fields }, out)
    }

    /// Tunnel mode: the whole packet is inside.
    fn whole<'p>(&self, packet: &'p [u8]) -> Result<Content<'p>, SealError> {
        let protocol = match ip::version(packet) {
            Some(4) => protocol::IPV4,
            Some(6) => protocol::IPV6,
            _ => return Err(SealError::NotIp),
        };
        let place = Link { protocol, at: self.header_len(), named_at: 0 };
        let fields = self.outer_fields(packet)?;
        Ok(Content { headers: &[], place, body: packet, padded: self.padded(packet.len()), fields })
    }

    /// Transport mode: what follows the headers is inside.
    fn upper<'p>(&self, packet: &'p [u8]) -> Result<Content<'p>, SealError> {
        let layout = ip::layout(packet).map_err(|_| SealError::NotIp)?;
        //= RFC 4302 §3.3, RFC 4303 §3.3: in transport mode only whole datagrams are protected, no fragments
        if layout.fragment != Fragment::Whole {
            return Err(SealError::Fragment);
        }
        if layout.ends != self.ends() {
            return Err(SealError::NotOurs);
        }
        let (headers, body) = packet.get(..layout.length).unwrap_or_default().split_at(layout.place.at);
        let fields = OuterFields::of(packet).map_err(|_| SealError::NotIp)?;
        let (headers, at) = match self.shape.carriage {
            Carriage::Packet => (headers, layout.place.at),
            // The system writes a header of its own: there is no place for extension headers or options.
            Carriage::Udp | Carriage::Payload if headers.len() > outer::header_len(layout.ends.0.is_ipv6()) => {
                return Err(SealError::Extensions);
            }
            Carriage::Udp | Carriage::Payload => (&[][..], 0),
        };
        Ok(Content { headers, place: Link { at, ..layout.place }, body, padded: body.len(), fields })
    }

    fn write(&self, content: &Content<'_>, out: &mut [u8]) -> Result<Wrapped, SealError> {
        let Content { place, body, padded, fields, .. } = *content;
        let v6 = self.ends().0.is_ipv6();
        let ah_len = self.ah.as_ref().map_or(0, |ah| ah.transform.header_len(v6));
        let inside = self.esp.as_ref().map_or(padded, |esp| esp.transform.packet_len(padded));
        let length = place.at + ah_len + inside;
        let out = out.get_mut(..length).ok_or(SealError::TooSmall)?;
        self.write_headers(content, out)?;
        let (esp, ah) = self.take_numbers()?;
        let rest = out.get_mut(place.at + ah_len..).ok_or(SealError::TooSmall)?;
        let mut next = place.protocol;
        if let (Some(half), Some(number)) = (&self.esp, esp) {
            let parts = half.transform.split(rest).ok_or(SealError::TooSmall)?;
            parts.text.get_mut(..body.len()).ok_or(SealError::TooSmall)?.copy_from_slice(body);
            end(parts.text, body.len(), padded, next);
            half.spend(number);
            half.transform.seal(half.spi, number, parts).map_err(|_| SealError::TooLong)?;
            next = protocol::ESP;
        } else {
            rest.copy_from_slice(body);
        }
        if let (Some(half), Some(number)) = (&self.ah, ah) {
            let place = Link { protocol: next, ..place };
            half.spend(number);
            half.transform.seal(half.spi, number, out, place).map_err(|_| SealError::Extensions)?;
        }
        Ok(Wrapped { length, soft: self.used.add(1, padded), fields })
    }

    /// Writes the IP header, where it is ours to write.
    fn write_headers(&self, content: &Content<'_>, out: &mut [u8]) -> Result<(), SealError> {
        if self.shape.carriage != Carriage::Packet {
            return Ok(());
        }
        let too_long = |_| SealError::TooLong;
        if content.headers.is_empty() {
            let (fields, outermost) = (content.fields, self.shape.outermost);
            return outer::write(out, self.ends(), fields, outermost, self.identification()).map_err(too_long);
        }
        let length = out.len();
        let headers = out.get_mut(..content.headers.len()).ok_or(SealError::TooSmall)?;
        headers.copy_from_slice(content.headers);
        ip::set_protocol(headers, content.place.named_at, self.shape.outermost);
        // The system would replace an identification of zero, which AH covers.
        ip::identify(headers, self.identification());
        ip::set_length(headers, length).map_err(too_long)
    }

    /// Returns a number that packets soon after each other do not share, and that is not zero (RFC 6864 §4).
    fn identification(&self) -> u16 {
        let low = self.last().to_be_bytes();
        let [.., high, low] = low;
        u16::from_be_bytes([high, low]).max(1)
    }

    fn ends(&self) -> (IpAddr, IpAddr) {
        let path = self.path();
        (path.local.ip(), path.remote.ip())
    }

    /// Returns the length of the outer header that is ours to write.
    fn header_len(&self) -> usize {
        match self.shape.carriage {
            Carriage::Packet => outer::header_len(self.ends().0.is_ipv6()),
            Carriage::Udp | Carriage::Payload => 0,
        }
    }

    /// Takes the next number of each SA, in one atomic step each.
    fn take_numbers(&self) -> Result<(Option<u64>, Option<u64>), SealError> {
        if self.used.expired() {
            return Err(SealError::Exhausted);
        }
        let take = |sequence: &crate::Sequence| sequence.take(1).map(|numbers| *numbers.start());
        let exhausted = |_| SealError::Exhausted;
        let esp = self.esp.as_ref().map(|half| take(&half.sequence)).transpose().map_err(exhausted)?;
        let ah = self.ah.as_ref().map(|half| take(&half.sequence)).transpose().map_err(exhausted)?;
        Ok((esp, ah))
    }
}
