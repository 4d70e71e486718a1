//! `cargo verify`: every suite in order, a table, and the summary as the last line.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;

use crate::suite::{Report, cargo, check};
use crate::tools;
use crate::{compliance, python, structure};

/// What to run.
#[derive(Args)]
pub(crate) struct Options {
    /// Only what needs no root and little time.
    #[arg(long)]
    quick: bool,
    /// The deep figures: twenty thousand seeds, a hundred large meshes. Takes hours.
    #[arg(long, conflicts_with = "quick")]
    long: bool,
    /// Write the results to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Serialize)]
struct Results<'a> {
    suites: &'a [Report],
}

/// Runs the suites. Returns whether every test passed.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let root = tools::root()?;
    std::env::set_current_dir(root).with_context(|| format!("cannot enter {}", root.display()))?;
    tools::install_missing()?;
    let suites = suites(root, options)?;
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&Results { suites: &suites })?;
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(summary(&suites))
}

fn suites(root: &Path, options: &Options) -> Result<Vec<Report>> {
    let clippy = ["clippy", "--release", "--workspace", "--all-targets", "--quiet", "--", "--deny", "warnings"];
    let doc = ["doc", "--release", "--workspace", "--no-deps", "--document-private-items", "--quiet"];
    // Always the whole workspace: another selection would have other features, and everything built anew.
    let unit = [
        "test",
        "--release",
        "--workspace",
        "--lib",
        "--bins",
        "--test",
        "grpc",
        "--test",
        "rest",
        "--test",
        "control",
        "--no-fail-fast",
        "--quiet",
    ];
    let mut suites = vec![
        check("structure", minutes(1), || structure::check(root))?,
        check("compliance", minutes(1), || compliance::check(root))?,
        cargo("format", minutes(1), &["fmt", "--all", "--check"], &[])?,
        cargo("build", minutes(15), &["build", "--release", "--workspace", "--quiet"], &[])?,
        cargo("lints", minutes(10), &clippy, &[])?,
        cargo("unit", minutes(15), &unit, &[])?,
    ];
    if !options.quick {
        suites.push(scapy(root, options.long)?);
        suites.push(simulation(options.long)?);
        suites.push(cargo("strongswan", minutes(8), &e2e("strongswan"), &[])?);
        suites.push(cargo("kernel", minutes(5), &e2e("kernel"), &[])?);
        suites.push(cargo("tshark", minutes(2), &e2e("tshark"), &[])?);
        suites.push(namespaces(options.long)?);
        suites.push(cargo("dataplane", minutes(1), &e2e("bench_dataplane"), &[])?);
        suites.push(flood(options.long)?);
        if options.long {
            suites.push(cargo("bars", minutes(90), &xtask(&["bench-dataplane", "--check"]), &[])?);
            suites.push(cargo("fuzz", minutes(150), &xtask(&["fuzz"]), &[])?);
        }
        suites.push(cargo("readme", minutes(2), &e2e("readme"), &[])?);
        suites.push(cargo("mesh", minutes(5), &e2e("mesh"), &[])?);
        suites.push(cargo("demo", minutes(3), &xtask(&["demo"]), &[])?);
        suites.push(cargo("documentation", minutes(5), &doc, &[("RUSTDOCFLAGS", "--deny warnings")])?);
    }
    Ok(suites)
}

fn e2e(test: &str) -> [&str; 7] {
    ["test", "--release", "--workspace", "--test", test, "--no-fail-fast", "--quiet"]
}

fn xtask<'a>(command: &[&'a str]) -> Vec<&'a str> {
    [&["run", "--release", "--quiet", "--package", "xtask", "--"], command].concat()
}

fn simulation(long: bool) -> Result<Report> {
    let (budget, seeds, runs) = if long { (minutes(240), "20000", "100") } else { (minutes(3), "500", "4") };
    cargo("simulation", budget, &e2e("simulation"), &[("ESPALIER_SEEDS", seeds), ("ESPALIER_RUNS", runs)])
}

fn scapy(root: &Path, long: bool) -> Result<Report> {
    let python = match python::environment("scapy", &root.join("deploy/e2e/tests/scapy/requirements.txt")) {
        Ok(python) => python,
        // The other suites still have something to say.
        Err(error) => return check("scapy", minutes(5), || Ok(vec![format!("{error:#}")])),
    };
    let (budget, packets) = if long { (minutes(240), "10000") } else { (minutes(5), "200") };
    cargo("scapy", budget, &e2e("scapy"), &[("ESPALIER_SCAPY", python.as_str()), ("ESPALIER_SCAPY_PACKETS", packets)])
}

fn namespaces(long: bool) -> Result<Report> {
    let (budget, rekeys) = if long { (minutes(40), "1000") } else { (minutes(5), "50") };
    cargo("namespaces", budget, &e2e("namespaces"), &[("ESPALIER_REKEYS", rekeys)])
}

fn flood(long: bool) -> Result<Report> {
    // Its figures say more than that it has passed.
    let arguments = [&e2e("flood")[..], &["--", "--nocapture"]].concat();
    let (budget, seconds) = if long { (minutes(8), "30") } else { (minutes(4), "6") };
    cargo("flood", budget, &arguments, &[("ESPALIER_FLOOD_SECONDS", seconds)])
}

fn summary(suites: &[Report]) -> bool {
    eprintln!("\n{:<15} {:>7} {:>7} {:>8} {:>8}", "suite", "passed", "failed", "skipped", "seconds");
    for suite in suites {
        let Report { name, passed, failed, skipped, seconds } = suite;
        eprintln!("{name:<15} {passed:>7} {failed:>7} {skipped:>8} {seconds:>8.1}");
    }
    let passed: u64 = suites.iter().map(|s| s.passed).sum();
    // A test that did not run has not passed.
    let failed: u64 = suites.iter().map(|s| s.failed + s.skipped).sum();
    eprintln!("\n{passed} passed, {failed} failed");
    failed == 0
}

const fn minutes(n: u64) -> Duration {
    Duration::from_secs(60 * n)
}
