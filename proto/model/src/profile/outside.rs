//! What the outside of packets shows of what is inside: how long it is, and to which class of traffic it belongs.

use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// To what length packets are padded, to hide their own (RFC 4303 §2.7). A peer that does not take it gets them as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Padding {
    /// They are not.
    #[default]
    None,
    /// To a multiple of so many bytes, as far as the tunnel takes it whole.
    Multiple(NonZeroU16),
    /// All to the longest that the tunnel takes whole.
    Mtu,
}

/// Where the DSCP of an outer header comes from (RFC 4301 §5.1.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Dscp {
    /// The packet inside: the network may tell classes of traffic apart, and so may who listens.
    #[default]
    Copy,
    /// Always this one.
    Fixed(u8),
}

/// A value that means nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OutsideError {
    /// Of `padding`.
    #[error("padding {0} is neither none, mtu, nor a number of bytes from 2 to {LONGEST_STEP}")]
    Padding(String),
    /// Of `dscp`.
    #[error("dscp {0} is neither copy nor a number from 0 to {HIGHEST}")]
    Dscp(String),
}

impl Padding {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::None
    }
}

impl Dscp {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::Copy
    }
}

/// As documents have it.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u16),
    Word(String),
}

impl Written {
    fn text(self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Word(word) => word,
        }
    }
}

impl TryFrom<Written> for Padding {
    type Error = OutsideError;

    fn try_from(written: Written) -> Result<Self, OutsideError> {
        match written {
            Written::Word(word) if word == NONE => Ok(Self::None),
            Written::Word(word) if word == MTU => Ok(Self::Mtu),
            Written::Number(step @ 2..=LONGEST_STEP) => Ok(NonZeroU16::new(step).map_or(Self::None, Self::Multiple)),
            other @ (Written::Number(_) | Written::Word(_)) => Err(OutsideError::Padding(other.text())),
        }
    }
}

impl From<Padding> for Written {
    fn from(padding: Padding) -> Self {
        match padding {
            Padding::None => Self::Word(NONE.to_owned()),
            Padding::Multiple(step) => Self::Number(step.get()),
            Padding::Mtu => Self::Word(MTU.to_owned()),
        }
    }
}

impl TryFrom<Written> for Dscp {
    type Error = OutsideError;

    fn try_from(written: Written) -> Result<Self, OutsideError> {
        match written {
            Written::Word(word) if word == COPY => Ok(Self::Copy),
            Written::Number(number) if number <= u16::from(HIGHEST) => {
                u8::try_from(number).map(Self::Fixed).map_err(|_| OutsideError::Dscp(number.to_string()))
            }
            other @ (Written::Number(_) | Written::Word(_)) => Err(OutsideError::Dscp(other.text())),
        }
    }
}

impl From<Dscp> for Written {
    fn from(dscp: Dscp) -> Self {
        match dscp {
            Dscp::Copy => Self::Word(COPY.to_owned()),
            Dscp::Fixed(number) => Self::Number(number.into()),
        }
    }
}

const NONE: &str = "none";
const MTU: &str = "mtu";
const COPY: &str = "copy";
/// Longer steps are those to the MTU.
const LONGEST_STEP: u16 = 1_280;
/// Of six bits (RFC 2474 §3).
const HIGHEST: u8 = 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_numbers_are_read_as_they_are_written_and_nothing_else_is() {
        let step = |step| Padding::Multiple(NonZeroU16::new(step).unwrap());
        for (text, padding) in
            [("\"none\"", Padding::None), ("\"mtu\"", Padding::Mtu), ("2", step(2)), ("1280", step(1_280))]
        {
            assert_eq!(serde_json::from_str::<Padding>(text).unwrap(), padding);
            assert_eq!(serde_json::to_string(&padding).unwrap(), text);
        }
        for (text, dscp) in [("\"copy\"", Dscp::Copy), ("0", Dscp::Fixed(0)), ("63", Dscp::Fixed(63))] {
            assert_eq!(serde_json::from_str::<Dscp>(text).unwrap(), dscp);
            assert_eq!(serde_json::to_string(&dscp).unwrap(), text);
        }
        for (text, named) in
            [("0", "padding 0 is"), ("1", "padding 1 "), ("1281", "1281"), ("\"all\"", "padding all is")]
        {
            let error = serde_json::from_str::<Padding>(text).unwrap_err().to_string();
            assert!(error.contains(named) && error.contains("from 2 to 1280"), "{error}");
        }
        for (text, named) in [("64", "dscp 64 is"), ("\"ef\"", "dscp ef is")] {
            let error = serde_json::from_str::<Dscp>(text).unwrap_err().to_string();
            assert!(error.contains(named) && error.contains("from 0 to 63"), "{error}");
        }
    }
}
