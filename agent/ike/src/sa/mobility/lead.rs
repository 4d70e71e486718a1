//! What the end that chooses the path tells the other, and the checks of either end (RFC 4555 §3.5 to §3.9).

use std::time::Instant;

use espalier_crypto::equal;
use espalier_model::profile::Mobike;
use espalier_model::sa::UdpPath;

use super::super::established::{Established, Fate};
use super::super::exchange::Exchange;
use super::{RouteCheck, UpdateSent, draw_cookie, others};
use crate::content::Content;
use crate::context::Context;
use crate::handshake::Failure;
use crate::nat::Detected;
use crate::output::{DownReason, MoveReason};
use crate::wire::mobility::{additional, cookie, no_nats};
use crate::wire::{ExchangeType, Notify, NotifyType, Payload};

/// An update that meets a NAT which should not be there is sent anew so often.
const MOST_TRANSLATED: u8 = 3;

/// What an SA has to do about paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errand {
    /// Tell the peer to use the path of our messages.
    Update,
    /// Check that the peer receives at its new address.
    CheckRoute,
    /// Tell our addresses.
    TellAddresses,
}

impl Established {
    /// Returns what is to be done about paths, at once.
    pub(crate) fn errand(&self, present: Option<&[std::net::IpAddr]>) -> Option<Errand> {
        if !self.mobile() {
            return None;
        }
        if self.mobility.update.is_some() {
            return Some(Errand::Update);
        }
        if self.mobility.unproven {
            return Some(Errand::CheckRoute);
        }
        self.has_addresses_to_tell(present).then_some(Errand::TellAddresses)
    }

    /// Does it.
    pub(crate) fn run(&mut self, cx: &mut Context<'_>, errand: Errand) -> Result<(), Failure> {
        match errand {
            Errand::Update => self.send_update(cx),
            Errand::CheckRoute => {
                let cookie = draw_cookie(cx);
                let payload = Payload::Notify(Notify::new(NotifyType::COOKIE2, cookie.clone()));
                let exchange = Exchange::RouteCheck(RouteCheck { cookie });
                self.request(cx, ExchangeType::INFORMATIONAL, &[payload], exchange)
            }
            Errand::TellAddresses => {
                let told = others(cx.present, &self.parts.peer, self.parts.path);
                let mut notifies = additional(&told);
                notifies.extend(self.no_nats());
                let payloads: Vec<_> = notifies.into_iter().map(Payload::Notify).collect();
                self.request(cx, ExchangeType::INFORMATIONAL, &payloads, Exchange::Addresses(told))
            }
        }
    }

    fn send_update(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let Some(why) = self.mobility.update.take() else { return Ok(()) };
        let (path, cookie) = (self.parts.path, draw_cookie(cx));
        let told = others(cx.present, &self.parts.peer, path);
        let mut notifies = vec![Notify::new(NotifyType::UPDATE_SA_ADDRESSES, Vec::new())];
        match self.no_nats() {
            Some(notify) => notifies.push(notify),
            None => notifies.extend(cx.nat_detection(self.parts.spis, path, self.parts.peer.profile.encap)),
        }
        notifies.push(Notify::new(NotifyType::COOKIE2, cookie.clone()));
        notifies.extend(additional(&told));
        let payloads: Vec<_> = notifies.into_iter().map(Payload::Notify).collect();
        let exchange = Exchange::Update(UpdateSent { cookie, why, told });
        self.request(cx, ExchangeType::INFORMATIONAL, &payloads, exchange)
    }

    fn no_nats(&self) -> Option<Notify> {
        (self.parts.peer.profile.mobike == Mobike::NoNat).then(|| no_nats(self.parts.path))
    }

