//! Tells people of a flood, in one line a minute.

use std::time::{Duration, Instant};

use espalier_ike::DoorCounters;

/// What has been told, and when.
#[derive(Default)]
pub(super) struct FloodLog {
    told: Option<Told>,
}

struct Told {
    at: Instant,
    counters: DoorCounters,
    /// Whether a line was written, or only a minute is over.
    line: bool,
}

/// No two lines are closer.
const PERIOD: Duration = Duration::from_secs(60);
/// As many datagrams turned away in a period are a flood. Scanners and late packets of peers that start anew are fewer.
const MANY: u64 = 1_000;

impl FloodLog {
    /// Takes the counters as they are, and writes a line when it is due.
    pub(super) fn note(&mut self, now: Instant, counters: DoorCounters) {
        if let Some((seconds, turned_away)) = self.due(now, counters) {
            let DoorCounters { asked, throttled, malformed, unknown_spi } = turned_away;
            tracing::warn!(
                asked_for_cookie = asked,
                throttled,
                malformed,
                unknown_spi,
                seconds,
                "a flood of IKE datagrams is turned away"
            );
        }
    }

    /// Returns how long may be waited until the rest of a flood is to be told.
    pub(super) fn patience(&self) -> Option<Duration> {
        self.told.as_ref().filter(|told| told.line).map(|_| PERIOD)
    }

    /// Returns what was turned away since the last line, and in how many seconds, when it is to be told.
    fn due(&mut self, now: Instant, counters: DoorCounters) -> Option<(u64, DoorCounters)> {
        let told = self.told.get_or_insert_with(|| Told { at: now, counters: DoorCounters::default(), line: false });
        let (over, since) = (now >= told.at + PERIOD, counters - told.counters);
        let many = since.total() >= MANY && (over || !told.line);
        if !many && !over {
            return None;
        }
        let seconds = now.duration_since(told.at).as_secs();
        *told = Told { at: now, counters, line: many };
        many.then_some((seconds, since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_at_once_and_then_once_a_minute() {
        let (start, mut log, mut asked) = (Instant::now(), FloodLog::default(), 0);
        let mut lines = Vec::new();
        for second in 0..300_u64 {
            asked += if (10..130).contains(&second) { 20_000 } else { 1 };
            let counters = DoorCounters { asked, ..DoorCounters::default() };
            let now = start + Duration::from_secs(second);
            lines.extend(log.due(now, counters).map(|(seconds, since)| (second, seconds, since.asked)));
        }
        let expected = [(10, 10, 20_010), (70, 60, 1_200_000), (130, 60, 1_180_001)];
        assert_eq!(lines, expected);
        assert_eq!(log.patience(), None);
    }

    #[test]
    fn scanners_are_no_flood() {
        let (start, mut log) = (Instant::now(), FloodLog::default());
        for minute in 0..10_000_u64 {
            let counters = DoorCounters { malformed: 900 * minute, ..DoorCounters::default() };
            assert_eq!(log.due(start + Duration::from_secs(60 * minute), counters), None);
        }
    }
}
