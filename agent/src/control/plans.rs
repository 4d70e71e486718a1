//! Which plan the node carries out, which one it has been offered, and what becomes of the offer.

use espalier_model::envelope::{Envelope, PlanState, Refusal, Version};
use espalier_model::plan::NodePlan;
use espalier_proto::WireError;
use espalier_proto::v1;
use espalier_proto::v1::controller_message::Message;

use crate::error_chain as causes;

/// One plan is carried out; at most one is under way to take its place.
pub(super) struct Plans {
    held: PlanState,
    offer: Option<Offer>,
    /// The next plan has to come whole: changes did not fit.
    from_scratch: bool,
}

struct Offer {
    plan: PlanState,
    answered: bool,
}

/// An offer that the node does not even try.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rejected {
    pub(super) version: Version,
    pub(super) reason: String,
    /// It could do with the plan from its first entry, which a new stream brings.
    pub(super) ask_again: bool,
}

impl Plans {
    pub(super) const fn new(held: PlanState) -> Self {
        Self { held, offer: None, from_scratch: false }
    }

    /// Tells whether a plan waits for the node's verdict: the next one has to wait.
    pub(super) fn is_busy(&self) -> bool {
        self.offer.as_ref().is_some_and(|offer| !offer.answered)
    }

    /// Returns the version that is carried out, zero without a plan.
    pub(super) fn version(&self) -> Version {
        self.held.envelope().map_or_else(Version::default, |envelope| envelope.version)
    }

    /// Returns version and digest that changes may be made to; nothing where the plan has to come whole.
    pub(super) fn base(&self) -> (Version, Vec<u8>) {
        let held = self.held.envelope().filter(|_| !self.from_scratch);
        held.map_or_else(Default::default, |envelope| (envelope.version, envelope.digest.as_bytes().to_vec()))
    }

    /// Takes what the controller sends, whole or not at all. What is carried out is still the plan before.
    pub(super) fn offered(
        &mut self,
        message: Message,
        verify: impl FnOnce(&Envelope) -> Result<(), String>,
    ) -> Result<(NodePlan, Version), Rejected> {
        let mut plan = self.held.clone();
        let (version, accepted) = match message {
            Message::Whole(whole) => (
                version_of(whole.envelope.as_ref()),
                read(whole).and_then(|whole| Ok(plan.accept_whole(whole, verify)?)),
            ),
            Message::Delta(delta) => (
                version_of(delta.envelope.as_ref()),
                read(delta).and_then(|delta| Ok(plan.accept_delta(delta, verify)?)),
            ),
        };
        match accepted {
            Ok(accepted) => {
                self.from_scratch = false;
                self.offer = Some(Offer { plan, answered: false });
                Ok((accepted, version))
            }
            Err(Unfit { reason, ask_again }) => {
                self.from_scratch |= ask_again;
                Err(Rejected { version, reason, ask_again })
            }
        }
    }

    /// Notes that the node carries a plan out. Returns it if that is new.
    pub(super) fn applied(&mut self, version: Version) -> Option<&PlanState> {
        let offer = self.offer.take_if(|offer| offer.plan.envelope().is_some_and(|e| e.version == version))?;
        self.held = offer.plan;
        Some(&self.held)
    }

    /// Notes that the node does not carry a plan out for now; it may do so yet.
    pub(super) fn refused(&mut self) {
        if let Some(offer) = &mut self.offer {
            offer.answered = true;
        }
    }

    /// Returns the plan that is carried out, to be kept.
    pub(super) const fn held(&self) -> &PlanState {
        &self.held
    }
}

struct Unfit {
    reason: String,
    ask_again: bool,
}

impl From<Refusal> for Unfit {
    fn from(refusal: Refusal) -> Self {
        let ask_again = matches!(refusal, Refusal::Base { .. } | Refusal::Digest { .. });
        Self { reason: causes(&refusal), ask_again }
    }
}

fn read<M, T: TryFrom<M, Error = WireError>>(message: M) -> Result<T, Unfit> {
    message.try_into().map_err(|error| Unfit { reason: causes(&error), ask_again: false })
}

fn version_of(envelope: Option<&v1::Envelope>) -> Version {
    envelope.map_or_else(Version::default, |e| Version { epoch: e.epoch, generation: e.generation })
}

#[cfg(test)]
mod tests;
