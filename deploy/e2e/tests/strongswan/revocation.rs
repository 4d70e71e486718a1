//! Revocation lists of the authority that has certified the gateway.

use std::fs;
use std::time::Duration;

use espalier_e2e::pki::{Leaf, Pki};

use crate::failures::assert_refused;
use crate::scene::{By, Files, GATEWAY, NODE, Papers, both_roles};

const SERIAL: u64 = 0x1234;
const FILE: &str = "issuing.crl";

/// The node heeds a list that is made of these serial numbers.
fn heeding(pki: &Pki, list: &str, further: &str) -> Files {
    let papers = Papers::new(pki, Leaf::of(NODE), Leaf { serial: Some(SERIAL), ..Leaf::of(GATEWAY) });
    let revocation = format!("revocation: {{ crls: [{FILE}]{further} }}\npeers:\n");
    Files::certificates(papers).plan("peers:\n", &revocation).secret(FILE, list)
}

both_roles! {
    a_gateway_on_the_list_of_its_authority_is_refused => |by| {
        let pki = Pki::new().unwrap();
        let list = pki.revocation_list(&[1, SERIAL], false).unwrap();
        assert_refused(heeding(&pki, &list, ""), by, "certificate, or an authority above it, is on a revocation list");
    };
    a_gateway_that_the_list_does_not_name_is_believed => |by| {
        let pki = Pki::new().unwrap();
        let list = pki.revocation_list(&[1, SERIAL + 1], false).unwrap();
        heeding(&pki, &list, "").scene().assert_tunnel(by, &["state=INSTALLED"]);
    };
    a_list_that_should_have_been_replaced_lets_nobody_be_believed => |by| {
        let pki = Pki::new().unwrap();
        let list = pki.revocation_list(&[1], true).unwrap();
        assert_refused(heeding(&pki, &list, ""), by, "a revocation list has expired, and revocation.expired is refuse");
    };
    a_list_that_should_have_been_replaced_still_counts_where_that_is_wanted => |by| {
        let pki = Pki::new().unwrap();
        let list = pki.revocation_list(&[1], true).unwrap();
        heeding(&pki, &list, ", expired: accept").scene().assert_tunnel(by, &["state=INSTALLED"]);
    };
}

/// The root has no list.
#[test]
fn an_authority_without_a_list_is_not_believed_where_that_is_wanted() {
    let pki = Pki::new().unwrap();
    let other = Pki::new().unwrap().revocation_list(&[], false).unwrap();
    let reason = "there is no revocation list of an authority, and revocation.missing is refuse";
    assert_refused(heeding(&pki, &other, ", missing: refuse"), By::Agent, reason);
}

#[test]
fn a_gateway_that_a_new_list_names_is_out_within_a_minute() {
    let pki = Pki::new().unwrap();
    let scene = heeding(&pki, &pki.revocation_list(&[], false).unwrap(), "").scene();
    let mut agent = scene.assert_tunnel(By::Agent, &["state=INSTALLED"]);
    fs::write(scene.node().folder().join(FILE), pki.revocation_list(&[SERIAL], false).unwrap()).unwrap();
    agent.program.await_log("IKE SA deleted", 1, Duration::from_secs(60)).unwrap();
    agent.await_log("certificate, or an authority above it, is on a revocation list", 1).unwrap();
    let sas = scene.swan.sas().unwrap();
    assert!(!sas.contains("INSTALLED"), "{sas}");
}
