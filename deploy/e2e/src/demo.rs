//! The acts of the demo, in order, and the verdict.

mod account;
mod checks;
mod policy;
mod report;
mod traffic;

use std::fs;
use std::path::PathBuf;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use clap::Parser;
use espalier_api::{MeshStatus, RotationStatus};
use espalier_e2e::lab::{Host, UPLINK};
use espalier_e2e::mesh::{Mesh, address, sas};
use espalier_e2e::ping::ping_from;
use espalier_e2e::throughput;
use espalier_e2e::wire::{Capture, Seen};
use reqwest::Method;

use account::Account;
use report::{Outage, Report, Rotation};

/// Shows a whole mesh on this machine: nodes enrol, tunnels form, policies and rotations reach them, the controller dies.
#[derive(Parser)]
#[command(name = "demo", bin_name = "cargo demo")]
pub(crate) struct Options {
    /// The number of nodes.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(3..=50))]
    nodes: u8,
    /// Write the report to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Leave everything running at the end, until Ctrl-C.
    #[arg(long)]
    keep: bool,
}

const SOON: Duration = Duration::from_secs(60);
const OUTAGE: Duration = Duration::from_secs(11);

/// Runs all acts. Returns whether every check held.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let account = Account::new();
    account.say(&format!("building a network of {} hosts and a switch", options.nodes));
    let mut mesh = Mesh::new(options.nodes)?;
    account.say("the controller runs; its root, its database and its first policy stand");
    let mut report = Report { nodes: options.nodes.into(), ..Report::default() };
    report.canary_seen_without_ipsec = checks::canary(&mesh)?;
    account.say(&format!("without protection the capture sees {} canaries", report.canary_seen_without_ipsec));

    let captures = watch(&mesh)?;
    let status = form(&mut mesh, &mut report, &account)?;
    ping_all(&mesh, &status, &mut report, &account)?;
    policy::act(&mesh, &status, &mut report, &account)?;
    rotate(&mesh, &mut report, &account)?;
    outage(&mut mesh, &mut report, &account)?;
    if let [one, two, ..] = &mesh.lab.hosts[..] {
        let to = (two, address(&status, two, true)?);
        report.throughput_mbps = throughput::measure(one, to, Duration::from_secs(2))?;
    }
    account.say(&format!("one TCP connection carries {:.0} Mbit/s", report.throughput_mbps));
    let seen = captures.into_iter().map(Capture::stop).collect::<Result<Vec<Seen>>>()?;
    report.underlay_esp_packets = seen.iter().map(|seen| seen.esp).sum();
    report.plaintext_packets_seen = seen.iter().map(|seen| seen.canaries).sum();

    let good = report.tell();
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&report)?;
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    if options.keep {
        keep(&mesh)?;
    }
    for agent in &mut mesh.agents {
        ensure!(agent.terminate()?.success(), "an agent failed at its end:\n{}", agent.log());
    }
    if !good {
        explain(&mesh);
    }
    ensure!(mesh.controller.terminate()?.success(), "the controller failed at its end:\n{}", mesh.controller.log());
    Ok(good)
}

/// Looks at every frame of every host's uplink.
fn watch(mesh: &Mesh) -> Result<Vec<Capture>> {
    mesh.lab.hosts.iter().map(|host| Capture::start(&host.namespace, UPLINK, None)).collect()
}

/// Enrols all nodes and waits for the full mesh.
fn form(mesh: &mut Mesh, report: &mut Report, account: &Account) -> Result<MeshStatus> {
    mesh.join_all()?;
    let last = Instant::now();
    let status = mesh.await_whole(SOON)?;
    report.mesh_up_ms = millis(last);
    let pairs = sas(&status);
    report.expected_pairs = report.nodes * (report.nodes - 1) / 2;
    report.ike_sas_up = pairs.len();
    report.child_sas_up = pairs.values().map(|(_, children)| children.len()).sum();
    account.say(&format!("{} nodes enrolled; the mesh was whole after {} ms", status.nodes.len(), report.mesh_up_ms));
    for node in &status.nodes {
        account.detail(&format!("{:<10} {:<28} {}", node.name, node.identity, node.addresses.join(" ")));
    }
    Ok(status)
}

/// Pings between all pairs, both ways, in both families.
fn ping_all(mesh: &Mesh, status: &MeshStatus, report: &mut Report, account: &Account) -> Result<()> {
    for ipv4 in [true, false] {
        let ends = |(from, to)| Ok((from, address(status, from, ipv4)?, address(status, to, ipv4)?));
        let ends = ordered_pairs(mesh).into_iter().map(ends).collect::<Result<Vec<_>>>()?;
        let all: Vec<_> = thread::scope(|scope| {
            let start = |(from, source, target)| scope.spawn(move || ping_from(from, source, target, 3, 56));
            let running: Vec<_> = ends.iter().copied().map(start).collect();
            running.into_iter().map(|pinging| pinging.join().map_err(|_| anyhow!("a thread panicked"))).collect()
        });
        for ((_, source, target), pings) in ends.iter().zip(all) {
            let pings = pings??;
            report.pings_total += pings.sent;
            report.pings_ok += pings.received;
            if pings.lost() > 0 {
                account.detail(&format!("{} of {} pings lost from {source} to {target}", pings.lost(), pings.sent));
            }
        }
    }
    account.say(&format!("{} of {} pings came back, IPv4 and IPv6", report.pings_ok, report.pings_total));
    Ok(())
}

