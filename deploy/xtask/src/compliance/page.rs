//! The page that people read.

use std::fmt::Write as _;

use super::judge::Judged;
use super::ledger::{Ledger, Outcome, Row};

/// Writes the page.
pub(super) fn render(judged: &Judged<'_>) -> String {
    let mut page = HEAD.to_owned();
    for ledger in &judged.ledgers {
        let done = ledger.rows.iter().filter(|row| matches!(row.outcome, Outcome::Done(..))).count();
        let deviations = ledger.rows.iter().filter(|row| matches!(row.outcome, Outcome::Deviation(_))).count();
        let Ledger { document, title, rows, .. } = ledger;
        let (all, other) = (rows.len(), rows.len() - done - deviations);
        let link = document.to_lowercase().replace(' ', "-");
        let _ = writeln!(page, "| [{document}](#{link}) | {} | {all} | {done} | {deviations} | {other} |", cell(title));
    }
    for ledger in &judged.ledgers {
        let _ = write!(
            page,
            "\n## {}\n\n{}. The list: [{}]({}).\n\n",
            ledger.document,
            ledger.title,
            name(ledger.path),
            link(ledger.path)
        );
        page.push_str("| | | what is demanded | where | test |\n|---|---|---|---|---|\n");
        for row in &ledger.rows {
            let (place, tests) = outcome(judged, ledger, row);
            let _ = writeln!(page, "| {} | {} | {} | {place} | {tests} |", row.id(), row.level, cell(row.demand));
        }
    }
    page.push_str("\n## Others\n\nDocuments that the code cites without a list:\n\n");
    for (document, reason) in &judged.unlisted {
        let _ = writeln!(page, "- {document}: {reason}");
    }
    page
}

fn outcome(judged: &Judged<'_>, ledger: &Ledger<'_>, row: &Row<'_>) -> (String, String) {
    match row.outcome {
        Outcome::NotApplicable(reason) => (format!("not applicable: {}", cell(reason)), String::new()),
        Outcome::Deviation(reason) => (format!("**deviation**: {}", cell(reason)), String::new()),
        Outcome::Done(section, words, tests) => {
            let files = judged.marked(&ledger.document, section, words);
            let files: Vec<_> = files.iter().map(|path| format!("[{}]({})", name(path), link(path))).collect();
            let tests = tests.split(", ").map(|test| {
                let (path, test) = test.rsplit_once("::").unwrap_or(("", test));
                format!("[{test}]({})", link(path))
            });
            (files.join(" "), tests.collect::<Vec<_>>().join(" "))
        }
    }
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The page is in `deploy/docs`.
fn link(path: &str) -> String {
    path.strip_prefix("deploy/docs/").map_or_else(|| format!("../../{path}"), str::to_owned)
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

const HEAD: &str = "# Conformance\n\n\
    What the RFCs demand of us: where the code does it and which test shows it, or why it does not. Made by `cargo compliance` \
    from the lists in [compliance/](compliance/README.md); `cargo verify` fails when a row points to nothing.\n\n\
    | | | rows | done | deviations | not applicable |\n|---|---|---|---|---|---|\n";
