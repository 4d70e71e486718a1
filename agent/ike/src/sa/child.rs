//! Child SAs: what both ends agree on, and narrowing (RFC 7296 §2.9).

use std::time::{Duration, Instant};

use espalier_model::profile::Profile;
use espalier_model::sa::{ChildId, SaSelectors, Spi};
use espalier_model::secret::Secret;
use espalier_model::selector::TrafficSelector;
use espalier_model::suite::{EspSuite, KeyExchange};

use super::patience::Patience;
use crate::config::{ChildConfig, PeerConfig};
use crate::content::Content;
use crate::keymat::Nonces;
use crate::wire::NotifyType;
use crate::wire::proposal::{self, ChildExchange, ChildSuite, Selection};

/// A child SA pair.
pub(crate) struct Child {
    pub(crate) id: ChildId,
    pub(crate) config: ChildConfig,
    pub(crate) inbound: Spi,
    pub(crate) outbound: Spi,
    /// Since when it stands.
    pub(crate) since: Instant,
    /// The rotation of keys under which it was set up.
    pub(crate) epoch: u64,
    /// When this end replaces it.
    pub(crate) rekey_at: Instant,
    /// When this end deletes it, once it is of no more use.
    pub(crate) delete_at: Option<Instant>,
    /// With a peer that refuses to replace it.
    pub(crate) patience: Patience,
}

impl Child {
    /// Returns what orders two pairs of one rule alike at both ends.
    pub(super) fn order(&self) -> (Spi, Spi) {
        (self.inbound.max(self.outbound), self.inbound.min(self.outbound))
    }

    /// Takes the changed rule: other traffic ends the pair, other algorithms or lifetimes replace it in its time.
    pub(super) fn reconfigure(&mut self, now: Instant, peer: &PeerConfig) {
        let same = |c: &&ChildConfig| {
            c.rule == self.config.rule && c.local == self.config.local && c.remote == self.config.remote
        };
        match peer.children.iter().find(same) {
            Some(config) => {
                let (before, after) = (&self.config.profile, &config.profile);
                self.rekey_at = sooner(self.rekey_at, now, before, after, Profile::child_rekey);
                if self.config != *config {
                    self.config = config.clone();
                }
            }
            None => _ = self.delete_at.get_or_insert(now),
        }
    }
}

/// Returns when to rekey under a changed profile: at once where algorithms have changed, never later than was planned.
pub(super) fn sooner(
    planned: Instant,
    now: Instant,
    before: &Profile,
    after: &Profile,
    lifetime: impl Fn(&Profile) -> Duration,
) -> Instant {
    let latest = now + lifetime(after);
    if before == after {
        return planned.min(latest);
    }
    let spared = Profile {
        name: after.name.clone(),
        ike_rekey_seconds: after.ike_rekey_seconds,
        child_rekey_seconds: after.child_rekey_seconds,
        liveness_seconds: after.liveness_seconds,
        childless: after.childless,
        ..before.clone()
    };
    if spared == *after { planned.min(latest) } else { now }
}

/// What both ends have agreed on.
pub(crate) struct Agreed {
    pub(crate) config: ChildConfig,
    pub(crate) suite: EspSuite,
    pub(crate) inbound: Spi,
    pub(crate) outbound: Spi,
    pub(crate) selectors: SaSelectors,
    /// Whether this end started the exchange, which decides whose keys come first.
    pub(crate) initiated: bool,
    /// The rotation of keys under which it is set up.
    pub(crate) epoch: u64,
}

/// What keys are made of: the nonces, and the shared secret of the exchange's own key exchange if it had one.
pub(crate) struct Seed<'a> {
    pub(crate) nonces: &'a Nonces,
    pub(crate) shared: Option<&'a Secret>,
}

