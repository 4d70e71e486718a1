//! The mesh's own certificate authority: a root for ten years, an issuing authority, and leaves.

mod csr;
mod key;
mod leaf;
mod signer;

use std::time::Duration;

use espalier_model::identity::DomainName;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyUsagePurpose, PublicKeyData};
use rustls_pki_types::CertificateDer;
use thiserror::Error;
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use zeroize::Zeroizing;

use key::PrivateKey;

pub use csr::CsrError;
pub use leaf::{Issued, IssuedNode};
pub use signer::PlanSigner;

/// The two authorities of a mesh.
pub struct Authority {
    trust_domain: DomainName,
    root: CertificateDer<'static>,
    issuing: CertificateDer<'static>,
    issuer: Issuer<'static, PrivateKey>,
    ends: OffsetDateTime,
}

/// An authority's certificate and private key, PKCS#8, both DER.
pub struct AuthorityParts {
    /// The certificate.
    pub certificate: Vec<u8>,
    /// The key.
    pub key: Zeroizing<Vec<u8>>,
}

/// Both authorities, as a store keeps them.
pub struct AuthoritiesParts {
    /// The root.
    pub root: AuthorityParts,
    /// The issuing authority.
    pub issuing: AuthorityParts,
}

/// An authority that cannot be made or read.
#[derive(Debug, Error)]
pub enum PkiError {
    /// The library refused.
    #[error("certificate cannot be made")]
    Make(#[from] rcgen::Error),
    /// The request cannot be granted.
    #[error(transparent)]
    Csr(#[from] CsrError),
    /// The system makes no key or signature.
    #[error("the system makes no key: is there a source of randomness?")]
    Key,
    /// The name of the mesh does not fit into a certificate; carries its length.
    #[error("the trust domain has {0} bytes: certificates hold at most {MOST_DOMAIN}, choose a shorter one")]
    Domain(usize),
    /// What is stored cannot be read, or does not belong together.
    #[error(
        "the stored authority does not serve: root, issuing certificate and key must be of one another, restore them from a backup"
    )]
    Stored,
    /// An authority has ended.
    #[error("the {0} has ended: it can sign nothing any more")]
    Ended(&'static str),
}

const ROOT_LIFE: Duration = Duration::from_secs(3652 * 86_400);
const ISSUING_LIFE: Duration = Duration::from_secs(90 * 86_400);
/// Clocks of nodes may be behind by this much.
const BACKDATE: Duration = Duration::from_secs(300);
/// An organization name has at most 64 characters (RFC 5280 appendix A.1); every name of a node then fits into DNS, too.
const MOST_DOMAIN: usize = 64;

impl Authority {
    /// Makes root and issuing authority. The parts go into a store, sealed.
    ///
    /// # Errors
    /// A trust domain that is too long, or no key can be made.
    pub fn create(trust_domain: &DomainName, now: OffsetDateTime) -> Result<(Self, AuthoritiesParts), PkiError> {
        let length = trust_domain.as_str().len();
        if length > MOST_DOMAIN {
            return Err(PkiError::Domain(length));
        }
        let key = PrivateKey::generate()?;
        let params = authority_params(trust_domain, "root", 1, now - BACKDATE, now + ROOT_LIFE);
        let root = AuthorityParts { certificate: params.self_signed(&key)?.der().to_vec(), key: key.to_der()? };
        let issuing = Self::next_issuing(trust_domain, &root, now)?;
        let authority = Self::from_parts(trust_domain, root.certificate.clone(), &issuing)?;
        Ok((authority, AuthoritiesParts { root, issuing }))
    }

    /// Reads the authorities back. The root's key is not needed: it signs nothing but issuing authorities.
    ///
    /// # Errors
    /// What is stored cannot be read, or does not belong together.
    pub fn from_parts(trust_domain: &DomainName, root: Vec<u8>, issuing: &AuthorityParts) -> Result<Self, PkiError> {
        let der = CertificateDer::from(issuing.certificate.clone());
        let key = read_key(issuing)?;
        let parsed = read(&der)?;
        parsed.verify_signature(Some(read(&root)?.public_key())).map_err(|_| PkiError::Stored)?;
        let ends = parsed.validity().not_after.to_datetime();
        let issuer = Issuer::from_ca_cert_der(&der, key)?;
        Ok(Self { trust_domain: trust_domain.clone(), root: root.into(), issuing: der, issuer, ends })
    }

    /// Makes the next issuing authority under the same root: what the root has signed before stays good.
    ///
    /// # Errors
    /// The root cannot be read, or has ended.
    pub fn next_issuing(
        trust_domain: &DomainName,
        root: &AuthorityParts,
        now: OffsetDateTime,
    ) -> Result<AuthorityParts, PkiError> {
        let root_ends = read(&root.certificate)?.validity().not_after.to_datetime();
        if now >= root_ends {
            return Err(PkiError::Ended("root authority"));
        }
        let root_certificate = CertificateDer::from(root.certificate.as_slice());
        let issuer = Issuer::from_ca_cert_der(&root_certificate, read_key(root)?)?;
        let key = PrivateKey::generate()?;
        let ends = (now + ISSUING_LIFE).min(root_ends);
        let params = authority_params(trust_domain, "issuing authority", 0, now - BACKDATE, ends);
        Ok(AuthorityParts { certificate: params.signed_by(&key, &issuer)?.der().to_vec(), key: key.to_der()? })
    }

    /// Tells whether half of the issuing authority's life has passed.
    #[must_use]
    pub fn is_due(&self, now: OffsetDateTime) -> bool {
        now + ISSUING_LIFE / 2 >= self.ends
    }

    /// Returns the domain that every name ends in.
    #[must_use]
    pub const fn trust_domain(&self) -> &DomainName {
        &self.trust_domain
    }

    /// Returns the root's certificate, DER.
    #[must_use]
    pub fn root(&self) -> &[u8] {
        &self.root
    }

    /// Returns the root's certificate, PEM.
    #[must_use]
    pub fn root_pem(&self) -> String {
        pem(&self.root)
    }

    fn chain(&self, leaf: &[u8]) -> Vec<Vec<u8>> {
        vec![leaf.to_vec(), self.issuing.to_vec()]
    }
}

/// Writes a certificate as PEM.
#[must_use]
pub fn pem(der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::prelude::BASE64_STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

fn read(der: &[u8]) -> Result<X509Certificate<'_>, PkiError> {
    x509_parser::parse_x509_certificate(der).map(|(_, certificate)| certificate).map_err(|_| PkiError::Stored)
}

/// Reads the key of an authority: the one that its certificate names.
fn read_key(parts: &AuthorityParts) -> Result<PrivateKey, PkiError> {
    let key = PrivateKey::read(&parts.key)?;
    let named = read(&parts.certificate)?.public_key().raw == key.subject_public_key_info();
    if named { Ok(key) } else { Err(PkiError::Stored) }
}

fn authority_params(
    trust_domain: &DomainName,
    role: &str,
    below: u8,
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
) -> CertificateParams {
    let mut params = CertificateParams::default();
    (params.not_before, params.not_after) = (not_before, not_after);
    params.distinguished_name.push(DnType::OrganizationName, trust_domain.as_str());
    params.distinguished_name.push(DnType::CommonName, format!("Espalier {role}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    params
}

#[cfg(test)]
mod tests;
