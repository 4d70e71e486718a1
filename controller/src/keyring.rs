//! The key-encryption key, and what it seals: the private keys of the authorities, as the database holds them.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use thiserror::Error;
use zeroize::Zeroizing;

/// A key of AES-256-GCM that never leaves the controller.
pub struct Kek(RandomizedNonceKey);

/// A key that cannot serve, or a secret that it does not open.
#[derive(Debug, Error)]
pub enum KeyringError {
    /// The file cannot be read or made.
    #[error("key-encryption key {}", .0.display())]
    File(PathBuf, #[source] io::Error),
    /// Others can read it.
    #[error("key-encryption key {} is open to others (mode {:04o}): run chmod 600 on it", .0.display(), .1)]
    Open(PathBuf, u32),
    /// It is not 32 bytes in base64.
    #[error("the key-encryption key from {0} is not 32 bytes in base64")]
    Form(String),
    /// It is not the one under which the secret was sealed, or the database was changed.
    #[error("the {0} key in the database does not open: is the key-encryption key the one of this database?")]
    Wrong(String),
    /// Who takes the database takes the key.
    #[error("{} and {} lie in one folder: keep the key-encryption key apart from the database", .0.display(), .1.display())]
    Together(PathBuf, PathBuf),
    /// The cipher failed.
    #[error("the secret cannot be sealed")]
    Cipher,
}

const LENGTH: usize = 32;
const VERSION: u8 = 1;

impl Kek {
    /// Reads the key from a file of mode 0600, and makes it where there is none.
    ///
    /// # Errors
    /// The file cannot serve.
    pub fn from_file(path: &Path) -> Result<Self, KeyringError> {
        let fail = |error| KeyringError::File(path.to_owned(), error);
        if !path.exists() {
            let mut key = Zeroizing::new([0; LENGTH]);
            aws_lc_rs::rand::fill(&mut *key).map_err(|_| KeyringError::Cipher)?;
            let text = Zeroizing::new(BASE64_STANDARD.encode(*key));
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder).map_err(fail)?;
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(fail)?;
            file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(fail)?;
        }
        let mode = fs::metadata(path).map_err(fail)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyringError::Open(path.to_owned(), mode));
        }
        let text = Zeroizing::new(fs::read_to_string(path).map_err(fail)?);
        Self::from_base64(&text, &path.display().to_string())
    }

    /// Reads the key from base64; `source` names where the text comes from.
    ///
    /// # Errors
    /// It is not 32 bytes.
    pub fn from_base64(text: &str, source: &str) -> Result<Self, KeyringError> {
        let wrong = || KeyringError::Form(source.to_owned());
        let key = Zeroizing::new(BASE64_STANDARD.decode(text.trim()).map_err(|_| wrong())?);
        RandomizedNonceKey::new(&AES_256_GCM, &key).map(Self).map_err(|_| wrong())
    }

    /// Encrypts a secret; `kind` must be given again to open it.
    ///
    /// # Errors
    /// The cipher failed.
    pub fn seal(&self, kind: &str, secret: &[u8]) -> Result<Vec<u8>, KeyringError> {
        let mut sealed = Zeroizing::new(secret.to_vec());
        let nonce = self.0.seal_in_place_append_tag(Aad::from(kind), &mut *sealed).map_err(|_| KeyringError::Cipher)?;
        Ok([&[VERSION][..], nonce.as_ref(), &sealed].concat())
    }

    /// Decrypts a secret.
    ///
    /// # Errors
    /// `Wrong` unless it was sealed under this key and for this kind.
    pub fn open(&self, kind: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyringError> {
        let wrong = || KeyringError::Wrong(kind.to_owned());
        let Some((&VERSION, rest)) = sealed.split_first() else { return Err(wrong()) };
        let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>().ok_or_else(wrong)?;
        let mut body = Zeroizing::new(body.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self.0.open_in_place(nonce, Aad::from(kind), &mut body).map_err(|_| wrong())?.len();
        body.truncate(length);
        Ok(body)
    }
}

/// Refuses a key that lies with the database: a stolen backup must not hold both.
///
/// # Errors
/// `Together` when both lie in one folder.
pub fn check_apart(database: &Path, kek: &Path) -> Result<(), KeyringError> {
    let folder = |path: &Path| {
        let folder = path.parent().unwrap_or_else(|| Path::new("."));
        folder.canonicalize().unwrap_or_else(|_| folder.to_owned())
    };
    if folder(database) == folder(kek) {
        return Err(KeyringError::Together(database.to_owned(), kek.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_under_its_key_and_kind_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("etc/kek");
        let kek = Kek::from_file(&path).unwrap();
        let sealed = kek.seal("root", b"secret").unwrap();
        assert_ne!(sealed, kek.seal("root", b"secret").unwrap(), "each sealing has its own nonce");
        assert_eq!(*Kek::from_file(&path).unwrap().open("root", &sealed).unwrap(), b"secret");
        assert!(matches!(kek.open("issuing", &sealed), Err(KeyringError::Wrong(_))));
        let other = Kek::from_file(&folder.path().join("other")).unwrap();
        let error = other.open("root", &sealed).err().unwrap().to_string();
        assert!(error.contains("is the key-encryption key the one of this database"), "{error}");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(kek.open("root", &changed).is_err());
            assert!(kek.open("root", &sealed[..at]).is_err());
        }
    }

    #[test]
    fn a_key_that_others_read_or_that_lies_with_the_database_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kek");
        Kek::from_file(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = Kek::from_file(&path).err().unwrap().to_string();
        assert!(error.contains("0640") && error.contains("chmod 600"), "{error}");
        assert!(check_apart(&folder.path().join("espalier.db"), &path).is_err());
        assert!(check_apart(Path::new("/nowhere/espalier.db"), &path).is_ok());
        assert!(Kek::from_base64("c2hvcnQ=", "ESPALIER_KEK").is_err());
    }
}
