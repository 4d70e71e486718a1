//! Payloads, each behind its generic header (RFC 7296 §3.2).

use espalier_model::selector::TrafficSelector;

use super::buffer::{Reader, Writer};
use super::cp::Configuration;
use super::id::Identification;
use super::notify::{Delete, Notify};
use super::registry::{AuthMethod, CertificateEncoding, PayloadType};
use super::sa::{self, Proposal};
use super::{Malformed, Oversized, ts};

/// One payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// SA: proposals, or the one that was chosen.
    SecurityAssociation(Vec<Proposal>),
    /// KE.
    KeyExchange(KeyExchangeData),
    /// `IDi`.
    IdInitiator(Identification),
    /// `IDr`.
    IdResponder(Identification),
    /// CERT.
    Certificate(Certificate),
    /// CERTREQ.
    CertificateRequest(CertificateRequest),
    /// AUTH.
    Authentication(Authentication),
    /// Ni or Nr.
    Nonce(Nonce),
    /// N.
    Notify(Notify),
    /// D.
    Delete(Delete),
    /// `TSi`.
    SelectorsInitiator(Vec<TrafficSelector>),
    /// `TSr`.
    SelectorsResponder(Vec<TrafficSelector>),
    /// V.
    VendorId(Vec<u8>),
    /// CP.
    Configuration(Configuration),
    /// SK, always last.
    Encrypted(Encrypted),
    /// A payload that is unknown here and not critical: to be skipped.
    Unknown(PayloadType, Vec<u8>),
}

/// A public value of a key exchange method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyExchangeData {
    /// The method, one of the transform identifiers of type KE.
    pub method: u16,
    /// The public value.
    pub data: Vec<u8>,
}

/// A certificate; the first in a message is the sender's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// How it is encoded.
    pub encoding: CertificateEncoding,
    /// The certificate.
    pub data: Vec<u8>,
}

/// Authorities whose certificates the sender accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRequest {
    /// How the certificate is to be encoded.
    pub encoding: CertificateEncoding,
    /// For X.509, the SHA-1 of each authority's public key info, one after another.
    pub authorities: Vec<u8>,
}

/// The proof of an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authentication {
    /// How it was made.
    pub method: AuthMethod,
    /// The signature or code.
    pub data: Vec<u8>,
}

/// A nonce of 16 to 256 bytes.
//= RFC 7296 §2.8.1: nonces are compared byte by byte, and of two that are alike the shorter one is the lower
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nonce(Vec<u8>);

/// An SK payload that is not opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encrypted {
    /// Type of the first payload inside.
    pub first: PayloadType,
    /// IV, ciphertext and tag.
    pub body: Vec<u8>,
}

impl Nonce {
    /// Takes the bytes of a nonce.
    ///
    /// # Errors
    /// `Length` for less than 16 or more than 256 bytes (RFC 7296 §3.9).
    pub fn new(bytes: Vec<u8>) -> Result<Self, Malformed> {
        //= RFC 7296 §3.9: a nonce has 16 to 256 bytes
        if (16..=256).contains(&bytes.len()) { Ok(Self(bytes)) } else { Err(Malformed::Length("nonce")) }
    }

    /// Returns the bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl CertificateRequest {
    /// Builds a request for X.509 certificates from the hashes of the authorities' keys.
    #[must_use]
    pub fn x509(authorities: &[[u8; 20]]) -> Self {
        Self { encoding: CertificateEncoding::X509_SIGNATURE, authorities: authorities.concat() }
    }
}

impl Payload {
    /// Returns the type that announces it.
    #[must_use]
    pub const fn payload_type(&self) -> PayloadType {
        match self {
            Self::SecurityAssociation(_) => PayloadType::SA,
            Self::KeyExchange(_) => PayloadType::KE,
            Self::IdInitiator(_) => PayloadType::IDI,
            Self::IdResponder(_) => PayloadType::IDR,
            Self::Certificate(_) => PayloadType::CERT,
            Self::CertificateRequest(_) => PayloadType::CERTREQ,
            Self::Authentication(_) => PayloadType::AUTH,
            Self::Nonce(_) => PayloadType::NONCE,
            Self::Notify(_) => PayloadType::NOTIFY,
            Self::Delete(_) => PayloadType::DELETE,
            Self::SelectorsInitiator(_) => PayloadType::TSI,
            Self::SelectorsResponder(_) => PayloadType::TSR,
            Self::VendorId(_) => PayloadType::VENDOR_ID,
            Self::Configuration(_) => PayloadType::CP,
            Self::Encrypted(_) => PayloadType::SK,
            Self::Unknown(kind, _) => *kind,
        }
    }

