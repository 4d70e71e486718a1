//! Distinguished names of X.509 (RFC 5280 §4.1.2.4).

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use super::NameError;

/// A name such as `C=CH, O=Example, CN=gateway`, the outermost part first, as in a certificate.
///
/// Names are compared without case, and each run of spaces counts as one (RFC 5280 §7.1). Two attributes of one part have a `+`
/// between; what is special, `,`, `+`, `=` and `\`, has a `\` before it where it is part of a value.
#[derive(Clone, Debug)]
pub struct DistinguishedName(Vec<Vec<Attribute>>);

/// An attribute and its value.
#[derive(Clone, Debug)]
pub struct Attribute {
    /// What it says.
    pub kind: AttributeKind,
    /// The value: not empty, and without control characters.
    pub value: String,
}

macro_rules! attribute_kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $oid:expr;)*) => {
        /// The attributes that names of devices are made of; a name with another one is none that can be configured.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum AttributeKind {
            $($(#[$doc])* $name,)*
        }

        impl AttributeKind {
            const ALL: &[Self] = &[$(Self::$name,)*];

            /// Returns how it is written.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// Returns its object identifier, as in DER behind tag and length.
            #[must_use]
            pub const fn oid(self) -> &'static [u8] {
                match self {
                    $(Self::$name => $oid,)*
                }
            }
        }
    };
}

attribute_kinds! {
    /// The common name.
    CommonName = "CN", &[0x55, 4, 3];
    /// The serial number of a device.
    SerialNumber = "serialNumber", &[0x55, 4, 5];
    /// The country, two letters.
    Country = "C", &[0x55, 4, 6];
    /// The city.
    Locality = "L", &[0x55, 4, 7];
    /// The state or province.
    State = "ST", &[0x55, 4, 8];
    /// The organisation.
    Organisation = "O", &[0x55, 4, 10];
    /// The part of the organisation.
    Unit = "OU", &[0x55, 4, 11];
    /// A label of a domain name.
    DomainComponent = "DC", &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25];
    /// An e-mail address.
    EmailAddress = "emailAddress", &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1];
}

impl AttributeKind {
    /// Finds the attribute of an object identifier.
    #[must_use]
    pub fn of_oid(oid: &[u8]) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.oid() == oid)
    }
}

impl DistinguishedName {
    /// Makes a name of its parts; nothing where it has none, or one of them is empty or has a value that is none.
    #[must_use]
    pub fn new(parts: Vec<Vec<Attribute>>) -> Option<Self> {
        let value = |a: &Attribute| !a.value.trim().is_empty() && !a.value.chars().any(char::is_control);
        let good = !parts.is_empty() && parts.iter().all(|part| !part.is_empty() && part.iter().all(value));
        good.then_some(Self(parts))
    }

    /// Returns the parts, the outermost first; most have one attribute.
    #[must_use]
    pub fn parts(&self) -> &[Vec<Attribute>] {
        &self.0
    }

    /// Returns what is compared.
    fn folded(&self) -> Vec<Vec<(AttributeKind, String)>> {
        let words = |value: &str| value.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
        let part = |part: &Vec<Attribute>| {
            let mut attributes: Vec<_> = part.iter().map(|a| (a.kind, words(&a.value))).collect();
            attributes.sort();
            attributes
        };
        self.0.iter().map(part).collect()
    }
}

impl PartialEq for DistinguishedName {
    fn eq(&self, other: &Self) -> bool {
        self.folded() == other.folded()
    }
}

impl Eq for DistinguishedName {}

impl PartialOrd for DistinguishedName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for DistinguishedName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.folded().cmp(&other.folded())
    }
}

impl Hash for DistinguishedName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.folded().hash(state);
    }
}

impl FromStr for DistinguishedName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let attribute = |text: &str| {
            let [kind, value] = pieces(text, '=')?.try_into().ok()?;
            let kind = AttributeKind::ALL.iter().find(|known| known.as_str().eq_ignore_ascii_case(kind.trim()));
            Some(Attribute { kind: *kind?, value: plain(value.trim()) })
        };
        let part = |text: &str| pieces(text, '+')?.iter().map(|text| attribute(text)).collect::<Option<Vec<_>>>();
        let parts = || pieces(text, ',')?.iter().map(|text| part(text)).collect::<Option<Vec<_>>>();
        parts().and_then(Self::new).ok_or_else(|| NameError::Distinguished(text.to_owned()))
    }
}

impl fmt::Display for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, part) in self.0.iter().enumerate() {
            for (inner, attribute) in part.iter().enumerate() {
                let before = if inner > 0 {
                    "+"
                } else if number > 0 {
                    ", "
                } else {
                    ""
                };
                write!(f, "{before}{}=", attribute.kind.as_str())?;
                for character in attribute.value.chars() {
                    let escape = if SPECIAL.contains(&character) { "\\" } else { "" };
                    write!(f, "{escape}{character}")?;
                }
            }
        }
        Ok(())
    }
}

/// Splits a text where a character stands that has no `\` before it. Nothing for a `\` before nothing.
fn pieces(text: &str, at: char) -> Option<Vec<&str>> {
    let (mut found, mut begin, mut escaped) = (Vec::new(), 0, false);
    for (index, character) in text.char_indices() {
        if character == at && !escaped {
            found.push(text.get(begin..index)?);
            begin = index + character.len_utf8();
        }
        escaped = character == '\\' && !escaped;
    }
    found.push(text.get(begin..)?);
    (!escaped).then_some(found)
}

/// Takes away the `\` before each character that has one.
fn plain(text: &str) -> String {
    let mut escaped = false;
    text.chars()
        .filter(|character| {
            escaped = *character == '\\' && !escaped;
            !escaped
        })
        .collect()
}

const SPECIAL: [char; 4] = [',', '+', '=', '\\'];

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> DistinguishedName {
        text.parse().unwrap()
    }

    #[test]
    fn a_name_is_written_as_it_was_read() {
        for text in ["CN=a", "C=CH, O=Example Ltd, CN=gateway", "CN=a+serialNumber=7, DC=b", r"O=a\, b\+c\=d\\, CN=x"] {
            assert_eq!(name(text).to_string(), text);
        }
        assert_eq!(name(" c = CH ,O=x ").to_string(), "C=CH, O=x");
        assert_eq!(name(r"O=a\, b").parts()[0][0].value, "a, b");
    }

    #[test]
    fn names_are_compared_without_case_and_by_words() {
        assert_eq!(name("O=Example  Ltd, CN=A"), name("o=example ltd,cn=a"));
        assert_eq!(name("CN=a+O=b"), name("O=b+CN=a"), "attributes of one part have no order");
        assert_ne!(name("O=b, CN=a"), name("CN=a, O=b"), "parts have one");
        assert_ne!(name("O=a, CN=a"), name("O=a"));
        assert_ne!(name("O=a, CN=a"), name("O=a, OU=a"));
        assert_ne!(name("CN=example ltd"), name("CN=exampleltd"));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in ["", "CN", "CN=", "CN= ", "=a", "CN=a,", "CN=a=b", "X=a", "CN=a\\", "CN=a, +O=b", "CN=a\u{7}"] {
            assert!(text.parse::<DistinguishedName>().is_err(), "{text:?}");
        }
    }
}
