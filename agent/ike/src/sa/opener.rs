//! The peer's encrypted messages: opened when they are whole, kept until they are when they come in fragments (RFC 7383 §2.6).
//!
//! What is kept is authentic, of one message in each direction, and no more than [`MOST_TEXT`] bytes. The caller has judged the
//! message ID, so only the message that is awaited is ever put together.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::window::Mark;
use crate::wire::sk::fragment::{Fragment, MOST_TEXT, Place};
use crate::wire::sk::{OpenError, OpeningKey, Whole};
use crate::wire::{Header, Malformed, Payload};

/// Opens what the peer sends on an IKE SA.
pub(crate) struct Opener {
    key: OpeningKey,
    fragments: bool,
    request: Option<Partial>,
    response: Option<Partial>,
}

/// What a datagram has brought.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// A message, or the last missing fragment of one.
    Message(Received),
    /// A fragment of a message that is still not whole, or one that is not needed.
    Fragment,
}

/// An authentic message.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) header: Header,
    /// By what its repetition is known.
    pub(crate) mark: Mark,
    /// What it holds, where that can be read.
    pub(crate) payloads: Result<Vec<Payload>, Malformed>,
    /// What a later proof may cover, where the message is one.
    pub(crate) whole: Option<Whole>,
}

/// Fragments of one message, by number.
struct Partial {
    header: Header,
    total: u16,
    /// The datagram of the first fragment, and by what it is known.
    first: Option<(Vec<u8>, Mark)>,
    parts: BTreeMap<u16, Zeroizing<Vec<u8>>>,
    len: usize,
}

impl Opener {
    /// `fragments` says whether both ends have announced that they can put fragments together.
    pub(crate) const fn new(key: OpeningKey, fragments: bool) -> Self {
        Self { key, fragments, request: None, response: None }
    }

    /// Takes a datagram with the awaited message ID. An error leaves everything as it was.
    pub(crate) fn open(&mut self, datagram: &[u8]) -> Result<Arrival, OpenError> {
        let place = if self.fragments { Place::peek(datagram).map_err(OpenError::Outer)? } else { None };
        let Some(place) = place else { return self.open_whole(datagram).map(Arrival::Message) };
        let (header, _) = Header::parse(datagram).map_err(OpenError::Outer)?;
        let kept = if header.flags.response { &self.response } else { &self.request };
        if kept.as_ref().is_some_and(|partial| partial.header == header && !partial.needs(place)) {
            return Ok(Arrival::Fragment);
        }
        //= RFC 7383 §2.6: a fragment is kept only once it is authentic
        let fragment = self.key.open_fragment(datagram)?;
        let slot = if header.flags.response { &mut self.response } else { &mut self.request };
        //= RFC 7383 §2.6: fragments of a larger total take the place of those kept before
        let kept = slot.take().filter(|partial| partial.header == header && partial.total == place.total);
        let mut partial = kept.unwrap_or_else(|| Partial::new(header, place.total));
        partial.add(fragment, datagram);
        if let Some(received) = partial.join() {
            return Ok(Arrival::Message(received));
        }
        *slot = Some(partial).filter(|partial| partial.len <= MOST_TEXT);
        Ok(Arrival::Fragment)
    }

    /// Tells whether a datagram is the first fragment of a message, and authentic.
    pub(crate) fn is_first_fragment(&self, datagram: &[u8]) -> bool {
        let first = matches!(Place::peek(datagram), Ok(Some(Place { number: 1, .. })));
        self.fragments && first && self.key.open_fragment(datagram).is_ok()
    }

    fn open_whole(&mut self, datagram: &[u8]) -> Result<Received, OpenError> {
        let (header, payloads, whole) = match self.key.open_whole(datagram) {
            Ok((header, whole)) => (header, whole.payloads(), Some(whole)),
            Err(OpenError::Inner(reason)) => (Header::parse(datagram).map_err(OpenError::Outer)?.0, Err(reason), None),
            Err(error) => return Err(error),
        };
        let slot = if header.flags.response { &mut self.response } else { &mut self.request };
        *slot = None;
        Ok(Received { header, mark: Mark::of(datagram), payloads, whole })
    }
}

impl Partial {
    const fn new(header: Header, total: u16) -> Self {
        Self { header, total, first: None, parts: BTreeMap::new(), len: 0 }
    }

    /// Tells whether a fragment of the same message is of use, should it be authentic.
    fn needs(&self, place: Place) -> bool {
        //= RFC 7383 §2.6: a smaller total and a fragment that is there are ignored, a larger total starts anew
        place.total > self.total || place.total == self.total && !self.parts.contains_key(&place.number)
    }

    fn add(&mut self, fragment: Fragment, datagram: &[u8]) {
        if fragment.place.number == 1 {
            self.first = Some((datagram.to_vec(), Mark::of(datagram)));
        }
        self.len += fragment.text.len();
        self.parts.insert(fragment.place.number, fragment.text);
    }

    /// Puts the fragments together when all are there and no longer than a message may be.
    fn join(&self) -> Option<Received> {
        //= RFC 7383 §2.6: a message is read when all its fragments are there, and never longer than one may be
        let complete = self.parts.len() == usize::from(self.total) && self.len <= MOST_TEXT;
        let (first, mark) = self.first.as_ref().filter(|_| complete)?;
        let mut text = Zeroizing::new(Vec::with_capacity(self.len));
        self.parts.values().for_each(|part| text.extend_from_slice(part));
        let whole = Whole::received(first, text);
        let payloads = whole.as_ref().map_err(|reason| *reason).and_then(Whole::payloads);
        Some(Received { header: self.header, mark: *mark, payloads, whole: whole.ok() })
    }
}

#[cfg(test)]
mod tests;
