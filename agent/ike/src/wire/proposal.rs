//! Offers of a profile, and the choice from a peer's offer.
//!
//! A proposal is one run of the profile's suites that share their integrity algorithm, so that it holds no combination which the
//! profile does not, and the first suite comes first (RFC 7296 §3.3). AEAD sends no integrity transform and accepts `NONE`
//! (RFC 5282 §8). A responder chooses by its own order of preference; an initiator accepts only what it has offered.

pub mod additional;
mod transforms;

use espalier_crypto::Method;
use espalier_model::profile::{AdditionalKeyExchanges, Esn, Profile};
use espalier_model::sa::Spi;
use espalier_model::suite::{AhSuite, EspSuite, Hmac, IkeEncryption, Kem, KeyExchange, Prf};

use super::registry::{ProtocolId, TransformType, transform_id as id};
use super::sa::{Proposal, SpiField, Transform};
use additional::Additional;
use transforms::{NO_INTEGRITY, NO_KEY_EXCHANGE, encryption, esn, integrity, key_exchange, prf};

pub(crate) use transforms::describe;

/// The algorithms of an IKE SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IkeSuite {
    /// Encryption of its messages.
    pub encryption: IkeEncryption,
    /// Pseudo-random function.
    pub prf: Prf,
    /// Key exchange method.
    pub key_exchange: KeyExchange,
    /// Key exchanges that follow it.
    pub additional: Additional,
}

/// The algorithms of a child SA with ESP, or with what else protects it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChildSuite<P = EspSuite> {
    /// Protection of its packets.
    pub protection: P,
    /// A key exchange of its own, for perfect forward secrecy.
    pub key_exchange: Option<KeyExchange>,
    /// Whether sequence numbers have 64 bits.
    pub esn: bool,
    /// Key exchanges that follow it.
    pub additional: Additional,
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

/// What a proposal of one protocol holds besides key exchange and the rest: encryption, integrity, or both.
trait Protection: Copy {
    const PROTOCOL: ProtocolId;

    /// Returns the encryption transform.
    fn encryption(self) -> Option<Transform>;
    /// Returns the integrity algorithm.
    fn hmac(self) -> Option<Hmac>;
}

//= RFC 7296 §3.14: IKE encrypts with AEAD, or with CBC or CTR and HMAC
impl Protection for IkeEncryption {
    const PROTOCOL: ProtocolId = ProtocolId::IKE;

    fn encryption(self) -> Option<Transform> {
        Some(encryption(self.cipher()))
    }

    fn hmac(self) -> Option<Hmac> {
        self.cipher().hmac()
    }
}

impl Protection for EspSuite {
    const PROTOCOL: ProtocolId = ProtocolId::ESP;

    fn encryption(self) -> Option<Transform> {
        Some(encryption(self.cipher()))
    }

    fn hmac(self) -> Option<Hmac> {
        self.cipher().hmac()
    }
}

impl Protection for AhSuite {
    const PROTOCOL: ProtocolId = ProtocolId::AH;

    fn encryption(self) -> Option<Transform> {
        None
    }

    fn hmac(self) -> Option<Hmac> {
        Some(Self::hmac(self))
    }
}

impl IkeSuite {
    /// Returns the names of all key exchanges, as in `x25519+mlkem768`.
    #[must_use]
    pub fn key_exchanges(&self) -> String {
        self.additional.methods().fold(self.key_exchange.to_string(), |names, method| format!("{names}+{method}"))
    }

    /// Builds the answer that states this choice.
    #[must_use]
    pub fn answer(&self, number: u8, spi: SpiField) -> Proposal {
        //= RFC 7296 §2.7: the answer is one proposal with one transform of each type
        let mut transforms = protect(&[self.encryption]);
        transforms.extend([prf(self.prf), key_exchange(self.key_exchange)]);
        transforms.extend(self.additional.transforms());
        Proposal { number, protocol: ProtocolId::IKE, spi, transforms }
    }
}

impl<P> ChildSuite<P> {
    /// Returns the same choice with its protection by another name.
    pub(crate) fn map<Q>(self, protection: impl FnOnce(P) -> Q) -> ChildSuite<Q> {
        let Self { protection: named, key_exchange, esn, additional } = self;
        ChildSuite { protection: protection(named), key_exchange, esn, additional }
    }
}

impl ChildSuite {
    /// Builds the answer that states this choice.
    #[must_use]
    pub fn answer(&self, number: u8, spi: Spi) -> Proposal {
        child_answer(self, number, spi)
    }
}

impl ChildSuite<AhSuite> {
    /// Builds the answer that states this choice.
    #[must_use]
    pub fn answer(&self, number: u8, spi: Spi) -> Proposal {
        child_answer(self, number, spi)
    }
}

