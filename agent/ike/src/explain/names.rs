//! Names of transforms, those that are not supported here too.

use std::collections::BTreeSet;

use crate::wire::{Proposal, Transform, TransformType};

/// So many names are shown; an offer may hold thousands.
const MOST: usize = 16;

/// Returns what an offer holds of a kind, each once, in order of its numbers.
pub(super) fn offered(offer: &[Proposal], kind: TransformType) -> String {
    let transforms = offer.iter().flat_map(|proposal| &proposal.transforms).filter(|t| t.kind == kind);
    let keys: BTreeSet<_> = transforms.map(|t| (t.id, t.key_length)).collect();
    let names =
        keys.iter().map(|(id, key_length)| name(&Transform { kind, id: *id, key_length: *key_length, foreign: false }));
    listed(names)
}

/// Joins texts, and counts those that are too many.
pub(super) fn listed(texts: impl Iterator<Item = String>) -> String {
    let all: Vec<_> = texts.collect();
    let shown = all.get(..MOST.min(all.len())).unwrap_or_default().join(", ");
    match all.len().checked_sub(MOST) {
        _ if all.is_empty() => "nothing".to_owned(),
        None | Some(0) => shown,
        Some(more) => format!("{shown} and {more} more"),
    }
}

fn name(transform: &Transform) -> String {
    let known = NAMES.iter().find(|(kind, id, _)| (*kind, *id) == (transform.kind, transform.id));
    let name = known.map_or_else(|| format!("number {}", transform.id), |(_, _, name)| (*name).to_owned());
    match transform.key_length {
        Some(bits) => format!("{name}-{bits}"),
        None => name,
    }
}

const ENCR: TransformType = TransformType::ENCR;
const PRF: TransformType = TransformType::PRF;
const INTEG: TransformType = TransformType::INTEG;
const KE: TransformType = TransformType::KE;
/// IANA's numbers with the names under which operators know them.
const NAMES: [(TransformType, u16, &str); 45] = [
    (ENCR, 2, "des"),
    (ENCR, 3, "3des"),
    (ENCR, 11, "null"),
    (ENCR, 12, "aes-cbc"),
    (ENCR, 13, "aes-ctr"),
    (ENCR, 14, "aes-ccm8"),
    (ENCR, 15, "aes-ccm12"),
    (ENCR, 16, "aes-ccm16"),
    (ENCR, 18, "aes-gcm8"),
    (ENCR, 19, "aes-gcm12"),
    (ENCR, 20, "aes-gcm16"),
    (ENCR, 21, "gmac"),
    (ENCR, 23, "camellia-cbc"),
    (ENCR, 28, "chacha20poly1305"),
    (PRF, 1, "hmac-md5"),
    (PRF, 2, "hmac-sha1"),
    (PRF, 4, "aes128-xcbc"),
    (PRF, 5, "hmac-sha256"),
    (PRF, 6, "hmac-sha384"),
    (PRF, 7, "hmac-sha512"),
    (PRF, 8, "aes128-cmac"),
    (INTEG, 0, "none"),
    (INTEG, 1, "hmac-md5"),
    (INTEG, 2, "hmac-sha1"),
    (INTEG, 5, "aes-xcbc"),
    (INTEG, 12, "hmac-sha256"),
    (INTEG, 13, "hmac-sha384"),
    (INTEG, 14, "hmac-sha512"),
    (KE, 0, "none"),
    (KE, 1, "modp768"),
    (KE, 2, "modp1024"),
    (KE, 5, "modp1536"),
    (KE, 14, "modp2048"),
    (KE, 15, "modp3072"),
    (KE, 16, "modp4096"),
    (KE, 17, "modp6144"),
    (KE, 18, "modp8192"),
    (KE, 19, "p256"),
    (KE, 20, "p384"),
    (KE, 21, "p521"),
    (KE, 31, "x25519"),
    (KE, 32, "x448"),
    (KE, 35, "ml-kem-512"),
    (KE, 36, "ml-kem-768"),
    (KE, 37, "ml-kem-1024"),
];
