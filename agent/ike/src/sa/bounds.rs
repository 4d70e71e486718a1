//! What a peer may ask for, and what its mistakes cost.

use std::time::{Duration, Instant};

use super::child::Child;
use super::established::{Established, Fate};
use crate::content::Content;
use crate::context::Context;
use crate::explain::{What, Why};
use crate::limits::{Limits, Rate};
use crate::output::DownReason;
use crate::wire::{Malformed, NotifyType, ProtocolId};

const CREATES_AT_ONCE: usize = 64;

impl Established {
    /// Tells how a request for an SA is refused when the peer has, or asks for, too many.
    pub(super) fn too_many(&mut self, now: Instant, limits: &Limits, content: &Content) -> Option<NotifyType> {
        let rules = self.parts.peer.children.len();
        let most = limits.children.max(4 * rules);
        let ike = content.proposals.iter().flatten().any(|p| p.protocol == ProtocolId::IKE);
        let rekeys = content.notify(NotifyType::REKEY_SA).is_some();
        //= RFC 7296 §1.3.1: NO_ADDITIONAL_SAS says that the responder takes no more child SAs on this IKE SA
        if !ike && !rekeys && self.children.len() >= most {
            return Some(NotifyType::NO_ADDITIONAL_SAS);
        }
        let burst = u32::try_from(CREATES_AT_ONCE + 4 * rules).unwrap_or(u32::MAX);
        let period = Duration::from_secs(1) / u32::try_from(2 * (rules + 1)).unwrap_or(u32::MAX);
        let room = ike || self.children.len() < 2 * most;
        //= RFC 7296 §2.25: TEMPORARY_FAILURE asks the peer to come again later
        let allowed = room && self.allowance.take(now, Rate { burst, period });
        (!allowed).then_some(NotifyType::TEMPORARY_FAILURE)
    }

    /// Tells what an authentic response says that ends the SA whatever was asked.
    pub(super) fn fatal(content: &Content) -> Option<DownReason> {
        //= RFC 7296 §2.21.3: INVALID_SYNTAX ends the IKE SA at both ends
        //= RFC 7296 §3.10.1: an error that is not known fails the request that it answers, and no more
        let fatal = [NotifyType::INVALID_SYNTAX, NotifyType::AUTHENTICATION_FAILED];
        let found = content.error().filter(|error| fatal.contains(error))?;
        Some(DownReason::Refused(format!("{found:?}")))
    }

    /// Takes an authentic response that cannot be read. The peer would only repeat it, so the SA ends.
    pub(super) fn unreadable_response(&mut self, cx: &mut Context<'_>, reason: Malformed) -> Fate {
        let text = format!("peer sent a message that cannot be read: {reason}");
        cx.tell(&self.parts.peer.id, What::Fault(Why::Other(text.clone())));
        self.parts.requests.close();
        Fate::Over(DownReason::Failed(text))
    }

    /// Takes note of the errors that an INFORMATIONAL request reports.
    pub(super) fn heed_errors(&mut self, cx: &mut Context<'_>, content: &Content) {
        let Some(error) = content.error() else { return };
        cx.tell(&self.parts.peer.id, What::Fault(Why::Told(error)));
        let lost = content.notify(NotifyType::INVALID_SPI).and_then(|spi| spi.try_into().ok()).map(u32::from_be_bytes);
        //= RFC 7296 §1.5: an authentic INVALID_SPI names a child SA that the peer has lost
        let lost = |child: &&mut Child| child.sas().any(|sa| lost == Some(sa.outbound.get()));
        let now = cx.now.instant;
        self.children.iter_mut().filter(lost).for_each(|child| _ = child.delete_at.get_or_insert(now));
    }
}
