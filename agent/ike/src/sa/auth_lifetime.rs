//! How long a proof of identity is believed, as the responder tells the initiator (RFC 4478).

use std::time::{Duration, Instant};

use super::established::Established;
use super::exchange::Exchange;
use crate::content::Content;
use crate::context::Context;
use crate::handshake::Failure;
use crate::handshake::proof::Proof;
use crate::wire::{ExchangeType, Notify, NotifyType, Payload};

/// Tells the initiator by when it has to prove itself anew, where its certificate ends.
//= RFC 4478 §3: the responder sends AUTH_LIFETIME, the initiator reauthenticates before it is over
pub(crate) fn notify(now: Instant, proof: Option<&Proof>) -> Option<Payload> {
    let left = proof?.ends.saturating_duration_since(now).as_secs();
    let seconds = u32::try_from(left).unwrap_or(u32::MAX);
    Some(Payload::Notify(Notify::new(NotifyType::AUTH_LIFETIME, seconds.to_be_bytes().to_vec())))
}

/// Reads by when the responder wants a new proof. One that is over at once would have us do nothing else, so there is a least one.
pub(crate) fn told(now: Instant, content: &Content) -> Option<Instant> {
    let seconds = content.notify(NotifyType::AUTH_LIFETIME)?.try_into().ok().map(u32::from_be_bytes)?;
    Some(now + Duration::from_secs(seconds.into()).max(SHORTEST))
}

impl Established {
    /// Takes note of how long the responder believes us from now on.
    //= RFC 4478 §3: the responder may send AUTH_LIFETIME in an INFORMATIONAL as well, and the latest counts
    pub(super) fn note_lifetime(&mut self, now: Instant, content: &Content) {
        if let Some(ends) = told(now, content).filter(|_| self.leads()) {
            self.parts.prove_by = Some(ends);
            self.lifetime_told = now;
        }
    }

    /// Tells the initiator that it has to prove itself sooner than it was told before.
    pub(super) fn tell_lifetime(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.lifetime_shortened = false;
        let payloads: Vec<_> = notify(cx.now.instant, self.parts.proof.as_ref()).into_iter().collect();
        self.request(cx, ExchangeType::INFORMATIONAL, &payloads, Exchange::Lifetime)
    }

    /// Believes the peer's certificate until this moment and no longer. Returns whether that is sooner than before.
    pub(crate) fn believe_until(&mut self, ends: Instant) -> bool {
        let leads = self.leads();
        let Some(proof) = self.parts.proof.as_mut().filter(|proof| ends < proof.ends) else { return false };
        proof.ends = ends;
        self.lifetime_shortened = !leads;
        true
    }
}

/// A lifetime that is shorter counts as this.
pub(crate) const SHORTEST: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn content(data: &[u8]) -> Content {
        let notify = Notify::new(NotifyType::AUTH_LIFETIME, data.to_vec());
        Content::read(vec![Payload::Notify(notify)]).unwrap()
    }

    #[test]
    fn what_one_end_tells_the_other_reads() {
        let now = Instant::now();
        let proof = Proof { ends: now + Duration::from_secs(3_600), path: vec![], chain: [].into() };
        let Some(Payload::Notify(told_notify)) = notify(now, Some(&proof)) else { panic!("a proof that ends is told") };
        assert_eq!(told(now, &content(&told_notify.data)), Some(proof.ends));
        assert!(notify(now, None).is_none(), "a shared secret does not end");
    }

    #[test]
    fn a_lifetime_of_nothing_or_of_another_length_keeps_nobody_busy() {
        let now = Instant::now();
        assert_eq!(told(now, &content(&[0; 4])), Some(now + SHORTEST));
        assert_eq!(told(now, &content(&[0; 3])), None);
        assert_eq!(told(now, &content(&[255; 4])), Some(now + Duration::from_secs(u32::MAX.into())));
    }
}
