//! The key schedule (RFC 7296 §2.13, §2.14, §2.17, §2.18; RFC 9370 §2.2), typed by phase.
//!
//! Only an initial SA yields [`AuthKeys`]: a rekeyed one has nothing to authenticate with, so nothing can be signed with it.

mod ppk;

use espalier_crypto::{CryptoError, prf, prf_plus};
use espalier_model::secret::Secret;
use espalier_model::suite::{IkeEncryption, Prf};

use crate::wire::{IkeSpi, Nonce};

/// The nonces of an exchange, by role in that exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nonces {
    /// `Ni`.
    pub initiator: Nonce,
    /// `Nr`.
    pub responder: Nonce,
}

impl Nonces {
    /// Returns the lower nonce: of two SAs made at once, the one with the lowest goes (RFC 7296 §2.8.1).
    #[must_use]
    pub fn lowest(&self) -> &Nonce {
        (&self.initiator).min(&self.responder)
    }
}

/// The SPIs of an IKE SA, by role in the exchange that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IkeSpis {
    /// SPI of the initiator.
    pub initiator: IkeSpi,
    /// SPI of the responder.
    pub responder: IkeSpi,
}

/// Keys of an IKE SA, whichever way it was made.
pub struct IkeKeys {
    /// Derives the keys of its child SAs and of its successor.
    pub sk_d: DerivationKey,
    /// `SK_ai`: authenticates what the initiator sends; empty with AEAD.
    pub sk_ai: Secret,
    /// `SK_ar`: authenticates what the responder sends; empty with AEAD.
    pub sk_ar: Secret,
    /// `SK_ei`: encrypts what the initiator sends, with the salt, if there is one, at its end.
    pub sk_ei: Secret,
    /// `SK_er`: encrypts what the responder sends, with the salt, if there is one, at its end.
    pub sk_er: Secret,
    /// The algorithm that all four are for.
    pub encryption: IkeEncryption,
}

/// `SK_pi` and `SK_pr`, which bind the identities in `IKE_AUTH`.
pub struct AuthKeys {
    /// `SK_pi`.
    pub sk_pi: Secret,
    /// `SK_pr`.
    pub sk_pr: Secret,
    /// The function that they are keys of.
    pub prf: Prf,
}

/// `SK_d` with the function that it is a key of.
pub struct DerivationKey {
    prf: Prf,
    secret: Secret,
}

/// Keying material of a child SA pair, each as long as the suite demands.
pub struct ChildKeys {
    /// For packets from the initiator of the exchange to its responder.
    pub initiator: Secret,
    /// For packets from the responder to the initiator.
    pub responder: Secret,
}

/// Derives the keys of an SA made by `IKE_SA_INIT`.
///
/// # Errors
/// When the algorithms demand more than `prf+` yields, which those of the model never do.
pub fn initial(
    function: Prf,
    encryption: IkeEncryption,
    shared: &Secret,
    nonces: &Nonces,
    spis: IkeSpis,
) -> Result<(IkeKeys, AuthKeys), CryptoError> {
    //= RFC 7296 §2.14: SKEYSEED = prf(Ni | Nr, g^ir)
    let nonce_key = [nonces.initiator.as_bytes(), nonces.responder.as_bytes()].concat();
    let skeyseed = prf(function, &nonce_key, &[shared.expose()]);
    all_keys(function, &skeyseed, encryption, nonces, spis)
}

/// The secrets of one SA's key exchanges: that of the first where there was one, then those of the additional ones in order.
#[derive(Clone, Copy)]
pub struct Shared<'a> {
    /// `SK(0)`.
    pub first: Option<&'a Secret>,
    /// `SK(1)` to `SK(n)`.
    pub additional: &'a [Secret],
}

impl<'a> Shared<'a> {
    /// No secret but those of the IKE SA.
    pub const NONE: Self = Self { first: None, additional: &[] };

    /// The secret of a key exchange that none follows.
    #[must_use]
    pub const fn alone(first: &'a Secret) -> Self {
        Self { first: Some(first), additional: &[] }
    }

    //= RFC 9370 §2.2.4: in SKEYSEED as in KEYMAT, SK(0) | Ni | Nr | SK(1) | ... | SK(n)
    fn with(self, nonces: &'a Nonces) -> Vec<&'a [u8]> {
        let first = self.first.map(Secret::expose).unwrap_or_default();
        let mut parts = vec![first, nonces.initiator.as_bytes(), nonces.responder.as_bytes()];
        parts.extend(self.additional.iter().map(Secret::expose));
        parts
    }
}

impl DerivationKey {
    /// Derives the keys that follow an additional key exchange in `IKE_INTERMEDIATE`, which take the place of all before.
    ///
    /// # Errors
    /// When the algorithms demand more than `prf+` yields, which those of the model never do.
    pub fn intermediate(
        &self,
        encryption: IkeEncryption,
        shared: &Secret,
        nonces: &Nonces,
        spis: IkeSpis,
    ) -> Result<(IkeKeys, AuthKeys), CryptoError> {
        //= RFC 9370 §2.2.2: SKEYSEED(n) = prf(SK_d(n-1), SK(n) | Ni | Nr), and all keys are derived anew from it
        let skeyseed = prf(self.prf, self.secret.expose(), &Shared::alone(shared).with(nonces));
        all_keys(self.prf, &skeyseed, encryption, nonces, spis)
    }

