//! Additional key exchanges in proposals (RFC 9370 §2.2.1).
//!
//! Round by round of the profile is offered as one transform type, in ascending order. In a choice the peer's types are matched
//! with our rounds in order: each type takes the next round that it shares a method with, or `NONE` where that is offered, and no
//! round is left out that the profile demands. A peer that knows no additional key exchanges refuses a proposal with one, so a
//! profile that can do without offers every proposal once more without (RFC 7296 §3.3.6).

use espalier_model::profile::{AdditionalKeyExchanges, MOST_ROUNDS, Round};
use espalier_model::suite::{KeyExchange, Method};

use super::super::registry::{TransformType, transform_id as id};
use super::super::sa::{Proposal, Transform};
use super::{Rated, key_exchange_id};

/// What was chosen for each transform type of additional key exchanges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Additional([Choice; MOST_ROUNDS]);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Choice {
    /// The type is not in the proposal.
    #[default]
    NotOffered,
    /// No key exchange takes place.
    None,
    /// This one takes place.
    Method(Method),
}

/// How much a choice is liked: for each round the place of the method, the lower the better.
pub(super) type Rank = [usize; MOST_ROUNDS];

/// The transform types in the order in which their key exchanges take place.
pub(super) const KINDS: [TransformType; MOST_ROUNDS] = [
    TransformType::ADDKE1,
    TransformType::ADDKE2,
    TransformType::ADDKE3,
    TransformType::ADDKE4,
    TransformType::ADDKE5,
    TransformType::ADDKE6,
    TransformType::ADDKE7,
];

impl Additional {
    /// Returns the methods that take place, in order.
    pub fn methods(&self) -> impl Iterator<Item = Method> {
        //= RFC 9370 §2.2.1: where NONE is chosen no key exchange takes place
        self.0.into_iter().filter_map(|choice| match choice {
            Choice::Method(method) => Some(method),
            Choice::None | Choice::NotOffered => None,
        })
    }

    /// Returns the transforms that state this choice.
    pub(super) fn transforms(&self) -> impl Iterator<Item = Transform> {
        KINDS.into_iter().zip(self.0).filter_map(|(kind, choice)| match choice {
            Choice::NotOffered => None,
            Choice::None => Some(none(kind)),
            Choice::Method(method) => Some(transform(kind, method)),
        })
    }

    /// Tells whether a method takes place twice, the first key exchange included.
    fn repeats(&self, first: Option<KeyExchange>) -> bool {
        let mut methods: Vec<_> = first.map(Method::from).into_iter().chain(self.methods()).collect();
        methods.sort_unstable();
        !methods.is_sorted_by(|a, b| a < b)
    }
}

/// Returns the transforms that offer all that a profile wants.
pub(super) fn offered(wanted: &AdditionalKeyExchanges) -> Vec<Transform> {
    let of_round = |(kind, round): (TransformType, &Round)| {
        let methods = round.methods().iter().map(move |method| transform(kind, *method));
        //= RFC 9370 §2.2.1: an exchange that the responder may leave out is offered with NONE
        methods.chain(round.is_optional().then(|| none(kind))).collect::<Vec<_>>()
    };
    KINDS.into_iter().zip(wanted.rounds()).flat_map(of_round).collect()
}

/// Chooses from a proposal what a profile wants. `first` is the method of the first key exchange.
pub(super) fn choose(
    wanted: &AdditionalKeyExchanges,
    first: Option<KeyExchange>,
    proposal: &Rated<'_>,
) -> Option<(Rank, Additional)> {
    let (mut additional, mut rank) = (Additional::default(), [usize::MAX; MOST_ROUNDS]);
    let mut rounds = wanted.rounds();
    for (kind, choice) in KINDS.into_iter().zip(&mut additional.0).filter(|(kind, _)| proposal.mentions(*kind)) {
        let shared = |round: &Round| proposal.best(round.methods(), |method| transform(kind, *method));
        let reachable =
            rounds.iter().position(|round| !round.is_optional()).map_or(rounds.len(), |demanded| demanded + 1);
        let mut ahead = rounds.iter().take(reachable).enumerate();
        match ahead.find_map(|(skipped, round)| shared(round).map(|best| (skipped, best))) {
            Some((skipped, (place, method))) => {
                let number = wanted.rounds().len() - rounds.len() + skipped;
                rank.get_mut(number).into_iter().for_each(|slot| *slot = place);
                rounds = rounds.get(skipped + 1..).unwrap_or_default();
                *choice = Choice::Method(method);
            }
            None if proposal.offers(none(kind)) => *choice = Choice::None,
            None => return None,
        }
    }
    if rounds.iter().any(|round| !round.is_optional()) {
        return None;
    }
    //= RFC 9370 §2.2.1: a choice in which a method takes place twice is not made, and not accepted
    (!additional.repeats(first)).then_some((rank, additional))
}

/// Tells whether a proposal is one with additional key exchanges.
pub(crate) fn has_additional(proposals: &[Proposal]) -> bool {
    proposals.iter().flat_map(|proposal| &proposal.transforms).any(|t| KINDS.contains(&t.kind) && t.id != id::KE_NONE)
}

fn transform(kind: TransformType, method: Method) -> Transform {
    Transform::new(kind, key_exchange_id(method))
}

const fn none(kind: TransformType) -> Transform {
    Transform::new(kind, id::KE_NONE)
}

#[cfg(test)]
mod tests;
