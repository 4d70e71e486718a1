//! Labels: short texts by which policies select nodes.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The labels of a document: at most 64 keys, each with one value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<LabelKey, LabelValue>")]
pub struct Labels(BTreeMap<LabelKey, LabelValue>);

/// A label's key: 1 to 63 letters, digits and `.`, `_`, `/`, `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LabelKey(String);

/// A label's value: at most 63 letters, digits and `.`, `_`, `/`, `-`. It may be empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LabelValue(String);

/// A label that is not one, or one too many.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LabelError {
    /// Not a key.
    #[error("\"{0}\" is not a label key: use 1 to 63 letters, digits and . _ / -")]
    Key(String),
    /// Not a value.
    #[error("\"{0}\" is not a label value: use at most 63 letters, digits and . _ / -")]
    Value(String),
    /// Too many labels.
    #[error("{0} labels are too many: at most {MAX_LABELS} are allowed")]
    TooMany(usize),
}

impl Labels {
    /// Returns the value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&LabelValue> {
        self.0.get(key)
    }

    /// Sets a label, and returns the value that it replaces.
    ///
    /// # Errors
    /// `LabelError::TooMany` when there are 64 others.
    pub fn insert(&mut self, key: LabelKey, value: LabelValue) -> Result<Option<LabelValue>, LabelError> {
        if self.0.len() >= MAX_LABELS && !self.0.contains_key(&key) {
            return Err(LabelError::TooMany(self.0.len() + 1));
        }
        Ok(self.0.insert(key, value))
    }

    /// Tells whether there is no label.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the labels in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&LabelKey, &LabelValue)> {
        self.0.iter()
    }

    /// Tells whether every label of `other` stands here with the same value.
    #[must_use]
    pub fn contains_all(&self, other: &Self) -> bool {
        other.iter().all(|(key, value)| self.0.get(key) == Some(value))
    }
}

impl TryFrom<BTreeMap<LabelKey, LabelValue>> for Labels {
    type Error = LabelError;

    fn try_from(labels: BTreeMap<LabelKey, LabelValue>) -> Result<Self, LabelError> {
        if labels.len() > MAX_LABELS { Err(LabelError::TooMany(labels.len())) } else { Ok(Self(labels)) }
    }
}

macro_rules! label_text {
    ($type:ident, $error:ident, $least:literal) => {
        impl $type {
            /// Returns the text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = LabelError;

            fn from_str(text: &str) -> Result<Self, LabelError> {
                let good = ($least..=63).contains(&text.len()) && text.bytes().all(is_label_byte);
                if good { Ok(Self(text.to_owned())) } else { Err(LabelError::$error(text.to_owned())) }
            }
        }

        impl TryFrom<String> for $type {
            type Error = LabelError;

            fn try_from(text: String) -> Result<Self, LabelError> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

label_text!(LabelKey, Key, 1);
label_text!(LabelValue, Value, 0);

impl Borrow<str> for LabelKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

const fn is_label_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'/' | b'-')
}

const MAX_LABELS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_short_and_printable() {
        for bad in ["", "a b", "ä", "a\n", &"a".repeat(64)] {
            assert!(bad.parse::<LabelKey>().is_err(), "{bad}");
        }
        assert!("".parse::<LabelValue>().is_ok());
        assert!("example.org/tier-1_a".parse::<LabelKey>().is_ok());
        assert!(serde_json::from_str::<Labels>(r#"{"a": "b c"}"#).is_err());
    }

    #[test]
    fn the_sixty_fifth_label_is_refused() {
        let mut labels = Labels::default();
        for n in 0..MAX_LABELS {
            labels.insert(format!("k{n}").parse().unwrap(), "v".parse().unwrap()).unwrap();
        }
        assert!(labels.insert("k0".parse().unwrap(), "w".parse().unwrap()).unwrap().is_some());
        let more = labels.insert("k64".parse().unwrap(), "v".parse().unwrap());
        assert_eq!(more, Err(LabelError::TooMany(65)));
        let mut map = labels.0;
        map.insert("k64".parse().unwrap(), "v".parse().unwrap());
        assert!(Labels::try_from(map).is_err());
    }
}
