//! Packets of rules on demand wait with the worker that sends, while IKE makes their SA.

use std::sync::Arc;
use std::time::{Duration, Instant};

use espalier_esp::offload::Segments;
use espalier_esp::{DropReason, Hold, Tables, flow_of};
use espalier_model::sa::SaEvent;

use super::Shared;

/// What waits.
#[derive(Default)]
pub(super) struct Waiting {
    hold: Hold,
    /// With which tables it was last looked for SAs.
    looked_with: Option<Arc<Tables>>,
}

impl Waiting {
    /// Tells whether there is nothing to look after.
    pub(super) fn is_empty(&self) -> bool {
        self.hold.is_empty()
    }

    /// Returns after which time it is to be looked after, whatever comes.
    pub(super) fn patience(&self) -> Option<Duration> {
        (!self.is_empty()).then_some(Hold::LOOK)
    }

    /// Takes a frame that could not be sent for a reason: it waits where an SA for it is made, and the SA is asked for.
    pub(super) fn take(
        &mut self,
        shared: &Shared,
        tables: &Tables,
        frame: &[u8],
        reason: DropReason,
    ) -> Result<(), DropReason> {
        if reason != DropReason::NoSa {
            return Err(reason);
        }
        let Ok(segments) = Segments::of(frame) else { return Err(reason) };
        let flow = flow_of(segments.packet())?;
        let rule = tables.awaited(&flow).ok_or(reason)?;
        let now = Instant::now();
        let kept = self.hold.keep(now, rule, &flow, frame, segments.count());
        if let Some(question) = self.hold.question(now, rule)
            && !ask(shared, question)
        {
            self.hold.not_asked(rule);
        }
        shared.totals.held.set(self.hold.packets());
        kept
    }

    /// Sends what has an SA by now, before anything newer, and gives up what has waited for too long.
    pub(super) fn serve(
        &mut self,
        shared: &Shared,
        tables: &Arc<Tables>,
        mut seal: impl FnMut(Segments<'_>) -> Result<(), DropReason>,
    ) {
        if self.looked_with.as_ref().is_none_or(|before| !Arc::ptr_eq(before, tables)) {
            self.hold.release(
                |rule| tables.sends(rule),
                |frame, packets| {
                    let sealed = Segments::of(frame).map_err(|_| DropReason::Malformed).and_then(&mut seal);
                    if let Err(reason) = sealed {
                        shared.counters.count_many(reason, packets);
                    }
                },
            );
            self.looked_with = Some(Arc::clone(tables));
        }
        let late = self.hold.look(Instant::now(), |question| ask(shared, question));
        shared.counters.count_many(DropReason::HoldExpired, late);
        shared.totals.held.set(self.hold.packets());
        if self.is_empty() {
            // Nothing keeps SAs that are gone.
            self.looked_with = None;
        }
    }
}

/// Asks IKE for an SA; tells whether the question was taken.
fn ask(shared: &Shared, question: SaEvent) -> bool {
    shared.events.try_send(question).is_ok()
}
