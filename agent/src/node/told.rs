//! What people read about SAs: one line for each event, with its facts as fields. What a stranger can provoke is limited.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use espalier_ike::explain::{Event, What};
use espalier_ike::{DownReason, IkeSpis};
use espalier_model::identity::{Identity, Name};

/// So many lines of one kind in so much time.
const LINES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(10);

/// Writes the lines.
#[derive(Default)]
pub(super) struct Told {
    refused: Throttle,
    doubtful: Throttle,
    children: Throttle,
    faults: Throttle,
}

/// Lines of one kind; those that are too many are counted.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    since: Option<Instant>,
    lines: u32,
    suppressed: u64,
}

impl Throttle {
    /// Tells whether a line may be written now, and how many were not since the one before.
    pub(super) fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= WINDOW) {
            (self.since, self.lines) = (Some(now), 0);
        }
        if self.lines == LINES {
            self.suppressed = self.suppressed.saturating_add(1);
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

impl Told {
    /// An IKE SA stands, or has taken the place of another.
    pub(super) fn up(peer: &Identity, spis: IkeSpis, replaced: bool) {
        let (spi_i, spi_r) = (spis.initiator, spis.responder);
        if replaced {
            tracing::info!(%peer, %spi_i, %spi_r, "IKE SA replaced");
        } else {
            tracing::info!(%peer, %spi_i, %spi_r, "IKE SA up");
        }
    }

    /// An IKE SA, or the attempt at one, has ended. Our own attempts are far between.
    pub(super) fn down(peer: &Identity, reason: &DownReason) {
        if *reason == DownReason::DeletedByUs {
            tracing::info!(%peer, "IKE SA deleted");
        } else {
            tracing::warn!(%peer, %reason, "IKE SA down");
        }
    }

    /// Somebody who has not proven to be a peer was refused.
    pub(super) fn turned_away(&mut self, now: Instant, remote: SocketAddr, reason: &DownReason) {
        if let Some(suppressed) = self.refused.admit(now) {
            tracing::warn!(%remote, %reason, suppressed, "IKE SA refused");
        }
    }

    /// No child SA came of an offer.
    pub(super) fn child_refused(&mut self, now: Instant, peer: &Identity, rule: Option<&Name>, reason: &str) {
        if let Some(suppressed) = self.children.admit(now) {
            let rule = rule.map_or_else(|| "none".to_owned(), ToString::to_string);
            tracing::warn!(%peer, rule, reason, suppressed, "no child SA");
        }
    }

    /// Something else has happened.
    pub(super) fn event(&mut self, now: Instant, event: &Event) {
        let peer = &event.peer;
        match &event.what {
            What::ChildNarrowed { rule, child, traffic } => {
                tracing::info!(%peer, %rule, child = child.0, traffic, "child SA narrowed");
            }
            What::ChildRekeyed { rule, old, new } => {
                tracing::info!(%peer, %rule, child = new.0, rekeyed_from = old.0, "child SA rekeyed");
            }
            What::ChildDown { rule, child } => tracing::info!(%peer, %rule, child = child.0, "child SA deleted"),
            What::ChildExhausted { rule, child } => {
                if let Some(suppressed) = self.faults.admit(now) {
                    let text = "child SA carries nothing more, since the peer has not let it be replaced";
                    tracing::warn!(%peer, %rule, child = child.0, suppressed, "{text}");
                }
            }
            What::Doubtful(why) => {
                if let Some(suppressed) = self.doubtful.admit(now) {
                    let text = "answer to the first message cannot be used, waiting for another";
                    tracing::warn!(%peer, reason = %why, suppressed, "{text}");
                }
            }
            What::Fault(why) => {
                if let Some(suppressed) = self.faults.admit(now) {
                    tracing::warn!(%peer, reason = %why, suppressed, "fault between this node and a peer");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_makes_few_lines_that_count_the_others() {
        let (start, mut throttle) = (Instant::now(), Throttle::default());
        let admitted: Vec<_> = (0..200_000_u32)
            .filter_map(|n| throttle.admit(start + Duration::from_micros(150) * n).map(|suppressed| (n, suppressed)))
            .collect();
        assert_eq!(admitted.len(), 30, "half a minute");
        assert_eq!(
            admitted.iter().filter(|(_, suppressed)| *suppressed > 0).count(),
            2,
            "each window tells of the last"
        );
        let told: u64 = admitted.iter().map(|(_, suppressed)| suppressed + 1).sum();
        assert_eq!(told + throttle.suppressed, 200_000, "every line is written or counted");
    }

    #[test]
    fn kinds_do_not_silence_each_other() {
        let (now, mut told) = (Instant::now(), Told::default());
        (0..100).for_each(|_| _ = told.refused.admit(now));
        assert_eq!(told.refused.admit(now), None);
        assert_eq!(told.children.admit(now), Some(0));
    }
}
