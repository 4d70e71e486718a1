//! Join tokens as text: whom a new node may trust, and what it shows to be admitted.

use std::str::FromStr;

use thiserror::Error;

use crate::identity::DomainName;
use crate::secret::Secret;

/// A join token: `espalier1:<SHA-256 of the mesh's root certificate>:<trust domain>:<secret>`.
pub struct JoinToken {
    /// SHA-256 of the root certificate's DER: the controller that enrols must lie under it.
    pub fingerprint: [u8; 32],
    /// The domain of the mesh.
    pub trust_domain: DomainName,
    /// The whole text, which the controller knows by its hash.
    pub text: Secret,
}

/// A text that is not a join token. It never shows the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("this is not a join token: {0}")]
pub struct TokenError(&'static str);

impl FromStr for JoinToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        let parts: Vec<&str> = text.split(':').collect();
        let [form, fingerprint, domain, secret] = parts[..] else {
            return Err(TokenError("it has four parts with colons between them"));
        };
        if form != "espalier1" {
            return Err(TokenError("it begins with espalier1"));
        }
        if secret.len() < LEAST_SECRET {
            return Err(TokenError("its last part is cut off"));
        }
        let fingerprint = crate::entry::key::hex::read(fingerprint).and_then(|bytes| bytes.try_into().ok());
        Ok(Self {
            fingerprint: fingerprint.ok_or(TokenError("its second part is 64 hexadecimal digits"))?,
            trust_domain: domain.parse().map_err(|_| TokenError("its third part is a domain"))?,
            text: Secret::from(text.as_bytes()),
        })
    }
}

/// 32 bytes in base64.
const LEAST_SECRET: usize = 43;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_whole_or_not_at_all() {
        let (digits, secret) = ("0a".repeat(32), "s".repeat(43));
        let good = format!("espalier1:{digits}:mesh.example:{secret}");
        let token: JoinToken = format!(" {good}\n").parse().unwrap();
        assert_eq!((token.fingerprint, token.trust_domain.as_str()), ([10; 32], "mesh.example"));
        assert_eq!(token.text.expose(), good.as_bytes());
        for bad in ["", "espalier1", &good[..good.len() - 1], &good.replace("0a0a", "0a"), &good.replace("r1", "r2")] {
            let error = bad.parse::<JoinToken>().err().unwrap().to_string();
            assert!(error.contains("not a join token") && !error.contains(&secret[1..]), "{error}");
        }
    }
}