    /// Reads the answer to an update.
    pub(crate) fn updated(
        &mut self,
        cx: &mut Context<'_>,
        sent: UpdateSent,
        content: &Content,
        seen: UdpPath,
    ) -> Result<Fate, Failure> {
        //= RFC 4555 §3.5: a refusal may come without COOKIE2
        let bare = content.error().is_some() && content.notify(NotifyType::COOKIE2).is_none();
        if !bare && !returned(&sent.cookie, content) {
            return self.deceived(cx);
        }
        //= RFC 4555 §3.5: an answer to an update that is out of date says nothing; the next one is on its way
        if self.mobility.update.is_some() {
            return Ok(Fate::Stays);
        }
        if let Some(error) = content.error() {
            return self.update_refused(cx, sent.why, error);
        }
        self.mobility.told = Some(sent.told);
        self.mobility.refused.clear();
        self.mobility.translated = 0;
        if let Some(detected) = Detected::read(self.parts.spis, seen, &content.notifies) {
            self.take_detected(cx.now.instant, detected);
        }
        self.move_traffic(cx, self.parts.path, sent.why);
        Ok(Fate::Stays)
    }

    fn update_refused(&mut self, cx: &mut Context<'_>, why: MoveReason, error: NotifyType) -> Result<Fate, Failure> {
        match error {
            //= RFC 4555 §3.9: a NAT that should not be there may have gone with the next request
            NotifyType::UNEXPECTED_NAT_DETECTED if self.mobility.translated < MOST_TRANSLATED => {
                self.mobility.translated += 1;
                self.mobility.update = Some(why);
                return Ok(Fate::Stays);
            }
            NotifyType::UNACCEPTABLE_ADDRESSES | NotifyType::UNEXPECTED_NAT_DETECTED => {}
            _ => return Ok(Fate::Over(DownReason::Refused(format!("{error:?}")))),
        }
        //= RFC 4555 §3.5: after UNACCEPTABLE_ADDRESSES other addresses are tried, those in use first
        self.mobility.refused.push(self.parts.path);
        self.mobility.translated = 0;
        let before = self.mobility.traffic;
        let candidates = self.candidates(cx.present);
        if candidates.contains(&before) {
            self.redirect(cx, before);
            return Ok(Fate::Stays);
        }
        match candidates.first() {
            Some(next) => {
                let trusted = self.trusts(next.remote.ip());
                self.depart(cx, *next, MoveReason::Refused, trusted);
                Ok(Fate::Stays)
            }
            None => {
                self.close(cx)?;
                Ok(Fate::Over(DownReason::Refused(format!("{error:?}"))))
            }
        }
    }

    /// Reads the answer to a check of the peer's address.
    pub(crate) fn route_checked(
        &mut self,
        cx: &mut Context<'_>,
        check: &RouteCheck,
        content: &Content,
        along: &[UdpPath],
    ) -> Result<Fate, Failure> {
        //= RFC 4555 §3.7: the value that comes back is compared, and another one ends the SA
        if !returned(&check.cookie, content) {
            return self.deceived(cx);
        }
        //= RFC 4555 §3.7: what was sent to several addresses proves none of them
        if along == [self.parts.path] && self.mobility.unproven {
            self.move_traffic(cx, self.parts.path, MoveReason::Asked);
        }
        Ok(Fate::Stays)
    }

    /// Notes that the peer has taken our list of addresses.
    pub(crate) fn addresses_told(&mut self, told: Vec<std::net::IpAddr>, along: &[UdpPath]) {
        //= RFC 4555 §3.6: a list that was sent from several addresses is told anew
        let one = along.iter().all(|path| path.local == self.parts.path.local);
        self.mobility.told = Some(told).filter(|_| one);
    }

    /// Compares where the peer sees us now with where it has seen us before.
    //= RFC 4555 §3.8: another hash than before means that a NAT's mapping has changed, and the peer is told
    pub(crate) fn compare_mapping(&mut self, now: Instant, content: &Content, seen: UdpPath) {
        let detected = Detected::read(self.parts.spis, seen, &content.notifies);
        if detected.is_some_and(|detected| self.take_detected(now, detected)) && self.mobile() && self.mobility.leads {
            self.mobility.update.get_or_insert(MoveReason::OurMapping);
        }
    }

    fn deceived(&mut self, cx: &mut Context<'_>) -> Result<Fate, Failure> {
        self.close(cx)?;
        Ok(Fate::Over(DownReason::Failed("peer does not return the COOKIE2 that it was sent".to_owned())))
    }
}

fn returned(sent: &[u8], content: &Content) -> bool {
    cookie(&content.notifies).is_some_and(|back| equal(back, sent))
}
