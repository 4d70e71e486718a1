//! Additional key exchanges towards a gateway that knows none.

use espalier_e2e::ping::ping;

use crate::scene::{By, Files, both_roles, replaced};

both_roles! {
    an_additional_key_exchange_that_may_be_left_out_is_left_out => optional;
    the_profile_for_old_gear => compat;
}

fn with(additional: &str) -> Files {
    Files::psk().plan("additional-key-exchange: [none]", &format!("additional-key-exchange: {additional}"))
}

fn optional(by: By) {
    let scene = with("[mlkem768, none], child-rekey-seconds: 2").scene();
    let mut agent = scene.assert_tunnel(by, &["dh-group=CURVE_25519"]);
    agent.await_children(3).unwrap();
    scene.assert_one_ike_sa(1);
}

fn compat(by: By) {
    let files = Files::psk().proposals("aes256-sha256-prfsha256-modp2048", "aes256-sha256-modp2048");
    let plan = replaced(&files.plan, "peer: gateway.example", "peer: gateway.example\n    profile: compat");
    let plan = replaced(&plan, "initiate: true ", "profile: compat\n    initiate: true ");
    let mut scene = files.scene();
    scene.plan = plan;
    scene.assert_tunnel(by, &["encr-alg=AES_CBC encr-keysize=256 integ-alg=HMAC_SHA2_256_128", "dh-group=MODP_2048"]);
}

#[test]
fn a_gateway_without_the_additional_key_exchange_that_is_demanded_is_refused_by_name() {
    let scene = with("[mlkem768]").scene();
    let mut agent = scene.agent(By::Agent);
    let reason = "NO_PROPOSAL_CHOSEN; we demand an additional key exchange: mlkem768";
    agent.await_log(reason, 1).unwrap_or_else(|error| panic!("{error:#}\ncharon:\n{}", scene.swan.log()));
    let pings = ping(scene.node(), scene.gateway().inner(true), 2, 56).unwrap();
    assert_eq!(pings.received, 0, "no packet passes");
}
