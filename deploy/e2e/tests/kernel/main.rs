//! The Linux kernel as the judge of ESP and AH: charon puts its SAs there, the agent carries its own in user space, and packets pass
//! between them in every form. The machine's kernel need not have ESP: charon runs in a guest, and one guest serves all scenarios.
//!
//! So this is no harness of one function for each test, but a program that prints what such a harness prints.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

mod case;
mod judge;
mod rekey;
mod scene;
mod table;

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use judge::Judge;
use table::Scenario;

/// Scenarios at once: the guest has one processor, and they wait most of the time.
const AT_ONCE: usize = 4;

fn main() -> ExitCode {
    // Options are those of the usual harness, which has nothing to say here.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let mut scenarios = table::scenarios();
    let all = scenarios.len();
    scenarios.retain(|scenario| wanted.is_empty() || wanted.iter().any(|word| scenario.name().contains(word)));
    let start = Instant::now();
    say(&format!("\nrunning {} scenarios", scenarios.len()));
    let passed = if scenarios.is_empty() { 0 } else { run(&scenarios) };
    let (failed, left_out) = (scenarios.len() - passed, all - scenarios.len());
    let word = if failed == 0 { "ok" } else { "FAILED" };
    say(&format!(
        "\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured; {left_out} filtered out; \
         finished in {:.2}s\n",
        start.elapsed().as_secs_f64()
    ));
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs scenarios and returns how many passed.
fn run(scenarios: &[Scenario]) -> usize {
    let judge = match Judge::start(scenarios) {
        Ok(judge) => judge,
        Err(error) => {
            eprintln!("{error:#}");
            return 0;
        }
    };
    let (next, passed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        while let Some((place, scenario)) = scenarios.iter().enumerate().nth(next.fetch_add(1, Ordering::Relaxed)) {
            let name = scenario.name();
            // A panic bears the name of its thread.
            let thread = thread::Builder::new().name(name.clone());
            let run = || scenario.run(&judge, place);
            let ok = thread::scope(|scope| thread.spawn_scoped(scope, run).unwrap().join().is_ok());
            passed.fetch_add(usize::from(ok), Ordering::Relaxed);
            say(&format!("test {name} ... {}", if ok { "ok" } else { "FAILED" }));
        }
    };
    thread::scope(|scope| (0..AT_ONCE).for_each(|_| drop(scope.spawn(work))));
    passed.into_inner()
}

#[expect(clippy::print_stdout, reason = "results are counted by what is written there")]
fn say(line: &str) {
    println!("{line}");
}
