//! Postquantum preshared keys (RFC 8784): whether both ends use one, and never without where one of them must.

use espalier_model::plan::PpkId;
use thiserror::Error;

use super::Failure;
use crate::config::{PeerConfig, Ppk};
use crate::content::Content;
use crate::keymat::{AuthKeys, DerivationKey, IkeKeys};
use crate::wire::{Authentication, Notify, NotifyType, Payload, PpkIdentity};

/// Why there is no SA: one of both ends may not do without a key that the other does not use.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum PpkError {
    /// The responder knows no such keys at all.
    #[error("ppk {0} is required, but the peer announces none (ppk.required decides)")]
    NotAnnounced(PpkId),
    /// The peer has gone on without one.
    #[error("ppk {0} is required, but the peer does not use it (ppk.required decides)")]
    Unused(PpkId),
    /// The initiator means another one.
    #[error("ppk {0} is required, but the peer names {1} (ppk.id decides)")]
    Another(PpkId, String),
    /// The initiator may not do without one that is not there.
    #[error("the peer requires ppk {0}, which is not configured for it")]
    Unknown(String),
}

/// Keys into which a postquantum preshared key is mixed.
pub(crate) struct Mixed {
    pub(crate) id: PpkId,
    pub(crate) auth: AuthKeys,
    pub(crate) sk_d: DerivationKey,
}

/// What a responder does about an initiator's `IKE_AUTH` request.
pub(crate) enum Choice<'a> {
    /// Both have the key that the initiator names.
    Mix(&'a Ppk),
    /// Without a key.
    Plain,
    /// Without the key that the initiator has proven itself with: its proof without one stands in `NO_PPK_AUTH`.
    Instead(Vec<u8>),
}

/// Says that a key is wanted, or that one may be used.
pub(crate) const fn announcement() -> Payload {
    Payload::Notify(Notify::new(NotifyType::USE_PPK, Vec::new()))
}

impl Mixed {
    /// Mixes a key into those of the exchange.
    pub(crate) fn new(ppk: &Ppk, auth: &AuthKeys, keys: &IkeKeys) -> Result<Self, Failure> {
        let (auth, sk_d) = (auth.mixed(&ppk.secret)?, keys.sk_d.mixed(&ppk.secret)?);
        Ok(Self { id: ppk.id.clone(), auth, sk_d })
    }
}

/// Decides as initiator, once the `IKE_SA_INIT` response is there, which key to use.
//= RFC 8784 §3: without USE_PPK in the response there is no PPK, and where one is mandatory the initiator ends the attempt
pub(crate) fn wanted<'p>(peer: &'p PeerConfig, response: &Content) -> Result<Option<&'p Ppk>, PpkError> {
    match &peer.ppk {
        Some(ppk) if response.notify(NotifyType::USE_PPK).is_some() => Ok(Some(ppk)),
        Some(ppk) if ppk.required => Err(PpkError::NotAnnounced(ppk.id.clone())),
        Some(_) | None => Ok(None),
    }
}

/// Names the key in the `IKE_AUTH` request. Where it is not required, the proof without it goes along.
pub(crate) fn name(
    ppk: &Ppk,
    without: impl FnOnce() -> Result<Vec<Payload>, Failure>,
) -> Result<Vec<Payload>, Failure> {
    let identity = PpkIdentity::fixed(ppk.id.as_str());
    let mut payloads = vec![Payload::Notify(Notify::new(NotifyType::PPK_IDENTITY, identity.emit()))];
    //= RFC 8784 §3: NO_PPK_AUTH goes along where the PPK is optional, and never where it is mandatory
    if !ppk.required {
        let proof = without()?.into_iter().find_map(|payload| {
            if let Payload::Authentication(Authentication { data, .. }) = payload { Some(data) } else { None }
        });
        let data = proof.ok_or(Failure::Missing("AUTH"))?;
        payloads.push(Payload::Notify(Notify::new(NotifyType::NO_PPK_AUTH, data)));
    }
    Ok(payloads)
}

/// Decides as initiator, once the `IKE_AUTH` response is there, whether the responder uses the key.
//= RFC 8784 §3: PPK_IDENTITY in the response says that the PPK is used; without it a mandatory PPK ends the SA
pub(crate) fn confirmed(
    ppk: Option<&Ppk>,
    mixed: Option<Mixed>,
    response: &Content,
) -> Result<Option<Mixed>, PpkError> {
    match ppk {
        _ if response.notify(NotifyType::PPK_IDENTITY).is_some() && mixed.is_some() => Ok(mixed),
        Some(ppk) if ppk.required => Err(PpkError::Unused(ppk.id.clone())),
        Some(_) | None => Ok(None),
    }
}

/// Decides as responder what an initiator is answered. `announced` says that both ends have sent `USE_PPK`.
pub(crate) fn choose<'p>(peer: &'p PeerConfig, announced: bool, request: &Content) -> Result<Choice<'p>, Failure> {
    let named = request.notify(NotifyType::PPK_IDENTITY).filter(|_| announced);
    let named = named.map(PpkIdentity::read).transpose()?;
    let Some(named) = named else {
        //= RFC 8784 §3: a responder for which the PPK is mandatory refuses an initiator that names none
        return match &peer.ppk {
            Some(ppk) if ppk.required => Err(PpkError::Unused(ppk.id.clone()).into()),
            Some(_) | None => Ok(Choice::Plain),
        };
    };
    let shown = || String::from_utf8_lossy(&named.name).chars().take(64).collect::<String>().escape_debug().to_string();
    match (&peer.ppk, request.notify(NotifyType::NO_PPK_AUTH)) {
        //= RFC 8784 §3: a PPK that both have is used, whether or not the initiator could do without
        (Some(ppk), _) if ppk.id.as_str().as_bytes() == named.name => Ok(Choice::Mix(ppk)),
        (Some(ppk), _) if ppk.required => Err(PpkError::Another(ppk.id.clone(), shown()).into()),
        //= RFC 8784 §3: an unknown PPK_ID is passed over where NO_PPK_AUTH is there, and ends the SA where it is not
        (_, Some(proof)) => Ok(Choice::Instead(proof.to_vec())),
        (_, None) => Err(PpkError::Unknown(shown()).into()),
    }
}

/// Tells whether an SA has to end at once: its peer may not do without a key any more, and the SA has none or another.
pub(crate) fn lacking(peer: &PeerConfig, used: Option<&PpkId>) -> bool {
    peer.ppk.as_ref().is_some_and(|ppk| ppk.required && used != Some(&ppk.id))
}

/// Tells whether SAs have to be set up anew, since the key is another one.
pub(crate) fn changed(before: &PeerConfig, after: &PeerConfig) -> bool {
    let key = |peer: &PeerConfig| peer.ppk.as_ref().map(|ppk| (ppk.id.clone(), ppk.secret.clone()));
    key(before) != key(after)
}

/// Tells the initiator that its key is used.
pub(crate) const fn confirmation() -> Payload {
    Payload::Notify(Notify::new(NotifyType::PPK_IDENTITY, Vec::new()))
}
