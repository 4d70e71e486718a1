//! `IntAuth`: what the proofs of identity cover of the `IKE_INTERMEDIATE` exchanges (RFC 9242 §3.3.2).

use espalier_crypto::prf;
use zeroize::Zeroizing;

use crate::keymat::AuthKeys;

/// The chain of codes over the messages of each direction so far.
#[derive(Default)]
pub struct IntAuth {
    initiator: Vec<u8>,
    responder: Vec<u8>,
}

impl IntAuth {
    /// Adds the initiator's next message; the keys are those from before the exchange.
    pub fn add_request(&mut self, keys: &AuthKeys, octets: &[u8]) {
        //= RFC 9242 §3.3.2: IntAuth_iN = prf(SK_piN, IntAuth_i(N-1) | octets), of which the first has nothing before it
        self.initiator = prf(keys.prf, keys.sk_pi.expose(), &[&self.initiator, octets]).expose().to_vec();
    }

    /// Adds the responder's next message; the keys are those from before the exchange.
    pub fn add_response(&mut self, keys: &AuthKeys, octets: &[u8]) {
        self.responder = prf(keys.prf, keys.sk_pr.expose(), &[&self.responder, octets]).expose().to_vec();
    }

    /// Returns what is appended to the octets that both sign: nothing without `IKE_INTERMEDIATE`. `id` is the message ID of
    /// `IKE_AUTH`, which tells how many exchanges went before.
    #[must_use]
    pub fn octets(&self, id: u32) -> Zeroizing<Vec<u8>> {
        if self.initiator.is_empty() && self.responder.is_empty() {
            return Zeroizing::default();
        }
        //= RFC 9242 §3.3.2: IntAuth = IntAuth_iN | IntAuth_rN | IKE_AUTH_MID
        Zeroizing::new([&self.initiator[..], &self.responder, &id.to_be_bytes()].concat())
    }
}

#[cfg(test)]
mod tests;
