//! What nobody has proven: an answer to the first message that cannot be used is remembered, and the right one waited for. And what
//! one peer may leave behind.

use espalier_model::identity::Identity;
use espalier_model::sa::Direction;

use super::Endpoint;
use super::slot::{Sa, reason};
use crate::config::Now;
use crate::explain::{Event, What, Why};
use crate::handshake::Failure;
use crate::handshake::initiator::InitSent;
use crate::limits::MOST_REPLACED;
use crate::output::Output;
use crate::sa::established::{Established, Stage};
use crate::wire::IkeSpi;

impl Endpoint {
    /// Remembers that the answer to a first message is of no use. It is told once for each reason.
    //= RFC 7296 §2.21.1: no error before the SA is protected ends an attempt at once, since anybody may have sent it
    pub(super) fn doubtful(&mut self, mut state: Box<InitSent>, failure: &Failure) -> Box<InitSent> {
        let doubt = reason(failure);
        if state.doubt.as_ref() != Some(&doubt) {
            let why =
                if let Failure::Refused(kind) = failure { Why::Told(*kind) } else { Why::Other(doubt.to_string()) };
            let event = Event { peer: state.peer.id.clone(), what: What::Doubtful(why) };
            self.outputs.push_back(Output::Told(Box::new(event)));
            state.doubt = Some(doubt);
        }
        state
    }

    /// Begins an attempt anew that has been refused: the configuration may have changed so that it is not.
    pub(super) fn begin_again(&mut self, now: Now, id: &Identity) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        let refused = |spi: &mut IkeSpi| matches!(self.sas.get(spi), Some(Sa::InitSent(s)) if s.doubt.is_some());
        let Some(attempt) = peer.attempt.take_if(refused) else { return };
        self.sas.remove(&attempt);
        self.sa_timers.set(&attempt, None);
        self.peer_timers.set(id, Some(now.instant));
    }

    /// Keeps no more SAs of a peer that others have replaced than one that behaves can have: the oldest go.
    pub(super) fn note_replaced(&mut self, sa: &Established) {
        if !matches!(sa.stage, Stage::Replaced(_)) {
            return;
        }
        let Some(peer) = self.peers.get_mut(&sa.parts.peer.id) else { return };
        if peer.replaced.contains(&sa.spi()) {
            return;
        }
        peer.replaced.push_back(sa.spi());
        if peer.replaced.len() <= MOST_REPLACED {
            return;
        }
        let Some(oldest) = peer.replaced.pop_front() else { return };
        if let Some(Sa::Established(mut gone)) = self.sas.remove(&oldest) {
            self.sa_timers.set(&oldest, None);
            for child in gone.children.drain(..) {
                self.holders.remove(&child.id);
                if child.waiting.is_some() {
                    continue;
                }
                self.outputs.extend(self.outbounds.remove(&child.config.rule, child.id).map(Output::UseOutbound));
                let halves = [Direction::Outbound, Direction::Inbound];
                self.outputs.extend(halves.map(|half| Output::Remove(child.id, half)));
            }
        }
    }
}
