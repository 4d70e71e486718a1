//! Keys, certificates and shared secrets, read from the files that a plan names.

mod ppk;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use espalier_crypto::{CryptoError, SigningKey};
use espalier_ike::CertificateIdentity;
use espalier_model::secret::Secret;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use thiserror::Error;

pub use ppk::PpkFileError;

/// A file that cannot serve.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// It cannot be read.
    #[error("cannot read {}", .0.display())]
    Read(PathBuf, #[source] std::io::Error),
    /// Others can read a secret.
    #[error("{} is open to others (mode {:04o}): run chmod 600 on it", .0.display(), .1)]
    Open(PathBuf, u32),
    /// It holds no certificate.
    #[error("{0} holds no certificate in PEM")]
    NoCertificate(String),
    /// It holds no revocation list.
    #[error("{0} holds no revocation list in PEM")]
    NoList(String),
    /// It holds no usable key.
    #[error("{} cannot be used", .0.display())]
    Key(PathBuf, #[source] CryptoError),
    /// A shared secret of no bytes.
    #[error("{} is empty", .0.display())]
    Empty(PathBuf),
    /// A postquantum preshared key that cannot serve.
    #[error("{} is not a postquantum preshared key", .0.display())]
    Ppk(PathBuf, #[source] PpkFileError),
    /// `0x` without digits behind it, with half a byte or with something else.
    #[error("{} begins with 0x, but is not a secret in hexadecimal digits", .0.display())]
    Hexadecimal(PathBuf),
}

/// Reads a certificate chain and its key.
///
/// # Errors
/// The file that is wrong, and why.
pub fn certificate(chain: &Path, key: &Path) -> Result<CertificateIdentity, IdentityError> {
    let chain = certificates(&read(chain)?, &chain.display().to_string())?;
    let pem = secret_file(key)?;
    let pem = std::str::from_utf8(pem.expose()).unwrap_or_default();
    let key = SigningKey::from_pkcs8_pem(pem).map_err(|e| IdentityError::Key(key.to_owned(), e))?;
    Ok(CertificateIdentity { chain, key })
}

/// Reads a trusted certificate, given as PEM text or as the path of a file with it.
///
/// # Errors
/// The file that is wrong, and why.
pub fn trust(text_or_path: &str) -> Result<Vec<Vec<u8>>, IdentityError> {
    if text_or_path.trim_start().starts_with("-----BEGIN") {
        return certificates(text_or_path.as_bytes(), "the plan's trust");
    }
    certificates(&read(Path::new(text_or_path))?, text_or_path)
}

/// Reads revocation lists, given as PEM text or as the path of a file in PEM or DER.
///
/// # Errors
/// The file that is wrong, and why.
pub fn revocation_lists(text_or_path: &str) -> Result<Vec<Vec<u8>>, IdentityError> {
    let bytes = if text_or_path.trim_start().starts_with("-----BEGIN") {
        text_or_path.as_bytes().to_vec()
    } else {
        read(Path::new(text_or_path))?
    };
    if !bytes.starts_with(b"-----BEGIN") {
        return Ok(vec![bytes]);
    }
    let all: Result<Vec<_>, _> =
        CertificateRevocationListDer::pem_slice_iter(&bytes).map(|l| l.map(|l| l.to_vec())).collect();
    all.ok().filter(|list| !list.is_empty()).ok_or_else(|| IdentityError::NoList(text_or_path.to_owned()))
}

/// Reads a shared secret. One newline at its end does not count.
///
/// # Errors
/// The file that is wrong, and why.
pub fn shared_secret(path: &Path) -> Result<Secret, IdentityError> {
    let secret = secret_file(path)?;
    let bytes = secret.expose();
    match bytes.strip_suffix(b"\n").unwrap_or(bytes) {
        [] => Err(IdentityError::Empty(path.to_owned())),
        text => secret_of(text).ok_or_else(|| IdentityError::Hexadecimal(path.to_owned())),
    }
}

/// Reads a postquantum preshared key, written as strongSwan's `secret` is. One newline at its end does not count.
///
/// # Errors
/// The file that is wrong, and why.
pub fn postquantum_key(path: &Path) -> Result<Secret, IdentityError> {
    let secret = secret_file(path)?;
    ppk::read(secret.expose()).map_err(|e| IdentityError::Ppk(path.to_owned(), e))
}

/// Returns the bytes that a text stands for, or nothing for `0x` with something else behind it than pairs of digits.
fn secret_of(text: &[u8]) -> Option<Secret> {
    //= RFC 7296 §2.15: a shared secret is text as it stands, or hexadecimal digits behind 0x
    let Some(digits) = text.strip_prefix(b"0x") else { return Some(Secret::from(text)) };
    ppk::hex(digits).filter(|bytes| !bytes.is_empty()).map(|bytes| Secret::from(bytes.as_slice()))
}

fn certificates(pem: &[u8], name: &str) -> Result<Vec<Vec<u8>>, IdentityError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).map(|c| c.map(|c| c.to_vec())).collect();
    all.ok().filter(|list| !list.is_empty()).ok_or_else(|| IdentityError::NoCertificate(name.to_owned()))
}

fn secret_file(path: &Path) -> Result<Secret, IdentityError> {
    let metadata = fs::metadata(path).map_err(|e| IdentityError::Read(path.to_owned(), e))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(IdentityError::Open(path.to_owned(), mode));
    }
    read(path).map(Secret::new)
}

fn read(path: &Path) -> Result<Vec<u8>, IdentityError> {
    fs::read(path).map_err(|e| IdentityError::Read(path.to_owned(), e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_secret_is_text_or_hexadecimal() {
        let read = |text: &[u8]| secret_of(text).map(|secret| secret.expose().to_vec());
        let long = b"correct horse battery staple, and twice as long as anybody would ever type it by hand";
        assert!(long.len() > 64);
        assert_eq!(read(long).unwrap(), long, "nothing is added");
        assert_eq!(read(b"0x00ff10Ab").unwrap(), [0, 0xff, 0x10, 0xab]);
        for wrong in ["0x", "0xf", "0xfff", "0xfg", "0x 1"] {
            assert_eq!(read(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(read(b"x0ff").unwrap(), b"x0ff");
    }
}
