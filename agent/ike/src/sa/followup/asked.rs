//! The end that has asked for an SA.

use std::time::Instant;

use espalier_crypto::KeyShare;
use espalier_model::sa::ChildId;

use super::{Followup, PlannedChild, PlannedIke, Series, Wanted};
use crate::content::Content;
use crate::context::Context;
use crate::handshake::Failure;
use crate::handshake::initiator::key_exchange;
use crate::handshake::intermediate::public_value;
use crate::outbounds::Switch;
use crate::output::Output;
use crate::sa::adopt::Adopted;
use crate::sa::child::{Agreed, Part, Seed};
use crate::sa::create_child::short;
use crate::sa::established::{Established, Fate, GRACE};
use crate::sa::exchange::{Exchange, Rival};
use crate::sa::refusal::{self, Refusal};
use crate::wire::{ExchangeType, IkeSpi, Notify, NotifyType, Payload};

/// After so many series in a row of which the peer knows nothing, something is wrong with the SA itself.
const MOST_LOST: u32 = 3;

impl Established {
    /// Goes on with an SA that the peer has agreed to: makes it when no key exchange is left, or starts the next one.
    pub(in crate::sa) fn go_on(
        &mut self,
        cx: &mut Context<'_>,
        wanted: Wanted,
        series: Series,
        content: &Content,
    ) -> Result<Fate, Failure> {
        if series.is_complete() {
            self.lost_series = 0;
            return match wanted {
                // Made and deleted again before the answer came: the next step decides anew.
                Wanted::Child(child, _, deleted) if deleted.contains(&child.names()) => Ok(Fate::Stays),
                Wanted::Child(child, rival, _) => self.child_made(cx, *child, rival, &series),
                Wanted::Ike(ike, rival) => self.ike_made(cx, &ike, rival, &series),
            };
        }
        //= RFC 9370 §2.2.4: with the lowest nonce there is nothing to delete yet; its exchange is just not followed up
        let lowest = series.nonces.lowest();
        match &wanted {
            Wanted::Child(child, Some(rival), _) if rival.wins(lowest) => {
                self.delete_later(child.replaces.filter(|_| rival.id.is_some()), cx.now.instant + GRACE);
                return Ok(Fate::Stays);
            }
            Wanted::Ike(_, Some(rival)) if rival.wins(lowest) => {
                return Ok(rival.id.map_or(Fate::Stays, Fate::GivesWay));
            }
            // The peer has lost, and will not follow up.
            Wanted::Child(child, ..) => {
                self.awaited.retain(|a| !a.is_child(child.replaces, &child.agreed.config.rule));
            }
            Wanted::Ike(..) => self.awaited.retain(|awaited| !awaited.is_ike()),
        }
        self.follow_up(cx, wanted, series, content)
    }

    fn follow_up(
        &mut self,
        cx: &mut Context<'_>,
        wanted: Wanted,
        mut series: Series,
        content: &Content,
    ) -> Result<Fate, Failure> {
        let link = content.notify(NotifyType::ADDITIONAL_KEY_EXCHANGE);
        let (Some(link), Some(method)) = (link, series.left.pop_front()) else {
            return Ok(self.series_refused(cx, wanted, content));
        };
        let share = KeyShare::generate(method)?;
        //= RFC 9370 §2.2.4: the link is sent back as it came
        let payloads = [
            Payload::KeyExchange(key_exchange(method, share.public())),
            Payload::Notify(Notify::new(NotifyType::ADDITIONAL_KEY_EXCHANGE, link.to_vec())),
        ];
        let followup = Exchange::Followup(Box::new(Followup { wanted, series, share }));
        self.request(cx, ExchangeType::IKE_FOLLOWUP_KE, &payloads, followup)?;
        Ok(Fate::Stays)
    }

    /// Reads the answer to our part of an additional key exchange.
    pub(in crate::sa) fn followup_answered(
        &mut self,
        cx: &mut Context<'_>,
        followup: Followup,
        content: &Content,
    ) -> Result<Fate, Failure> {
        let Followup { wanted, mut series, share } = followup;
        match content.error() {
            //= RFC 9370 §2.2.4: what the peer has forgotten has failed as a whole, and may be tried anew
            Some(NotifyType::STATE_NOT_FOUND) => {
                self.yield_to_rival(cx, &wanted);
                self.lost_series += 1;
                self.pause = cx.now.instant + short(cx);
                //= RFC 9370 §2.2.4: after several such answers the IKE SA is deleted
                if self.lost_series >= MOST_LOST {
                    self.begin_close();
                }
                return Ok(wanted.failed());
            }
            Some(NotifyType::TEMPORARY_FAILURE) => {
                self.yield_to_rival(cx, &wanted);
                self.put_off(cx);
                return Ok(wanted.failed());
            }
            Some(_) => return Ok(self.series_refused(cx, wanted, content)),
            None => {}
        }
        let method = share.method();
        let shared = public_value(content, method).and_then(|theirs| Ok(share.agree(theirs)?));
        let Ok(shared) = shared else { return Ok(self.series_refused(cx, wanted, content)) };
        series.additional.push(shared);
        if series.is_complete() {
            return self.go_on(cx, wanted, series, content);
        }
        self.follow_up(cx, wanted, series, content)
    }

