//! The account: what happens, with the time since the start.

use std::io::IsTerminal;
use std::time::Instant;

/// Tells people what happens.
pub(super) struct Account(Instant);

impl Account {
    pub(super) fn new() -> Self {
        Self(Instant::now())
    }

    /// Tells of one act.
    pub(super) fn say(&self, text: &str) {
        eprintln!("{:>6.1} s  {text}", self.0.elapsed().as_secs_f64());
    }

    /// Adds a line to what was told.
    pub(super) fn detail(&self, text: &str) {
        eprintln!("          {text}");
    }

    /// Shows that something goes on; only where somebody looks.
    pub(super) fn progress(&self, text: &str) {
        if std::io::stderr().is_terminal() {
            eprint!("\r{:>6.1} s  {text}\r", self.0.elapsed().as_secs_f64());
        }
    }
}
