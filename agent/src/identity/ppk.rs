//! The text of a postquantum preshared key: the same as strongSwan takes for `secrets.ppk.secret`, so that one file serves both.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use espalier_model::secret::Secret;
use thiserror::Error;
use zeroize::Zeroizing;

/// A text that is no postquantum preshared key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PpkFileError {
    /// `0x`, but not pairs of hexadecimal digits.
    #[error("what follows 0x is not pairs of hexadecimal digits")]
    Hex,
    /// `0s`, but not base64.
    #[error("what follows 0s is not base64")]
    Base64,
    /// It can be guessed.
    #[error("it holds {0} bits at most, and 256 are needed: make one with `echo 0s$(openssl rand -base64 32)`")]
    Weak(usize),
}

/// Reads the text; one newline at its end does not count.
pub(super) fn read(text: &[u8]) -> Result<Secret, PpkFileError> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let key = match text {
        [b'0', b'x', digits @ ..] => hex(digits).ok_or(PpkFileError::Hex)?,
        [b'0', b's', code @ ..] => Zeroizing::new(STANDARD.decode(code).map_err(|_| PpkFileError::Base64)?),
        bytes => Zeroizing::new(bytes.to_vec()),
    };
    //= RFC 8784 §6: a PPK holds at least 256 bits of entropy
    let bits = key.len() * bits_each(&key);
    if bits < LEAST_BITS { Err(PpkFileError::Weak(bits)) } else { Ok(Secret::from(key.as_slice())) }
}

/// Returns how many bits a byte of a key holds at most: digits and letters hold less than bytes of any value.
fn bits_each(key: &[u8]) -> usize {
    if key.iter().all(u8::is_ascii_hexdigit) {
        4
    } else if key.iter().all(|b| b.is_ascii_graphic() || *b == b' ') {
        6
    } else {
        8
    }
}

/// Reads pairs of hexadecimal digits.
pub(super) fn hex(digits: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    let bytes: Option<Vec<u8>> = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    bytes.map(Zeroizing::new)
}

const LEAST_BITS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Result<Vec<u8>, PpkFileError> {
        read(text.as_bytes()).map(|key| key.expose().to_vec())
    }

    #[test]
    fn one_key_may_be_written_as_base64_or_in_hexadecimal_digits() {
        let bytes: Vec<u8> = (100..132).chain([200]).collect();
        let digits: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        for text in
            [format!("0x{digits}"), format!("0x{}\n", digits.to_uppercase()), format!("0s{}", STANDARD.encode(&bytes))]
        {
            assert_eq!(key(&text).as_deref(), Ok(&bytes[..]), "{text}");
        }
        let text = "some text of forty-three characters is fine";
        assert_eq!(key(&format!("{text}\n")).as_deref(), Ok(text.as_bytes()));
    }

    #[test]
    fn a_key_that_can_be_guessed_or_misread_is_refused() {
        assert_eq!(key(""), Err(PpkFileError::Weak(0)));
        assert_eq!(key("0x"), Err(PpkFileError::Weak(0)));
        assert_eq!(key(&"ab".repeat(31)), Err(PpkFileError::Weak(248)));
        assert!(key(&"ab".repeat(32)).is_ok());
        assert_eq!(key("this text has only forty characters, see"), Err(PpkFileError::Weak(240)));
        assert_eq!(key(&format!("0x{}", "80".repeat(31))), Err(PpkFileError::Weak(248)));
        assert_eq!(key(&format!("0x{}8", "80".repeat(32))), Err(PpkFileError::Hex));
        assert_eq!(key(&format!("0x{}zz", "80".repeat(32))), Err(PpkFileError::Hex));
        assert_eq!(key("0s*"), Err(PpkFileError::Base64));
    }
}
