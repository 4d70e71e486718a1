//! `cargo compliance`: what the RFCs demand, and where the code does it and a test shows it. See `deploy/docs/compliance/README.md`.

mod judge;
mod ledger;
mod page;
mod sources;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use judge::Judged;

/// Text of files, by their path from the root.
type Tree = BTreeMap<String, String>;

/// Where the lists are.
const LEDGERS: &str = "deploy/docs/compliance/";
/// What is made of them.
const PAGE: &str = "deploy/docs/compliance.md";
/// Where code is.
const CODE: [&str; 4] = ["agent", "controller", "deploy", "proto"];

/// Returns what is wrong with the lists, the marks, the tests or the page, a line each.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    Ok(faults(&read(root)?))
}

/// Writes the page anew and says what is wrong. Returns whether nothing is.
pub(crate) fn run() -> Result<bool> {
    let root = crate::tools::root()?;
    let tree = read(root)?;
    let judged = Judged::new(&tree);
    fs::write(root.join(PAGE), page::render(&judged)).with_context(|| format!("cannot write {PAGE}"))?;
    judged.faults.iter().for_each(|line| eprintln!("{line}"));
    Ok(judged.faults.is_empty())
}

fn faults(tree: &Tree) -> Vec<String> {
    let judged = Judged::new(tree);
    let fresh = tree.get(PAGE).is_some_and(|text| *text == page::render(&judged));
    let stale = (!fresh).then(|| format!("{PAGE} is not what the lists say: run `cargo compliance`"));
    judged.faults.into_iter().chain(stale).collect()
}

fn read(root: &Path) -> Result<Tree> {
    let mut tree = Tree::new();
    for folder in CODE {
        add(root, folder, &mut tree)?;
    }
    Ok(tree)
}

fn add(root: &Path, folder: &str, tree: &mut Tree) -> Result<()> {
    for entry in fs::read_dir(root.join(folder)).with_context(|| format!("cannot list {folder}"))? {
        let entry = entry?;
        let name = entry.file_name().into_string().unwrap_or_default();
        let path = format!("{folder}/{name}");
        if entry.file_type()?.is_dir() {
            if name != "target" && name != "node_modules" && !name.starts_with('.') {
                add(root, &path, tree)?;
            }
        } else if name.ends_with(".rs") || path == PAGE || path.starts_with(LEDGERS) && name.ends_with(".tsv") {
            let text = fs::read_to_string(entry.path()).with_context(|| format!("cannot read {path}"))?;
            tree.insert(path, text);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
