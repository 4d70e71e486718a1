//! One suite: a command or a check, timed and held to its budget.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::tools;

/// What came of a suite.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Its name.
    pub(crate) name: &'static str,
    /// Tests that passed; a suite without single tests counts as one.
    pub(crate) passed: u64,
    /// Tests that failed; running far over the budget counts as one more.
    pub(crate) failed: u64,
    /// Tests that did not run.
    pub(crate) skipped: u64,
    /// Wall-clock seconds.
    pub(crate) seconds: f64,
}

/// Runs a check of our own. `Err` holds what is wrong, a line each.
pub(crate) fn check(
    name: &'static str,
    budget: Duration,
    check: impl FnOnce() -> Result<Vec<String>>,
) -> Result<Report> {
    eprintln!("── {name}");
    let start = Instant::now();
    let wrong = check()?;
    wrong.iter().for_each(|line| eprintln!("{line}"));
    let failed = u64::try_from(wrong.len())?;
    Ok(within(budget, Report { name, passed: u64::from(failed == 0), failed, skipped: 0, seconds: seconds(start) }))
}

/// Runs cargo, shows what it prints, and adds up the lines in which test binaries report their results.
pub(crate) fn cargo(
    name: &'static str,
    budget: Duration,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> Result<Report> {
    eprintln!("── {name}: cargo {}", arguments.join(" "));
    let start = Instant::now();
    let mut child = tools::cargo()
        .args(arguments)
        .envs(environment.iter().copied())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start cargo for suite {name}"))?;
    let mut report = Report { name, passed: 0, failed: 0, skipped: 0, seconds: 0.0 };
    for line in BufReader::new(child.stdout.take().context("cargo's output is piped")?).lines() {
        let line = line?;
        if let Some(results) = line.strip_prefix("test result: ") {
            report.passed += count(results, "passed");
            report.failed += count(results, "failed");
            report.skipped += count(results, "ignored");
        }
        eprintln!("{line}");
    }
    let success = child.wait()?.success();
    if !success && report.failed == 0 {
        report.failed = 1;
    } else if success && report.passed == 0 {
        report.passed = 1;
    }
    report.seconds = seconds(start);
    Ok(within(budget, report))
}

/// Machines of as many processors differ by this much: the same scapy suite takes 195 s on one and 560 s on another.
const SLOWER: f64 = 2.0;

fn within(budget: Duration, mut report: Report) -> Report {
    let (name, over) = (report.name, report.seconds / budget.as_secs_f64());
    if over > 1.0 {
        eprintln!("suite {name} took {over:.1} times its budget of {} s; at {SLOWER} times it fails", budget.as_secs());
        report.failed += u64::from(over > SLOWER);
    }
    report
}

/// Reads the number before a word: `3 passed; 0 failed; …`.
fn count(results: &str, word: &str) -> u64 {
    let mut words = results.split([' ', ';']).filter(|w| !w.is_empty());
    let mut last = "";
    words
        .find(|w| {
            *w == word || {
                last = w;
                false
            }
        })
        .and_then(|_| last.parse().ok())
        .unwrap_or(0)
}

fn seconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_test_binaries_are_counted() {
        let line = "ok. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        assert_eq!((count(line, "passed"), count(line, "failed"), count(line, "ignored")), (12, 3, 1));
        assert_eq!(count("nothing", "passed"), 0);
    }

    #[test]
    fn a_suite_far_over_its_budget_fails() {
        let slow = check("slow", Duration::ZERO, || Ok(Vec::new())).unwrap();
        assert_eq!((slow.passed, slow.failed), (1, 1));
        let took = |seconds| {
            within(Duration::from_secs(60), Report { name: "slow", passed: 1, failed: 0, skipped: 0, seconds }).failed
        };
        assert_eq!([59.0, 119.0, 121.0].map(took), [0, 0, 1], "a slow machine is no fault");
        let wrong = check("wrong", Duration::MAX, || Ok(vec!["a".to_owned(), "b".to_owned()])).unwrap();
        assert_eq!((wrong.passed, wrong.failed), (0, 2));
    }
}
