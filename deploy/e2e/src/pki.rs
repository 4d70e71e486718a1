//! A small public key infrastructure: a root, an issuing authority, and leaves for hosts.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, RevokedCertParams, SanType, SerialNumber,
};
use time::{Duration, OffsetDateTime};

/// The two authorities.
pub struct Pki {
    root: String,
    issuing: String,
    issuer: Issuer<'static, KeyPair>,
}

/// The kind of a leaf's key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA P-256.
    #[default]
    P256,
    /// ECDSA P-384.
    P384,
    /// Ed25519.
    Ed25519,
    /// RSA with 2,048 bits.
    Rsa,
}

/// What a leaf says.
#[derive(Clone, Copy, Debug)]
pub struct Leaf<'a> {
    /// The host name that it is for.
    pub name: &'a str,
    /// The organisation, of Switzerland, that stands before the name in the subject; then the subject is all that names the host.
    pub organisation: Option<&'a str>,
    /// The kind of its key.
    pub kind: KeyKind,
    /// Whether its life has ended.
    pub expired: bool,
    /// Its serial number; a random one without.
    pub serial: Option<u64>,
    /// Bytes that make it longer, in an extension that nobody knows.
    pub padding: usize,
}

impl<'a> Leaf<'a> {
    /// Describes the leaf that is good for a host name.
    #[must_use]
    pub const fn of(name: &'a str) -> Self {
        Self { name, organisation: None, kind: KeyKind::P256, expired: false, serial: None, padding: 0 }
    }
}

impl Pki {
    /// Makes a root and an issuing authority, both of ECDSA P-256.
    ///
    /// # Errors
    /// A key cannot be made.
    pub fn new() -> Result<Self> {
        Self::padded(0)
    }

    /// Makes both, the issuing authority's certificate longer by so many bytes.
    ///
    /// # Errors
    /// A key cannot be made.
    pub fn padded(padding: usize) -> Result<Self> {
        let (root_key, key) = (KeyPair::generate()?, KeyPair::generate()?);
        let root_params = authority("Test Root");
        let root = root_params.self_signed(&root_key)?.pem();
        let mut params = authority("Test Issuing Authority");
        params.custom_extensions = padded(padding);
        let issuing = params.signed_by(&key, &Issuer::new(root_params, root_key))?.pem();
        Ok(Self { root, issuing, issuer: Issuer::new(params, key) })
    }

    /// Returns the root's certificate, PEM.
    #[must_use]
    pub fn root(&self) -> &str {
        &self.root
    }

    /// Returns the issuing authority's certificate, PEM.
    #[must_use]
    pub fn issuing(&self) -> &str {
        &self.issuing
    }

    /// Makes a leaf for a host name. Returns its certificate and its key, PEM.
    ///
    /// # Errors
    /// A key cannot be made.
    pub fn leaf(&self, name: &str) -> Result<(String, String)> {
        self.issue(Leaf::of(name))
    }

    /// Makes a leaf. Returns its certificate and its key, PEM.
    ///
    /// # Errors
    /// A key cannot be made.
    pub fn issue(&self, leaf: Leaf<'_>) -> Result<(String, String)> {
        let key = KeyPair::generate_for(match leaf.kind {
            KeyKind::P256 => &PKCS_ECDSA_P256_SHA256,
            KeyKind::P384 => &PKCS_ECDSA_P384_SHA384,
            KeyKind::Ed25519 => &PKCS_ED25519,
            KeyKind::Rsa => &PKCS_RSA_SHA256,
        })?;
        let mut params = CertificateParams::new(Vec::new())?;
        lifetime(&mut params);
        if leaf.expired {
            params.not_after = params.not_before + Duration::minutes(1);
        }
        params.serial_number = leaf.serial.map(SerialNumber::from);
        params.distinguished_name = DistinguishedName::new();
        if let Some(organisation) = leaf.organisation {
            params.distinguished_name.push(DnType::CountryName, "CH");
            params.distinguished_name.push(DnType::OrganizationName, organisation);
        } else {
            params.subject_alt_names = vec![SanType::DnsName(leaf.name.try_into()?)];
        }
        params.distinguished_name.push(DnType::CommonName, leaf.name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 5, 5, 7, 3, 17])];
        params.use_authority_key_identifier_extension = true;
        params.custom_extensions = padded(leaf.padding);
        Ok((params.signed_by(&key, &self.issuer)?.pem(), key.serialize_pem()))
    }

    /// Makes a list of revoked leaves by their serial numbers, PEM. One that has `ended` should have been replaced by now.
    ///
    /// # Errors
    /// The list cannot be signed.
    pub fn revocation_list(&self, serials: &[u64], ended: bool) -> Result<String> {
        let now = OffsetDateTime::now_utc();
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: now - Duration::minutes(1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: now - Duration::minutes(30),
            next_update: if ended { now - Duration::minutes(1) } else { now + Duration::days(1) },
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(params.signed_by(&self.issuer)?.pem()?)
    }
}

/// Writes a file that only root reads.
///
/// # Errors
/// What the file system says.
pub fn write_secret(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o600))?)
}

/// Returns an extension of an unknown kind with an octet string of so many bytes; none where there are none.
fn padded(bytes: usize) -> Vec<CustomExtension> {
    let Some(length) = u16::try_from(bytes).ok().filter(|length| *length > 0) else { return Vec::new() };
    let octets = [&[0x04, 0x82], &length.to_be_bytes()[..], &vec![0; bytes]].concat();
    vec![CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 55_555, 1], octets)]
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    lifetime(&mut params);
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    params
}

fn lifetime(params: &mut CertificateParams) {
    let now = OffsetDateTime::now_utc();
    (params.not_before, params.not_after) = (now - Duration::hours(1), now + Duration::days(1));
}
