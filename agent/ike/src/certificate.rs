//! Certificates of peers: the path to a trusted authority, validity, purpose, name and revocation (RFC 4945, RFC 5280).

mod facts;
mod lists;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use espalier_crypto::sha1;
use espalier_model::identity::Identity;
use rustls_pki_types::{CertificateDer, Der, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use thiserror::Error;
use webpki::{
    EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, KeyUsage, RequiredEkuNotFoundContext,
    anchor_from_trusted_cert, aws_lc_rs as algorithms, spki_for_anchor,
};
use x509_parser::extensions::GeneralName;

use crate::wire::CertificateRequest;

use facts::Facts;
use lists::Lists;
pub use lists::{Issued, RevocationLists};

/// The authorities whose certificates are accepted.
#[derive(Clone, Default)]
pub struct TrustStore {
    authorities: Vec<Authority>,
    /// The SHA-1 hash of each authority's key.
    hashes: Vec<[u8; 20]>,
    lists: Lists,
}

#[derive(Clone)]
struct Authority {
    anchor: TrustAnchor<'static>,
    not_before: u64,
    not_after: u64,
}

/// A peer whose certificate is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedPeer {
    /// Its public key, a DER `SubjectPublicKeyInfo`.
    pub spki: Vec<u8>,
    /// Unix second after which some certificate of its path is invalid.
    pub not_after: u64,
    /// Serial number of its certificate in lower-case hexadecimal digits, without leading zeros.
    pub serial: String,
    /// Its certificate and those of the authorities between it and the root.
    pub path: Vec<Issued>,
}

/// A certificate that is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CertificateError {
    /// The peer has sent none.
    #[error("no certificate")]
    Missing,
    /// More or larger certificates than are accepted.
    #[error("certificate chain is too large")]
    TooLarge,
    /// Not a certificate.
    #[error("certificate is malformed")]
    Malformed,
    /// No valid path to a trusted authority for this purpose at this time.
    #[error("certificate is not valid: {0}")]
    Path(webpki::Error),
    /// It forbids signatures.
    #[error("certificate is not for signatures")]
    KeyUsage,
    /// It is another's.
    #[error("certificate is not for {0}")]
    Name(Identity),
    /// It, or an authority on its path, is revoked; carries the serial number.
    #[error("certificate {0} is revoked")]
    Revoked(String),
    /// It, or an authority on its path, is on the list of its authority.
    #[error("certificate, or an authority above it, is on a revocation list")]
    Listed,
    /// The list of an authority is out of date.
    #[error("a revocation list has expired, and revocation.expired is refuse")]
    ListExpired,
    /// There is no list of an authority.
    #[error("there is no revocation list of an authority, and revocation.missing is refuse")]
    NoList,
    /// Not a list that can be used.
    #[error("revocation list cannot be used: {0}")]
    List(webpki::Error),
}

impl TrustStore {
    /// Reads the certificates of authorities in DER.
    ///
    /// # Errors
    /// `Malformed` when one of them is not a certificate.
    pub fn new(authorities: &[Vec<u8>]) -> Result<Self, CertificateError> {
        let authorities = authorities.iter().map(|der| Authority::read(der)).collect::<Result<Vec<_>, _>>()?;
        let hash = |a: &Authority| sha1(&[spki_for_anchor(&a.anchor).as_ref()]);
        Ok(Self { hashes: authorities.iter().map(hash).collect(), authorities, lists: Lists::default() })
    }

    /// Adds the revocation lists of authorities.
    ///
    /// # Errors
    /// `List` when one of them cannot be used.
    pub fn with_lists(self, lists: &RevocationLists) -> Result<Self, CertificateError> {
        Ok(Self { lists: Lists::new(lists)?, ..self })
    }

    /// Tells whether a list, or one of these serial numbers, revokes a certificate or an authority above it.
    #[must_use]
    pub fn revokes(&self, path: &[Issued], revoked: &BTreeSet<String>) -> bool {
        path.iter().any(|issued| self.lists.name(issued) || is_listed(&facts::hexadecimal(&issued.serial), revoked))
    }

    /// Builds the request that names the authorities.
    #[must_use]
    pub fn request(&self) -> CertificateRequest {
        //= RFC 7296 §3.7: the SHA-1 hash of the public key of each trusted authority
        CertificateRequest::x509(&self.hashes)
    }

