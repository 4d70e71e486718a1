//! Identities that are not proven: no SA, no packet, and a line in the agent's log that says why.

use espalier_e2e::ping::ping;
use espalier_e2e::pki::{Leaf, Pki};

use crate::scene::{By, Files, GATEWAY, NODE, Papers, both_roles};

both_roles! {
    a_wrong_shared_key => |by| {
        let reason = own_or_told(by, "peer does not prove its identity: authentication data is wrong");
        let mut files = Files::psk();
        files.key = "another\n".to_owned();
        assert_refused(files, by, reason);
    };
    a_gateway_of_another_name => |by| {
        let reason = own_or_told(by, "peer claims to be other.example");
        assert_refused(Files::psk().gateway("id = gateway.example", "id = other.example"), by, reason);
    };
    a_node_of_another_name => |by| {
        let files = Files::psk().plan("id: node.example", "id: other.example");
        assert_refused(files, by, TOLD);
    };
    a_gateway_of_an_unknown_authority => |by| {
        let mut papers = Papers::usual();
        papers.gateway = Pki::new().unwrap().leaf(GATEWAY).unwrap();
        assert_refused(Files::certificates(papers), by, "certificate is not valid: UnknownIssuer");
    };
    a_gateway_whose_certificate_has_ended => |by| {
        let ended = Leaf { expired: true, ..Leaf::of(GATEWAY) };
        let papers = Papers::new(&Pki::new().unwrap(), Leaf::of(NODE), ended);
        assert_refused(Files::certificates(papers), by, "certificate is not valid: CertExpired");
    };
    a_gateway_whose_certificate_is_revoked => |by| {
        let listed = Leaf { serial: Some(0x1234), ..Leaf::of(GATEWAY) };
        let papers = Papers::new(&Pki::new().unwrap(), Leaf::of(NODE), listed);
        let files = Files::certificates(papers).plan("peers:\n", "revoked: [\"1234\"]\npeers:\n");
        assert_refused(files, by, "certificate 1234 is revoked");
    };
}

#[test]
fn a_node_that_the_gateway_does_not_trust_is_told() {
    let mut papers = Papers::usual();
    let stranger = Pki::new().unwrap();
    let (certificate, key) = stranger.leaf(NODE).unwrap();
    papers.node = (certificate + stranger.issuing(), key);
    assert_refused(Files::certificates(papers), By::Agent, TOLD);
}

#[test]
fn a_node_whose_certificate_has_ended_is_told() {
    let ended = Leaf { expired: true, ..Leaf::of(NODE) };
    let papers = Papers::new(&Pki::new().unwrap(), ended, Leaf::of(GATEWAY));
    assert_refused(Files::certificates(papers), By::Agent, TOLD);
}

#[test]
fn a_gateway_without_a_common_algorithm_says_so() {
    let files = Files::psk().profile("ike-encryption: [chacha20poly1305]");
    assert_refused(files, By::Agent, "peer refused: NO_PROPOSAL_CHOSEN");
}

/// Nothing comes of an attempt, and the agent's log says why.
pub(crate) fn assert_refused(files: Files, by: By, reason: &str) {
    let scene = files.scene();
    let capture = scene.capture();
    let mut agent = scene.agent(by);
    if by == By::Gateway {
        let attempt = scene.swan.control(&["--initiate", "--child", "gateway", "--timeout", "8"]);
        assert!(attempt.is_err(), "{}", scene.swan.log());
    }
    agent.await_log(reason, 1).unwrap_or_else(|error| panic!("{error:#}\ncharon:\n{}", scene.swan.log()));
    let pings = ping(scene.node(), scene.gateway().inner(true), 2, 56).unwrap();
    assert_eq!(pings.received, 0, "no packet passes");
    // A responder has believed the gateway before the gateway could disbelieve it.
    let believed = by == By::Gateway && reason == TOLD;
    assert!(believed || !agent.program.log().contains("child SA in use"), "{}", agent.program.log());
    let sas = scene.swan.sas().unwrap();
    assert!(!sas.contains("INSTALLED"), "{sas}");
    assert_eq!(capture.stop().unwrap().canaries, 0, "nothing passed in the clear");
}

/// Whoever starts is told no more than that it failed; the other end knows why.
pub(crate) fn own_or_told(by: By, own: &'static str) -> &'static str {
    if by == By::Agent { TOLD } else { own }
}

/// What whoever starts is told of all that concerns the proof of its identity.
pub(crate) const TOLD: &str = "peer refused: AUTHENTICATION_FAILED";
