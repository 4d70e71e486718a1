//! Types and codes of ICMP, where other protocols have ports (RFC 4301 §4.4.1.1).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{PortRange, SelectorError, Text};

/// Messages of ICMP or ICMPv6. Text form: `any`, a type such as `8`, types such as `128-129`, or a type with its code such as `3/4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Text", into = "String")]
pub struct IcmpTypes(PortRange);

impl IcmpTypes {
    /// Every message.
    pub const ANY: Self = Self(PortRange::ANY);

    /// Returns type and code as one number, the type above: what a selector has in place of both ports.
    #[must_use]
    pub const fn range(self) -> PortRange {
        self.0
    }

    /// Tells whether nothing is left out.
    #[must_use]
    pub fn is_any(&self) -> bool {
        *self == Self::ANY
    }
}

impl FromStr for IcmpTypes {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let number = |text: &str| text.parse::<u8>().map_err(|_| ());
        let range = match (text, text.split_once('/'), text.split_once('-')) {
            ("any", ..) => Ok((0, u16::MAX)),
            (_, Some((of_type, code)), _) => {
                number(of_type).and_then(|of_type| Ok((of_type, number(code)?))).map(|of| {
                    let one = u16::from_be_bytes(of.into());
                    (one, one)
                })
            }
            (_, None, types) => {
                let (first, last) = types.unwrap_or((text, text));
                let whole = |first, last| (u16::from_be_bytes([first, 0]), u16::from_be_bytes([last, u8::MAX]));
                number(first).and_then(|first| Ok(whole(first, number(last)?)))
            }
        };
        let range = range.ok().and_then(|(start, end)| PortRange::new(start, end).ok());
        range.map(Self).ok_or_else(|| SelectorError::Icmp(text.to_owned()))
    }
}

impl fmt::Display for IcmpTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([first, code], [last, most]) = (self.0.start().to_be_bytes(), self.0.end().to_be_bytes());
        match (first == last, code == most) {
            _ if self.is_any() => f.write_str("any"),
            (true, true) => write!(f, "{first}/{code}"),
            (true, false) => first.fmt(f),
            (false, _) => write!(f, "{first}-{last}"),
        }
    }
}

impl TryFrom<Text> for IcmpTypes {
    type Error = SelectorError;

    fn try_from(text: Text) -> Result<Self, SelectorError> {
        text.to_string().parse()
    }
}

impl From<IcmpTypes> for String {
    fn from(types: IcmpTypes) -> Self {
        types.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_forms_are_read_back_as_type_and_code() {
        for (text, start, end) in
            [("any", 0, 0xffff), ("8", 0x0800, 0x08ff), ("128-129", 0x8000, 0x81ff), ("3/4", 0x0304, 0x0304)]
        {
            let types: IcmpTypes = text.parse().unwrap();
            assert_eq!((types.range().start(), types.range().end(), types.to_string()), (start, end, text.to_owned()));
        }
        for bad in ["", "256", "-1", "2-1", "3/", "3/256", "/4", "echo", "1/2/3", "1-2/3"] {
            let error = bad.parse::<IcmpTypes>().unwrap_err().to_string();
            assert!(error.contains("is not a type of ICMP"), "{error}");
        }
    }
}
