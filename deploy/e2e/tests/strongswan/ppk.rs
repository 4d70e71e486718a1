//! Postquantum preshared keys (RFC 8784): used by both ends, or the SA is refused and the reason named.

use std::thread::sleep;
use std::time::Duration;

use espalier_e2e::agent::with_lifetimes;

use crate::failures::{TOLD, assert_refused, own_or_told};
use crate::scene::{By, Files, Papers, assert_nothing_lost, both_roles};

both_roles! {
    a_postquantum_key_of_both_ends_is_mixed_in => |by| mixed(by, Files::ppk());
    a_postquantum_key_in_hexadecimal_digits_is_the_same_at_both_ends => |by| {
        let digits = "0x".to_owned() + &"5a81c3f0".repeat(8);
        mixed(by, with_secret(Files::ppk(), &digits).secret("gateway.ppk", &digits));
    };
    a_postquantum_key_of_plain_text_is_the_same_at_both_ends => |by| {
        let text = "no machine has ever guessed so long a sentence";
        mixed(by, with_secret(Files::ppk(), text).secret("gateway.ppk", text));
    };
    a_postquantum_key_with_certificates => certificates;
    rekeys_keep_the_postquantum_key => rekeys;
    without_the_key_at_the_gateway_an_agent_that_can_does_without => |by| {
        without(by, optional_at_the_agent(keyless(Files::ppk())));
    };
    without_the_key_where_the_gateway_has_another_one_and_neither_end_requires_its_own => |by| without(by, apart(by));
    an_agent_that_requires_the_key_refuses_a_gateway_without_one => |by| {
        let reason = match by {
            By::Agent => "ppk ppk-1 is required, but the peer announces none",
            By::Gateway => "ppk ppk-1 is required, but the peer does not use it",
        };
        assert_refused(keyless(Files::ppk()), by, reason);
    };
    another_secret_proves_nothing => |by| {
        let other = "0s".to_owned() + &"AAEC".repeat(11);
        let reason = own_or_told(by, "peer does not prove its identity: authentication data is wrong");
        assert_refused(Files::ppk().secret("gateway.ppk", &other), by, reason);
    };
}

#[test]
fn a_gateway_that_requires_the_key_refuses_an_agent_without_one() {
    let files = Files::ppk().plan(PLANNED, "");
    assert_refused(files, By::Agent, "reason=peer refused: ");
}

#[test]
fn a_gateway_that_requires_another_id_is_refused_by_name() {
    let files = Files::ppk().gateway("ppk-1", "ppk-2");
    assert_refused(files, By::Gateway, "ppk ppk-1 is required, but the peer names ppk-2");
}

#[test]
fn a_gateway_that_requires_a_key_the_agent_does_not_have_is_refused_by_name() {
    let files = optional_at_the_agent(Files::ppk().gateway("ppk-1", "ppk-2"));
    assert_refused(files, By::Gateway, "the peer requires ppk ppk-2, which is not configured for it");
}

/// charon demands the id that its connection names of whoever starts, whatever `ppk_required` says.
#[test]
fn a_gateway_whose_connection_names_another_id_refuses_even_what_it_does_not_require() {
    let files = optional_at_the_agent(Files::ppk()).gateway("ppk_required = yes", "ppk_required = no");
    assert_refused(files.gateway("ppk-1", "ppk-2"), By::Agent, TOLD);
}

/// Gives the gateway a key of another id. When it is called its connection may not name it.
fn apart(by: By) -> Files {
    let named = if by == By::Agent { "" } else { "ppk_id = ppk-2\n    ppk_required = no\n" };
    let files = Files::ppk().gateway("ppk_id = ppk-1\n    ppk_required = yes\n", named);
    optional_at_the_agent(files.gateway("id = ppk-1", "id = ppk-2"))
}

/// Leaves the gateway without any key: charon announces, and finds by their IDs, all that it has secrets for.
fn keyless(files: Files) -> Files {
    let block = files.settings.find("  ppk-espalier").unwrap();
    let end = block + files.settings[block..].find("  }\n").unwrap() + "  }\n".len();
    let secret = files.settings[block..end].to_owned();
    files.gateway("ppk_id = ppk-1\n    ppk_required = yes\n", "").gateway(&secret, "")
}

fn optional_at_the_agent(files: Files) -> Files {
    files.plan("required: true ", "required: false ")
}

/// Gives the gateway another secret.
fn with_secret(files: Files, text: &str) -> Files {
    let block = files.settings.find("ppk-espalier").unwrap();
    let line = files.settings[block..].lines().find(|line| line.contains("secret =")).unwrap().to_owned();
    files.gateway(&line, &format!("    secret = \"{text}\""))
}

fn mixed(by: By, files: Files) {
    let scene = files.scene();
    let _agent = scene.assert_tunnel(by, &["state=ESTABLISHED"]);
    let log = scene.swan.log();
    assert!(log.contains("using PPK for PPK_ID 'ppk-1'"), "{log}");
    scene.assert_status(&["postquantum preshared key ppk-1"]);
}

fn without(by: By, files: Files) {
    let scene = files.scene();
    let _agent = scene.assert_tunnel(by, &["state=ESTABLISHED"]);
    assert!(!scene.swan.log().contains("using PPK"), "{}", scene.swan.log());
}

fn certificates(by: By) {
    let ppk = Files::ppk();
    let secret = ppk.settings[ppk.settings.find("  ppk-espalier").unwrap()..].to_owned();
    let (_, key) = ppk.secrets.into_iter().find(|(name, _)| *name == "gateway.ppk").unwrap();
    let mut files = Files::certificates(Papers::usual())
        .plan("    auth: certificate\n", &format!("    auth: certificate\n{PLANNED}"))
        .gateway("dpd_delay = 10s", "dpd_delay = 10s\n    ppk_id = ppk-1\n    ppk_required = yes")
        .secret("gateway.ppk", &key);
    files.settings += &format!("secrets {{\n{secret}");
    mixed(by, files);
}

fn rekeys(by: By) {
    let mut scene = Files::ppk().scene();
    scene.plan = with_lifetimes(&scene.plan, 5, 2);
    let mut agent = scene.tunnel(by);
    let flows = scene.flows();
    agent.await_log("IKE SA replaced", 1).unwrap();
    // A refusal for the time being is an answer too.
    let _ = scene.swan.control(&["--rekey", "--child", "gateway"]);
    sleep(Duration::from_secs(1));
    let _ = scene.swan.control(&["--rekey", "--ike", "espalier"]);
    agent.await_log("IKE SA replaced", 2).unwrap();
    sleep(Duration::from_millis(300));
    assert_nothing_lost(flows);
    scene.assert_status(&["postquantum preshared key ppk-1"]);
}

/// What the how-to's plan says of the key.
const PLANNED: &str = "    ppk:\n      id: ppk-1                 # the same on both ends\n      \
                       file: gateway.ppk         # mode 0600\n      required: true            # no SA without it\n";
