//! Putting back what somebody else has changed around the tunnel. The kernel tells of most changes; now and then is looked all the same.

use std::time::{Duration, Instant};

use super::Node;
use super::told::Throttle;
use crate::network::Mended;

/// When to look, and how often it was told of.
#[derive(Default)]
pub(super) struct Mending {
    /// Something may be missing.
    torn: bool,
    not_before: Option<Instant>,
    told: Throttle,
}

/// Between two looks. Others may change routes all the time.
const EVERY: Duration = Duration::from_millis(500);
/// Until the next look, whether or not anything was told.
const ANYWAY: Duration = Duration::from_secs(5);
/// Until a failed attempt is made again.
const AGAIN: Duration = Duration::from_secs(5);

impl Node {
    /// Looks, soon after a change or after a while, whether anything is missing, and puts it back.
    pub(crate) fn mend(&mut self) {
        let now = Instant::now();
        self.mending.torn |= self.underlay.take_touched();
        let due = self
            .mending
            .not_before
            .is_none_or(|at| now >= at + if self.mending.torn { Duration::ZERO } else { ANYWAY });
        if !due {
            return;
        }
        self.mending.torn = false;
        let (wait, what) = match self.network.mend(&self.plan) {
            Ok(Mended::Whole) => (EVERY, None),
            Ok(Mended::Guard) => {
                // The rest is looked at next.
                self.mending.torn = true;
                (EVERY, Some("the leak guard was gone, and is put up again: packets may have entered in the clear"))
            }
            Ok(Mended::Pieces) => (EVERY, Some("addresses or routes of the tunnel were gone, and are put back")),
            Ok(Mended::Interface(tun)) => {
                self.plane.replace_tun(tun);
                (EVERY, Some("the interface of the tunnel was gone, and is made anew"))
            }
            Err(error) => {
                self.mending.torn = true;
                tracing::error!(error = crate::error_chain(&error), "the tunnel cannot be mended; nothing passes");
                (AGAIN, None)
            }
        };
        self.mending.not_before = Some(now + wait);
        if let Some((what, suppressed)) = what.and_then(|what| Some((what, self.mending.told.admit(now)?))) {
            tracing::warn!(suppressed, "{what}");
        }
    }
}
