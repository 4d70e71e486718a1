//! Revocation lists: who is on one, whose list counts, and what holds when there is none or an old one.

use espalier_model::revocation::{Expired, Missing};
use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams};

use super::*;

/// A list of an authority that names these serial numbers, issued some days ago and good for some days from now.
fn list(ca: &Ca, serials: &[&[u8]], issued: u64, good_for: i64) -> Vec<u8> {
    let revoked = |serial: &&[u8]| RevokedCertParams {
        serial_number: SerialNumber::from_slice(serial),
        revocation_time: at(NOW - DAY),
        reason_code: None,
        invalidity_date: None,
    };
    let next = at(NOW) + time::Duration::days(good_for);
    let params = CertificateRevocationListParams {
        this_update: at(NOW - issued * DAY),
        next_update: next,
        crl_number: SerialNumber::from_slice(&[1]),
        issuing_distribution_point: None,
        revoked_certs: serials.iter().map(revoked).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(&ca.issuer).unwrap().der().to_vec()
}

fn signing_root(name: &str) -> Ca {
    let key = KeyPair::generate().unwrap();
    let mut params = ca_params(name, 1, 100);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let der = params.self_signed(&key).unwrap().der().to_vec();
    Ca { der, issuer: Issuer::new(params, key) }
}

fn judge(ca: &Ca, chain: &[Vec<u8>], lists: RevocationLists) -> Result<VerifiedPeer, CertificateError> {
    let store = TrustStore::new(std::slice::from_ref(&ca.der)).unwrap().with_lists(&lists)?;
    store.verify(chain, &NAME.parse().unwrap(), &BTreeSet::new(), NOW)
}

fn of(ders: Vec<Vec<u8>>) -> RevocationLists {
    RevocationLists { ders, ..RevocationLists::default() }
}

#[test]
fn whoever_is_on_the_list_of_its_authority_is_refused() {
    let ca = signing_root("root");
    let chain = [leaf(&ca, |_| {})];
    assert!(judge(&ca, &chain, of(vec![list(&ca, &[&[0x0a, 0xbd], &[7]], 1, 7)])).is_ok());
    let listed = judge(&ca, &chain, of(vec![list(&ca, &[&[7], &[0x0a, 0xbc]], 1, 7)]));
    assert_eq!(listed, Err(CertificateError::Listed));
}

#[test]
fn an_authority_on_a_list_takes_all_below_it_along() {
    let ca = signing_root("root");
    let intermediate = under(&ca, 9);
    let chain = [leaf(&intermediate, |_| {}), intermediate.der.clone()];
    assert!(judge(&ca, &chain, of(vec![list(&ca, &[&[9]], 1, 7)])).is_ok());
    assert_eq!(judge(&ca, &chain, of(vec![list(&ca, &[&[2]], 1, 7)])), Err(CertificateError::Listed));
}

#[test]
fn of_two_lists_of_an_authority_the_one_issued_last_counts() {
    let ca = signing_root("root");
    let chain = [leaf(&ca, |_| {})];
    let (old, new) = (list(&ca, &[], 5, 7), list(&ca, &[&[0x0a, 0xbc]], 1, 7));
    for ders in [vec![old.clone(), new.clone()], vec![new, old]] {
        assert_eq!(judge(&ca, &chain, of(ders)), Err(CertificateError::Listed));
    }
}

#[test]
fn a_list_that_another_has_signed_convinces_nobody() {
    let (ca, other) = (signing_root("root"), signing_root("root"));
    let chain = [leaf(&ca, |_| {})];
    let forged = judge(&ca, &chain, of(vec![list(&other, &[], 1, 7)]));
    assert!(
        matches!(forged, Err(CertificateError::Path(webpki::Error::InvalidCrlSignatureForPublicKey))),
        "{forged:?}"
    );
    let key = KeyPair::generate().unwrap();
    let mut params = ca_params("root", 1, 100);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let der = params.self_signed(&key).unwrap().der().to_vec();
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let silent = params.self_signed(&key).unwrap().der().to_vec();
    params.key_usages.push(KeyUsagePurpose::CrlSign);
    let ca = Ca { der, issuer: Issuer::new(params, key) };
    let lists = of(vec![list(&ca, &[], 1, 7)]);
    assert!(judge(&ca, &[leaf(&ca, |_| {})], lists.clone()).is_ok());
    let below = {
        let key = KeyPair::generate().unwrap();
        let mut params = ca_params("below", 2, 9);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = Issuer::new(params.clone(), KeyPair::try_from(key.serialize_der()).unwrap());
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Ca { der: params.signed_by(&key, &ca.issuer).unwrap().der().to_vec(), issuer }
    };
    let chain = [leaf(&below, |_| {}), below.der.clone()];
    assert!(judge(&ca, &chain, of(vec![list(&below, &[], 1, 7)])).is_err(), "an authority that may not sign lists");
    assert!(TrustStore::new(&[silent]).is_ok());
}

#[test]
fn an_expired_list_believes_nobody_unless_that_is_asked_for() {
    let ca = signing_root("root");
    let (good, bad) = (leaf(&ca, |p| p.serial_number = Some(SerialNumber::from_slice(&[3]))), leaf(&ca, |_| {}));
    let old = || vec![list(&ca, &[&[0x0a, 0xbc]], 9, -1)];
    assert_eq!(judge(&ca, std::slice::from_ref(&good), of(old())), Err(CertificateError::ListExpired));
    let accepted = || RevocationLists { expired: Expired::Accept, ..of(old()) };
    assert!(judge(&ca, &[good], accepted()).is_ok());
    assert_eq!(judge(&ca, &[bad], accepted()), Err(CertificateError::Listed), "what it says still holds");
}

#[test]
fn a_missing_list_is_accepted_unless_it_is_asked_for() {
    let (ca, other) = (signing_root("root"), signing_root("other"));
    let chain = [leaf(&ca, |_| {})];
    let lists = || of(vec![list(&other, &[&[0x0a, 0xbc]], 1, 7)]);
    assert!(judge(&ca, &chain, lists()).is_ok(), "the same serial number under another authority");
    let required = RevocationLists { missing: Missing::Refuse, ..lists() };
    assert_eq!(judge(&ca, &chain, required), Err(CertificateError::NoList));
    assert!(judge(&ca, &chain, RevocationLists { missing: Missing::Refuse, ..of(vec![]) }).is_ok(), "no lists at all");
}

#[test]
fn a_list_that_cannot_be_read_is_refused_whole() {
    let ca = signing_root("root");
    let good = list(&ca, &[&[1], &[2]], 1, 7);
    for end in 0..good.len() {
        assert!(judge(&ca, &[], of(vec![good[..end].to_vec()])).is_err_and(|e| matches!(e, CertificateError::List(_))));
    }
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        // Whatever it says now: nobody is believed by it who would not be by the good one, and nothing panics.
        let _ = judge(&ca, &[leaf(&ca, |_| {})], of(vec![bad]));
        if bit > 400 && bit % 97 != 0 {
            continue;
        }
    }
}

