//! A policy over REST that drops one pair and narrows another to one TCP port, checked with real connections.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use espalier_api::MeshStatus;
use espalier_e2e::lab::Host;
use espalier_e2e::mesh::{Mesh, address, node_name};
use reqwest::Method;

use super::account::Account;
use super::report::Report;
use super::{SOON, millis};

const OPEN: u16 = 8080;
const SHUT: u16 = 8081;
const PATIENCE: Duration = Duration::from_millis(400);

/// Applies the policies, measures, checks, and takes them back.
pub(super) fn act(mesh: &Mesh, status: &MeshStatus, report: &mut Report, account: &Account) -> Result<()> {
    let [one, two, three, ..] = &mesh.lab.hosts[..] else { return Ok(()) };
    let servers = [two, three].map(|host| Server::start(host, address(status, host, true)?));
    let [second, third] = servers;
    let (second, third) = (second?, third?);
    let reaches = |server: &Server, port| connects(one, server.address, port);
    ensure!(reaches(&second, OPEN)? && reaches(&third, SHUT)?, "without further policies everything is open");

    let (a, b, c) = (node_name(one), node_name(two), node_name(three));
    let drop = policy("demo-drop", &a, &format!(r#"["{b}", "{c}"]"#), r#""any""#, "drop", 10);
    let narrow = policy(
        "demo-narrow",
        &a,
        &format!(r#"["{c}"]"#),
        &format!(r#"[{{"protocol": "tcp", "ports": {OPEN}}}]"#),
        "protect",
        20,
    );
    mesh.rest.accepted(Method::PUT, "/policies/demo-narrow", &narrow)?;
    let start = Instant::now();
    mesh.rest.accepted(Method::PUT, "/policies/demo-drop", &drop)?;
    mesh.await_status("the policy on every node", SOON, |status| status.nodes.iter().all(|node| node.current))?;
    report.policy_push_ms = millis(start);
    account.say(&format!("a policy has reached the slowest node after {} ms", report.policy_push_ms));
    // The narrow tunnel's child SA forms with its first second.
    let deadline = Instant::now() + Duration::from_secs(10);
    while !reaches(&third, OPEN)? && Instant::now() < deadline {
        sleep(Duration::from_millis(50));
    }
    let expected = [(&second, OPEN, false), (&second, SHUT, false), (&third, OPEN, true), (&third, SHUT, false)];
    for (server, port, expected) in expected {
        let reached = reaches(server, port)?;
        report.policy_checks_total += 1;
        report.policy_checks_ok += usize::from(reached == expected);
        let (verb, verdict) = (
            if reached { "reaches" } else { "does not reach" },
            if reached == expected { "as it should" } else { "WRONG" },
        );
        account.detail(&format!("{a} {verb} {} port {port}: {verdict}", server.address));
    }
    for name in ["demo-drop", "demo-narrow"] {
        mesh.rest.accepted(Method::DELETE, &format!("/policies/{name}"), "")?;
    }
    mesh.await_whole(SOON)?;
    Ok(())
}

fn policy(name: &str, from: &str, to: &str, traffic: &str, action: &str, priority: i32) -> String {
    format!(
        r#"{{"apiVersion": "espalier/v1", "kind": "Policy", "metadata": {{"name": "{name}"}}, "spec": {{"from": {{"nodes": ["{from}"]}}, "to": {{"nodes": {to}}}, "traffic": {traffic}, "action": "{action}", "priority": {priority}}}}}"#
    )
}

fn connects(from: &Host, to: IpAddr, port: u16) -> Result<bool> {
    let connected =
        from.namespace.enter(|| TcpStream::connect_timeout(&SocketAddr::new(to, port), PATIENCE).is_ok())?;
    Ok(connected)
}

/// Accepts connections on both ports until it is dropped.
struct Server {
    address: IpAddr,
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<()>>,
}

impl Server {
    fn start(host: &Host, address: IpAddr) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut workers = Vec::new();
        for port in [OPEN, SHUT] {
            let listener = host.namespace.enter(|| TcpListener::bind((address, port)))??;
            listener.set_nonblocking(true)?;
            let stopped = Arc::clone(&stop);
            workers.push(thread::spawn(move || {
                while !stopped.load(Ordering::Relaxed) {
                    // A connection is its own proof; nothing is said on it.
                    let _ = listener.accept();
                    sleep(Duration::from_millis(5));
                }
            }));
        }
        Ok(Self { address, stop, workers })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // A worker that panicked has nothing more to give.
        self.workers.drain(..).for_each(|worker| _ = worker.join());
    }
}
