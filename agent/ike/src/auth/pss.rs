//! The forms in which peers write the parameters of RSASSA-PSS.

use std::borrow::Cow;

use rustls_pki_types::{AlgorithmIdentifier, alg_id};

use super::{SEQUENCE, der};

/// Returns the content of an `AlgorithmIdentifier` as it is compared: that of RSASSA-PSS with `NULL` for the parameters of its
/// hash functions, everything else unchanged. strongSwan writes `NULL`, as we do; others leave it out.
//= RFC 4055 §2.1: both an absent and a NULL parameter must be accepted
pub(super) fn with_null(identifier: &[u8]) -> Cow<'_, [u8]> {
    let known = KNOWN.iter().find(|(hash, salt, _)| {
        let mut forms = [(true, true), (true, false), (false, true), (false, false)].into_iter();
        forms.any(|(own, mask)| form(*hash, *salt, own, mask) == identifier)
    });
    match known {
        Some((_, _, canonical)) => Cow::Owned(canonical.as_ref().to_vec()),
        None => Cow::Borrowed(identifier),
    }
}

/// Writes the content of an `AlgorithmIdentifier` of RSASSA-PSS; the flags tell whether the hash function and that of the mask
/// generation have `NULL`.
fn form(hash: u8, salt: u8, own: bool, mask: bool) -> Vec<u8> {
    let hash = |null: bool| {
        let parameters: &[u8] = if null { &NULL } else { &[] };
        der(SEQUENCE, &[&NIST_HASH[..], &[hash], parameters].concat())
    };
    let mask = der(SEQUENCE, &[&MGF1[..], &hash(mask)].concat());
    let parameters = [der(0xa0, &hash(own)), der(0xa1, &mask), der(0xa2, &[0x02, 0x01, salt])].concat();
    [&RSASSA_PSS[..], &der(SEQUENCE, &parameters)].concat()
}

/// The last number of the hash function's object identifier, the length of the salt, and the form that is compared.
const KNOWN: [(u8, u8, AlgorithmIdentifier); 3] =
    [(1, 32, alg_id::RSA_PSS_SHA256), (2, 48, alg_id::RSA_PSS_SHA384), (3, 64, alg_id::RSA_PSS_SHA512)];
const NULL: [u8; 2] = [0x05, 0x00];
/// 1.2.840.113549.1.1.10.
const RSASSA_PSS: [u8; 11] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];
/// 1.2.840.113549.1.1.8.
const MGF1: [u8; 11] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08];
/// 2.16.840.1.101.3.4.2, without its last number.
const NIST_HASH: [u8; 10] = [0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_as_the_one_with_null() {
        for (hash, salt, canonical) in KNOWN {
            assert_eq!(form(hash, salt, true, true), canonical.as_ref());
            for (own, mask) in [(true, false), (false, true), (false, false)] {
                assert_eq!(*with_null(&form(hash, salt, own, mask)), *canonical.as_ref());
            }
            let other_salt = form(hash, salt - 1, true, true);
            assert_eq!(*with_null(&other_salt), other_salt);
        }
    }
}
