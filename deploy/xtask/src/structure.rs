//! The rules of the folders: who may depend on whom, how long a file may be, what stands at the top.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use cargo_metadata::{DependencyKind, MetadataCommand, Package};

/// Crates of ours that each crate may depend on. A crate that is not listed may use all but the binaries.
const OURS: [(&str, &[&str]); 8] = [
    ("espalier-model", &[]),
    ("espalier-crypto", &["espalier-model"]),
    ("espalier-ike", &["espalier-model", "espalier-crypto"]),
    ("espalier-esp", &["espalier-model", "espalier-crypto"]),
    ("espalier-sys", &["espalier-model"]),
    ("espalier-fuzz", &["espalier-model", "espalier-crypto", "espalier-ike", "espalier-esp"]),
    ("espalier-proto", &["espalier-model"]),
    ("espalier-api", &["espalier-model"]),
];
/// Crates that only these of ours may depend on, outside tests.
const KEPT_TO: [(&str, &[&str]); 11] = [
    ("sqlx", &["espalier-controller"]),
    ("axum", &["espalier-controller"]),
    ("tonic", &["espalier-controller", "espalier-agent", "espalier-proto"]),
    ("prost", &["espalier-proto"]),
    ("rcgen", &["espalier-controller", "espalier-agent", "espalier-e2e"]),
    ("libc", &["espalier-sys"]),
    ("tokio", &["espalier-agent", "espalier-controller", "espalier-e2e"]),
    ("espalier-agent", &["espalier-e2e"]),
    ("espalier-fuzz", &[]),
    ("libfuzzer-sys", &["espalier-fuzz"]),
    ("nix", &["espalier-e2e"]),
];
const TOP_LEVEL: [&str; 8] =
    ["Cargo.toml", "Cargo.lock", "LICENSE", "README.md", "agent", "controller", "deploy", "proto"];
const ALSO_TOP_LEVEL: &str = "migrations";
const MOST_LINES: usize = 500;

/// Returns what breaks a rule, a line each.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let metadata = MetadataCommand::new().current_dir(root).no_deps().exec()?;
    let ours: BTreeSet<&str> = metadata.packages.iter().map(|p| p.name.as_str()).collect();
    let mut wrong: Vec<String> = metadata.packages.iter().flat_map(|package| forbidden(package, &ours)).collect();
    wrong.extend(files(root)?);
    Ok(wrong)
}

fn forbidden(package: &Package, ours: &BTreeSet<&str>) -> Vec<String> {
    let name = package.name.as_str();
    let allowed: BTreeMap<_, _> = OURS.into_iter().collect();
    let kept: BTreeMap<_, _> = KEPT_TO.into_iter().collect();
    let dependencies = package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal);
    let bad = dependencies.filter(|d| {
        let own = d.name.as_str();
        let not_allowed = ours.contains(own) && allowed.get(name).is_some_and(|list| !list.contains(&own));
        not_allowed || kept.get(own).is_some_and(|list| !list.contains(&name))
    });
    bad.map(|d| format!("{name} must not depend on {}", d.name)).collect()
}

fn files(root: &Path) -> Result<Vec<String>> {
    let listing = Command::new("git").args(["ls-files", "-z"]).current_dir(root).output().context("cannot run git")?;
    if !listing.status.success() {
        bail!("git ls-files failed: {}", String::from_utf8_lossy(&listing.stderr).trim());
    }
    let mut wrong = Vec::new();
    for path in String::from_utf8(listing.stdout)?.split('\0').filter(|p| !p.is_empty()) {
        let top = path.split('/').next().unwrap_or(path);
        if !top.starts_with('.') && !TOP_LEVEL.contains(&top) && top != ALSO_TOP_LEVEL {
            wrong.push(format!("{path}: {top} is not a name of the top level"));
        }
        let file = root.join(path);
        if file.extension().is_some_and(|e| e == "rs") && file.exists() {
            let lines = fs::read_to_string(&file).with_context(|| format!("cannot read {path}"))?.lines().count();
            if lines > MOST_LINES {
                wrong.push(format!("{path}: {lines} lines, at most {MOST_LINES}"));
            }
        }
    }
    Ok(wrong)
}
