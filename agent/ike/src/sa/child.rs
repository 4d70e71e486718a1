//! Child SAs: what both ends agree on, and narrowing (RFC 7296 §2.9).

use std::time::{Duration, Instant};

use espalier_model::profile::{Mode, Profile, Protection};
use espalier_model::sa::{ChildId, Form, OriginalAddresses, SaSelectors, Spi};
use espalier_model::selector::TrafficSelector;

use super::form::{self, Suite};
use super::pair::{self, Waiting};
use super::patience::Patience;
use super::refusal::Refusal;
use super::transport;
use crate::config::{ChildConfig, PeerConfig};
use crate::content::Content;
use crate::context::Context;
use crate::handshake::nat::Ends;
use crate::keymat::{Nonces, Shared};
use crate::wire::ProtocolId;
use crate::wire::proposal::{ChildExchange, ChildSuite, Selection};

/// A child SA pair.
pub(crate) struct Child {
    pub(crate) id: ChildId,
    pub(crate) config: ChildConfig,
    /// The SA that was made first, and mostly is the only one.
    pub(crate) first: ChildSpis,
    /// The AH around it.
    pub(crate) outer: Option<ChildSpis>,
    pub(crate) form: Form,
    /// What waits for the AH around it: the pair is not in use yet.
    pub(crate) waiting: Option<Box<Waiting>>,
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

/// The SPIs of one SA of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChildSpis {
    pub(crate) protocol: ProtocolId,
    pub(crate) inbound: Spi,
    pub(crate) outbound: Spi,
}

impl Child {
    /// Returns the SAs that it is made of: one, or two that are one.
    pub(crate) fn sas(&self) -> impl Iterator<Item = ChildSpis> {
        [Some(self.first), self.outer].into_iter().flatten()
    }

    /// Tells whether one of its SAs has this inbound SPI of the peer.
    pub(crate) fn has_outbound(&self, protocol: ProtocolId, spi: Spi) -> bool {
        self.sas().any(|sa| sa.protocol == protocol && sa.outbound == spi)
    }

    /// Returns what orders two pairs of one rule alike at both ends.
    pub(super) fn order(&self) -> (Spi, Spi) {
        let ChildSpis { inbound, outbound, .. } = self.first;
        (inbound.max(outbound), inbound.min(outbound))
    }

    /// Gives it up: with packets under way still received, or at once where the peer has lost it.
    pub(super) fn end(self, cx: &mut Context<'_>, at_once: bool) {
        match self.waiting {
            // Nothing of it is installed.
            Some(_) => _ = cx.holders.remove(&self.id),
            None if at_once => cx.forget(&self.config.rule, self.id),
            None => cx.retire(&self.config.rule, self.id),
        }
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
        mobike: after.mobike,
        activation: after.activation,
        ..before.clone()
    };
    if spared == *after { planned.min(latest) } else { now }
}

/// What both ends have agreed on.
pub(crate) struct Agreed {
    pub(crate) config: ChildConfig,
    pub(crate) suite: Suite,
    pub(crate) esn: bool,
    pub(crate) inbound: Spi,
    pub(crate) outbound: Spi,
    pub(crate) selectors: SaSelectors,
    pub(crate) originals: Option<OriginalAddresses>,
    /// Whether the peer takes padded packets.
    pub(crate) padding: bool,
    /// Whether this end started the exchange, which decides whose keys come first.
    pub(crate) initiated: bool,
    /// The rotation of keys under which it is set up.
    pub(crate) epoch: u64,
    /// What it is of ESP inside AH, if that is what both want.
    pub(crate) part: Part,
}

/// What an SA is of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// ESP, which waits for the AH around it.
    Inner,
    /// AH around the ESP of this child.
    Outer(ChildId),
}

/// What keys are made of: the nonces, and the shared secrets of the exchange's own key exchanges if it had any.
pub(crate) struct Seed<'a> {
    pub(crate) nonces: &'a Nonces,
    pub(crate) shared: Shared<'a>,
}

/// What we have asked for.
pub(crate) struct Asked {
    pub(crate) config: ChildConfig,
    pub(crate) inbound: Spi,
    pub(crate) exchange: ChildExchange,
    pub(crate) epoch: u64,
    pub(crate) part: Part,
}

impl Asked {
    /// Asks for the first SA of a rule.
    pub(crate) fn first(config: ChildConfig, inbound: Spi, exchange: ChildExchange, epoch: u64) -> Self {
        let part = if config.profile.protection == Protection::AhEsp { Part::Inner } else { Part::Whole };
        Self { config, inbound, exchange, epoch, part }
    }

    /// Returns the protocol of the SA.
    pub(crate) const fn protocol(&self) -> ProtocolId {
        match self.part {
            Part::Whole | Part::Inner => form::protocol(&self.config.profile),
            Part::Outer(_) => ProtocolId::AH,
        }
    }
}