    fn read(kind: PayloadType, critical: bool, mut body: Reader<'_>) -> Result<Self, Malformed> {
        let r = &mut body;
        let payload = match kind {
            PayloadType::SA => Self::SecurityAssociation(sa::read(r)?),
            PayloadType::KE => Self::KeyExchange(read_key_exchange(r)?),
            PayloadType::IDI => Self::IdInitiator(Identification::read(r.rest())?),
            PayloadType::IDR => Self::IdResponder(Identification::read(r.rest())?),
            PayloadType::CERT => {
                let encoding = CertificateEncoding(r.u8("CERT")?);
                Self::Certificate(Certificate { encoding, data: r.rest().to_vec() })
            }
            PayloadType::CERTREQ => {
                let encoding = CertificateEncoding(r.u8("CERTREQ")?);
                Self::CertificateRequest(CertificateRequest { encoding, authorities: r.rest().to_vec() })
            }
            PayloadType::AUTH => {
                let method = AuthMethod(r.u8("AUTH")?);
                //= RFC 7296 §2.5: reserved fields are skipped
                r.take(3, "AUTH")?;
                Self::Authentication(Authentication { method, data: r.rest().to_vec() })
            }
            PayloadType::NONCE => Self::Nonce(Nonce::new(r.rest().to_vec())?),
            PayloadType::NOTIFY => Self::Notify(Notify::read(r)?),
            PayloadType::DELETE => Self::Delete(Delete::read(r)?),
            PayloadType::TSI => Self::SelectorsInitiator(ts::read(r)?),
            PayloadType::TSR => Self::SelectorsResponder(ts::read(r)?),
            PayloadType::VENDOR_ID => Self::VendorId(r.rest().to_vec()),
            PayloadType::CP => Self::Configuration(Configuration::read(r)?),
            other if critical => return Err(Malformed::UnsupportedCritical(other)),
            other => Self::Unknown(other, r.rest().to_vec()),
        };
        body.finish("payload")?;
        Ok(payload)
    }

    fn emit_body(&self, w: &mut Writer) -> Result<(), Oversized> {
        match self {
            Self::SecurityAssociation(proposals) => sa::emit(proposals, w)?,
            Self::KeyExchange(ke) => {
                w.u16(ke.method);
                w.u16(0);
                w.bytes(&ke.data);
            }
            Self::IdInitiator(id) | Self::IdResponder(id) => w.bytes(id.body()),
            Self::Certificate(certificate) => {
                w.u8(certificate.encoding.0);
                w.bytes(&certificate.data);
            }
            Self::CertificateRequest(request) => {
                w.u8(request.encoding.0);
                w.bytes(&request.authorities);
            }
            Self::Authentication(auth) => {
                w.u8(auth.method.0);
                w.bytes(&[0; 3]);
                w.bytes(&auth.data);
            }
            Self::Nonce(nonce) => w.bytes(nonce.as_bytes()),
            Self::Notify(notify) => notify.emit(w),
            Self::Delete(delete) => delete.emit(w)?,
            Self::SelectorsInitiator(list) | Self::SelectorsResponder(list) => ts::emit(list, w)?,
            Self::Configuration(configuration) => configuration.emit(w)?,
            Self::VendorId(data) | Self::Unknown(_, data) => w.bytes(data),
            Self::Encrypted(encrypted) => w.bytes(&encrypted.body),
        }
        Ok(())
    }
}

/// Reads payloads until the chain ends; nothing may follow.
pub(super) fn read_chain(first: PayloadType, mut r: Reader<'_>) -> Result<Vec<Payload>, Malformed> {
    let mut payloads = Vec::new();
    let mut next = first;
    while next != PayloadType::NONE {
        if payloads.len() == MAX_PAYLOADS {
            return Err(Malformed::TooMany("payloads"));
        }
        let kind = next;
        next = PayloadType(r.u8("payload header")?);
        //= RFC 7296 §2.5: an unknown payload is skipped unless it is critical
        let critical = r.u8("payload header")? & CRITICAL != 0;
        let length = r.u16("payload header")?;
        let mut body = r.sub(length, GENERIC_HEADER_LEN, "payload")?;
        if kind == PayloadType::SK {
            //= RFC 7296 §3.14: SK is the last payload, its next payload is the first one inside
            payloads.push(Payload::Encrypted(Encrypted { first: next, body: body.rest().to_vec() }));
            break;
        }
        payloads.push(Payload::read(kind, critical, body)?);
    }
    r.finish("message")?;
    Ok(payloads)
}

/// Writes payloads and returns the type of the first.
pub(super) fn emit_chain(payloads: &[Payload], w: &mut Writer) -> Result<PayloadType, Oversized> {
    if payloads.len() > MAX_PAYLOADS {
        return Err(Oversized("message"));
    }
    let mut following = payloads.iter().skip(1).map(Payload::payload_type);
    for payload in payloads {
        let after = following.next().unwrap_or(PayloadType::NONE);
        let next = if let Payload::Encrypted(encrypted) = payload { encrypted.first } else { after };
        let start = w.len();
        //= RFC 7296 §2.5: no flag but the critical one exists, and payloads of this document do not have it
        w.u8(next.0);
        w.u8(0);
        let gap = w.gap_u16(start);
        payload.emit_body(w)?;
        w.close_u16(gap, "payload")?;
    }
    Ok(payloads.first().map_or(PayloadType::NONE, Payload::payload_type))
}

fn read_key_exchange(r: &mut Reader<'_>) -> Result<KeyExchangeData, Malformed> {
    let method = r.u16("KE")?;
    r.u16("KE")?;
    match r.rest() {
        [] => Err(Malformed::Truncated("KE")),
        data => Ok(KeyExchangeData { method, data: data.to_vec() }),
    }
}

/// Length of the generic header of a payload.
pub(crate) const GENERIC_HEADER_LEN: usize = 4;
const CRITICAL: u8 = 0x80;
/// More than any message in use holds, even with a long chain of notifies.
pub(crate) const MAX_PAYLOADS: usize = 64;
