//! What came of a target, read from what libFuzzer prints.

use std::fmt::Write;

/// The figures of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Report {
    name: String,
    executions: u64,
    per_second: u64,
    edges: u64,
    features: u64,
    new: u64,
    /// Whether nothing was found.
    pub(super) passed: bool,
}

impl Report {
    /// Reads the figures. A run that says nothing of what it did has not passed.
    pub(super) fn read(name: &str, said: &str, success: bool) -> Self {
        let statistic = |key: &str| {
            let line = said.lines().rev().find_map(|line| line.strip_prefix("stat::")?.strip_prefix(key));
            line.and_then(|rest| rest.trim_start_matches(':').trim().parse().ok())
        };
        let covered = |key: &str| {
            let mut words = said.lines().rev().find(|line| line.contains(" cov: "))?.split_whitespace();
            words.find(|word| *word == key)?;
            words.next()?.parse().ok()
        };
        let executions = statistic("number_of_executed_units").unwrap_or_default();
        Self {
            name: name.to_owned(),
            executions,
            per_second: statistic("average_exec_per_sec").unwrap_or_default(),
            edges: covered("cov:").unwrap_or_default(),
            features: covered("ft:").unwrap_or_default(),
            new: statistic("new_units_added").unwrap_or_default(),
            passed: success && executions > 0,
        }
    }
}

/// Returns the figures of all targets, a line each.
pub(super) fn table(reports: &[Report]) -> String {
    let heads = ["executions", "each second", "edges", "features", "new inputs"];
    let mut text = format!("{:<14}", "target");
    heads.iter().for_each(|head| _ = write!(text, "{head:>13}"));
    for Report { name, executions, per_second, edges, features, new, passed } in reports {
        _ = write!(text, "\n{name:<14}");
        [executions, per_second, edges, features, new].iter().for_each(|figure| _ = write!(text, "{figure:>13}"));
        text.push_str(if *passed { "" } else { "  FAILED" });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "\
INFO: Running with entropic power schedule (0xFF, 100).
#2\tINITED cov: 5 ft: 5 corp: 1/1b exec/s: 0 rss: 30Mb
#8192\tNEW    cov: 1310 ft: 2710 corp: 250/36Kb lim: 1200 exec/s: 4096 rss: 61Mb L: 120/900 MS: 1 EraseBytes-
#9000\tDONE   cov: 1312 ft: 2715 corp: 251/36Kb lim: 1210 exec/s: 4500 rss: 62Mb
Done 9000 runs in 2 second(s)
stat::number_of_executed_units: 9000
stat::average_exec_per_sec:     4500
stat::new_units_added:          17
stat::slowest_unit_time_sec:    0
stat::peak_rss_mb:              62
";

    #[test]
    fn the_figures_of_a_run_are_read() {
        let report = Report::read("inner", SAID, true);
        let expected = Report {
            name: "inner".to_owned(),
            executions: 9000,
            per_second: 4500,
            edges: 1312,
            features: 2715,
            new: 17,
            passed: true,
        };
        assert_eq!(report, expected);
        let text = table(&[report]);
        assert!(text.contains("9000") && text.contains("1312") && !text.contains("FAILED"), "{text}");
    }

    #[test]
    fn a_finding_and_a_run_without_figures_fail() {
        assert!(!Report::read("inner", SAID, false).passed);
        assert!(!Report::read("inner", "", true).passed);
        assert!(table(&[Report::read("inner", "", true)]).contains("FAILED"));
    }
}
