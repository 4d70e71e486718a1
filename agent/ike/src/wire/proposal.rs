//! Offers of a profile, and the choice from a peer's offer.
//!
//! Everything offered is AEAD: no integrity transform is sent, and `NONE` is accepted (RFC 5282 §8). A responder chooses by its
//! own order of preference; an initiator accepts only what it has offered.

use espalier_model::profile::Profile;
use espalier_model::sa::Spi;
use espalier_model::suite::{EspSuite, IkeEncryption, KeyExchange, Prf};

use super::registry::{ProtocolId, TransformType, transform_id as id};
use super::sa::{Proposal, SpiField, Transform};

/// The algorithms of an IKE SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IkeSuite {
    /// Encryption of its messages.
    pub encryption: IkeEncryption,
    /// Pseudo-random function.
    pub prf: Prf,
    /// Key exchange method.
    pub key_exchange: KeyExchange,
}

/// The algorithms of a child SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChildSuite {
    /// Encryption of its packets.
    pub esp: EspSuite,
    /// A key exchange of its own, for perfect forward secrecy.
    pub key_exchange: Option<KeyExchange>,
}

/// The exchange in which a child SA is negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildExchange {
    /// `IKE_AUTH`: no key exchange of its own (RFC 7296 §1.2).
    Auth,
    /// `CREATE_CHILD_SA`: offered with a key exchange, answered with one where the peer offers it.
    Create,
}

/// A chosen proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection<S> {
    /// Its number in the offer.
    pub number: u8,
    /// The sender's SPI.
    pub spi: SpiField,
    /// The algorithms.
    pub suite: S,
}

impl IkeSuite {
    /// Builds the answer that states this choice.
    #[must_use]
    pub fn answer(&self, number: u8, spi: SpiField) -> Proposal {
        let transforms = vec![encryption(self.encryption), prf(self.prf), key_exchange(self.key_exchange)];
        Proposal { number, protocol: ProtocolId::IKE, spi, transforms }
    }
}

impl ChildSuite {
    /// Builds the answer that states this choice.
    #[must_use]
    pub fn answer(&self, number: u8, spi: Spi) -> Proposal {
        let mut transforms = vec![esp(self.esp)];
        transforms.extend(self.key_exchange.map(key_exchange));
        transforms.push(NO_ESN);
        Proposal { number, protocol: ProtocolId::ESP, spi: SpiField::Child(spi), transforms }
    }
}

/// Builds the offer of an IKE SA: one proposal with all algorithms of the profile. The SPI is given only to rekey.
#[must_use]
pub fn offer_ike(profile: &Profile, spi: SpiField) -> Vec<Proposal> {
    let mut transforms: Vec<_> = profile.ike_encryption.iter().map(|e| encryption(*e)).collect();
    transforms.extend(profile.prf.iter().map(|p| prf(*p)));
    transforms.extend(profile.key_exchange.iter().map(|k| key_exchange(*k)));
    vec![Proposal { number: FIRST, protocol: ProtocolId::IKE, spi, transforms }]
}

/// Builds the offer of a child SA whose inbound SPI is `spi`.
#[must_use]
pub fn offer_child(profile: &Profile, exchange: ChildExchange, spi: Spi) -> Vec<Proposal> {
    let mut transforms: Vec<_> = profile.esp.iter().map(|e| esp(*e)).collect();
    if exchange == ChildExchange::Create {
        transforms.extend(profile.key_exchange.iter().map(|k| key_exchange(*k)));
    }
    transforms.push(NO_ESN);
    vec![Proposal { number: FIRST, protocol: ProtocolId::ESP, spi: SpiField::Child(spi), transforms }]
}

/// Chooses from a peer's offer of an IKE SA what the profile likes best; `None` answers `NO_PROPOSAL_CHOSEN`.
#[must_use]
pub fn choose_ike(profile: &Profile, offer: &[Proposal]) -> Option<Selection<IkeSuite>> {
    let ranked = offer.iter().filter_map(|proposal| {
        let r = rate(proposal, ProtocolId::IKE, &[TransformType::ENCR, TransformType::PRF, TransformType::KE])?;
        let e = r.best(&profile.ike_encryption, |e| encryption(*e))?;
        let p = r.best(&profile.prf, |p| prf(*p))?;
        let k = r.best(&profile.key_exchange, |k| key_exchange(*k))?;
        let suite = IkeSuite { encryption: e.1, prf: p.1, key_exchange: k.1 };
        Some(((e.0, p.0, k.0), Selection { number: proposal.number, spi: proposal.spi, suite }))
    });
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, selection)| selection)
}

/// Chooses from a peer's offer of a child SA what the profile likes best; `None` answers `NO_PROPOSAL_CHOSEN`.
#[must_use]
pub fn choose_child(profile: &Profile, exchange: ChildExchange, offer: &[Proposal]) -> Option<Selection<ChildSuite>> {
    let ranked = offer.iter().filter_map(|proposal| {
        proposal.spi.child()?;
        let known = [TransformType::ENCR, TransformType::KE, TransformType::ESN];
        let r = rate(proposal, ProtocolId::ESP, &known)?;
        let e = r.best(&profile.esp, |e| esp(*e))?;
        if !r.offers(NO_ESN) {
            return None;
        }
        let wanted = r.best(&profile.key_exchange, |k| key_exchange(*k));
        let optional = !r.mentions(TransformType::KE) || r.offers(NO_KEY_EXCHANGE);
        let key_exchange = match (exchange, wanted) {
            (ChildExchange::Auth, _) => None,
            (ChildExchange::Create, None) if optional => None,
            (ChildExchange::Create, wanted) => Some(wanted?),
        };
        let suite = ChildSuite { esp: e.1, key_exchange: key_exchange.map(|k| k.1) };
        let rank = (e.0, key_exchange.map_or(usize::MAX, |k| k.0));
        Some((rank, Selection { number: proposal.number, spi: proposal.spi, suite }))
    });
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, selection)| selection)
}