/// Builds the offer of an IKE SA with all algorithms of the profile. The SPI is given only to rekey.
#[must_use]
pub fn offer_ike(profile: &Profile, spi: SpiField) -> Vec<Proposal> {
    let common = profile.prf.iter().map(|p| prf(*p)).chain(profile.key_exchange.iter().map(|k| key_exchange(*k)));
    offer(&profile.ike_encryption, &common.collect::<Vec<_>>(), &profile.additional_key_exchange, spi)
}

/// Builds the offer of a child SA with ESP whose inbound SPI is `spi`.
#[must_use]
pub fn offer_child(profile: &Profile, exchange: ChildExchange, spi: Spi) -> Vec<Proposal> {
    offer_protection(&profile.esp, profile, exchange, spi)
}

/// Builds the offer of a child SA with AH whose inbound SPI is `spi`.
#[must_use]
pub fn offer_ah(suites: &[AhSuite], profile: &Profile, exchange: ChildExchange, spi: Spi) -> Vec<Proposal> {
    offer_protection(suites, profile, exchange, spi)
}

/// Chooses from a peer's offer of an IKE SA what the profile likes best; `None` answers `NO_PROPOSAL_CHOSEN`.
#[must_use]
pub fn choose_ike(profile: &Profile, offer: &[Proposal]) -> Option<Selection<IkeSuite>> {
    let known = [TransformType::ENCR, TransformType::PRF, TransformType::INTEG, TransformType::KE];
    let known = [&known[..], &additional::KINDS].concat();
    let ranked = offer.iter().filter_map(|proposal| {
        let r = rate(proposal, ProtocolId::IKE, &known)?;
        let e = r.protection(&profile.ike_encryption)?;
        let p = r.best(&profile.prf, |p| prf(*p))?;
        //= RFC 7296 §2.18: a proposal of an IKE SA without a key exchange is not accepted
        let k = r.best(&profile.key_exchange, |k| key_exchange(*k))?;
        let a = additional::choose(&profile.additional_key_exchange, Some(k.1), &r)?;
        let suite = IkeSuite { encryption: e.1, prf: p.1, key_exchange: k.1, additional: a.1 };
        Some(((a.0, e.0, p.0, k.0), Selection { number: proposal.number, spi: proposal.spi, suite }))
    });
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, selection)| selection)
}

/// Chooses from a peer's offer of a child SA with ESP what the profile likes best; `None` answers `NO_PROPOSAL_CHOSEN`.
#[must_use]
pub fn choose_child(profile: &Profile, exchange: ChildExchange, offer: &[Proposal]) -> Option<Selection<ChildSuite>> {
    choose_protection(&profile.esp, profile, exchange, offer)
}

/// Chooses from a peer's offer of a child SA with AH what stands first in `suites`; `None` answers `NO_PROPOSAL_CHOSEN`.
#[must_use]
pub fn choose_ah(
    suites: &[AhSuite],
    profile: &Profile,
    exchange: ChildExchange,
    offer: &[Proposal],
) -> Option<Selection<ChildSuite<AhSuite>>> {
    choose_protection(suites, profile, exchange, offer)
}

/// Reads the answer to [`offer_ike`]; `None` for anything but one choice from the offer (RFC 7296 §2.7).
#[must_use]
pub fn accept_ike(profile: &Profile, answer: &[Proposal]) -> Option<Selection<IkeSuite>> {
    is_choice(&offer_ike(profile, SpiField::None), answer).then(|| choose_ike(profile, answer)).flatten()
}

/// Reads the answer to [`offer_child`]; `None` for anything but one choice from the offer (RFC 7296 §2.7).
#[must_use]
pub fn accept_child(profile: &Profile, exchange: ChildExchange, answer: &[Proposal]) -> Option<Selection<ChildSuite>> {
    accept_protection(&profile.esp, profile, exchange, answer)
}

/// Reads the answer to [`offer_ah`]; `None` for anything but one choice from the offer (RFC 7296 §2.7).
#[must_use]
pub fn accept_ah(
    suites: &[AhSuite],
    profile: &Profile,
    exchange: ChildExchange,
    answer: &[Proposal],
) -> Option<Selection<ChildSuite<AhSuite>>> {
    accept_protection(suites, profile, exchange, answer)
}

/// Returns the number of a key exchange method on the wire.
#[must_use]
pub fn key_exchange_id(method: impl Into<Method>) -> u16 {
    match method.into() {
        Method::KeyExchange(KeyExchange::X25519) => id::KE_X25519,
        Method::KeyExchange(KeyExchange::P256) => id::KE_P256,
        Method::KeyExchange(KeyExchange::P384) => id::KE_P384,
        Method::KeyExchange(KeyExchange::P521) => id::KE_P521,
        Method::KeyExchange(KeyExchange::Modp2048) => id::KE_MODP_2048,
        Method::KeyExchange(KeyExchange::Modp3072) => id::KE_MODP_3072,
        Method::KeyExchange(KeyExchange::Modp4096) => id::KE_MODP_4096,
        Method::Kem(Kem::MlKem768) => id::KE_ML_KEM_768,
        Method::Kem(Kem::MlKem1024) => id::KE_ML_KEM_1024,
    }
}

