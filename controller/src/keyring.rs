//! The key-encryption key, and what it seals: the private keys of the authorities, as the database holds them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
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
/// The key and some blanks.
const MOST_BYTES: usize = 256;

impl Kek {
    /// Reads the key from a file of mode 0600, and makes it where there is none.
    ///
    /// # Errors
    /// The file cannot serve.
    pub fn from_file(path: &Path) -> Result<Self, KeyringError> {
        let fail = |error| KeyringError::File(path.to_owned(), error);
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make(path)?;
                File::open(path)
            }
            opened => opened,
        };
        let file = file.map_err(fail)?;
        let mode = file.metadata().map_err(fail)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyringError::Open(path.to_owned(), mode));
        }
        let mut text = Zeroizing::new(String::with_capacity(MOST_BYTES));
        file.take(MOST_BYTES as u64).read_to_string(&mut text).map_err(fail)?;
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

/// Makes a key in a file that is not there yet, for good: what it seals outlives a power cut, and so must the key.
fn make(path: &Path) -> Result<(), KeyringError> {
    let fail = |error| KeyringError::File(path.to_owned(), error);
    let mut key = Zeroizing::new([0; LENGTH]);
    aws_lc_rs::rand::fill(&mut *key).map_err(|_| KeyringError::Cipher)?;
    let text = Zeroizing::new(BASE64_STANDARD.encode(*key));
    let folder = folder(path);
    fs::create_dir_all(folder).map_err(fail)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(fail)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.and_then(|()| File::open(folder)?.sync_all()).map_err(|error| {
        // Half a key would only be in the way of the next start, which reports what goes wrong itself.
        let _ = fs::remove_file(path);
        fail(error)
    })
}

/// Refuses a key that lies with the database: a stolen backup must not hold both.
///
/// # Errors
/// `Together` when both lie in one folder.
pub fn check_apart(database: &Path, kek: &Path) -> Result<(), KeyringError> {
    if real_folder(database) == real_folder(kek) {
        return Err(KeyringError::Together(database.to_owned(), kek.to_owned()));
    }
    Ok(())
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// Returns the folder that a path leads to through all links, as far as it exists yet.
fn real_folder(path: &Path) -> PathBuf {
    if let Ok(real) = path.canonicalize() {
        return folder(&real).to_owned();
    }
    let missing = std::path::absolute(folder(path)).unwrap_or_else(|_| folder(path).to_owned());
    let real = missing.ancestors().find_map(|ancestor| {
        let rest = missing.strip_prefix(ancestor).ok()?;
        Some(ancestor.canonicalize().ok()?.components().chain(rest.components()).collect())
    });
    real.unwrap_or(missing)
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

    #[test]
    fn one_folder_is_one_folder_by_whatever_path() {
        assert!(check_apart(Path::new("./espalier.db"), Path::new("kek")).is_err());
        let root = tempfile::tempdir().unwrap();
        let (state, link) = (root.path().join("state"), root.path().join("link"));
        let database = state.join("mesh/espalier.db");
        fs::create_dir(&state).unwrap();
        std::os::unix::fs::symlink(&state, &link).unwrap();
        assert!(check_apart(&database, &link.join("mesh/kek")).is_err(), "a folder that is not there yet");
        assert!(check_apart(&database, &link.join("kek")).is_ok());
        Kek::from_file(&state.join("kek")).unwrap();
        let elsewhere = root.path().join("kek");
        std::os::unix::fs::symlink(state.join("kek"), &elsewhere).unwrap();
        assert!(check_apart(&state.join("espalier.db"), &elsewhere).is_err(), "a link to a key beside the database");
    }

    #[test]
    fn a_key_file_that_holds_no_key_is_refused_and_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kek");
        for text in [String::new(), "c2hvcnQ=".to_owned(), "A".repeat(4_096)] {
            fs::write(&path, &text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            assert!(matches!(Kek::from_file(&path), Err(KeyringError::Form(_))), "{text}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}
