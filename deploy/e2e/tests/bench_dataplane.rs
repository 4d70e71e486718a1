//! The measurement of the data plane: it measures, it reports, and it leaves nothing behind.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use espalier_e2e::program::{Program, ours};
use serde_json::Value;
use tempfile::TempDir;

/// Starts a short measurement of the plain wire and our agent.
fn start(folder: &Path, flags: &[&str]) -> Program {
    let mut command = Command::new(ours("espalier-bench-dataplane").unwrap());
    command.args(["--rounds", "1", "--seconds", "1", "--peers", "plain"]).args(flags);
    Program::start(command, &folder.join("bench.log")).unwrap()
}

/// Whether something that it made or started is still there.
fn left(id: u32, children: &[u32]) -> bool {
    let prefix = format!("esp-dp-{id}-");
    let named = |entry: fs::DirEntry| entry.file_name().to_string_lossy().starts_with(&prefix);
    let namespaces = fs::read_dir("/run/netns").unwrap().any(|entry| named(entry.unwrap()));
    namespaces || children.iter().any(|child| Path::new(&format!("/proc/{child}")).exists())
}

/// Lists the processes that a process has started.
fn children(id: u32) -> Vec<u32> {
    let parent = |child: &u32| {
        let text = fs::read_to_string(format!("/proc/{child}/stat")).ok()?;
        let (_, fields) = text.rsplit_once(") ")?;
        fields.split(' ').nth(1)?.parse::<u32>().ok()
    };
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    processes.filter(|child| parent(child) == Some(id)).collect()
}

#[test]
fn a_round_reports_every_figure_that_was_asked_for_and_leaves_nothing() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("report.json");
    let json = file.to_str().unwrap();
    let mut bench = start(folder.path(), &["--figures", "tcp1,udp1300,rtt-idle", "--json", json]);
    bench.await_log("round 1 of 1", 1, Duration::from_secs(30)).unwrap();
    let (id, children) = (bench.id(), children(bench.id()));
    assert!(children.len() >= 2, "two agents: {children:?}");
    let status = bench.wait_within(Duration::from_secs(60)).unwrap();
    assert!(status.success(), "{}", bench.log());
    assert!(!left(id, &children), "{}", bench.log());

    let report: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let figure = |table: &str, key: &str, peer: &str| report[table][key][peer].as_f64();
    for key in ["tcp1", "udp1300", "wire_tcp1", "wire_udp1300"] {
        for peer in ["plain", "espalier"] {
            assert!(figure("value", key, peer).is_some_and(|value| value > 0.0), "{key} of {peer} in {report:#}");
        }
        assert!(figure("ratio", key, "plain").is_some_and(|ratio| ratio > 0.0), "{key} in {report:#}");
    }
    for key in ["rtt_idle_p50", "rtt_idle_p99", "wire_rtt_idle_p50", "cpu_per_gb", "wire_cpu_per_gb", "rss"] {
        assert!(figure("value", key, "espalier").is_some(), "{key} in {report:#}");
    }
    assert_eq!(report["value"].get("tcp4"), None, "what was not asked for is not measured");
    assert!(bench.log().contains("TCP, one stream, Mbit/s"), "{}", bench.log());
}

#[test]
fn a_signal_in_the_middle_takes_everything_down() {
    let folder = TempDir::new().unwrap();
    let mut bench = start(folder.path(), &["--figures", "tcp1"]);
    bench.await_log("round 1 of 1", 1, Duration::from_secs(30)).unwrap();
    let (id, children) = (bench.id(), children(bench.id()));
    assert!(left(id, &children), "it runs");
    assert!(!bench.terminate().unwrap().success());
    assert!(bench.log().contains("stopped by a signal"), "{}", bench.log());
    assert!(!left(id, &children), "{}", bench.log());
}