/// Replaces every key while packets flow.
fn rotate(mesh: &Mesh, report: &mut Report, account: &Account) -> Result<()> {
    account.say("rotating every key of the fleet while packets flow");
    let status = mesh.rest.status()?;
    let traffic = traffic::start(mesh, &status)?;
    sleep(Duration::from_millis(500));
    let (before, start) = (sas(&status), Instant::now());
    let body =
        r#"{"apiVersion": "espalier/v1", "kind": "Rotation", "metadata": {"name": "demo"}, "spec": {"scope": "keys"}}"#;
    mesh.rest.accepted(Method::POST, "/rotations", body)?;
    let after = mesh.await_status("the rotation", SOON, |status| {
        let after = sas(status);
        let new = |pair: &(String, String), (ike, children): &(String, _)| {
            after.get(pair).is_some_and(|now| now.0 != *ike && now.1.is_disjoint(children))
        };
        before.iter().all(|(pair, old)| new(pair, old))
    })?;
    let rotation: RotationStatus = mesh.rest.get("/rotations/demo")?;
    ensure!(rotation.done == rotation.total, "the controller counts {} of {}", rotation.done, rotation.total);
    let seconds = start.elapsed().as_secs_f64();
    // What is replaced lingers for a moment; packets on it count too.
    sleep(Duration::from_secs(1));
    let (packets_sent, lost_packets) = traffic::stop(traffic)?;
    let after = sas(&after);
    let replaced = |change: &dyn Fn(&(String, String)) -> usize| before.keys().map(change).sum();
    report.rotation = Rotation {
        seconds,
        packets_sent,
        lost_packets,
        ike_sas_replaced: replaced(&|pair| {
            usize::from(after.get(pair).map(|sa| &sa.0) != before.get(pair).map(|sa| &sa.0))
        }),
        child_sas_replaced: replaced(&|pair| match (after.get(pair), before.get(pair)) {
            (Some(after), Some(before)) => before.1.difference(&after.1).count(),
            _ => 0,
        }),
    };
    account.say(&format!(
        "{} IKE SAs replaced in {seconds:.1} s; {lost_packets} of {packets_sent} packets lost",
        report.rotation.ike_sas_replaced
    ));
    Ok(())
}

/// Kills the controller while packets flow, and brings it back.
fn outage(mesh: &mut Mesh, report: &mut Report, account: &Account) -> Result<()> {
    account.say("killing the controller while packets flow");
    let status = mesh.rest.status()?;
    let traffic = traffic::start(mesh, &status)?;
    mesh.controller.kill()?;
    let start = Instant::now();
    while start.elapsed() < OUTAGE {
        account.progress(&format!("{:.0} s without a controller", start.elapsed().as_secs_f64()));
        sleep(Duration::from_secs(1));
    }
    let seconds = start.elapsed().as_secs_f64();
    mesh.restart_controller()?;
    mesh.await_whole(SOON)?;
    let (packets_sent, lost_packets) = traffic::stop(traffic)?;
    report.controller_outage = Outage { seconds, packets_sent, lost_packets };
    account.say(&format!(
        "{seconds:.1} s without a controller: {lost_packets} of {packets_sent} packets lost; all nodes are back"
    ));
    Ok(())
}

/// Shows what the agents have to say when a check did not hold: warnings, and packets that they dropped.
fn explain(mesh: &Mesh) {
    for (host, agent) in mesh.lab.hosts.iter().zip(&mesh.agents) {
        let log = agent.log();
        let telling =
            log.lines().filter(|line| [" WARN ", " ERROR ", "dropped"].iter().any(|word| line.contains(word)));
        telling.for_each(|line| eprintln!("  node-{}: {line}", host.number));
    }
}

/// Says how to look around, and waits for Ctrl-C.
fn keep(mesh: &Mesh) -> Result<()> {
    eprintln!("\nThe mesh runs on. REST answers at https://10.9.0.254:7080 inside {}:", mesh.lab.switch.name());
    eprintln!(
        "  ip netns exec {} curl --cacert {folder}/controller/etc/root.pem \\",
        mesh.lab.switch.name(),
        folder = mesh.lab.folder().display()
    );
    eprintln!(
        "    --header \"Authorization: Bearer $(cat {}/controller/etc/admin)\" https://10.9.0.254:7080/api/v1/status",
        mesh.lab.folder().display()
    );
    for host in &mesh.lab.hosts {
        eprintln!("  enter node-{}: ip netns exec {} bash", host.number, host.namespace.name());
    }
    eprintln!("Ctrl-C ends it.");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(tokio::signal::ctrl_c())?)
}

/// Lists every host with every other.
fn ordered_pairs(mesh: &Mesh) -> Vec<(&Host, &Host)> {
    let hosts = &mesh.lab.hosts;
    let pairs = hosts.iter().flat_map(|from| hosts.iter().map(move |to| (from, to)));
    pairs.filter(|(from, to)| from.number != to.number).collect()
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