/// Reads the answer to our offer. The peer may narrow, but never widen, and the form is ours or none.
pub(crate) fn accept(asked: &Asked, ends: &Ends, content: &Content) -> Result<(Agreed, ChildSuite<Suite>), Refusal> {
    let profile = &asked.config.profile;
    let answer = content.proposals.as_deref().ok_or(Refusal::Malformed)?;
    let chosen = form::accept(profile, asked.protocol(), asked.exchange, answer).ok_or(Refusal::Proposal)?;
    let transport = form::says_transport(content);
    //= RFC 7296 §1.3.1: a responder that does not say transport mode has made an SA in tunnel mode, which is not wanted here
    if transport != (profile.mode == Mode::Transport) {
        return Err(Refusal::Mode);
    }
    if pair::told(content).is_some() != (asked.part != Part::Whole) {
        return Err(Refusal::Pair);
    }
    let told = SaSelectors {
        local: content.selectors_initiator.clone().ok_or(Refusal::Traffic)?,
        remote: content.selectors_responder.clone().ok_or(Refusal::Traffic)?,
    };
    let (selectors, originals) =
        if transport { transport::seen_here(ends, told).ok_or(Refusal::Traffic)? } else { (told, None) };
    if !within(&selectors.local, &asked.config.local) || !within(&selectors.remote, &asked.config.remote) {
        return Err(Refusal::Traffic);
    }
    let ChildSuite { protection: suite, esn, .. } = chosen.suite;
    let agreed = Agreed {
        config: asked.config.clone(),
        suite,
        esn,
        inbound: asked.inbound,
        outbound: chosen.spi.child().ok_or(Refusal::Malformed)?,
        selectors,
        originals,
        padding: form::takes_padding(content),
        initiated: true,
        epoch: asked.epoch,
        part: asked.part,
    };
    Ok((agreed, chosen.suite))
}

/// Tells whether a rule cannot be offered at all on this path.
pub(crate) fn hopeless(config: &ChildConfig, ends: &Ends) -> Option<Refusal> {
    //= RFC 4302 §3.3.3: what AH covers holds the addresses, which a NAT changes
    (config.profile.protection != Protection::Esp && ends.nat.is_there()).then_some(Refusal::Nat)
}

/// What a peer's offer comes to.
pub(crate) struct Narrowed {
    pub(crate) config: ChildConfig,
    pub(crate) selectors: SaSelectors,
    pub(crate) originals: Option<OriginalAddresses>,
    pub(crate) chosen: Selection<ChildSuite<Suite>>,
    pub(crate) part: Part,
}

/// Why an offer is refused, and the rule that refuses, if there is one.
pub(crate) type Refused = (Refusal, Option<Box<ChildConfig>>);

/// Keeps the rule that refuses.
pub(crate) fn owned((refusal, config): (Refusal, Option<&ChildConfig>)) -> Refused {
    (refusal, config.map(|config| Box::new(config.clone())))
}

/// Finds the rule that a peer's offer means, the one of just this traffic, then one that takes what it names first, then the first
/// that shares some, and narrows the offer to it. With a refusal comes the rule that
/// refuses, if there is one.
pub(crate) fn narrow<'c>(
    children: impl Iterator<Item = &'c ChildConfig> + Clone,
    exchange: ChildExchange,
    part: Part,
    ends: &Ends,
    content: &Content,
) -> Result<Narrowed, (Refusal, Option<&'c ChildConfig>)> {
    let told = SaSelectors {
        local: content.selectors_responder.clone().unwrap_or_default(),
        remote: content.selectors_initiator.clone().unwrap_or_default(),
    };
    let transport = form::says_transport(content);
    let seen = transport::seen_here(ends, told.clone());
    // Through a NAT a rule of transport mode is looked up by other addresses than one of tunnel mode.
    let offered = |config: &ChildConfig| match config.profile.mode {
        Mode::Transport if transport => seen.clone(),
        Mode::Transport | Mode::Tunnel => Some((told.clone(), None)),
    };
    let common = |config: &ChildConfig| {
        let (offered, originals) = offered(config)?;
        let (local, remote) = (shared(&config.local, &offered.local), shared(&config.remote, &offered.remote));
        (!local.is_empty() && !remote.is_empty()).then_some((SaSelectors { local, remote }, originals))
    };
    let exact = |config: &&ChildConfig| {
        offered(config).is_some_and(|(it, _)| same(&config.local, &it.local) && same(&config.remote, &it.remote))
    };
    //= RFC 7296 §2.9: a rule that takes the first selectors of both sides comes before one that takes others only
    let first = |config: &&ChildConfig| {
        offered(config).is_some_and(|(it, _)| leads(&config.local, &it.local) && leads(&config.remote, &it.remote))
    };
    let mut refusal = (Refusal::Traffic, None);
    for config in children.clone().filter(exact).chain(children.clone().filter(first)).chain(children) {
        let Some((selectors, originals)) = common(config) else { continue };
        match choose(config, exchange, part, ends, content) {
            Ok((chosen, part)) => return Ok(Narrowed { config: config.clone(), selectors, originals, chosen, part }),
            Err(why) if refusal.1.is_none() => refusal = (why, Some(config)),
            Err(_) => {}
        }
    }
    Err(refusal)
}

/// Judges the form of an offer by a rule, and chooses the algorithms.
fn choose(
    config: &ChildConfig,
    exchange: ChildExchange,
    part: Part,
    ends: &Ends,
    content: &Content,
) -> Result<(Selection<ChildSuite<Suite>>, Part), Refusal> {
    let profile = &config.profile;
    let offer = content.proposals.as_deref().ok_or(Refusal::Traffic)?;
    let pairs = profile.protection == Protection::AhEsp;
    if pair::told(content).is_some() != pairs {
        return Err(Refusal::Pair);
    }
    let (protocol, part) = match part {
        Part::Outer(_) => (ProtocolId::AH, part),
        Part::Whole | Part::Inner if pairs => (ProtocolId::ESP, Part::Inner),
        Part::Whole | Part::Inner => (form::protocol(profile), Part::Whole),
    };
    let chosen = form::choose(profile, protocol, exchange, offer).ok_or(Refusal::Proposal)?;
    if let Some(refusal) = hopeless(config, ends) {
        return Err(refusal);
    }
    //= RFC 7296 §1.3.1: transport mode is for the initiator to ask for; a rule that wants it takes nothing else
    if profile.mode == Mode::Transport && !form::says_transport(content) {
        return Err(Refusal::Mode);
    }
    Ok((chosen, part))
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