    /// Derives the keys of the SA that replaces this one; the old function makes the seed, the new one the keys.
    ///
    /// # Errors
    /// When the algorithms demand more than `prf+` yields, which those of the model never do.
    pub fn rekeyed(
        &self,
        function: Prf,
        encryption: IkeEncryption,
        shared: Shared<'_>,
        nonces: &Nonces,
        spis: IkeSpis,
    ) -> Result<IkeKeys, CryptoError> {
        //= RFC 7296 §2.18: SKEYSEED = prf(SK_d (old), g^ir (new) | Ni | Nr)
        let skeyseed = prf(self.prf, self.secret.expose(), &shared.with(nonces));
        // SK_pi and SK_pr are the end of the stream, so leaving them out changes nothing before them.
        let stream = expand(function, &skeyseed, encryption, nonces, spis, 0)?;
        Ok(Cut(stream.expose()).ike_keys(function, encryption))
    }

    /// Derives keys of this length for a child SA pair, with the shared secrets of its own key exchanges if there were any.
    ///
    /// # Errors
    /// When that is more than `prf+` yields, which no suite of the model demands.
    pub fn child(&self, len: usize, shared: Shared<'_>, nonces: &Nonces) -> Result<ChildKeys, CryptoError> {
        //= RFC 7296 §2.17: KEYMAT = prf+(SK_d, [g^ir (new) |] Ni | Nr)
        let stream = prf_plus(self.prf, self.secret.expose(), &shared.with(nonces), 2 * len)?;
        let mut rest = Cut(stream.expose());
        Ok(ChildKeys { initiator: rest.take(len), responder: rest.take(len) })
    }
}

/// Derives the keys of an SA in which identities are still to be proven.
fn all_keys(
    function: Prf,
    skeyseed: &Secret,
    encryption: IkeEncryption,
    nonces: &Nonces,
    spis: IkeSpis,
) -> Result<(IkeKeys, AuthKeys), CryptoError> {
    let len = function.output_len();
    let stream = expand(function, skeyseed, encryption, nonces, spis, 2 * len)?;
    let mut rest = Cut(stream.expose());
    let keys = rest.ike_keys(function, encryption);
    let auth = AuthKeys { sk_pi: rest.take(len), sk_pr: rest.take(len), prf: function };
    Ok((keys, auth))
}

//= RFC 7296 §2.14: {SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr} = prf+(SKEYSEED, Ni | Nr | SPIi | SPIr)
//= RFC 5282 §7: with AEAD, SK_ai and SK_ar have no length
fn expand(
    function: Prf,
    skeyseed: &Secret,
    encryption: IkeEncryption,
    nonces: &Nonces,
    spis: IkeSpis,
    auth_len: usize,
) -> Result<Secret, CryptoError> {
    let (spi_i, spi_r) = (spis.initiator.0.to_be_bytes(), spis.responder.0.to_be_bytes());
    let seed = [nonces.initiator.as_bytes(), nonces.responder.as_bytes(), &spi_i, &spi_r];
    let cipher = encryption.cipher();
    let len = function.output_len() + 2 * (cipher.integrity_len() + cipher.encryption_len()) + auth_len;
    prf_plus(function, skeyseed.expose(), &seed, len)
}

/// A stream of keying material that is cut from the front.
struct Cut<'a>(&'a [u8]);

impl Cut<'_> {
    fn take(&mut self, len: usize) -> Secret {
        let (key, rest) = self.0.split_at_checked(len).expect("the stream is as long as the keys cut from it");
        self.0 = rest;
        Secret::from(key)
    }

    fn ike_keys(&mut self, function: Prf, encryption: IkeEncryption) -> IkeKeys {
        let sk_d = DerivationKey { prf: function, secret: self.take(function.output_len()) };
        let (integrity, key) = (encryption.cipher().integrity_len(), encryption.cipher().encryption_len());
        let (sk_ai, sk_ar) = (self.take(integrity), self.take(integrity));
        IkeKeys { sk_d, sk_ai, sk_ar, sk_ei: self.take(key), sk_er: self.take(key), encryption }
    }
}

#[cfg(test)]
mod tests;
