//! The key log: tshark reads the whole exchange with it, IKE and ESP.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

use std::fs;
use std::path::Path;
use std::process::Command;

use espalier_e2e::agent::{Agent, shared_key_plan, with_lifetimes, with_profile};
use espalier_e2e::lab::{Lab, UPLINK};
use espalier_e2e::ping::ping;
use espalier_e2e::program::output;
use espalier_e2e::wire::Capture;

/// Returns what tshark shows of a capture with a profile folder that holds the key log.
fn tshark(file: &Path, home: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("tshark");
    command.env("WIRESHARK_CONFIG_DIR", home).env("HOME", home).arg("-r").arg(file);
    command
        .args(["-o", "esp.enable_encryption_decode:TRUE", "-o", "esp.enable_authentication_check:TRUE"])
        .args(arguments);
    output(command).unwrap()
}

#[test]
fn tshark_reads_ike_and_esp_with_the_key_log() {
    let lab = Lab::new(2).unwrap();
    let (one, other) = (&lab.hosts[0], &lab.hosts[1]);
    let file = lab.folder().join("wire.pcap");
    let capture = Capture::start(&one.namespace, UPLINK, Some(&file)).unwrap();
    let keys = lab.folder().join("keys");
    // Wireshark 4.0 does not know of sequence numbers of 64 bits.
    let plan =
        |host, peer| with_profile(&with_lifetimes(&shared_key_plan(host, &[peer], true).unwrap(), 5, 2), "esn: off");
    let mut near = Agent::start(one, &plan(one, other), &["--keylog", keys.to_str().unwrap()]).unwrap();
    let _far = Agent::start(other, &plan(other, one), &[]).unwrap();
    near.await_log("IKE SA replaced", 1).unwrap();
    assert_eq!(ping(one, other.inner(true), 10, 56).unwrap().lost(), 0);
    near.program.terminate().unwrap();
    capture.stop().unwrap();
    let open = fs::metadata(keys.join("esp_sa")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&open.permissions()) & 0o777, 0o600);

    let echoes = tshark(&file, &keys, &["-Y", "esp && icmp", "-T", "fields", "-e", "icmp.type"]);
    let count = echoes.lines().filter(|kind| matches!(*kind, "0" | "8")).count();
    assert_eq!(count, 20, "ten requests and ten replies are read out of ESP: {echoes}");
    // 16: create a child SA with its nonces inside SK; 42: delete inside INFORMATIONAL; 39: AUTH.
    for payload in ["39", "40", "42"] {
        let filter = format!("isakmp.enc.decrypted && isakmp.typepayload == {payload}");
        let found = tshark(&file, &keys, &["-Y", &filter]);
        assert!(found.contains("ISAKMP"), "payload {payload} is read out of SK: {found}");
    }
}
