//! What the ends agree on: traffic, several child SAs, families of addresses, detours of the first exchange.

use std::net::UdpSocket;
use std::thread::sleep;
use std::time::Duration;

use espalier_e2e::agent::Agent;
use espalier_e2e::lab::Lab;

use crate::scene::{
    By, Files, assert_answered, assert_nothing_lost, assert_protected, both_roles, give_address, replaced, run,
};

both_roles! {
    a_wider_rule_of_the_agent_is_narrowed => |by| narrowed(by, Files::psk().plan("10.10.2.1/32", "10.10.2.0/24"));
    a_wider_selector_of_the_gateway_is_narrowed => |by| {
        narrowed(by, Files::psk().gateway("local_ts = 10.10.2.1/32", "local_ts = 10.10.2.0/24"));
    };
    two_children_of_one_ike_sa_carry_ipv4_and_ipv6 => two_children;
    several_selectors_of_one_child_on_both_sides => several_selectors;
    an_ipv6_underlay => ipv6_underlay;
    a_key_exchange_guessed_wrong_is_corrected => guessed_wrong;
    a_key_exchange_guessed_wrong_in_a_rekey_is_corrected => guessed_wrong_in_a_rekey;
    idle_ends_ask_each_other_and_stay_up => idle;
}

fn narrowed(by: By, files: Files) {
    files.scene().assert_tunnel(by, &["local-ts=[10.10.2.1/32] remote-ts=[10.10.1.1/32]"]);
}

fn two_children(by: By) {
    let rule = "  - name: second\n    action: protect\n    local: [\"fd00:10::1/128\"]\n    \
                remote: [\"fd00:10::2/128\"]\n    peer: gateway.example\n";
    let child = "children {\n second {\n local_ts = fd00:10::2/128\n remote_ts = fd00:10::1/128\n \
                 esp_proposals = aes256gcm16-x25519\n }\n";
    let mut files = Files::psk()
        .plan("addresses: [10.10.1.1/32]", "addresses: [10.10.1.1/32, \"fd00:10::1/128\"]")
        .gateway("children {\n", child);
    files.plan += rule;
    let scene = files.scene();
    let capture = scene.capture();
    let mut agent = scene.tunnel(by);
    if by == By::Gateway {
        scene.swan.control(&["--initiate", "--child", "second"]).unwrap();
    }
    agent.await_children(2).unwrap();
    scene.assert_passes_between(true, &[56, 1300]);
    scene.assert_passes_between(false, &[56, 1200]);
    assert_protected(capture.stop().unwrap());
    scene.assert_one_ike_sa(2);
}

fn several_selectors(by: By) {
    let files = Files::psk()
        .plan("addresses: [10.10.1.1/32]", "addresses: [10.10.1.1/32, 10.11.1.1/32]")
        .plan("local: [10.10.1.1/32]", "local: [10.10.1.1/32, 10.11.1.0/24]")
        .plan("remote: [10.10.2.1/32]", "remote: [10.10.2.1/32, 10.12.2.0/24]")
        .gateway("local_ts = 10.10.2.1/32", "local_ts = 10.10.2.1/32, 10.12.2.0/24")
        .gateway("remote_ts = 10.10.1.1/32", "remote_ts = 10.10.1.1/32, 10.11.1.0/24");
    let scene = files.scene();
    give_address(scene.gateway(), "10.12.2.1/32");
    let _agent =
        scene.assert_tunnel(by, &["local-ts=[10.10.2.1/32 10.12.2.0/24] remote-ts=[10.10.1.1/32 10.11.1.0/24]"]);
    let [near, far] = ["10.11.1.1", "10.12.2.1"].map(|address| address.parse().unwrap());
    assert_answered(scene.node(), near, far, 56);
    assert_answered(scene.node(), near, scene.gateway().inner(true), 56);
    assert_answered(scene.node(), scene.node().inner(true), far, 56);
    scene.assert_one_ike_sa(1);
}

fn ipv6_underlay(by: By) {
    let files = Files::psk()
        .plan("[10.9.0.1]", "[\"fd00:9::1\"]")
        .plan("[10.9.0.2]", "[\"fd00:9::2\"]")
        .gateway("= 10.9.0.1\n", "= fd00:9::1\n")
        .gateway("= 10.9.0.2\n", "= fd00:9::2\n");
    files.scene().assert_tunnel(by, &["local-host=fd00:9::2", "remote-host=fd00:9::1"]);
}

