//! When a worker has done with what it looked up before.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

/// Turns of one worker: an even number while it rests.
#[derive(Debug, Default)]
pub(super) struct Turns(AtomicU64);

/// A turn that is under way; it ends when this is dropped.
pub(super) struct Turn<'t>(&'t Turns);

/// A turn takes a millisecond or two, unless the socket is full.
const LONGEST: Duration = Duration::from_millis(5);
const PAUSE: Duration = Duration::from_micros(50);

impl Turns {
    /// Begins a turn. What is looked up from now on is what stands now, or newer.
    pub(super) fn begin(&self) -> Turn<'_> {
        self.0.fetch_add(1, SeqCst);
        Turn(self)
    }

    /// Waits until no turn is under way that began before: nothing is sent any more by what stood then. Tells whether that came
    /// true in time.
    pub(super) fn pass(&self) -> bool {
        self.pass_since(self.0.load(SeqCst), LONGEST)
    }

    fn pass_since(&self, seen: u64, longest: Duration) -> bool {
        let until = Instant::now() + longest;
        while seen % 2 == 1 && self.0.load(SeqCst) == seen {
            if Instant::now() > until {
                return false;
            }
            thread::sleep(PAUSE);
        }
        true
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_that_began_before_is_waited_for_and_no_other() {
        let turns = &Turns::default();
        assert!(turns.pass(), "a worker that rests");
        let turn = turns.begin();
        assert!(!turns.pass(), "a worker that hangs holds nobody up for long");
        thread::scope(|scope| {
            let seen = turns.0.load(SeqCst);
            let waiting = scope.spawn(move || turns.pass_since(seen, Duration::from_secs(60)));
            drop(turn);
            let _next = turns.begin();
            assert!(waiting.join().unwrap());
        });
    }
}
