//! Certificates, chains and proofs of a peer. The authorities' keys are known here, so that what stands behind a signature is
//! reached as well: the fuzzer's certificate is signed when it is to be.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use espalier_crypto::{SignatureAlgorithm, SigningKey};
use espalier_ike::auth::{HashAlgorithms, SignedOctets};
use espalier_ike::certificate::{TrustStore, VerifiedPeer, validity};
use espalier_ike::wire::{AuthMethod, Authentication, Identification, Nonce};
use espalier_model::identity::Identity;
use espalier_model::secret::Secret;
use espalier_model::suite::Prf;

use crate::input::Input;

/// Two days after the certificates below begin.
const UNIX: u64 = 1_800_172_800;
/// What the issuing authority and the leaf sign with (RFC 8410 §3): id-Ed25519.
const ED25519: [u8; 7] = [0x30, 5, 6, 3, 0x2b, 0x65, 0x70];

/// A root, an issuing authority below it, a leaf below that, and their keys. All are made by the example `fixtures`.
struct Fixture {
    root: Vec<u8>,
    issuing: Vec<u8>,
    leaf: Vec<u8>,
    root_key: SigningKey,
    issuing_key: SigningKey,
    leaf_key: SigningKey,
    trust: TrustStore,
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let key = |pem: &str| SigningKey::from_pkcs8_pem(pem).unwrap();
    let root = include_bytes!("../fixtures/root.der").to_vec();
    Fixture {
        trust: TrustStore::new(std::slice::from_ref(&root)).unwrap(),
        root,
        issuing: include_bytes!("../fixtures/issuing.der").to_vec(),
        leaf: include_bytes!("../fixtures/leaf.der").to_vec(),
        root_key: key(include_str!("../fixtures/root.pem")),
        issuing_key: key(include_str!("../fixtures/issuing.pem")),
        leaf_key: key(include_str!("../fixtures/leaf.pem")),
    }
});

/// Takes a way to use the bytes that follow, and an identity.
pub fn target(data: &[u8]) {
    let fixture = &*FIXTURE;
    let mut input = Input::new(data);
    let way = input.below(6);
    let names = ["a.node.mesh.example", "a@mesh.example", "10.1.2.3", "2001:db8::1", "b.node.mesh.example"];
    let identity: Identity = input.pick(&names).parse().unwrap();
    let verify = |trust: &TrustStore, chain: &[Vec<u8>]| {
        let revoked = BTreeSet::from(["0abc".to_owned()]);
        trust.verify(chain, &identity, &revoked, UNIX).ok()
    };
    match way {
        0 => {
            // Nobody but the authority makes a certificate that is accepted.
            let certificate = input.rest().to_vec();
            let _ = validity(&certificate);
            let verified = verify(&fixture.trust, &[certificate.clone(), fixture.issuing.clone()]);
            let genuine = signed_part(&fixture.leaf).expect("the fixture is a certificate");
            assert!(verified.is_none() || signed_part(&certificate) == Some(genuine), "a forged certificate");
        }
        1 => {
            let leaf = certificate(input.rest(), &fixture.issuing_key);
            check(verify(&fixture.trust, &[leaf, fixture.issuing.clone()]).as_ref());
        }
        2 => {
            let issuing = certificate(input.rest(), &fixture.root_key);
            check(verify(&fixture.trust, &[fixture.leaf.clone(), issuing]).as_ref());
        }
        3 => {
            let chain = [fixture.leaf.clone(), fixture.issuing.clone()];
            if let Ok(trust) = TrustStore::new(&[input.rest().to_vec(), fixture.root.clone()]) {
                assert_eq!(trust.request().authorities.len(), 40);
                check(verify(&trust, &chain).as_ref());
            }
        }
        4 => {
            let mut chain = Vec::new();
            while !input.is_empty() && chain.len() < 6 {
                let certificate = match input.below(4) {
                    0 => fixture.leaf.clone(),
                    1 => fixture.issuing.clone(),
                    2 => fixture.root.clone(),
                    _ => input.string().to_vec(),
                };
                chain.push(certificate);
            }
            let verified = verify(&fixture.trust, &chain);
            assert!(verified.is_none() || chain.first() == Some(&fixture.leaf), "a chain without the leaf");
        }
        _ => proof(fixture, &mut input),
    }
}