/// Reads the answer to our offer. The peer may narrow, but never widen.
pub(crate) fn accept(
    config: ChildConfig,
    inbound: Spi,
    exchange: ChildExchange,
    epoch: u64,
    content: &Content,
) -> Option<(Agreed, Option<KeyExchange>)> {
    let answer = content.proposals.as_deref()?;
    let chosen = proposal::accept_child(&config.profile, exchange, answer)?;
    let selectors = SaSelectors {
        local: content.selectors_initiator.clone().filter(|theirs| within(theirs, &config.local))?,
        remote: content.selectors_responder.clone().filter(|theirs| within(theirs, &config.remote))?,
    };
    let outbound = chosen.spi.child()?;
    let agreed =
        Agreed { suite: chosen.suite.protection, config, inbound, outbound, selectors, initiated: true, epoch };
    Some((agreed, chosen.suite.key_exchange))
}

/// Finds the rule that a peer's offer means, the one of just this traffic, then one that takes what it names first, then the first
/// that shares some, and narrows the offer to it.
pub(crate) fn narrow<'c>(
    children: impl Iterator<Item = &'c ChildConfig> + Clone,
    exchange: ChildExchange,
    content: &Content,
) -> Result<(ChildConfig, SaSelectors, Selection<ChildSuite>), Refusal> {
    let offer = content.proposals.as_deref().ok_or(Refusal::Traffic)?;
    let theirs = content.selectors_initiator.as_deref().unwrap_or_default();
    let ours = content.selectors_responder.as_deref().unwrap_or_default();
    let shared = |config: &ChildConfig| {
        let selectors = SaSelectors { local: shared(&config.local, ours), remote: shared(&config.remote, theirs) };
        (!selectors.local.is_empty() && !selectors.remote.is_empty()).then_some(selectors)
    };
    let exact = children.clone().filter(|config| same(&config.local, ours) && same(&config.remote, theirs));
    //= RFC 7296 §2.9: a rule that takes the first selectors of both sides comes before one that takes others only
    let first = children.clone().filter(|config| leads(&config.local, ours) && leads(&config.remote, theirs));
    let found =
        exact.chain(first).chain(children).find_map(|config| shared(config).map(|selectors| (config, selectors)));
    let (config, selectors) = found.ok_or(Refusal::Traffic)?;
    let chosen = proposal::choose_child(&config.profile, exchange, offer).ok_or(Refusal::Proposal)?;
    Ok((config.clone(), selectors, chosen))
}

/// Why no child SA comes of an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No rule shares traffic with it.
    Traffic,
    /// No common suite.
    Proposal,
}

impl Refusal {
    /// Returns how it is told to the peer.
    pub(crate) const fn notify(self) -> NotifyType {
        match self {
            //= RFC 7296 §2.9: an offer without acceptable traffic is answered with TS_UNACCEPTABLE
            Self::Traffic => NotifyType::TS_UNACCEPTABLE,
            //= RFC 7296 §2.7: where no proposal can be accepted, the answer is NO_PROPOSAL_CHOSEN
            Self::Proposal => NotifyType::NO_PROPOSAL_CHOSEN,
        }
    }
}

fn same(ours: &[TrafficSelector], theirs: &[TrafficSelector]) -> bool {
    ours.len() == theirs.len() && ours.iter().all(|o| theirs.contains(o))
}

/// Tells whether the first of their selectors is among ours.
fn leads(ours: &[TrafficSelector], theirs: &[TrafficSelector]) -> bool {
    theirs.first().is_some_and(|first| ours.iter().any(|o| o.covers(first)))
}

fn within(theirs: &[TrafficSelector], ours: &[TrafficSelector]) -> bool {
    !theirs.is_empty() && theirs.iter().all(|t| ours.iter().any(|o| o.covers(t)))
}

fn shared(ours: &[TrafficSelector], theirs: &[TrafficSelector]) -> Vec<TrafficSelector> {
    //= RFC 7296 §2.9: what both ends protect is accepted, however little it is
    ours.iter().flat_map(|o| theirs.iter().filter_map(|t| o.intersection(t))).collect()
}