    /// Checks a chain in DER, the peer's own certificate first, for an identity at a Unix second.
    ///
    /// `revoked` holds serial numbers in lower-case hexadecimal digits.
    ///
    /// # Errors
    /// The first reason for which the certificate is not accepted.
    pub fn verify(
        &self,
        chain: &[Vec<u8>],
        identity: &Identity,
        revoked: &BTreeSet<String>,
        unix: u64,
    ) -> Result<VerifiedPeer, CertificateError> {
        if chain.len() > MAX_CHAIN || chain.iter().any(|der| der.len() > MAX_CERTIFICATE) {
            return Err(CertificateError::TooLarge);
        }
        let (own, intermediates) = chain.split_first().ok_or(CertificateError::Missing)?;
        let own = CertificateDer::from(own.as_slice());
        let intermediates: Vec<_> = intermediates.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
        let anchors = self.valid_at(unix);
        let certificate = EndEntityCert::try_from(&own).map_err(CertificateError::Path)?;
        let time = UnixTime::since_unix_epoch(Duration::from_secs(unix));
        let lists = self.lists.borrowed();
        let options = self.lists.options(&lists);
        let path = certificate
            .verify_for_usage(SIGNATURE_ALGORITHMS, &anchors, &intermediates, time, IpsecUsage, options, None)
            .map_err(refusal)?;

        let facts = Facts::read(&own)?;
        check_key_usage(&facts)?;
        if !names(&facts, identity)? {
            return Err(CertificateError::Name(identity.clone()));
        }
        let mut not_after = facts.not_after;
        let serial = refuse_revoked(&facts, revoked)?;
        let mut issued = vec![facts.issued()];
        for intermediate in path.intermediate_certificates() {
            let der = intermediate.der();
            let authority = Facts::read(&der)?;
            refuse_revoked(&authority, revoked)?;
            not_after = not_after.min(authority.not_after);
            issued.push(authority.issued());
        }
        // An authority that was renewed stands there twice with one key: the later end counts.
        let roots = self.authorities.iter().filter(|a| a.is_valid_at(unix) && a.anchor == *path.anchor());
        let root = roots.map(|a| a.not_after).max();
        not_after = root.map_or(not_after, |end| not_after.min(end));
        let spki = certificate.subject_public_key_info().to_vec();
        Ok(VerifiedPeer { spki, not_after, serial, path: issued })
    }

    /// Returns the anchors of the authorities that are valid; path validation does not look at the validity of an anchor.
    fn valid_at(&self, unix: u64) -> Vec<TrustAnchor<'_>> {
        let valid = self.authorities.iter().filter(|a| a.is_valid_at(unix));
        valid.map(|a| lent(&a.anchor)).collect()
    }
}

impl Authority {
    fn read(der: &[u8]) -> Result<Self, CertificateError> {
        let Facts { not_before, not_after, .. } = Facts::read(der)?;
        let der = CertificateDer::from(der);
        let anchor = anchor_from_trusted_cert(&der).map_err(CertificateError::Path)?.to_owned();
        Ok(Self { anchor, not_before, not_after })
    }

    const fn is_valid_at(&self, unix: u64) -> bool {
        self.not_before <= unix && unix <= self.not_after
    }
}

/// Returns the first and the last Unix second at which a certificate in DER is valid.
///
/// # Errors
/// `Malformed` when it is not a certificate.
pub fn validity(der: &[u8]) -> Result<(u64, u64), CertificateError> {
    Facts::read(der).map(|facts| (facts.not_before, facts.not_after))
}

/// Returns an anchor that borrows what another owns.
fn lent<'a>(anchor: &'a TrustAnchor<'_>) -> TrustAnchor<'a> {
    TrustAnchor {
        subject: Der::from_slice(&anchor.subject),
        subject_public_key_info: Der::from_slice(&anchor.subject_public_key_info),
        name_constraints: anchor.name_constraints.as_deref().map(Der::from_slice),
    }
}

/// Accepts a certificate without purposes, and one that is for IPsec or for either role in TLS (RFC 4945 §5.1.3.12).
struct IpsecUsage;

impl ExtendedKeyUsageValidator for IpsecUsage {
    fn validate(&self, iter: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let present = iter.collect::<Result<Vec<_>, _>>()?;
        if present.is_empty() || present.iter().any(|id| ACCEPTED_PURPOSES.contains(id)) {
            return Ok(());
        }
        Err(webpki::Error::RequiredEkuNotFoundContext(RequiredEkuNotFoundContext {
            required: KeyUsage::required_if_present(IPSEC_IKE),
            present: present.iter().map(KeyPurposeId::to_decoded_oid).collect(),
        }))
    }
}

