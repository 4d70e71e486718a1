//! Child SAs: what both ends agree on, and narrowing (RFC 7296 §2.9).

use espalier_model::identity::Name;
use espalier_model::sa::{ChildId, SaSelectors, Spi};
use espalier_model::selector::TrafficSelector;
use espalier_model::suite::EspSuite;

use crate::config::ChildConfig;
use crate::content::Content;
use crate::wire::proposal::{self, ChildExchange, ChildSuite, Selection};

/// A child SA pair in use.
#[derive(Clone, Debug)]
pub(crate) struct Child {
    pub(crate) id: ChildId,
    pub(crate) rule: Name,
    pub(crate) inbound: Spi,
    pub(crate) outbound: Spi,
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
}

/// Reads the answer to our offer. The peer may narrow, but never widen.
pub(crate) fn accept(config: ChildConfig, inbound: Spi, content: &Content) -> Option<Agreed> {
    let answer = content.proposals.as_deref()?;
    let chosen = proposal::accept_child(&config.profile, ChildExchange::Auth, answer)?;
    let selectors = SaSelectors {
        local: content.selectors_initiator.clone().filter(|theirs| within(theirs, &config.local))?,
        remote: content.selectors_responder.clone().filter(|theirs| within(theirs, &config.remote))?,
    };
    let outbound = chosen.spi.child()?;
    Some(Agreed { suite: chosen.suite.esp, config, inbound, outbound, selectors, initiated: true })
}

/// Finds the first of our rules that shares traffic with a peer's offer, and narrows the offer to it.
pub(crate) fn narrow(
    children: &[ChildConfig],
    content: &Content,
) -> Result<(ChildConfig, SaSelectors, Selection<ChildSuite>), Refusal> {
    let offer = content.proposals.as_deref().ok_or(Refusal::Traffic)?;
    let theirs = content.selectors_initiator.as_deref().unwrap_or_default();
    let ours = content.selectors_responder.as_deref().unwrap_or_default();
    let shared = |config: &ChildConfig| {
        let selectors = SaSelectors { local: shared(&config.local, ours), remote: shared(&config.remote, theirs) };
        (!selectors.local.is_empty() && !selectors.remote.is_empty()).then_some(selectors)
    };
    let found = children.iter().find_map(|config| shared(config).map(|selectors| (config, selectors)));
    let (config, selectors) = found.ok_or(Refusal::Traffic)?;
    let chosen = proposal::choose_child(&config.profile, ChildExchange::Auth, offer).ok_or(Refusal::Proposal)?;
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

fn within(theirs: &[TrafficSelector], ours: &[TrafficSelector]) -> bool {
    theirs.iter().all(|t| ours.iter().any(|o| o.covers(t)))
}

fn shared(ours: &[TrafficSelector], theirs: &[TrafficSelector]) -> Vec<TrafficSelector> {
    ours.iter().flat_map(|o| theirs.iter().filter_map(|t| o.intersection(t))).collect()
}