/// Reads the answer to [`offer_ike`]; `None` for anything but one choice from the offer (RFC 7296 §2.7).
#[must_use]
pub fn accept_ike(profile: &Profile, answer: &[Proposal]) -> Option<Selection<IkeSuite>> {
    is_single(answer).then(|| choose_ike(profile, answer)).flatten()
}

/// Reads the answer to [`offer_child`]; `None` for anything but one choice from the offer (RFC 7296 §2.7).
#[must_use]
pub fn accept_child(profile: &Profile, exchange: ChildExchange, answer: &[Proposal]) -> Option<Selection<ChildSuite>> {
    let selection = is_single(answer).then(|| choose_child(profile, exchange, answer)).flatten()?;
    let answered =
        answer.iter().flat_map(|p| &p.transforms).any(|t| t.kind == TransformType::KE && *t != NO_KEY_EXCHANGE);
    let offered = exchange == ChildExchange::Create;
    (answered == offered).then_some(selection)
}

/// Returns the number of a key exchange method on the wire.
#[must_use]
pub const fn key_exchange_id(method: KeyExchange) -> u16 {
    match method {
        KeyExchange::X25519 => id::KE_X25519,
        KeyExchange::P256 => id::KE_P256,
    }
}

/// Returns the key exchange method of a number, if it is one that is supported.
#[must_use]
pub const fn key_exchange_from_id(number: u16) -> Option<KeyExchange> {
    match number {
        id::KE_X25519 => Some(KeyExchange::X25519),
        id::KE_P256 => Some(KeyExchange::P256),
        _ => None,
    }
}

/// The transforms of a proposal that may be chosen.
struct Rated<'a>(&'a [Transform]);

impl Rated<'_> {
    /// Returns the first of our preferences that is offered, and its rank.
    fn best<T: Copy>(&self, preferences: &[T], transform: impl Fn(&T) -> Transform) -> Option<(usize, T)> {
        preferences.iter().copied().enumerate().find(|(_, p)| self.offers(transform(p)))
    }

    fn offers(&self, transform: Transform) -> bool {
        self.0.contains(&transform)
    }

    fn mentions(&self, kind: TransformType) -> bool {
        self.0.iter().any(|t| t.kind == kind)
    }
}

/// Refuses a proposal of another protocol, one that demands integrity besides AEAD, and one with a transform type that is
/// unknown here, which must not be left out of a choice (RFC 7296 §3.3.6).
fn rate<'a>(proposal: &'a Proposal, protocol: ProtocolId, known: &[TransformType]) -> Option<Rated<'a>> {
    let rated = Rated(&proposal.transforms);
    let understood = |t: &Transform| known.contains(&t.kind) || t.kind == TransformType::INTEG;
    let integrity = rated.mentions(TransformType::INTEG) && !rated.offers(NO_INTEGRITY);
    let usable = proposal.protocol == protocol && proposal.transforms.iter().all(understood) && !integrity;
    usable.then_some(rated)
}

/// Tells whether an answer is one proposal, numbered as the only one that was offered, with one transform per type.
fn is_single(answer: &[Proposal]) -> bool {
    let [proposal] = answer else { return false };
    let mut kinds: Vec<_> = proposal.transforms.iter().map(|t| t.kind).collect();
    kinds.sort_unstable();
    proposal.number == FIRST && kinds.is_sorted_by(|a, b| a < b)
}

const fn aes_gcm_16(bits: u16) -> Transform {
    Transform::with_key_length(TransformType::ENCR, id::ENCR_AES_GCM_16, bits)
}

const fn encryption(algorithm: IkeEncryption) -> Transform {
    match algorithm {
        IkeEncryption::Aes256Gcm16 => aes_gcm_16(256),
        IkeEncryption::Aes128Gcm16 => aes_gcm_16(128),
    }
}

const fn esp(suite: EspSuite) -> Transform {
    match suite {
        EspSuite::Aes256Gcm16 => aes_gcm_16(256),
        EspSuite::Aes128Gcm16 => aes_gcm_16(128),
    }
}

const fn prf(function: Prf) -> Transform {
    let number = match function {
        Prf::HmacSha256 => id::PRF_HMAC_SHA2_256,
        Prf::HmacSha384 => id::PRF_HMAC_SHA2_384,
        Prf::HmacSha512 => id::PRF_HMAC_SHA2_512,
    };
    Transform::new(TransformType::PRF, number)
}

const fn key_exchange(method: KeyExchange) -> Transform {
    Transform::new(TransformType::KE, key_exchange_id(method))
}

const FIRST: u8 = 1;
const NO_ESN: Transform = Transform::new(TransformType::ESN, id::ESN_NONE);
const NO_INTEGRITY: Transform = Transform::new(TransformType::INTEG, id::INTEG_NONE);
const NO_KEY_EXCHANGE: Transform = Transform::new(TransformType::KE, id::KE_NONE);

#[cfg(test)]
mod tests;
