//! The form of child SAs: charon with ESP in user space does tunnel mode, UDP and sequence numbers of 32 bits, and nothing else.

use std::time::Duration;

use crate::scene::{By, Files, assert_nothing_lost, assert_protected, both_roles};

both_roles! {
    longer_sequence_numbers_are_negotiated_down => negotiated_down;
    longer_sequence_numbers_that_are_required_are_refused_by_name => refused_by_name;
    rekeys_after_packets_lose_nothing => |by| rekeyed_by_use(by, "child-rekey-packets: 1000");
    rekeys_after_bytes_lose_nothing => |by| rekeyed_by_use(by, "child-rekey-bytes: 150000");
    packets_that_hide_their_length_and_class_are_understood => |by| {
        Files::psk().profile("padding: mtu, dscp: 46").scene().assert_tunnel(by, &["mode=TUNNEL"]);
    };
    the_profile_for_old_gear_meets_aes_cbc_and_a_modp_group => old_gear;
}

fn negotiated_down(by: By) {
    let scene = Files::psk().profile("esn: preferred").scene();
    let mut agent = scene.assert_tunnel(by, &["mode=TUNNEL", "encap=yes"]);
    agent.await_log("suite=aes256gcm16 mode=tunnel esn=false around=udp", 1).unwrap();
    assert!(!scene.swan.sas().unwrap().contains("esn=1"), "{}", scene.swan.sas().unwrap());
}

fn refused_by_name(by: By) {
    let scene = Files::psk().profile("esn: required").scene();
    let capture = scene.capture();
    let mut agent = scene.agent(by);
    let reason = match by {
        By::Agent => "peer takes none of what profile default offers: protection esp, mode tunnel, esn required",
        By::Gateway => "profile default wants esp aes256gcm16, aes128gcm16 and esn required: esp and esn decide",
    };
    if by == By::Gateway {
        let attempt = scene.swan.control(&["--initiate", "--child", "gateway", "--timeout", "8"]);
        assert!(attempt.is_err(), "{}", scene.swan.log());
    }
    agent.await_log(reason, 1).unwrap_or_else(|error| panic!("{error:#}\ncharon:\n{}", scene.swan.log()));
    assert!(!agent.program.log().contains("child SA in use"), "{}", agent.program.log());
    assert!(!scene.swan.sas().unwrap().contains("INSTALLED"), "{}", scene.swan.sas().unwrap());
    assert_eq!(capture.stop().unwrap().canaries, 0, "nothing passed in the clear");
}

fn rekeyed_by_use(by: By, limit: &str) {
    let scene = Files::psk().profile(limit).scene();
    let mut agent = scene.tunnel(by);
    let capture = scene.capture();
    let flows = scene.flows();
    agent.program.await_log("child SA in use", 4, Duration::from_secs(40)).unwrap();
    assert_nothing_lost(flows);
    assert_protected(capture.stop().unwrap());
    scene.assert_one_ike_sa(1);
}

fn old_gear(by: By) {
    let files = Files::psk()
        .plan("    initiate: true", "    profile: compat\n    initiate: true")
        .plan("    peer: gateway.example", "    peer: gateway.example\n    profile: compat");
    let files = files.proposals("aes256-sha256-prfsha256-modp2048", "aes256-sha256");
    files
        .scene()
        .assert_tunnel(by, &["encr-alg=AES_CBC encr-keysize=256 integ-alg=HMAC_SHA2_256_128", "dh-group=MODP_2048"]);
}
