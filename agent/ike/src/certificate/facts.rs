//! What we want to know of a certificate besides what path validation looks at.
//!
//! Only these fields are read: contents of other extensions are of no use here, and reading them took longer than all else of a
//! handshake but its signatures. The name of the subject is read where it is the identity.

use x509_parser::asn1_rs::{Any, Class, FromDer, Oid, Tag};
use x509_parser::certificate::Validity;
use x509_parser::error::X509Error;
use x509_parser::extensions::{KeyUsage, SubjectAlternativeName, X509Extension, X509ExtensionParser};
use x509_parser::nom::Parser;
use x509_parser::oid_registry::{OID_X509_EXT_KEY_USAGE, OID_X509_EXT_SUBJECT_ALT_NAME};
use x509_parser::time::ASN1Time;

use espalier_model::identity::DistinguishedName;

use super::{CertificateError, Issued};
use crate::wire::dn;

/// Fields of a certificate.
pub(super) struct Facts<'a> {
    serial: &'a [u8],
    issuer: &'a [u8],
    subject: &'a [u8],
    /// Unix second from which it is valid, 0 for one before 1970.
    pub(super) not_before: u64,
    /// Unix second until which it is valid, 0 for one before 1970.
    pub(super) not_after: u64,
    extensions: &'a [u8],
}

impl<'a> Facts<'a> {
    /// Reads them out of a certificate in DER.
    pub(super) fn read(der: &'a [u8]) -> Result<Self, CertificateError> {
        //= RFC 5280 §4.1: Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue }
        let mut whole = Elements(der);
        let mut certificate = Elements(whole.take(Tag::Sequence)?);
        let mut fields = Elements(certificate.take(Tag::Sequence)?);
        if !whole.is_empty() {
            return Err(CertificateError::Malformed);
        }
        //= RFC 5280 §4.1.2.1: version 3, since there are extensions
        fields.next()?;
        let serial = fields.take(Tag::Integer)?;
        let _signature = fields.take(Tag::Sequence)?;
        let issuer = fields.take(Tag::Sequence)?;
        let (rest, validity) = Validity::from_der(fields.0).map_err(|_| CertificateError::Malformed)?;
        fields.0 = rest;
        let subject = fields.take(Tag::Sequence)?;
        let _key = fields.take(Tag::Sequence)?;
        let mut extensions: &[u8] = &[];
        while !fields.is_empty() {
            let field = fields.next()?;
            if field.header.class() == Class::ContextSpecific && field.header.tag() == EXTENSIONS {
                extensions = Elements(field.data).take(Tag::Sequence)?;
            }
        }
        let (not_before, not_after) = (seconds(&validity.not_before), seconds(&validity.not_after));
        Ok(Self { serial, issuer, subject, not_before, not_after, extensions })
    }

    /// Returns the serial number in lower-case hexadecimal digits, without leading zeros.
    pub(super) fn serial(&self) -> String {
        hexadecimal(self.serial)
    }

    /// Returns how a revocation list names it.
    pub(super) fn issued(&self) -> Issued {
        Issued { issuer: self.issuer.to_vec(), serial: self.serial.to_vec() }
    }

    /// Returns its subject, where that can be configured as an identity.
    pub(super) fn subject(&self) -> Option<DistinguishedName> {
        dn::read_parts(self.subject)
    }

    /// Returns what its key may be used for, where it says so.
    pub(super) fn key_usage(&self) -> Result<Option<KeyUsage>, CertificateError> {
        self.extension(&OID_X509_EXT_KEY_USAGE)
    }

    /// Returns whom it speaks for.
    pub(super) fn names(&self) -> Result<Option<SubjectAlternativeName<'a>>, CertificateError> {
        self.extension(&OID_X509_EXT_SUBJECT_ALT_NAME)
    }

    /// Returns the content of an extension, which must not be there twice (RFC 5280 §4.2).
    fn extension<T: FromDer<'a, X509Error>>(&self, oid: &Oid<'_>) -> Result<Option<T>, CertificateError> {
        let mut found: Option<X509Extension<'a>> = None;
        let (mut rest, mut parser) = (self.extensions, X509ExtensionParser::new().with_deep_parse_extensions(false));
        while !rest.is_empty() {
            let (after, extension) = parser.parse(rest).map_err(|_| CertificateError::Malformed)?;
            rest = after;
            if extension.oid == *oid && found.replace(extension).is_some() {
                return Err(CertificateError::Malformed);
            }
        }
        match found.map(|extension| T::from_der(extension.value)) {
            None => Ok(None),
            Some(Ok(([], content))) => Ok(Some(content)),
            Some(_) => Err(CertificateError::Malformed),
        }
    }
}

/// Writes a number in lower-case hexadecimal digits, without leading zeros.
pub(super) fn hexadecimal(number: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16);
    let digits = number.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).flatten();
    digits.skip_while(|digit| *digit == '0').collect()
}

/// Elements in DER, one after another.
struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn next(&mut self) -> Result<Any<'a>, CertificateError> {
        let (rest, element) = Any::from_der(self.0).map_err(|_| CertificateError::Malformed)?;
        self.0 = rest;
        Ok(element)
    }

    /// Takes the next element, which must have this tag, and returns its content.
    fn take(&mut self, tag: Tag) -> Result<&'a [u8], CertificateError> {
        let element = self.next()?;
        let fits = element.header.class() == Class::Universal && element.header.tag() == tag;
        if fits { Ok(element.data) } else { Err(CertificateError::Malformed) }
    }
}

/// Returns the Unix second of a time, 0 for one before 1970.
fn seconds(time: &ASN1Time) -> u64 {
    u64::try_from(time.timestamp()).unwrap_or_default()
}

/// `[3]` of a certificate.
const EXTENSIONS: Tag = Tag(3);
