//! How long an SA is kept that the peer does not let us replace.

use std::time::{Duration, Instant};

/// When the first and the last of a row of attempts came to nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Patience(Option<(Instant, Instant)>);

/// The peer may have to end something of its own first, or be given another policy.
const LONGEST: Duration = Duration::from_secs(180);
/// Attempts that are further apart than this have nothing to do with each other.
const ROW: Duration = Duration::from_secs(60);

impl Patience {
    /// Notes that an attempt has come to nothing.
    pub(crate) fn lose(&mut self, now: Instant) {
        let first = self.0.filter(|(_, last)| now < *last + ROW).map_or(now, |(first, _)| first);
        self.0 = Some((first, now));
    }

    /// Notes that an attempt has succeeded.
    pub(crate) const fn regain(&mut self) {
        self.0 = None;
    }

    /// Returns how long the row has lasted.
    pub(crate) fn lasted(self) -> Duration {
        self.0.map_or(Duration::ZERO, |(first, last)| last.saturating_duration_since(first))
    }

    /// Returns when it has come to its end, if it has.
    pub(crate) fn ended(self) -> Option<Instant> {
        self.0.filter(|(first, last)| *last >= *first + LONGEST).map(|(_, last)| last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_after_minutes_of_failures_that_follow_each_other() {
        let (start, mut patience) = (Instant::now(), Patience::default());
        let at = |seconds| start + Duration::from_secs(seconds);
        for seconds in [0, 50, 100, 150] {
            patience.lose(at(seconds));
            assert_eq!((patience.ended(), patience.lasted()), (None, Duration::from_secs(seconds)), "{seconds}");
        }
        patience.lose(at(180));
        assert_eq!(patience.ended(), Some(at(180)));
        patience.regain();
        assert_eq!(patience.ended(), None);
        patience.lose(at(200));
        patience.lose(at(500));
        assert_eq!(patience.ended(), None, "nothing was asked in between");
    }
}
