//! Why two ends have no algorithms in common: the first kind of which they have none, and the field that decides.

use espalier_model::profile::Profile;

use super::names::{listed, offered};
use super::{NoCommonSuite, Why};
use crate::wire::proposal;
use crate::wire::{Proposal, ProtocolId, SpiField, TransformType};

/// One kind, and the field of the profile with what is wanted of it.
struct Kind {
    what: &'static str,
    kind: TransformType,
    field: &'static str,
    wanted: String,
}

/// Says why no IKE suite comes of an offer.
pub(crate) fn no_common_ike(profile: &Profile, offer: &[Proposal]) -> Why {
    let kinds = [
        encryption("IKE encryption", "ike-encryption", names(&profile.ike_encryption)),
        Kind { what: "PRF", kind: TransformType::PRF, field: "prf", wanted: names(&profile.prf) },
        key_exchange(profile),
    ];
    explain(profile, &proposal::offer_ike(profile, SpiField::None), of(offer, ProtocolId::IKE), kinds.into())
}

const fn encryption(what: &'static str, field: &'static str, wanted: String) -> Kind {
    Kind { what, kind: TransformType::ENCR, field, wanted }
}

fn key_exchange(profile: &Profile) -> Kind {
    let wanted = names(&profile.key_exchange);
    Kind { what: "key exchange method", kind: TransformType::KE, field: "key-exchange", wanted }
}

fn explain(profile: &Profile, ours: &[Proposal], theirs: Vec<Proposal>, kinds: Vec<Kind>) -> Why {
    let has = |offer: &[Proposal], kind| {
        let transforms = offer.iter().flat_map(|proposal| &proposal.transforms);
        transforms.filter(|t| t.kind == kind && !t.foreign).map(|t| (t.id, t.key_length)).collect::<Vec<_>>()
    };
    let apart = |kind: &Kind| {
        let wanted = has(ours, kind.kind);
        has(&theirs, kind.kind).iter().all(|transform| !wanted.contains(transform))
    };
    let found = kinds.iter().position(apart).or(Some(0)).and_then(|at| kinds.into_iter().nth(at));
    let Some(Kind { what, kind, field, wanted }) = found else { return Why::Other("no common suite".to_owned()) };
    let mut listed = offered(&theirs, kind);
    if kind == TransformType::ENCR && theirs.iter().any(|p| p.transforms.iter().any(|t| t.kind == TransformType::INTEG))
    {
        listed = format!("{listed} with integrity {}", offered(&theirs, TransformType::INTEG));
    }
    Why::Suites(Box::new(NoCommonSuite { what, offered: listed, profile: profile.name.clone(), field, wanted }))
}

fn of(offer: &[Proposal], protocol: ProtocolId) -> Vec<Proposal> {
    offer.iter().filter(|proposal| proposal.protocol == protocol).cloned().collect()
}

fn names<T: ToString>(list: &[T]) -> String {
    listed(list.iter().map(T::to_string))
}