    /// Gives up what the peer has agreed to and then refused, or what it may have made in another way, and asks again later.
    fn series_refused(&mut self, cx: &mut Context<'_>, wanted: Wanted, content: &Content) -> Fate {
        let fate = wanted.failed();
        self.yield_to_rival(cx, &wanted);
        match wanted {
            Wanted::Child(child, ..) => {
                let PlannedChild { agreed: Agreed { config, suite, inbound, part, .. }, replaces } = *child;
                if let Some(error) = content.error() {
                    let (peer, reason) = (self.parts.peer.id.clone(), refusal::told(error, &config.profile));
                    cx.out.push_back(Output::ChildRefused { peer, rule: Some(config.rule.clone()), reason });
                } else {
                    self.refuse(cx, Refusal::KeyExchange, Some(&config), suite.protocol(), content);
                    self.unwanted.push((suite.protocol(), inbound));
                }
                self.give_up(cx, part);
                self.try_later(cx, config.rule, replaces);
            }
            Wanted::Ike(..) => self.not_replaced(cx),
        }
        fate
    }

    fn child_made(
        &mut self,
        cx: &mut Context<'_>,
        child: PlannedChild,
        rival: Option<Rival<ChildId>>,
        series: &Series,
    ) -> Result<Fate, Failure> {
        let PlannedChild { agreed, replaces } = child;
        if let Part::Outer(id) = agreed.part
            && self.children.iter().all(|c| c.id != id || c.waiting.is_none())
        {
            // What it goes around has been given up meanwhile.
            self.unwanted.push((agreed.suite.protocol(), agreed.inbound));
            return Ok(Fate::Stays);
        }
        let seed = Seed { nonces: &series.nonces, shared: series.shared() };
        let now = cx.now.instant;
        if rival.as_ref().is_some_and(|rival| rival.wins(series.nonces.lowest())) {
            let Adopted { id, .. } = self.adopt(cx, agreed, &seed, Switch::Never, replaces)?;
            self.delete_later(Some(id), now);
            // The peer deletes what the winner replaces; should it not, we do.
            self.delete_later(replaces, now + GRACE);
        } else {
            self.awaited.retain(|awaited| !awaited.is_child(replaces, &agreed.config.rule));
            let Adopted { id: new, replaces } = self.adopt(cx, agreed, &seed, Switch::AtOnce, replaces)?;
            self.tell_rekeyed(cx, replaces, new);
            self.delete_later(replaces, now);
            self.delete_later(rival.and_then(|rival| rival.id), now + GRACE);
        }
        Ok(Fate::Stays)
    }

    /// Tells whether the peer has replaced a child while our own offer was open, and has it go then: the peer deletes it; should it not,
    /// we do.
    pub(in crate::sa) fn is_outdone(
        &mut self,
        cx: &Context<'_>,
        replaces: Option<ChildId>,
        rival: Option<&Rival<ChildId>>,
    ) -> bool {
        let outdone = rival.is_some_and(|rival| rival.id.is_some());
        self.delete_later(replaces.filter(|_| outdone), cx.now.instant + GRACE);
        outdone
    }

    fn yield_to_rival(&mut self, cx: &Context<'_>, wanted: &Wanted) {
        if let Wanted::Child(child, rival, _) = wanted {
            self.is_outdone(cx, child.replaces, rival.as_ref());
        }
    }

    fn delete_later(&mut self, id: Option<ChildId>, at: Instant) {
        let children = self.children.iter_mut().filter(|child| Some(child.id) == id);
        children.for_each(|child| _ = child.delete_at.get_or_insert(at));
    }

    fn ike_made(
        &mut self,
        cx: &mut Context<'_>,
        ike: &PlannedIke,
        rival: Option<Rival<IkeSpi>>,
        series: &Series,
    ) -> Result<Fate, Failure> {
        let mut successor = self.successor(cx, ike, series, true)?;
        match rival {
            Some(rival) if rival.wins(series.nonces.lowest()) => {
                successor.begin_close();
                let successor = Box::new(successor);
                Ok(match rival.id {
                    Some(id) => Fate::Yields(id, successor),
                    // The peer goes on with its own; until then this SA stands.
                    None => Fate::Succeeded(successor),
                })
            }
            rival => {
                self.hand_over(&mut successor);
                self.begin_close();
                let successor = Box::new(successor);
                Ok(match rival.and_then(|rival| rival.id) {
                    Some(id) => Fate::Wins(id, successor),
                    None => Fate::Succeeded(successor),
                })
            }
        }
    }
}

impl Wanted {
    /// Returns what becomes of the IKE SA when this comes to nothing.
    fn failed(&self) -> Fate {
        match self {
            Self::Ike(_, Some(Rival { id: Some(id), .. })) => Fate::GivesWay(*id),
            Self::Ike(..) | Self::Child(..) => Fate::Stays,
        }
    }
}
