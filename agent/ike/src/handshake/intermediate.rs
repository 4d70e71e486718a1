//! What both ends do alike for `IKE_INTERMEDIATE` with additional key exchanges (RFC 9242, RFC 9370 §2.2.2).

use espalier_crypto::Method;
use espalier_model::profile::Profile;

use super::Failure;
use crate::content::Content;
use crate::wire::proposal::IkeSuite;
use crate::wire::proposal::additional::has_additional;
use crate::wire::proposal::key_exchange_id;
use crate::wire::{Notify, NotifyType, Payload, Proposal};

/// Announces that we take part in `IKE_INTERMEDIATE`.
pub(crate) const fn supported() -> Payload {
    Payload::Notify(Notify::new(NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED, Vec::new()))
}

/// Announces it where the profile offers additional key exchanges.
pub(crate) fn announce(profile: &Profile) -> Option<Payload> {
    //= RFC 9370 §2.2.1: whoever offers an additional key exchange announces IKE_INTERMEDIATE
    (!profile.additional_key_exchange.rounds().is_empty()).then(supported)
}

/// Checks that the peer has announced it too where additional key exchanges follow.
pub(crate) fn check_announced(suite: &IkeSuite, content: &Content) -> Result<(), Failure> {
    //= RFC 9242 §3.1: IKE_INTERMEDIATE takes place only where both have announced it
    let announced = content.notify(NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED).is_some();
    if announced || suite.additional.methods().next().is_none() {
        Ok(())
    } else {
        Err(Failure::Missing("INTERMEDIATE_EXCHANGE_SUPPORTED"))
    }
}

/// Returns the public value, or the ciphertext, of the method whose turn it is.
pub(crate) fn public_value(content: &Content, method: Method) -> Result<&[u8], Failure> {
    let data = content.key_exchange.as_ref().ok_or(Failure::Missing("KE"))?;
    if data.method == key_exchange_id(method) { Ok(&data.data) } else { Err(Failure::OutOfTurn(method)) }
}

/// Says why an answer to our offer is not acceptable.
pub(crate) fn why_not(profile: &Profile, answer: &[Proposal]) -> Failure {
    if profile.additional_key_exchange.is_optional() || has_additional(answer) {
        Failure::NothingInCommon("IKE suite")
    } else {
        Failure::WithoutAdditional(demand(profile))
    }
}

/// Says why a peer may have refused us.
pub(crate) fn refused(profile: &Profile, error: NotifyType) -> Failure {
    let demands = error == NotifyType::NO_PROPOSAL_CHOSEN && !profile.additional_key_exchange.is_optional();
    if demands { Failure::RefusedDemand(error, demand(profile)) } else { Failure::Refused(error) }
}

fn demand(profile: &Profile) -> String {
    format!("{} (additional-key-exchange of profile {})", profile.additional_key_exchange, profile.name)
}
