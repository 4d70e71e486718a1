//! What is being done, and how long it will go on.

use std::io::{IsTerminal, Write};
use std::time::Instant;

use crate::figure::{Measurement, Mode};
use crate::peer::Peer;

/// The state of the whole measurement.
pub(crate) struct Progress {
    start: Instant,
    terminal: bool,
    rounds: u32,
    done: f64,
    total: f64,
    line: String,
}

impl Progress {
    /// Starts, with the weights of all measurements together.
    pub(crate) fn new(rounds: u32, total: f64) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { start: Instant::now(), terminal, rounds, done: 0.0, total, line: String::new() }
    }

    /// Says which measurement comes. On a terminal one line is written over; otherwise a line tells of each turn of a peer.
    pub(crate) fn next(&mut self, round: u32, mode: Mode, peer: Peer, measurement: Measurement) {
        let (number, rounds, left) = (round + 1, self.rounds, self.left());
        let turn = format!("round {number} of {rounds}, {}, {}", mode.name(), peer.name());
        if self.terminal {
            eprint!("\r\x1b[K{turn}, {}; {left}", measurement.name());
            // A line that is not shown is no reason to stop.
            let _ = std::io::stderr().flush();
        } else if turn != self.line {
            eprintln!("{turn}; {left}");
        }
        self.line = turn;
    }

    /// Counts a measurement as done.
    pub(crate) fn done(&mut self, measurement: Measurement) {
        self.done += measurement.weight();
    }

    /// Ends the line that is written over.
    pub(crate) fn end(&self) {
        if self.terminal {
            eprintln!();
        }
    }

    fn left(&self) -> String {
        if self.done == 0.0 {
            return "no estimate yet".to_owned();
        }
        let left = self.start.elapsed().mul_f64((self.total / self.done - 1.0).max(0.0)).as_secs();
        format!("{}:{:02} left", left / 60, left % 60)
    }
}
