//! The security policy database: what happens to a flow (RFC 4301 §4.4.1).

use std::collections::{BTreeMap, BTreeSet};

use espalier_model::identity::Name;
use espalier_model::plan::{Action, Rule};
use espalier_model::selector::Flow;

use index::Index;

mod index;

/// Rules in order of evaluation. What no rule matches is dropped.
#[derive(Clone, Debug, Default)]
pub struct Spd {
    entries: Vec<Entry>,
    places: BTreeMap<Name, usize>,
    index: Index,
}

#[derive(Clone, Debug)]
struct Entry {
    rule: Name,
    action: Action,
    /// Whether its SA is made for the first packet.
    on_demand: bool,
}

/// What the policy says of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'s> {
    /// It goes through the SA of this rule, or nowhere. The number is the rule's place in the order.
    Protect(&'s Name, usize),
    /// It passes in the clear.
    Bypass,
    /// It is dropped.
    Drop,
}

impl Spd {
    /// Puts the rules into their order of evaluation.
    #[must_use]
    pub fn compile(rules: &[Rule]) -> Self {
        let mut rules: Vec<&Rule> = rules.iter().collect();
        rules.sort_by(|a, b| a.rank().cmp(&b.rank()));
        let entry = |rule: &&Rule| Entry { rule: rule.name.clone(), action: rule.action, on_demand: false };
        let places = rules.iter().enumerate().map(|(place, rule)| (rule.name.clone(), place)).collect();
        Self { entries: rules.iter().map(entry).collect(), places, index: Index::of(&rules) }
    }

    /// Has packets of these rules ask for an SA, and wait for it (RFC 4301 §4.4.1).
    #[must_use]
    pub fn with_on_demand(mut self, rules: &BTreeSet<Name>) -> Self {
        self.entries.iter_mut().for_each(|entry| entry.on_demand = rules.contains(&entry.rule));
        self
    }

    /// Looks up a packet that leaves: its source is our side.
    #[must_use]
    pub fn outbound(&self, flow: &Flow) -> Verdict<'_> {
        let found = self.index.find(flow).and_then(|place| Some((place, self.entries.get(place)?)));
        match found {
            Some((place, Entry { rule, action: Action::Protect, .. })) => Verdict::Protect(rule, place),
            Some((_, Entry { action: Action::Bypass, .. })) => Verdict::Bypass,
            Some((_, Entry { action: Action::Drop, .. })) | None => Verdict::Drop,
        }
    }

    /// Looks up a packet that arrived: its source is the peer's side.
    #[must_use]
    pub fn inbound(&self, flow: &Flow) -> Verdict<'_> {
        self.outbound(&flow.reversed())
    }

    /// Tells whether the SA of the rule in this place is made on demand.
    pub(crate) fn is_on_demand(&self, place: usize) -> bool {
        self.entries.get(place).is_some_and(|entry| entry.on_demand)
    }

    /// Returns the place of a rule in the order.
    pub(crate) fn place(&self, rule: &Name) -> Option<usize> {
        self.places.get(rule).copied()
    }

    /// Returns the names of the rules in order.
    pub(crate) fn rules(&self) -> impl Iterator<Item = &Name> {
        self.entries.iter().map(|entry| &entry.rule)
    }
}

#[cfg(test)]
mod tests;
