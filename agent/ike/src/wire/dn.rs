//! Distinguished names in DER (RFC 5280 §4.1.2.4).

use espalier_model::identity::{Attribute, AttributeKind, DistinguishedName};
use x509_parser::asn1_rs::{Any, Class, FromDer, Tag};

/// Reads a `Name`. Nothing where it has an attribute, or a kind of text, that cannot be configured.
pub(crate) fn read(der: &[u8]) -> Option<DistinguishedName> {
    match take(der)? {
        (Tag::Sequence, parts, []) => read_parts(parts),
        _ => None,
    }
}

/// Reads what is within a `Name`.
pub(crate) fn read_parts(content: &[u8]) -> Option<DistinguishedName> {
    let part = |set: &[u8]| all(set, Tag::Sequence)?.into_iter().map(attribute).collect::<Option<Vec<_>>>();
    let parts = all(content, Tag::Set)?.into_iter().map(part).collect::<Option<Vec<_>>>()?;
    DistinguishedName::new(parts)
}

/// Writes a `Name`.
pub(crate) fn emit(name: &DistinguishedName) -> Vec<u8> {
    let part = |part: &Vec<Attribute>| {
        let mut attributes: Vec<_> = part.iter().map(emit_attribute).collect();
        // In DER the elements of a set are in the order of their bytes.
        attributes.sort();
        element(Tag::Set, &attributes.concat())
    };
    element(Tag::Sequence, &name.parts().iter().flat_map(part).collect::<Vec<_>>())
}

fn attribute(content: &[u8]) -> Option<Attribute> {
    let (Tag::Oid, oid, rest) = take(content)? else { return None };
    let (tag, value, []) = take(rest)? else { return None };
    let text = [Tag::Utf8String, Tag::PrintableString, Tag::Ia5String].contains(&tag);
    let value = std::str::from_utf8(value).ok().filter(|_| text)?;
    Some(Attribute { kind: AttributeKind::of_oid(oid)?, value: value.to_owned() })
}

fn emit_attribute(attribute: &Attribute) -> Vec<u8> {
    let Attribute { kind, value } = attribute;
    let printable = |c: char| c.is_ascii_alphanumeric() || " '()+,-./:=?".contains(c);
    let tag = if matches!(kind, AttributeKind::DomainComponent | AttributeKind::EmailAddress) && value.is_ascii() {
        Tag::Ia5String
    } else if value.chars().all(printable) {
        Tag::PrintableString
    } else {
        Tag::Utf8String
    };
    let content = [element(Tag::Oid, kind.oid()), element(tag, value.as_bytes())].concat();
    element(Tag::Sequence, &content)
}

/// Takes an element: its tag, its content, and what follows.
fn take(der: &[u8]) -> Option<(Tag, &[u8], &[u8])> {
    let (rest, element) = Any::from_der(der).ok()?;
    (element.header.class() == Class::Universal).then_some((element.header.tag(), element.data, rest))
}

/// Returns the contents of elements that all have one tag.
fn all(mut der: &[u8], tag: Tag) -> Option<Vec<&[u8]>> {
    let mut found = Vec::new();
    while !der.is_empty() {
        let (kind, content, rest) = take(der)?;
        if kind != tag {
            return None;
        }
        found.push(content);
        der = rest;
    }
    Some(found)
}

fn element(tag: Tag, content: &[u8]) -> Vec<u8> {
    let constructed = if [Tag::Sequence, Tag::Set].contains(&tag) { CONSTRUCTED } else { 0 };
    let mut der: Vec<u8> = vec![u8::try_from(tag.0).unwrap_or_default() | constructed];
    match u8::try_from(content.len()) {
        Ok(short) if short < LONG => der.push(short),
        _ => {
            let digits: Vec<_> = content.len().to_be_bytes().into_iter().skip_while(|digit| *digit == 0).collect();
            der.extend(u8::try_from(digits.len()).map(|count| LONG | count));
            der.extend(digits);
        }
    }
    der.extend(content);
    der
}

const CONSTRUCTED: u8 = 0x20;
/// Of the first byte of a length: that so many more follow.
const LONG: u8 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> DistinguishedName {
        text.parse().unwrap()
    }

    #[test]
    fn a_name_is_what_another_encoder_makes_of_it() {
        let der = [
            &b"\x30\x2b\x31\x0b\x30\x09\x06\x03\x55\x04\x06\x13\x02CH"[..],
            b"\x31\x0d\x30\x0b\x06\x03\x55\x04\x0a\x0c\x04B\xc3\xa4r",
            b"\x31\x0d\x30\x0b\x06\x03\x55\x04\x03\x13\x04west",
        ]
        .concat();
        assert_eq!(read(&der), Some(name("C=CH, O=Bär, CN=west")));
        assert_eq!(emit(&name("C=CH, O=Bär, CN=west")), der);
    }

    #[test]
    fn what_is_written_is_read_alike() {
        let long = format!("O={}, OU={}", "a".repeat(200), "b".repeat(300));
        for text in ["CN=a", "DC=example, DC=mesh, emailAddress=a@b.example", "CN=a+serialNumber=7", &long] {
            assert_eq!(read(&emit(&name(text))), Some(name(text)), "{text}");
        }
    }

    #[test]
    fn a_name_that_is_cut_or_has_what_cannot_be_configured_is_none() {
        let der = emit(&name("C=CH, O=Example, CN=west"));
        for end in 0..der.len() {
            assert_eq!(read(&der[..end]), None, "{end}");
        }
        assert_eq!(read(&[&der[..], &[0]].concat()), None, "bytes behind it");
        let changed = |from: &[u8], to: u8| {
            let at = der.windows(from.len()).position(|window| window == from).unwrap();
            let mut copy = der.clone();
            copy[at + from.len() - 1] = to;
            copy
        };
        assert_eq!(read(&changed(&[0x55, 4, 3], 42)), None, "an attribute that is not known");
        assert_eq!(read(&changed(&[0x55, 4, 6, 0x13], 0x1e)), None, "a text of two bytes each");
        assert_eq!(read(&changed(b"west", 0xff)), None, "no text");
        assert_eq!(read(&element(Tag::Sequence, &[])), None, "the empty name");
    }
}
