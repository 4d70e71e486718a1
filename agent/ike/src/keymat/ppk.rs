//! A postquantum preshared key in the key schedule (RFC 8784 §3).

use espalier_crypto::{CryptoError, prf_plus};
use espalier_model::secret::Secret;
use espalier_model::suite::Prf;

use super::{AuthKeys, DerivationKey};

impl DerivationKey {
    /// Mixes a postquantum preshared key in.
    ///
    /// # Errors
    /// Never for a function of the model: a key is one block of it.
    pub fn mixed(&self, ppk: &Secret) -> Result<Self, CryptoError> {
        Ok(Self { prf: self.prf, secret: mix(self.prf, ppk, &self.secret)? })
    }
}

impl AuthKeys {
    /// Mixes a postquantum preshared key into both keys.
    ///
    /// # Errors
    /// Never for a function of the model: a key is one block of it.
    pub fn mixed(&self, ppk: &Secret) -> Result<Self, CryptoError> {
        let mix = |key| mix(self.prf, ppk, key);
        Ok(Self { sk_pi: mix(&self.sk_pi)?, sk_pr: mix(&self.sk_pr)?, prf: self.prf })
    }
}

//= RFC 8784 §3: SK_d, SK_pi and SK_pr are prf+(PPK, what they were before), as long as before
fn mix(function: Prf, ppk: &Secret, key: &Secret) -> Result<Secret, CryptoError> {
    prf_plus(function, ppk.expose(), &[key.expose()], function.output_len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected ends are computed apart from this code, with Python's `hmac`.
    #[test]
    fn mixed_keys_are_those_of_an_independent_computation() {
        let rows = [
            (Prf::HmacSha256, "c82521a", "4ef9785b2e114160", "2b605583b0d33097"),
            (Prf::HmacSha384, "90c19ef9", "7327473de7d3816b", "252f9f11331047c2"),
            (Prf::HmacSha512, "dd1656e3", "438b965a7637b003", "e116913981757f23"),
        ];
        let ppk = Secret::new((200..232).collect());
        let ends = |key: &Secret, end: &str, len: usize| {
            let hex: String = key.expose().iter().map(|b| format!("{b:02x}")).collect();
            assert!(hex.ends_with(end) && hex.len() == 2 * len, "{hex}");
        };
        for (prf, sk_d, sk_pi, sk_pr) in rows {
            let len = prf.output_len();
            let key = |byte| Secret::new(vec![byte; len]);
            ends(&DerivationKey { prf, secret: key(1) }.mixed(&ppk).unwrap().secret, sk_d, len);
            let auth = AuthKeys { sk_pi: key(2), sk_pr: key(3), prf }.mixed(&ppk).unwrap();
            ends(&auth.sk_pi, sk_pi, len);
            ends(&auth.sk_pr, sk_pr, len);
        }
    }
}