/// Real certificates for each way to use them, and what is signed in them.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let Fixture { root, issuing, leaf, .. } = &*FIXTURE;
    let fields = |der: &[u8]| signed_part(der).unwrap_or_default().to_vec();
    let mut all: Vec<_> = [root, issuing, leaf].iter().map(|der| [&[0, 0][..], der].concat()).collect();
    all.extend((0..5).map(|name| [vec![1, name], fields(leaf)].concat()));
    all.push([vec![2, 0], fields(issuing)].concat());
    all.push([&[3, 0][..], root].concat());
    all.extend([vec![4, 0, 0, 1], vec![4, 0, 0, 1, 1, 2], vec![4, 0, 2, 1], vec![4, 0, 0, 3, 1, 9, 1]]);
    all.push([&[5, 0, 14, 7][..], &ED25519, &[0; 64]].concat());
    all.push([&[5, 0, 9][..], &[3; 64]].concat());
    all.push([&[5, 0, 10][..], &[3; 96]].concat());
    all
}

/// What is believed can be used: it ends at some time, and has a number.
fn check(verified: Option<&VerifiedPeer>) {
    if let Some(peer) = verified {
        assert!(peer.not_after >= UNIX && !peer.spki.is_empty());
        assert!(peer.serial.chars().all(|c| c.is_ascii_hexdigit()) && !peer.serial.starts_with('0'));
    }
}

/// Nobody but the holder of the key proves an identity.
fn proof(fixture: &Fixture, input: &mut Input<'_>) {
    let chain = [fixture.leaf.clone(), fixture.issuing.clone()];
    let name: Identity = "a.node.mesh.example".parse().unwrap();
    let peer = fixture.trust.verify(&chain, &name, &BTreeSet::new(), UNIX).expect("the fixture is good");
    let nonce = Nonce::new(vec![5; 32]).unwrap();
    let secret = Secret::from(&[6; 32][..]);
    let octets = SignedOctets::new(Prf::HmacSha256, &secret, b"message", &nonce, &Identification::from(&name));
    let hashes = HashAlgorithms::read(&HashAlgorithms::announce().data).unwrap();
    let genuine = octets.sign(&fixture.leaf_key, &hashes).unwrap();
    let (method, data) = (AuthMethod(input.u8()), input.rest().to_vec());
    let forged = Authentication { method, data };
    if octets.check_signature(&peer.spki, &forged).is_ok() {
        let signature = genuine.data.last_chunk::<64>().unwrap();
        assert!(forged.data.ends_with(signature), "a forged signature");
    }
    assert!(octets.check_shared_key(Prf::HmacSha256, &secret, &forged).is_err());
    assert!(octets.check_signature(&peer.spki, &genuine).is_ok());
}

/// Signs a certificate whose fields the fuzzer has written.
fn certificate(fields: &[u8], key: &SigningKey) -> Vec<u8> {
    let signature = key.sign(SignatureAlgorithm::Ed25519, fields).unwrap();
    let bits = [&[0x03, 65, 0][..], &signature].concat();
    let inner = [fields, &ED25519, &bits].concat();
    let length = u16::try_from(inner.len()).unwrap_or(u16::MAX).to_be_bytes();
    let header: &[u8] = match length {
        [0, low @ ..=0x7f] => &[0x30, low],
        [0, low] => &[0x30, 0x81, low],
        [high, low] => &[0x30, 0x82, high, low],
    };
    [header, &inner].concat()
}

/// Returns the fields of a certificate, which its signature covers.
fn signed_part(der: &[u8]) -> Option<&[u8]> {
    let (start, end) = element(der)?;
    let fields = der.get(start..end)?;
    fields.get(..element(fields)?.1)
}

/// Returns where the content of a sequence starts and ends.
fn element(der: &[u8]) -> Option<(usize, usize)> {
    let (start, length) = match der {
        [0x30, low @ ..=0x7f, ..] => (2, usize::from(*low)),
        [0x30, 0x81, low, ..] => (3, usize::from(*low)),
        [0x30, 0x82, high, low, ..] => (4, usize::from(u16::from_be_bytes([*high, *low]))),
        _ => return None,
    };
    Some((start, start + length))
}