//= RFC 4945 §5.1.3.2: if KeyUsage is present, digitalSignature or nonRepudiation must be set
fn check_key_usage(facts: &Facts<'_>) -> Result<(), CertificateError> {
    let signs = facts.key_usage()?.is_none_or(|usage| usage.digital_signature() || usage.non_repudiation());
    if signs { Ok(()) } else { Err(CertificateError::KeyUsage) }
}

/// Tells whether the subject, or a subject alternative name, is the identity. Wildcards name nobody.
fn names(facts: &Facts<'_>, identity: &Identity) -> Result<bool, CertificateError> {
    //= RFC 7296 §3.5: a distinguished name is the subject of the certificate
    if let Identity::Distinguished(name) = identity {
        return Ok(facts.subject().as_ref() == Some(name));
    }
    Ok(facts.names()?.is_some_and(|names| names.general_names.iter().any(|name| is_identity(name, identity))))
}

fn is_identity(name: &GeneralName<'_>, identity: &Identity) -> bool {
    match (identity, name) {
        (Identity::Fqdn(fqdn), GeneralName::DNSName(dns)) => dns.eq_ignore_ascii_case(fqdn.as_str()),
        (Identity::Email(email), GeneralName::RFC822Name(mailbox)) => same_mailbox(email, mailbox),
        (Identity::Address(IpAddr::V4(a)), GeneralName::IPAddress(bytes)) => *bytes == a.octets(),
        (Identity::Address(IpAddr::V6(a)), GeneralName::IPAddress(bytes)) => *bytes == a.octets(),
        _ => false,
    }
}

/// Compares the local part with case and the domain without (RFC 5280 §7.5).
fn same_mailbox(left: &str, right: &str) -> bool {
    match (left.rsplit_once('@'), right.rsplit_once('@')) {
        (Some((user, domain)), Some((other, host))) => user == other && domain.eq_ignore_ascii_case(host),
        _ => false,
    }
}

fn refuse_revoked(facts: &Facts<'_>, revoked: &BTreeSet<String>) -> Result<String, CertificateError> {
    let serial = facts.serial();
    if is_listed(&serial, revoked) { Err(CertificateError::Revoked(serial)) } else { Ok(serial) }
}

/// Tells whether a serial number is among others. Encoders differ in leading zeros, so neither side's count.
fn is_listed(serial: &str, revoked: &BTreeSet<String>) -> bool {
    revoked.iter().any(|entry| entry.trim_start_matches('0').eq_ignore_ascii_case(serial))
}

/// Tells apart for what reason a path is refused.
fn refusal(error: webpki::Error) -> CertificateError {
    if error == webpki::Error::CertRevoked {
        CertificateError::Listed
    } else if error == webpki::Error::UnknownRevocationStatus {
        CertificateError::NoList
    } else if matches!(error, webpki::Error::CrlExpired { .. }) {
        CertificateError::ListExpired
    } else {
        CertificateError::Path(error)
    }
}

/// Signatures that are verified, in certificates and in AUTH payloads.
pub(crate) const SIGNATURE_ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    algorithms::ECDSA_P256_SHA256,
    algorithms::ECDSA_P256_SHA384,
    algorithms::ECDSA_P256_SHA512,
    algorithms::ECDSA_P384_SHA256,
    algorithms::ECDSA_P384_SHA384,
    algorithms::ECDSA_P384_SHA512,
    algorithms::ED25519,
    algorithms::RSA_PKCS1_2048_8192_SHA256,
    algorithms::RSA_PKCS1_2048_8192_SHA384,
    algorithms::RSA_PKCS1_2048_8192_SHA512,
    //= RFC 7296 §4: RSA keys of certificates have 2048 bits or more
    algorithms::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
    algorithms::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
    algorithms::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
];

/// id-kp-ipsecIKE, 1.3.6.1.5.5.7.3.17.
const IPSEC_IKE: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x11];
const ACCEPTED_PURPOSES: [KeyPurposeId<'static>; 4] = [
    KeyPurposeId::new(IPSEC_IKE),
    KeyPurposeId::new(&[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01]), // serverAuth
    KeyPurposeId::new(&[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02]), // clientAuth
    KeyPurposeId::new(&[0x55, 0x1d, 0x25, 0x00]),                         // anyExtendedKeyUsage
];
/// The peer's certificate and three authorities below the root.
//= RFC 7296 §3.6: four certificates can be sent and accepted
const MAX_CHAIN: usize = 4;
/// An ordinary certificate has 1 KiB.
const MAX_CERTIFICATE: usize = 16 * 1024;

#[cfg(test)]
mod tests;
