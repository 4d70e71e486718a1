//! Identities, proven by shared keys and by certificates of every kind.

use espalier_e2e::ping::ping;
use espalier_e2e::pki::{KeyKind, Leaf, Pki};

use crate::scene::{By, Files, GATEWAY, NODE, Papers, both_roles};

both_roles! {
    a_shared_key => shared_key;
    a_shared_key_that_is_named_by_a_key_id => key_id;
    ecdsa_p256_through_an_issuing_authority => |by| certificates(by, KeyKind::P256, KeyKind::P256);
    ecdsa_p384 => |by| certificates(by, KeyKind::P384, KeyKind::P384);
    ed25519 => |by| certificates(by, KeyKind::Ed25519, KeyKind::Ed25519);
    rsa_pss => |by| certificates(by, KeyKind::Rsa, KeyKind::Rsa);
    p384_at_the_node_and_ed25519_at_the_gateway => |by| certificates(by, KeyKind::P384, KeyKind::Ed25519);
    rsa_at_the_node_and_p256_at_the_gateway => |by| certificates(by, KeyKind::Rsa, KeyKind::P256);
    a_gateway_that_is_known_by_its_subject => subject;
}

/// The how-to to the letter, with the largest packet that fits, and with the end.
fn shared_key(by: By) {
    let scene = Files::psk().scene();
    let mut agent = scene.assert_tunnel(by, &[DEFAULTS]);
    // 1438 bytes hold an IPv4 header of 20, an ICMP header of 8, and this.
    let pings = ping(scene.node(), scene.gateway().inner(true), 5, 1410).unwrap();
    assert_eq!(pings.lost(), 0, "{pings:?}");
    assert!(agent.program.terminate().unwrap().success());
    assert!(!scene.swan.sas().unwrap().contains("ESTABLISHED"), "the agent takes leave of the gateway");
}

fn certificates(by: By, node: KeyKind, gateway: KeyKind) {
    let pki = Pki::new().unwrap();
    let leaf = |name, kind| Leaf { kind, ..Leaf::of(name) };
    let papers = Papers::new(&pki, leaf(NODE, node), leaf(GATEWAY, gateway));
    let scene = Files::certificates(papers).charon("rsa_pss = yes").scene();
    let mut agent = scene.assert_tunnel(by, &[DEFAULTS, "remote-id=node.example"]);
    let log = scene.swan.log();
    for (of, kind) in [(NODE, node), (GATEWAY, gateway)] {
        let line = format!("authentication of '{of}'");
        let shown = log.lines().find(|l| l.contains(&line) && !l.contains("pre-shared")).unwrap_or_default();
        assert!(shown.contains(method(kind)), "{}: {log}", method(kind));
    }
    assert!(agent.program.terminate().unwrap().success());
}

/// Old gear names its groups so.
fn key_id(by: By) {
    let scene = Files::psk()
        .plan("gateway.example", "keyid:group 7")
        .gateway("id = gateway.example", "id = \"keyid:group 7\"")
        .scene();
    let mut agent = scene.assert_tunnel(by, &[DEFAULTS, "local-id=group 7"]);
    assert!(agent.program.terminate().unwrap().success());
}

/// The gateway's certificate has no name but its subject, of which the plan has the letters otherwise.
fn subject(by: By) {
    let pki = Pki::new().unwrap();
    let gateway = Leaf { organisation: Some("Example Ltd"), ..Leaf::of(GATEWAY) };
    let scene = Files::certificates(Papers::new(&pki, Leaf::of(NODE), gateway))
        .plan("id: gateway.example", "id: C=CH, O=Example Ltd, CN=gateway.example")
        .plan("peer: gateway.example", "peer: c=ch, o=example ltd, cn=gateway.example")
        .gateway("id = gateway.example", "id = \"C=CH, O=Example Ltd, CN=gateway.example\"")
        .scene();
    let mut agent = scene.assert_tunnel(by, &[DEFAULTS, "local-id=C=CH, O=Example Ltd, CN=gateway.example"]);
    assert!(agent.program.terminate().unwrap().success());
}

/// Returns how charon calls a signature.
const fn method(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::P256 => "ECDSA_WITH_SHA256_DER",
        KeyKind::P384 => "ECDSA_WITH_SHA384_DER",
        KeyKind::Ed25519 => "ED25519",
        KeyKind::Rsa => "RSA_EMSA_PSS",
    }
}

const DEFAULTS: &str = "encr-alg=AES_GCM_16 encr-keysize=256 prf-alg=PRF_HMAC_SHA2_384 dh-group=CURVE_25519";
