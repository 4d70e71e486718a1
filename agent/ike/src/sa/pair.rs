//! ESP inside AH, as two child SAs that are one.
//!
//! RFC 4301 has no bundles, so two exchanges make two SAs: the first one ESP, marked as the inner part, the second one AH, which
//! names the ESP SA that it goes around. Until the second has succeeded nothing of either is installed, and the child does not
//! count as up; then both are installed as one value. They are replaced by the same two exchanges and go together: a deletion names
//! both, and who hears that one is deleted gives up the other.

use std::time::{Duration, Instant};

use espalier_model::sa::{ChildId, Encapsulation, Keyed, SaSelectors, Spi, Transform};
use espalier_model::suite::KeyExchange;

use super::adopt::{Adopted, Keys};
use super::child::{self, Agreed, Asked, Child, ChildSpis, Narrowed, Part, Refused, narrow};
use super::established::Established;
use super::form::Suite;
use super::refusal::Refusal;
use crate::config::ChildConfig;
use crate::content::Content;
use crate::context::Context;
use crate::handshake::Failure;
use crate::outbounds::Switch;
use crate::wire::proposal::ChildExchange;
use crate::wire::{Notify, NotifyType, Payload, ProtocolId, SpiField};

/// ESP that waits for the AH around it.
pub(crate) struct Waiting {
    agreed: Agreed,
    keys: Keys,
    /// What the pair takes the place of once it is whole.
    replaces: Option<ChildId>,
    /// When it is given up.
    pub(super) until: Instant,
}

/// What the peer says of pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// The SA is to be used only inside AH that follows.
    Inner,
    /// The SA goes around the ESP SA with this inbound SPI of the sender.
    Outer(Spi),
}

/// The second exchange follows the first at once; a lost message is repeated for about this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Reads what the peer says.
pub(crate) fn told(content: &Content) -> Option<Told> {
    let notify = content.notifies.iter().find(|n| n.notify_type == NotifyType::AH_PAIR)?;
    Some(notify.spi.child().map_or(Told::Inner, Told::Outer))
}

impl Waiting {
    /// Tells whether this end has made the first SA, and makes the second one.
    pub(super) const fn is_ours(&self) -> bool {
        self.agreed.initiated
    }

    /// Returns the rule with just the traffic of the inner SA, which that of the outer one must be.
    fn config(&self) -> ChildConfig {
        let SaSelectors { local, remote } = self.agreed.selectors.clone();
        ChildConfig { local, remote, ..self.agreed.config.clone() }
    }
}

impl Established {
    /// Keeps the inner SA until the outer one is there.
    pub(super) fn let_wait(
        &mut self,
        cx: &mut Context<'_>,
        agreed: Agreed,
        keys: Keys,
        replaces: Option<ChildId>,
    ) -> Adopted {
        let mut child = self.child(cx, &agreed);
        let until = cx.now.instant + PATIENCE;
        child.waiting = Some(Box::new(Waiting { agreed, keys, replaces, until }));
        let id = child.id;
        self.children.push(child);
        Adopted { id, replaces: None }
    }

    /// Puts AH around ESP and installs both as one.
    pub(super) fn complete(
        &mut self,
        cx: &mut Context<'_>,
        id: ChildId,
        outer: &Agreed,
        keys: Keys,
        switch: Switch,
    ) -> Adopted {
        let waits = |child: &Child| child.id == id && child.waiting.is_some();
        let (Suite::Ah(ah), Some(at)) = (outer.suite, self.children.iter().position(waits)) else {
            return Adopted { id, replaces: None };
        };
        let mut child = self.children.remove(at);
        let Some((waiting, esp)) = child.waiting.take().zip(child.form.esp) else {
            return Adopted { id, replaces: None };
        };
        let Waiting { agreed: inner, keys: inner_keys, replaces, .. } = *waiting;
        child.outer = Some(ChildSpis { protocol: ProtocolId::AH, inbound: outer.inbound, outbound: outer.outbound });
        child.form.ah = Some(ah);
        child.form.esn = inner.esn && outer.esn;
        child.form.encapsulation = Encapsulation::Ip;
        let half = |(ah_spi, ah_key), (esp_spi, esp_key)| Transform::AhEsp {
            ah: Keyed { spi: ah_spi, suite: ah, keymat: ah_key, esn: outer.esn },
            esp: Keyed { spi: esp_spi, suite: esp, keymat: esp_key, esn: inner.esn },
        };
        let inbound = half((outer.inbound, keys.inbound), (inner.inbound, inner_keys.inbound));
        let outbound = half((outer.outbound, keys.outbound), (inner.outbound, inner_keys.outbound));
        self.put_up(cx, &mut child, &inner, (inbound, outbound), switch);
        self.children.push(child);
        Adopted { id, replaces }
    }

    /// Asks for the AH around ESP that waits. `group` is the method that the peer has demanded, if it has.
    pub(super) fn offer_outer(
        &mut self,
        cx: &mut Context<'_>,
        id: ChildId,
        group: Option<KeyExchange>,
    ) -> Result<(), Failure> {
        let waiting = self.children.iter().find(|child| child.id == id).and_then(|child| child.waiting.as_ref());
        let Some(waiting) = waiting else { return Ok(()) };
        let exchange = ChildExchange::Create;
        let (config, epoch) = (waiting.config(), waiting.agreed.epoch);
        let asked = Asked { config, inbound: cx.child_spi(), exchange, epoch, part: Part::Outer(id) };
        self.ask(cx, asked, None, group)
    }

    /// Judges the peer's offer of AH around the ESP SA with this inbound SPI of its own.
    pub(super) fn narrow_outer(&self, inner: Spi, content: &Content) -> Result<Narrowed, Refused> {
        let found = self.children.iter().find(|child| {
            let waits = child.waiting.as_ref().is_some_and(|waiting| !waiting.is_ours());
            waits && child.has_outbound(ProtocolId::ESP, inner)
        });
        let (Some(child), Some(waiting)) = (found, found.and_then(|child| child.waiting.as_ref())) else {
            return Err((Refusal::Pair, None));
        };
        let config = waiting.config();
        let part = Part::Outer(child.id);
        let ends = self.ends();
        let narrowed = narrow([&config].into_iter(), ChildExchange::Create, part, &ends, content);
        let narrowed = narrowed.map_err(child::owned)?;
        if narrowed.selectors != waiting.agreed.selectors {
            return Err((Refusal::Traffic, Some(Box::new(config))));
        }
        Ok(narrowed)
    }

    /// Says what an SA that we ask for is of a pair.
    pub(super) fn pair_notify(&self, part: Part) -> Option<Payload> {
        let inner = |id| self.children.iter().find(|child| child.id == id).map(|child| child.first.inbound);
        notify(part, inner)
    }
}

/// Says what an SA is of a pair. `inner` returns our SPI of the ESP SA that AH goes around.
pub(crate) fn notify(part: Part, inner: impl Fn(ChildId) -> Option<Spi>) -> Option<Payload> {
    let empty = Notify::new(NotifyType::AH_PAIR, Vec::new());
    match part {
        Part::Whole => None,
        Part::Inner => Some(Payload::Notify(empty)),
        Part::Outer(id) => {
            let spi = SpiField::Child(inner(id)?);
            Some(Payload::Notify(Notify { protocol: ProtocolId::ESP, spi, ..empty }))
        }
    }
}
