//! The mesh's own certificate authority: a root for ten years, an issuing authority, and leaves.

mod csr;
mod leaf;
mod signer;

use std::time::Duration;

use espalier_model::identity::DomainName;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use thiserror::Error;
use time::OffsetDateTime;
use zeroize::Zeroizing;

pub use csr::CsrError;
pub use leaf::{Issued, IssuedNode};
pub use signer::PlanSigner;

/// The two authorities of a mesh.
pub struct Authority {
    trust_domain: DomainName,
    root: CertificateDer<'static>,
    issuing: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
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
    /// The stored certificate cannot be read.
    #[error("the stored certificate of the issuing authority cannot be read")]
    Stored,
    /// The issuing authority has ended.
    #[error("the issuing authority has ended: it can sign nothing any more")]
    Ended,
}

const ROOT_LIFE: Duration = Duration::from_secs(3652 * 86_400);
const ISSUING_LIFE: Duration = Duration::from_secs(90 * 86_400);
/// Clocks of nodes may be behind by this much.
const BACKDATE: Duration = Duration::from_secs(300);

impl Authority {
    /// Makes root and issuing authority. The parts go into a store, sealed.
    ///
    /// # Errors
    /// No key can be made.
    pub fn create(trust_domain: &DomainName, now: OffsetDateTime) -> Result<(Self, AuthoritiesParts), PkiError> {
        let (root_key, key) = (KeyPair::generate()?, KeyPair::generate()?);
        let root_params = authority_params(trust_domain, "root", 1, now, ROOT_LIFE);
        let root = root_params.self_signed(&root_key)?.der().to_vec();
        let params = authority_params(trust_domain, "issuing authority", 0, now, ISSUING_LIFE);
        let root_der = Zeroizing::new(root_key.serialize_der());
        let issuing = params.signed_by(&key, &Issuer::new(root_params, root_key))?.der().to_vec();
        let parts = AuthoritiesParts {
            root: AuthorityParts { certificate: root, key: root_der },
            issuing: AuthorityParts { certificate: issuing, key: Zeroizing::new(key.serialize_der()) },
        };
        let authority = Self::from_parts(trust_domain, parts.root.certificate.clone(), &parts.issuing)?;
        Ok((authority, parts))
    }

    /// Reads the authorities back. The root's key is not needed: it signs nothing but issuing authorities.
    ///
    /// # Errors
    /// What is stored cannot be read.
    pub fn from_parts(trust_domain: &DomainName, root: Vec<u8>, issuing: &AuthorityParts) -> Result<Self, PkiError> {
        let der = CertificateDer::from(issuing.certificate.clone());
        let key = PrivatePkcs8KeyDer::from(issuing.key.as_slice());
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ECDSA_P256_SHA256)?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).map_err(|_| PkiError::Stored)?;
        let ends = parsed.validity().not_after.to_datetime();
        let issuer = Issuer::from_ca_cert_der(&der, key)?;
        Ok(Self { trust_domain: trust_domain.clone(), root: root.into(), issuing: der, issuer, ends })
    }

    /// Makes the next issuing authority under the same root: what the root has signed before stays good.
    ///
    /// # Errors
    /// The root cannot be read.
    pub fn next_issuing(
        trust_domain: &DomainName,
        root: &AuthorityParts,
        now: OffsetDateTime,
    ) -> Result<AuthorityParts, PkiError> {
        let root_key = PrivatePkcs8KeyDer::from(root.key.as_slice());
        let root_key = KeyPair::from_pkcs8_der_and_sign_algo(&root_key, &PKCS_ECDSA_P256_SHA256)?;
        let root = Issuer::from_ca_cert_der(&CertificateDer::from(root.certificate.as_slice()), root_key)?;
        let key = KeyPair::generate()?;
        let params = authority_params(trust_domain, "issuing authority", 0, now, ISSUING_LIFE);
        let certificate = params.signed_by(&key, &root)?.der().to_vec();
        Ok(AuthorityParts { certificate, key: Zeroizing::new(key.serialize_der()) })
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

fn authority_params(
    trust_domain: &DomainName,
    role: &str,
    below: u8,
    now: OffsetDateTime,
    life: Duration,
) -> CertificateParams {
    let mut params = CertificateParams::default();
    (params.not_before, params.not_after) = (now - BACKDATE, now + life);
    params.distinguished_name.push(DnType::OrganizationName, trust_domain.as_str());
    params.distinguished_name.push(DnType::CommonName, format!("Espalier {role}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    params
}

#[cfg(test)]
mod tests;