/// Returns the key exchange method of a number, if it is one that is supported and may stand alone.
#[must_use]
pub fn key_exchange_from_id(number: u16) -> Option<KeyExchange> {
    KeyExchange::ALL.iter().copied().find(|method| key_exchange_id(*method) == number)
}

fn child_answer<P: Protection>(suite: &ChildSuite<P>, number: u8, spi: Spi) -> Proposal {
    let mut transforms = protect(&[suite.protection]);
    transforms.extend(suite.key_exchange.map(key_exchange));
    transforms.extend(suite.additional.transforms());
    transforms.push(esn(suite.esn));
    Proposal { number, protocol: P::PROTOCOL, spi: SpiField::Child(spi), transforms }
}

fn offer_protection<P: Protection>(
    suites: &[P],
    profile: &Profile,
    exchange: ChildExchange,
    spi: Spi,
) -> Vec<Proposal> {
    let lengths = lengths(profile).iter().map(|extended| esn(*extended));
    let spi = SpiField::Child(spi);
    match exchange {
        //= RFC 7296 §1.2: the offer in IKE_AUTH has no transform for a key exchange
        ChildExchange::Auth => offer(suites, &lengths.collect::<Vec<_>>(), &AdditionalKeyExchanges::NONE, spi),
        ChildExchange::Create => {
            let methods = profile.key_exchange.iter().map(|k| key_exchange(*k));
            let common: Vec<_> = methods.chain(lengths).collect();
            offer(suites, &common, &profile.additional_key_exchange, spi)
        }
    }
}

fn choose_protection<P: Protection>(
    suites: &[P],
    profile: &Profile,
    exchange: ChildExchange,
    offer: &[Proposal],
) -> Option<Selection<ChildSuite<P>>> {
    let known = [TransformType::ENCR, TransformType::INTEG, TransformType::KE, TransformType::ESN];
    let known = [&known[..], &additional::KINDS].concat();
    let ranked = offer.iter().filter_map(|proposal| {
        proposal.spi.child()?;
        let r = rate(proposal, P::PROTOCOL, &known)?;
        let e = r.protection(suites)?;
        //= RFC 7296 §3.3.2: a proposal of ESP or AH says which sequence numbers it means
        let n = r.best(lengths(profile), |extended| esn(*extended))?;
        let wanted = r.best(&profile.key_exchange, |k| key_exchange(*k));
        let optional = !r.mentions(TransformType::KE) || r.offers(NO_KEY_EXCHANGE);
        let key_exchange = match (exchange, wanted) {
            (ChildExchange::Auth, _) => None,
            (ChildExchange::Create, None) if optional => None,
            (ChildExchange::Create, wanted) => Some(wanted?),
        };
        let a = match (exchange, key_exchange) {
            (ChildExchange::Auth, _) => Default::default(),
            // Without a key exchange of its own the child has the strength of the IKE SA, and there is nothing to add to.
            (ChildExchange::Create, None) => additional::choose(&AdditionalKeyExchanges::NONE, None, &r)?,
            (ChildExchange::Create, Some((_, first))) => {
                additional::choose(&profile.additional_key_exchange, Some(first), &r)?
            }
        };
        let suite = ChildSuite { protection: e.1, key_exchange: key_exchange.map(|k| k.1), esn: n.1, additional: a.1 };
        let rank = (a.0, e.0, n.0, key_exchange.map_or(usize::MAX, |k| k.0));
        Some((rank, Selection { number: proposal.number, spi: proposal.spi, suite }))
    });
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, selection)| selection)
}

fn accept_protection<P: Protection>(
    suites: &[P],
    profile: &Profile,
    exchange: ChildExchange,
    answer: &[Proposal],
) -> Option<Selection<ChildSuite<P>>> {
    let selection = choose_protection(suites, profile, exchange, answer)?;
    let ours = offer_protection(suites, profile, exchange, selection.spi.child()?);
    let answered =
        answer.iter().flat_map(|p| &p.transforms).any(|t| t.kind == TransformType::KE && *t != NO_KEY_EXCHANGE);
    let offered = exchange == ChildExchange::Create;
    (is_choice(&ours, answer) && answered == offered).then_some(selection)
}