#[test]
fn a_path_that_has_been_accepted_is_found_on_a_later_list() {
    let ca = signing_root("root");
    let intermediate = under(&ca, 9);
    let chain = [leaf(&intermediate, |_| {}), intermediate.der.clone()];
    let peer = judge(&ca, &chain, RevocationLists::default()).unwrap();
    let revokes = |lists: RevocationLists, serials: &[&str]| {
        let store = TrustStore::new(std::slice::from_ref(&ca.der)).unwrap().with_lists(&lists).unwrap();
        store.revokes(&peer.path, &serials.iter().map(|s| (*s).to_owned()).collect())
    };
    assert!(!revokes(RevocationLists::default(), &[]));
    assert!(!revokes(of(vec![list(&ca, &[&[3]], 1, 7)]), &["abcd"]));
    assert!(revokes(of(vec![list(&ca, &[&[2]], 1, 7)]), &[]), "the authority between");
    assert!(revokes(of(vec![list(&intermediate, &[&[0x0a, 0xbc]], 1, 7)]), &[]));
    assert!(!revokes(of(vec![list(&ca, &[&[0x0a, 0xbc]], 1, 7)]), &[]), "of another authority");
    assert!(revokes(RevocationLists::default(), &["0ABC"]) && revokes(RevocationLists::default(), &["2"]));
}