fn guessed_wrong(by: By) {
    let files = Files::psk();
    let (files, line) = if by == By::Agent {
        let files = files.profile("key-exchange: [x25519, p384]");
        (
            files.proposals("aes256gcm16-prfsha384-ecp384", "aes256gcm16-ecp384"),
            "generating IKE_SA_INIT response 0 [ N(INVAL_KE) ]",
        )
    } else {
        let files = files.profile("key-exchange: [p384]");
        let proposals = ("aes256gcm16-prfsha384-x25519-ecp384", "aes256gcm16-x25519-ecp384");
        (files.proposals(proposals.0, proposals.1), "parsed IKE_SA_INIT response 0 [ N(INVAL_KE) ]")
    };
    let scene = files.scene();
    scene.assert_tunnel(by, &["dh-group=ECP_384"]);
    assert!(scene.swan.log().contains(line), "{}", scene.swan.log());
}

fn guessed_wrong_in_a_rekey(by: By) {
    let files = Files::psk();
    let files = if by == By::Agent {
        let files = files.profile("key-exchange: [x25519, p384], child-rekey-seconds: 2");
        files.proposals("aes256gcm16-prfsha384-x25519", "aes256gcm16-ecp384")
    } else {
        let files = files.profile("key-exchange: [p384]");
        files.proposals("aes256gcm16-prfsha384-ecp384", "aes256gcm16-x25519-ecp384")
    };
    let scene = files.scene();
    let mut agent = scene.tunnel(by);
    let flows = scene.flows();
    if by == By::Gateway {
        scene.swan.control(&["--rekey", "--child", "gateway"]).unwrap();
    }
    agent.await_children(2).unwrap();
    sleep(Duration::from_millis(300));
    assert_nothing_lost(flows);
    assert!(scene.swan.log().contains("N(INVAL_KE)"), "{}", scene.swan.log());
    scene.assert_shown(&["encr-alg=AES_GCM_16 encr-keysize=256 dh-group=ECP_384"]);
}

fn idle(by: By) {
    let files = Files::psk().gateway("dpd_delay = 10s", "dpd_delay = 1s").profile("liveness-seconds: 2");
    let scene = files.scene();
    let _agent = scene.tunnel(by);
    sleep(Duration::from_secs(4));
    scene.assert_one_ike_sa(1);
    assert!(scene.swan.log().contains("sending DPD request"), "{}", scene.swan.log());
    scene.assert_passes();
}

#[test]
fn a_gateway_that_demands_a_cookie_gets_it() {
    let lab = Lab::new(3).unwrap();
    let third = &lab.hosts[2];
    // The third host opens an IKE SA and never hears the answer, so that the gateway holds a half-open one.
    run(third, &["nft", "add table ip deaf; add chain ip deaf in { type filter hook input priority 0; policy drop; }"]);
    let files = Files::psk().gateway("= 10.9.0.1\n", "= 10.9.0.1,10.9.0.3\n");
    let plan = replaced(&files.plan, "[10.9.0.1]", "[10.9.0.3]");
    espalier_e2e::pki::write_secret(&third.folder().join("gateway.psk"), &files.key).unwrap();
    let scene = files.charon("cookie_threshold = 1").scene_in(lab);
    let _deaf = Agent::start(&scene.lab.hosts[2], &plan, &[]).unwrap();
    for _ in 0..100 {
        if scene.swan.log().contains("10.9.0.3 is initiating") {
            break;
        }
        sleep(Duration::from_millis(20));
    }
    scene.assert_tunnel(By::Agent, &["state=ESTABLISHED"]);
    let log = scene.swan.log();
    assert!(log.contains("parsed IKE_SA_INIT request 0 [ N(COOKIE) SA"), "{log}");
}

#[test]
fn an_agent_under_a_flood_demands_a_cookie_of_the_gateway() {
    let peer =
        "peers:\n  - { id: other.example, endpoints: [10.9.0.3], initiate: true, auth: { psk-file: gateway.psk } }\n";
    let lab = Lab::new(3).unwrap();
    let socket = lab.hosts[2].namespace.enter(|| UdpSocket::bind("10.9.0.3:500")).unwrap().unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut scene = Files::psk().scene_in(lab);
    scene.plan = replaced(&scene.plan, "initiate: true ", "initiate: false ");
    let plan = replaced(&scene.plan, "peers:\n", peer);
    let mut agent = Agent::start(scene.node(), &plan, &[]).unwrap();
    let mut first = [0; 2048];
    let (length, from) = socket.recv_from(&mut first).unwrap();
    // Its own first message comes back from so many initiators.
    for number in 1..=150_u64 {
        first[..8].copy_from_slice(&number.to_be_bytes());
        socket.send_to(&first[..length], from).unwrap();
        sleep(Duration::from_millis(2));
    }
    scene.swan.control(&["--initiate", "--child", "gateway"]).unwrap();
    agent.await_children(1).unwrap();
    scene.assert_passes();
    let log = scene.swan.log();
    assert!(log.contains("parsed IKE_SA_INIT response 0 [ N(COOKIE) ]"), "{log}");
}
