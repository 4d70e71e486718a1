//! The whole: controller and agents, what they do together, and what they answer to what is wrong.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use espalier_e2e::flow::Flow;
use espalier_e2e::lab::{Lab, outer};
use espalier_e2e::mesh::{Mesh, address, sas, start_agent};
use espalier_e2e::ping::ping_from;
use espalier_sys::netns::NetNs;
use reqwest::Method;

const SOON: Duration = Duration::from_secs(15);

fn whole(hosts: u8) -> Mesh {
    let mut mesh = Mesh::new(hosts).unwrap();
    mesh.join_all().unwrap();
    mesh.await_whole(SOON).unwrap();
    mesh
}

#[test]
fn nodes_enrol_and_form_a_mesh_that_outlives_the_controller() {
    let mut mesh = whole(3);
    let status = mesh.rest.status().unwrap();
    let hosts = &mesh.lab.hosts;
    let at = |n: usize, v4| address(&status, &hosts[n], v4).unwrap();
    for v4 in [true, false] {
        assert_eq!(ping_from(&hosts[0], at(0, v4), at(1, v4), 5, 56).unwrap().lost(), 0);
    }
    mesh.controller.kill().unwrap();
    // An agent that starts without the controller forms its SAs from the plan on its disk.
    mesh.agents[2].kill().unwrap();
    mesh.agents[2] = start_agent(&hosts[2], "espalier1:none").unwrap();
    mesh.agents[2].await_log("child SA in use", 2, SOON).unwrap();
    for (from, to) in [(0, 2), (2, 1)] {
        assert_eq!(ping_from(&hosts[from], at(from, true), at(to, true), 5, 56).unwrap().lost(), 0);
    }
    mesh.restart_controller().unwrap();
    mesh.await_whole(SOON).unwrap();
    for agent in &mut mesh.agents {
        assert!(agent.terminate().unwrap().success());
    }
    assert!(mesh.controller.terminate().unwrap().success());
}

#[test]
fn rotations_of_keys_and_certificates_replace_everything_and_lose_nothing() {
    let mesh = whole(3);
    let status = mesh.rest.status().unwrap();
    let hosts = &mesh.lab.hosts;
    let end = |n: usize| (&hosts[n], address(&status, &hosts[n], true).unwrap());
    let pairs = [(0, 1), (1, 0), (1, 2), (2, 0)];
    let flows = pairs.map(|(a, b)| Flow::between(end(a), end(b), Duration::from_millis(2)).unwrap());
    for (name, scope) in [("one", "keys"), ("two", "certificates")] {
        let before = sas(&mesh.rest.status().unwrap());
        let body = format!(
            r#"{{"apiVersion": "espalier/v1", "kind": "Rotation", "metadata": {{"name": "{name}"}}, "spec": {{"scope": "{scope}"}}}}"#
        );
        mesh.rest.accepted(Method::POST, "/rotations", &body).unwrap();
        let after = mesh.await_status("a rotation", SOON, |status| {
            let after = sas(status);
            let renewed = scope == "keys" || status.nodes.iter().all(|n| n.certificate_epoch == 1);
            let replaced = before
                .iter()
                .all(|(pair, old)| after.get(pair).is_some_and(|new| new.0 != old.0 && new.1.is_disjoint(&old.1)));
            after.len() == 3 && renewed && replaced
        });
        after.unwrap();
        let rotation: espalier_api::RotationStatus = mesh.rest.get(&format!("/rotations/{name}")).unwrap();
        assert_eq!(rotation.done, rotation.total, "{rotation:?}");
    }
    for flow in flows {
        let delivery = flow.stop().unwrap();
        assert!(delivery.sent > 100 && delivery.lost == 0, "{delivery:?}");
    }
}

#[test]
fn no_policy_locks_out_the_controller_or_an_administrator() {
    let mut mesh = whole(2);
    let gateway = outer(Lab::GATEWAY, true);
    let reaches = |from: &NetNs, address: IpAddr, port: u16| {
        let address = SocketAddr::new(address, port);
        from.enter(|| TcpStream::connect_timeout(&address, Duration::from_secs(1))).unwrap().is_ok()
    };
    let (host, ssh) = (&mesh.lab.hosts[0].namespace, mesh.lab.hosts[0].outer(true));
    let _servers = [22, 23].map(|port| host.enter(|| TcpListener::bind((ssh, port)).unwrap()).unwrap());
    assert!(reaches(host, gateway, 7080), "nothing guards the underlay yet");
    let underlay = r#"{apiVersion: espalier/v1, kind: Mesh, metadata: {name: mesh}, spec: {trustDomain: mesh.example,
        pools: [10.10.0.0/16, "fd00:10::/64"], scope: [10.9.0.0/24, "fd00:9::/64"]}}"#;
    mesh.rest.accepted(Method::PUT, "/mesh", underlay).unwrap();
    mesh.await_whole(SOON).unwrap();
    assert!(!reaches(host, gateway, 7080), "the underlay is guarded");
    assert!(reaches(&mesh.lab.switch, ssh, 22), "SSH stays open");
    assert!(!reaches(&mesh.lab.switch, ssh, 23), "nothing else does");
    // The controller is found again through the guard, by agents that run and by one that starts.
    mesh.controller.kill().unwrap();
    mesh.agents[1].kill().unwrap();
    mesh.restart_controller().unwrap();
    mesh.agents[1] = start_agent(&mesh.lab.hosts[1], "espalier1:none").unwrap();
    mesh.await_whole(SOON).unwrap();
    let open = underlay.replace(r#"10.9.0.0/24, "fd00:9::/64""#, "");
    mesh.rest.accepted(Method::PUT, "/mesh", &open).unwrap();
    mesh.await_status("the guard to open", SOON, |_| reaches(&mesh.lab.hosts[0].namespace, gateway, 7080)).unwrap();
}
