//! Lists, marks and tests held against each other.

use std::collections::{BTreeMap, BTreeSet};

use super::ledger::{Ledger, Outcome, Row};
use super::sources::{self, Mark};
use super::{LEDGERS, Tree};

/// Everything that was read, and what is wrong with it.
pub(super) struct Judged<'a> {
    pub(super) ledgers: Vec<Ledger<'a>>,
    /// Documents whose marks are in no list, and why.
    pub(super) unlisted: BTreeMap<&'a str, &'a str>,
    pub(super) faults: Vec<String>,
    marks: Vec<Mark<'a>>,
}

/// Names documents that have marks and no list.
const UNLISTED: &str = "unlisted.tsv";

impl<'a> Judged<'a> {
    pub(super) fn new(tree: &'a Tree) -> Self {
        let mut faults = Vec::new();
        let (mut ledgers, mut unlisted, mut marks) = (Vec::new(), BTreeMap::new(), Vec::new());
        for (path, text) in tree {
            if path.ends_with(".rs") {
                marks.extend(sources::marks(path, text, &mut faults));
            } else if path.ends_with(UNLISTED) {
                unlisted = self::unlisted(path, text, &mut faults);
            } else if path.starts_with(LEDGERS) {
                ledgers.push(Ledger::read(path, text, &mut faults));
            }
        }
        let mut judged = Self { ledgers, unlisted, faults, marks };
        let wrong: Vec<_> = judged.wrong_rows(tree).into_iter().chain(judged.wrong_marks()).collect();
        judged.faults.extend(wrong);
        judged
    }

    /// Returns the files that have the mark of a row.
    pub(super) fn marked(&self, document: &str, section: &str, words: &str) -> BTreeSet<&'a str> {
        let fits =
            |mark: &&Mark<'a>| mark.words == words && mark.places.iter().any(|p| *p == (document.to_owned(), section));
        self.marks.iter().filter(fits).map(|mark| mark.path).collect()
    }

    fn rows(&self) -> impl Iterator<Item = (&Ledger<'a>, &Row<'a>)> {
        self.ledgers.iter().flat_map(|ledger| ledger.rows.iter().map(move |row| (ledger, row)))
    }

    fn wrong_rows(&self, tree: &Tree) -> Vec<String> {
        let mut wrong = Vec::new();
        for (ledger, row) in self.rows() {
            let mut fault = |what: String| wrong.push(format!("{}:{}: {}: {what}", ledger.path, row.line, row.id()));
            match row.outcome {
                Outcome::NotApplicable(reason) | Outcome::Deviation(reason) => {
                    if reason.trim().is_empty() {
                        fault("no reason".to_owned());
                    }
                }
                Outcome::Done(section, words, tests) => {
                    if self.marked(&ledger.document, section, words).is_empty() {
                        fault(format!("no mark in the code: //= {} §{section}: {words}", ledger.document));
                    }
                    for test in tests.split(", ").filter(|test| !exists(tree, test)) {
                        fault(format!("no such test: {test:?}"));
                    }
                }
            }
        }
        wrong
    }

    fn wrong_marks(&self) -> Vec<String> {
        let mut named = BTreeSet::new();
        for (ledger, row) in self.rows() {
            if let Outcome::Done(section, words, _) = row.outcome {
                named.insert((ledger.document.as_str(), section, words));
            }
        }
        let mut wrong = Vec::new();
        for mark in &self.marks {
            for (document, section) in &mark.places {
                let at = format!("{}:{}: {document} §{section}: {}", mark.path, mark.line, mark.words);
                if self.ledgers.iter().any(|ledger| ledger.document == *document) {
                    if !named.contains(&(document.as_str(), *section, mark.words)) {
                        wrong.push(format!("{at}: no row has this mark"));
                    }
                } else if !self.unlisted.contains_key(document.as_str()) {
                    wrong.push(format!("{at}: {document} has no list, and {LEDGERS}{UNLISTED} does not name it"));
                }
            }
        }
        wrong
    }
}

fn unlisted<'a>(path: &str, text: &'a str, faults: &mut Vec<String>) -> BTreeMap<&'a str, &'a str> {
    let mut unlisted = BTreeMap::new();
    for (line, text) in (1..).zip(text.lines()).filter(|(_, text)| !text.starts_with('#')) {
        match text.split_once('\t') {
            Some((document, reason)) if !reason.trim().is_empty() => {
                unlisted.insert(document, reason);
            }
            _ => faults.push(format!("{path}:{line}: a line is a document, a tab and the reason")),
        }
    }
    unlisted
}

fn exists(tree: &Tree, test: &str) -> bool {
    let Some((path, name)) = test.rsplit_once("::") else { return false };
    tree.get(path).is_some_and(|text| sources::tests(text).contains(&name))
}
