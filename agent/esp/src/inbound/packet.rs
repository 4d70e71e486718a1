//! Opening in every form: the IP header, AH, ESP, and what is made of them.

use espalier_model::profile::Mode;
use espalier_model::selector::Flow;

use super::{Inbound, OpenError, Opened, Receiving, strip_padding};
use crate::ah::{AhError, AhTransform};
use crate::flow::whole;
use crate::ip::{self, Fragment, Link, protocol};
use crate::replay::ReplayWindow;
use crate::transform::Transform;
use crate::{outer, transport};

/// What was inside.
#[derive(Clone, Copy)]
struct Inside {
    /// What it is, and where it starts.
    place: Link,
    /// Where it ends.
    end: usize,
    newest: bool,
}

impl Inbound {
    /// Opens a whole IP packet of the SA's form in place. The order of checks for each header is that of RFC 4302 §3.4 and
    /// RFC 4303 §3.4: replay window, ICV, window again, then what is inside.
    ///
    /// A packet whose header the system has taken off gets one by [`restore_header`](crate::restore_header). In tunnel mode what it
    /// says of congestion is told to the inner packet (RFC 6040); in transport mode it becomes the header of what was inside.
    ///
    /// # Errors
    /// `OpenError`; the buffer then holds nothing that may be delivered.
    pub fn open_packet<'p>(&self, packet: &'p mut [u8]) -> Result<Opened<'p>, OpenError> {
        let layout = ip::layout(packet).map_err(OpenError::Inner)?;
        //= RFC 4302 §3.4.1, RFC 4303 §3.4.1: a fragment is discarded; reassembly comes before
        if layout.fragment != Fragment::Whole {
            return Err(OpenError::Fragment);
        }
        if self.used.expired() {
            return Err(OpenError::Expired);
        }
        let packet = packet.get_mut(..layout.length).ok_or(OpenError::Short)?;
        let class = outer::traffic_class(packet).map_err(OpenError::Inner)?;
        let mut inside = Inside { place: layout.upper, end: layout.length, newest: true };
        if let Some(half) = &self.ah {
            inside = self.open_ah(half, packet, inside)?;
        }
        if let Some(half) = &self.esp {
            inside = self.open_esp(half, packet, inside)?;
        }
        let soft = self.used.add(1, inside.end - inside.place.at);
        //= RFC 4303 §2.6: a dummy packet is dropped without notice
        if inside.place.protocol == protocol::NONE {
            return Err(OpenError::Dummy);
        }
        let (packet, flow, length) = match self.shape.mode {
            Mode::Tunnel => Self::deliver_whole(packet, inside, class)?,
            Mode::Transport => self.deliver_upper(packet, inside, layout.upper)?,
        };
        if !self.carries(&flow) {
            return Err(OpenError::Selector);
        }
        Ok(Opened { packet: packet.get_mut(..length).ok_or(OpenError::Short)?, flow, newest: inside.newest, soft })
    }

    fn open_ah(&self, half: &Receiving<AhTransform>, packet: &[u8], inside: Inside) -> Result<Inside, OpenError> {
        if inside.place.protocol != protocol::AH {
            return Err(OpenError::Form);
        }
        let header = half.transform.read(packet, inside.place.at).map_err(|_| OpenError::Short)?;
        if header.spi != half.spi.get() {
            return Err(OpenError::Form);
        }
        let number = self.admit(&half.window, header.low, half.transform.extended())?;
        match half.transform.check(number, packet, &header) {
            Ok(()) => {}
            Err(AhError::Header(bad)) => return Err(OpenError::Inner(bad)),
            Err(AhError::NotAuthentic) => return Err(self.not_authentic()),
        }
        let newest = self.commit(&half.window, number)?;
        Ok(Inside { place: header.inner, newest: inside.newest && newest, ..inside })
    }

    fn open_esp(&self, half: &Receiving<Transform>, packet: &mut [u8], inside: Inside) -> Result<Inside, OpenError> {
        if inside.place.protocol != protocol::ESP {
            return Err(OpenError::Form);
        }
        let esp = packet.get_mut(inside.place.at..inside.end).ok_or(OpenError::Short)?;
        let mut parts = half.transform.split(esp).ok_or(OpenError::Short)?;
        let [a, b, c, d, e, f, g, h] = *parts.header;
        if u32::from_be_bytes([a, b, c, d]) != half.spi.get() {
            return Err(OpenError::Form);
        }
        let number = self.admit(&half.window, u32::from_be_bytes([e, f, g, h]), half.transform.extended())?;
        if half.transform.open(half.spi, number, &mut parts).is_err() {
            return Err(self.not_authentic());
        }
        let newest = self.commit(&half.window, number)?;
        let at = inside.place.at + half.transform.headroom();
        let (text, next) = strip_padding(parts.text)?;
        let place = Link { protocol: next, at, named_at: inside.place.named_at };
        Ok(Inside { place, end: at + text.len(), newest: inside.newest && newest })
    }

    /// Tunnel mode: the inner packet, with what its outer header met.
    fn deliver_whole(packet: &mut [u8], inside: Inside, class: u8) -> Result<(&mut [u8], Flow, usize), OpenError> {
        let inner = packet.get_mut(inside.place.at..inside.end).ok_or(OpenError::Short)?;
        match (inside.place.protocol, ip::version(inner)) {
            (protocol::IPV4, Some(4)) | (protocol::IPV6, Some(6)) => {}
            _ => return Err(OpenError::Trailer),
        }
        let (flow, length) = whole(inner).map_err(OpenError::Inner)?;
        outer::give_back(inner, class).map_err(|_| OpenError::Congestion)?;
        Ok((inner, flow, length))
    }

    /// Transport mode: the IP header moves to what was inside, and names it.
    fn deliver_upper<'p>(
        &self,
        packet: &'p mut [u8],
        inside: Inside,
        first: Link,
    ) -> Result<(&'p mut [u8], Flow, usize), OpenError> {
        let start = inside.place.at.checked_sub(first.at).ok_or(OpenError::Short)?;
        let packet = packet.get_mut(..inside.end).ok_or(OpenError::Short)?;
        packet.copy_within(..first.at, start);
        let packet = packet.get_mut(start..).ok_or(OpenError::Short)?;
        ip::set_protocol(packet, first.named_at, inside.place.protocol);
        ip::set_length(packet, packet.len()).map_err(OpenError::Inner)?;
        if let Some(ends) = self.shape.peers_ends() {
            let layout = ip::layout(packet).map_err(OpenError::Inner)?;
            transport::repair(packet, &layout, ends);
        }
        let (flow, length) = whole(packet).map_err(OpenError::Inner)?;
        Ok((packet, flow, length))
    }

    /// Returns the whole number of a packet that may be new.
    pub(super) fn admit(&self, window: &ReplayWindow, low: u32, extended: bool) -> Result<u64, OpenError> {
        let number = if extended { window.extend(low) } else { Some(u64::from(low)) };
        number.filter(|number| window.may_accept(*number)).ok_or_else(|| self.replay())
    }

    /// Takes the number of an authentic packet. Tells whether it is the highest so far.
    pub(super) fn commit(&self, window: &ReplayWindow, number: u64) -> Result<bool, OpenError> {
        let newest = number > window.highest();
        if window.commit(number) { Ok(newest) } else { Err(self.replay()) }
    }
}
