//! Additional key exchanges (RFC 9370): which methods add their secret to that of the first key exchange.
//!
//! A document lists one round as the methods that may serve, the most wanted first: `[mlkem768]`. The last element `none` says
//! that the peer may do without: `[mlkem768, none]`. `[none]` alone asks for no additional exchange. Several rounds are a list of
//! such lists, in the order in which they take place: `[[mlkem768], [p384, none]]`.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::suite::{Kem, KeyExchange, Method, UnknownMethod};

/// The additional key exchanges, in order. Without a round there are none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct AdditionalKeyExchanges(Vec<Round>);

/// One additional key exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    methods: Vec<Method>,
    optional: bool,
}

/// A list that says nothing sensible.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AdditionalError {
    /// A name that no method has.
    #[error(transparent)]
    Unknown(#[from] UnknownMethod),
    /// A list without an element.
    #[error("a list of additional key exchanges is empty; [none] asks for none")]
    Empty,
    /// `none` not at the end.
    #[error("none stands last, behind the methods that are wanted more")]
    NoneFirst,
    /// More rounds than there are transform types.
    #[error("there are {0} rounds of additional key exchanges; RFC 9370 has seven")]
    TooMany(usize),
    //= RFC 9370 §2.2.1: no method is chosen twice, here because none is offered in two places
    /// A method in two places.
    #[error("{0} stands twice; a key exchange method is used once")]
    Twice(Method),
}

/// As documents have it.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    One(Vec<String>),
    Several(Vec<Vec<String>>),
}

/// As many as transform types, ADDKE1 to ADDKE7.
pub const MOST_ROUNDS: usize = 7;
const NONE: &str = "none";

impl AdditionalKeyExchanges {
    /// No additional key exchange.
    pub const NONE: Self = Self(Vec::new());

    /// Returns what our own agents demand of each other: ML-KEM, without a way around it.
    #[must_use]
    pub fn standard() -> Self {
        Self(vec![Round { methods: vec![Kem::MlKem768.into(), Kem::MlKem1024.into()], optional: false }])
    }

    /// Returns the rounds.
    #[must_use]
    pub fn rounds(&self) -> &[Round] {
        &self.0
    }

    /// Tells whether a peer that has no additional key exchange is accepted.
    #[must_use]
    pub fn is_optional(&self) -> bool {
        self.0.iter().all(|round| round.optional)
    }

    /// Checks that no method stands twice, here or among the methods of the first key exchange.
    ///
    /// # Errors
    /// `Twice` names the method.
    pub fn check(&self, first: &[KeyExchange]) -> Result<(), AdditionalError> {
        let mut seen: Vec<_> = first.iter().copied().map(Method::from).collect();
        for method in self.0.iter().flat_map(|round| &round.methods) {
            if seen.contains(method) {
                return Err(AdditionalError::Twice(*method));
            }
            seen.push(*method);
        }
        Ok(())
    }

    /// Takes the rounds by the names of their methods.
    ///
    /// # Errors
    /// What is wrong with the first list that says nothing sensible.
    pub fn from_names(lists: &[Vec<String>]) -> Result<Self, AdditionalError> {
        if lists.is_empty() {
            return Err(AdditionalError::Empty);
        }
        let rounds: Vec<_> = lists.iter().map(|list| Round::read(list)).collect::<Result<_, _>>()?;
        if rounds.len() > MOST_ROUNDS {
            return Err(AdditionalError::TooMany(rounds.len()));
        }
        // A round of `none` alone asks for nothing.
        Ok(Self(rounds.into_iter().filter(|round| !round.methods.is_empty()).collect()))
    }
}

impl Round {
    /// Returns the methods that may serve, the most wanted first; at least one.
    #[must_use]
    pub fn methods(&self) -> &[Method] {
        &self.methods
    }

    /// Tells whether the peer may do without.
    #[must_use]
    pub const fn is_optional(&self) -> bool {
        self.optional
    }

    fn read(names: &[String]) -> Result<Self, AdditionalError> {
        let (optional, names) = match names {
            [] => return Err(AdditionalError::Empty),
            [names @ .., last] if last == NONE => (true, names),
            names => (false, names),
        };
        if names.iter().any(|name| name == NONE) {
            return Err(AdditionalError::NoneFirst);
        }
        let methods = names.iter().map(|name| name.parse()).collect::<Result<_, UnknownMethod>>()?;
        Ok(Self { methods, optional })
    }

    fn names(&self) -> Vec<String> {
        let none = self.optional.then(|| NONE.to_owned());
        self.methods.iter().map(ToString::to_string).chain(none).collect()
    }
}

impl TryFrom<Written> for AdditionalKeyExchanges {
    type Error = AdditionalError;

    fn try_from(written: Written) -> Result<Self, AdditionalError> {
        match written {
            Written::One(names) => Self::from_names(&[names]),
            Written::Several(lists) => Self::from_names(&lists),
        }
    }
}

impl From<AdditionalKeyExchanges> for Written {
    fn from(value: AdditionalKeyExchanges) -> Self {
        match value.0.as_slice() {
            [] => Self::One(vec![NONE.to_owned()]),
            [round] => Self::One(round.names()),
            rounds => Self::Several(rounds.iter().map(Round::names).collect()),
        }
    }
}

impl fmt::Display for AdditionalKeyExchanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str(NONE);
        }
        for (number, round) in self.0.iter().enumerate() {
            let separator = if number == 0 { "" } else { ", then " };
            write!(f, "{separator}{}", round.names().join(" or "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
