//! Proof that the capture would see a leak.

use std::net::{IpAddr, UdpSocket};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use espalier_e2e::lab::{Host, UPLINK};
use espalier_e2e::mesh::Mesh;
use espalier_e2e::ping::CANARY;
use espalier_e2e::wire::Capture;

/// Sends marked packets to an address of the pool before any node is protected, and returns how many the capture saw.
pub(super) fn canary(mesh: &Mesh) -> Result<u64> {
    let [from, to, ..] = &mesh.lab.hosts[..] else { return Ok(0) };
    let inside: IpAddr = [10, 10, 0, 1].into();
    let capture = Capture::start(&from.namespace, UPLINK, None)?;
    let next = to.outer(true).to_string();
    let route = |action: &str| {
        let mut command = from.namespace.command("ip");
        command.args(["route", action, "10.10.0.1/32", "via", &next, "dev", UPLINK]);
        succeed(command)
    };
    route("add")?;
    send(from, inside)?;
    route("del")?;
    Ok(capture.stop()?.canaries)
}

fn send(from: &Host, to: IpAddr) -> Result<()> {
    let socket = from.namespace.enter(|| UdpSocket::bind("0.0.0.0:0"))??;
    for _ in 0..5 {
        socket.send_to(CANARY, (to, 9))?;
    }
    Ok(())
}

fn succeed(mut command: Command) -> Result<()> {
    let status = command.status().context("cannot run ip")?;
    ensure!(status.success(), "ip failed");
    Ok(())
}
