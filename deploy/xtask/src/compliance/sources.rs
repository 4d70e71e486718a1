//! What the code shows: marks and tests.

/// A line in the code that says what a document demands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark<'a> {
    pub(super) path: &'a str,
    pub(super) line: usize,
    /// The documents with their sections.
    pub(super) places: Vec<(String, &'a str)>,
    pub(super) words: &'a str,
}

/// Returns the marks of a file; a line that begins like one and is none is a fault.
pub(super) fn marks<'a>(path: &'a str, text: &'a str, faults: &mut Vec<String>) -> Vec<Mark<'a>> {
    let mut marks = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        let Some(mark) = text.trim_start().strip_prefix("//= ") else { continue };
        let read = mark.split_once(": ").and_then(|(places, words)| Some((self::places(places)?, words)));
        match read {
            Some((places, words)) => marks.push(Mark { path, line, places, words }),
            None => faults.push(format!("{path}:{line}: a mark is `//= RFC 7296 §2.1: words`")),
        }
    }
    marks
}

/// Reads `RFC 4106 §4, RFC 7634 §2, §3`: a section without a document is of the one before.
fn places(text: &str) -> Option<Vec<(String, &str)>> {
    let mut document = "";
    let places = text.split(", ").map(|place| {
        let (before, section) = place.split_once('§')?;
        document = if before.is_empty() { document } else { before.trim_end() };
        (!document.is_empty() && !section.is_empty()).then(|| (document.to_owned(), section))
    });
    places.collect()
}

/// Returns the names of a file's tests: functions with a test attribute, and the scenarios of the macro that has each played in
/// both roles.
pub(super) fn tests(text: &str) -> Vec<&str> {
    let (mut names, mut attribute, mut scenarios) = (Vec::new(), false, false);
    for line in text.lines() {
        let line = line.trim();
        if line == "}" {
            scenarios = false;
        } else if line.starts_with("both_roles! {") {
            scenarios = true;
        } else if scenarios {
            let name = line.split_once(" => ").map(|(name, _)| name);
            names.extend(name.filter(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')));
        } else if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            attribute = true;
        } else if attribute && !line.starts_with("#[") && !line.starts_with("//") {
            attribute = false;
            let name = line.trim_start_matches("async ").strip_prefix("fn ");
            names.extend(name.and_then(|name| name.split(['(', '<']).next()));
        }
    }
    names
}