/// Returns which lengths of sequence numbers a profile takes, the preferred first: whether they have 64 bits.
const fn lengths(profile: &Profile) -> &'static [bool] {
    match profile.esn {
        Esn::Off => &[false],
        Esn::Preferred => &[true, false],
        Esn::Required => &[true],
    }
}

/// Builds the transforms that protect with one of these suites, which have one integrity algorithm.
fn protect<P: Protection>(run: &[P]) -> Vec<Transform> {
    let ciphers = run.iter().filter_map(|suite| suite.encryption());
    let hmac = run.first().and_then(|suite| suite.hmac());
    ciphers.chain(hmac.map(integrity)).collect()
}

/// Builds an offer: a proposal for each run of suites with one integrity algorithm, all with the same other transforms; and all of
/// them once more without additional key exchanges where the profile can do without.
fn offer<P: Protection>(
    suites: &[P],
    common: &[Transform],
    wanted: &AdditionalKeyExchanges,
    spi: SpiField,
) -> Vec<Proposal> {
    let with = additional::offered(wanted);
    let without = (!with.is_empty() && wanted.is_optional()).then(Vec::new);
    //= RFC 7296 §3.3: suites share a proposal where they share their integrity algorithm, or have none
    let runs = || suites.chunk_by(|a, b| a.hmac() == b.hmac());
    let all =
        std::iter::once(with).chain(without).flat_map(|additional| runs().map(move |run| (run, additional.clone())));
    let proposal = |(number, (run, additional)): (u8, (&[P], Vec<Transform>))| {
        let transforms = [&protect(run)[..], common, &additional].concat();
        Proposal { number, protocol: P::PROTOCOL, spi, transforms }
    };
    //= RFC 7296 §3.3: proposals are numbered from 1 in the order of preference
    (FIRST..).zip(all).map(proposal).collect()
}

/// The transforms of a proposal that may be chosen.
struct Rated<'a>(&'a [Transform]);

impl Rated<'_> {
    /// Returns the first of our preferences that is offered, and its rank.
    fn best<T: Copy>(&self, preferences: &[T], transform: impl Fn(&T) -> Transform) -> Option<(usize, T)> {
        //= RFC 7296 §3.3.4: only what the profile names is chosen, by its order
        preferences.iter().copied().enumerate().find(|(_, p)| self.offers(transform(p)))
    }

    /// Returns the first of our suites that is offered, and its rank.
    fn protection<P: Protection>(&self, preferences: &[P]) -> Option<(usize, P)> {
        let usable = |suite: &P| {
            let integrity = match suite.hmac() {
                Some(hmac) => self.offers(integrity(hmac)),
                //= RFC 5282 §8: AEAD goes without integrity, or with NONE
                None => !self.mentions(TransformType::INTEG) || self.offers(NO_INTEGRITY),
            };
            let encryption = match suite.encryption() {
                Some(transform) => self.offers(transform),
                None => !self.mentions(TransformType::ENCR),
            };
            integrity && encryption
        };
        preferences.iter().copied().enumerate().find(|(_, suite)| usable(suite))
    }

    fn offers(&self, transform: Transform) -> bool {
        self.0.contains(&transform)
    }

    fn mentions(&self, kind: TransformType) -> bool {
        self.0.iter().any(|t| t.kind == kind)
    }
}

/// Refuses a proposal of another protocol, and one with a transform type that is unknown here, which must not be left out of a
/// choice (RFC 7296 §3.3.6).
fn rate<'a>(proposal: &'a Proposal, protocol: ProtocolId, known: &[TransformType]) -> Option<Rated<'a>> {
    //= RFC 7296 §3.3.6: a proposal with an unknown type of transform is not accepted
    let understood = proposal.transforms.iter().all(|t| known.contains(&t.kind));
    //= RFC 7296 §2.7: what is chosen has the protocol of what was proposed
    (proposal.protocol == protocol && understood).then_some(Rated(&proposal.transforms))
}

/// Tells whether an answer is one proposal with one transform per type, taken from the proposal of its number in our offer.
fn is_choice(offer: &[Proposal], answer: &[Proposal]) -> bool {
    let [proposal] = answer else { return false };
    let mut kinds: Vec<_> = proposal.transforms.iter().map(|t| t.kind).collect();
    kinds.sort_unstable();
    //= RFC 7296 §3.3.6: the answer is one of our proposals, with one transform of each of its types
    let offered = |ours: &Proposal| {
        let taken = |t: &Transform| ours.transforms.contains(t) || [NO_INTEGRITY, NO_KEY_EXCHANGE].contains(t);
        ours.number == proposal.number && proposal.transforms.iter().all(taken)
    };
    kinds.is_sorted_by(|a, b| a < b) && offer.iter().any(offered)
}

const FIRST: u8 = 1;

#[cfg(test)]
mod tests;
