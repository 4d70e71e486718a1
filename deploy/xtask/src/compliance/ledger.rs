//! One list: what a document demands, a row each.

/// The rows of a document.
pub(super) struct Ledger<'a> {
    /// Where the list is.
    pub(super) path: &'a str,
    /// The document, as marks name it: `RFC 7296`.
    pub(super) document: String,
    /// What it is about.
    pub(super) title: &'a str,
    pub(super) rows: Vec<Row<'a>>,
}

/// One demand.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    /// Its line in the list.
    pub(super) line: usize,
    /// The section, and its number within the section.
    pub(super) section: &'a str,
    pub(super) number: u32,
    pub(super) level: &'a str,
    /// What is demanded, in our own words.
    pub(super) demand: &'a str,
    pub(super) outcome: Outcome<'a>,
}

/// What becomes of a demand.
#[derive(Clone, Copy)]
pub(super) enum Outcome<'a> {
    /// A mark in the code is at what does it, and tests show it: the section and the words of the mark, and the tests.
    Done(&'a str, &'a str, &'a str),
    /// It is about what we do not have; the reason.
    NotApplicable(&'a str),
    /// We do otherwise; the reason.
    Deviation(&'a str),
}

/// The words of demand. `DEFINED` is what a document fixes without such a word and both ends must do alike.
const LEVELS: [&str; 9] =
    ["MUST", "MUST NOT", "SHOULD", "SHOULD NOT", "REQUIRED", "RECOMMENDED", "NOT RECOMMENDED", "MAY", "DEFINED"];

impl<'a> Ledger<'a> {
    /// Reads a list. Rows that are not rows are told as faults.
    pub(super) fn read(path: &'a str, text: &'a str, faults: &mut Vec<String>) -> Self {
        let name = path.rsplit('/').next().unwrap_or(path).trim_end_matches(".tsv");
        let document = name.strip_prefix("rfc").map_or_else(|| name.to_owned(), |number| format!("RFC {number}"));
        let mut title = "";
        let mut rows: Vec<Row<'_>> = Vec::new();
        for (line, text) in (1..).zip(text.lines()) {
            if let Some(comment) = text.strip_prefix('#') {
                title = if title.is_empty() { comment.trim() } else { title };
                continue;
            }
            match Row::read(line, text) {
                Ok(row) => {
                    if rows.last().is_some_and(|last| last.order() >= row.order()) {
                        faults.push(format!("{path}:{line}: {} is there already, or not in its place", row.id()));
                    }
                    rows.push(row);
                }
                Err(why) => faults.push(format!("{path}:{line}: {why}")),
            }
        }
        if title.is_empty() {
            faults.push(format!("{path}: the first line must be `# ` and the title"));
        }
        Self { path, document, title, rows }
    }
}

impl<'a> Row<'a> {
    fn read(line: usize, text: &'a str) -> Result<Self, String> {
        let columns: Vec<&str> = text.split('\t').collect();
        let [id, level, demand, mark, evidence] = columns[..] else {
            return Err(format!("{} columns, not the five of id, level, demand, mark, test", columns.len()));
        };
        let parts = id.strip_prefix('§').and_then(|id| id.rsplit_once('-'));
        let parts = parts.and_then(|(section, number)| Some((section, number.parse().ok()?)));
        let (section, number) = parts.ok_or_else(|| format!("{id:?} is no id like §2.1-1"))?;
        if !LEVELS.contains(&level) {
            return Err(format!("{level:?} is none of {}", LEVELS.join(", ")));
        }
        if demand.trim().is_empty() || demand.trim() != demand {
            return Err(format!("§{section}-{number} says nothing, or begins or ends with a space"));
        }
        let outcome = match mark {
            "not applicable" => Outcome::NotApplicable(evidence),
            "deviation" => Outcome::Deviation(evidence),
            "=" => Outcome::Done(section, demand, evidence),
            _ => {
                let mark = mark.strip_prefix('§').and_then(|mark| mark.split_once(": "));
                let (section, words) =
                    mark.ok_or("the mark is none of `=`, `§2.1: words`, not applicable, deviation")?;
                Outcome::Done(section, words, evidence)
            }
        };
        Ok(Self { line, section, number, level, demand, outcome })
    }

    /// Returns its name.
    pub(super) fn id(&self) -> String {
        format!("§{}-{}", self.section, self.number)
    }

    fn order(&self) -> (Vec<(u32, &'a str)>, u32) {
        let parts = self.section.split('.').map(|part| part.parse().map_or((u32::MAX, part), |number| (number, "")));
        (parts.collect(), self.number)
    }
}
