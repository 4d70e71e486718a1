//! Leaves: the controller's own, and the nodes'.

use std::time::Duration;

use espalier_model::identity::Name;
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType, SerialNumber,
    SubjectPublicKeyInfo,
};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::csr::{self, Names};
use super::key::PrivateKey;
use super::{Authority, BACKDATE, PkiError};

/// A certificate with its chain, and its key as PKCS#8, all DER.
pub struct Issued {
    /// The certificate, then the issuing ones.
    pub chain: Vec<Vec<u8>>,
    /// The key.
    pub key: Zeroizing<Vec<u8>>,
}

/// The certificate of a node.
#[derive(Clone, Debug)]
pub struct IssuedNode {
    /// The certificate, then the issuing ones, DER.
    pub chain: Vec<Vec<u8>>,
    /// Its serial number, lower-case hexadecimal.
    pub serial: String,
    /// When it ends.
    pub not_after: OffsetDateTime,
    /// The SHA-256 of its public key.
    pub key_hash: Vec<u8>,
}

const NODE_LIFE: Duration = Duration::from_secs(72 * 3_600);
const CONTROLLER_LIFE: Duration = Duration::from_secs(30 * 86_400);
/// id-kp-ipsecIKE (RFC 4945 §5.1.3.12).
const IPSEC_IKE: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 3, 17];

impl Authority {
    /// Makes the controller's own certificate, for the names and addresses at which it is reached and for the one that agents check.
    ///
    /// # Errors
    /// A name that a certificate cannot hold, or an authority that has ended.
    pub fn issue_controller(&self, names: &[String], now: OffsetDateTime) -> Result<Issued, PkiError> {
        let mut params = CertificateParams::new(names.to_vec())?;
        let domain = self.trust_domain.as_str();
        params.subject_alt_names.push(SanType::DnsName(csr::controller_name(domain).as_str().try_into()?));
        params.subject_alt_names.push(SanType::URI(csr::controller_uri(domain).as_str().try_into()?));
        params.distinguished_name.push(DnType::CommonName, "Espalier controller");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params, now, CONTROLLER_LIFE)
    }

    /// Makes the certificate of whoever signs plans.
    ///
    /// # Errors
    /// An authority that has ended.
    pub fn issue_plan_signer(&self, now: OffsetDateTime) -> Result<Issued, PkiError> {
        let mut params = CertificateParams::default();
        let domain = self.trust_domain.as_str();
        params.subject_alt_names.push(SanType::DnsName(csr::plan_signer_name(domain).as_str().try_into()?));
        params.subject_alt_names.push(SanType::URI(csr::plan_signer_uri(domain).as_str().try_into()?));
        params.distinguished_name.push(DnType::CommonName, "Espalier plan signer");
        self.issue(params, now, super::ISSUING_LIFE)
    }

    /// Grants the request of a node. Nothing but its public key is taken over.
    ///
    /// # Errors
    /// The request is not this node's to make; see [`super::CsrError`].
    pub fn issue_node(&self, name: &Name, request: &[u8], now: OffsetDateTime) -> Result<IssuedNode, PkiError> {
        let names = Names::of_node(name, self.trust_domain.as_str());
        let spki = csr::check(request, &names)?;
        let key = SubjectPublicKeyInfo::from_der(&spki)?;
        let mut params = CertificateParams::default();
        // The whole identity may be longer than a common name can be (64 characters); peers look at the alternative names.
        params.distinguished_name.push(DnType::CommonName, name.as_str());
        params.subject_alt_names =
            vec![SanType::DnsName(names.dns.as_str().try_into()?), SanType::URI(names.uri.as_str().try_into()?)];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::Other(IPSEC_IKE.to_vec())];
        let serial = self.fill(&mut params, now, NODE_LIFE)?;
        let not_after = params.not_after;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let key_hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &spki).as_ref().to_vec();
        Ok(IssuedNode { chain: self.chain(certificate.der()), serial, not_after, key_hash })
    }

    fn issue(&self, mut params: CertificateParams, now: OffsetDateTime, life: Duration) -> Result<Issued, PkiError> {
        self.fill(&mut params, now, life)?;
        let key = PrivateKey::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued { chain: self.chain(certificate.der()), key: key.to_der()? })
    }

    /// Fills in what every leaf has, and returns its serial number.
    fn fill(&self, params: &mut CertificateParams, now: OffsetDateTime, life: Duration) -> Result<String, PkiError> {
        if now >= self.ends {
            return Err(PkiError::Ended("issuing authority"));
        }
        (params.not_before, params.not_after) = (now - BACKDATE, (now + life).min(self.ends));
        // Said outright, for rcgen writes the identifier of the key with it.
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let mut serial = [0; 16];
        aws_lc_rs::rand::fill(&mut serial).map_err(|_| PkiError::Key)?;
        // Positive, and of full length (RFC 5280 §4.1.2.2).
        if let Some(first) = serial.first_mut() {
            *first = (*first & 0x7f) | 0x40;
        }
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        Ok(serial.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}
