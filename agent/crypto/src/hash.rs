//! Hashes, HMAC as a pseudo-random function, comparison and randomness.

use aws_lc_rs::digest::{self, Context};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use espalier_model::secret::Secret;
use espalier_model::suite::Prf;
use ring::hmac;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::CryptoError;

/// Computes HMAC over the parts, one after the other (RFC 4868).
#[must_use]
pub fn prf(algorithm: Prf, key: &[u8], parts: &[&[u8]]) -> Secret {
    Secret::from(mac(&hmac::Key::new(hmac_of(algorithm), key), parts).as_ref())
}

/// Computes prf+ over the seed's parts, `len` bytes (RFC 7296 §2.13).
///
/// # Errors
/// `KeymatLength` beyond 255 blocks.
pub fn prf_plus(algorithm: Prf, key: &[u8], seed: &[&[u8]], len: usize) -> Result<Secret, CryptoError> {
    let key = hmac::Key::new(hmac_of(algorithm), key);
    let mut output = Zeroizing::new(Vec::with_capacity(len.next_multiple_of(algorithm.output_len())));
    //= RFC 7296 §2.13: prf+ chains its blocks, counted in one byte, and has no more than 255
    for counter in 1..=u8::MAX {
        if output.len() >= len {
            break;
        }
        let mut context = hmac::Context::with_key(&key);
        let last = output.len().saturating_sub(algorithm.output_len());
        context.update(output.get(last..).unwrap_or_default());
        seed.iter().for_each(|part| context.update(part));
        context.update(&[counter]);
        output.extend_from_slice(context.sign().as_ref());
    }
    output.get(..len).map(Secret::from).ok_or(CryptoError::KeymatLength)
}

/// Computes SHA-1 over the parts. Only for NAT detection and certificate requests, where nothing secret depends on it.
#[must_use]
pub fn sha1(parts: &[&[u8]]) -> [u8; 20] {
    hash(&digest::SHA1_FOR_LEGACY_USE_ONLY, parts)
}

/// Computes SHA-256 over the parts.
#[must_use]
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    hash(&digest::SHA256, parts)
}

/// Compares in constant time. Slices of different length are unequal.
#[must_use]
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// Fills the buffer from the operating system's generator.
///
/// # Panics
/// When the operating system has no randomness to give: nothing may go on then.
pub fn random(buffer: &mut [u8]) {
    SystemRandom::new().fill(buffer).expect("the operating system's generator works");
}

fn mac(key: &hmac::Key, parts: &[&[u8]]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    parts.iter().for_each(|part| context.update(part));
    context.sign()
}

fn hash<const N: usize>(algorithm: &'static digest::Algorithm, parts: &[&[u8]]) -> [u8; N] {
    let mut context = Context::new(algorithm);
    parts.iter().for_each(|part| context.update(part));
    context.finish().as_ref().try_into().expect("N is the algorithm's length")
}

fn hmac_of(algorithm: Prf) -> hmac::Algorithm {
    match algorithm {
        Prf::HmacSha256 => hmac::HMAC_SHA256,
        Prf::HmacSha384 => hmac::HMAC_SHA384,
        Prf::HmacSha512 => hmac::HMAC_SHA512,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn hmac_matches_rfc_4231_case_2() {
        let data: [&[u8]; 2] = [b"what do ya want ", b"for nothing?"];
        assert_eq!(
            hex(prf(Prf::HmacSha256, b"Jefe", &data).expose()),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            hex(prf(Prf::HmacSha384, b"Jefe", &data).expose()),
            "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649"
        );
    }

    #[test]
    fn prf_plus_chains_its_blocks() {
        let (key, seed) = ([7_u8; 32], [1_u8, 2, 3]);
        let first = prf(Prf::HmacSha256, &key, &[&seed, &[1]]);
        let second = prf(Prf::HmacSha256, &key, &[first.expose(), &seed, &[2]]);
        let whole = prf_plus(Prf::HmacSha256, &key, &[&seed[..1], &seed[1..]], 50).unwrap();
        assert_eq!(&whole.expose()[..32], first.expose());
        assert_eq!(whole.expose()[32..], second.expose()[..18]);
        assert!(prf_plus(Prf::HmacSha256, &key, &[], 255 * 32).is_ok());
        assert!(prf_plus(Prf::HmacSha256, &key, &[], 255 * 32 + 1).is_err());
    }

    #[test]
    fn hashes_take_their_input_in_parts() {
        assert_eq!(hex(&sha1(&[b"a", b"bc"])), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(hex(&sha256(&[b"ab", b"c"])), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert!(equal(b"a", b"a") && !equal(b"a", b"b") && !equal(b"a", b"ab"));
    }
}
