//! How each side proves its identity in `IKE_AUTH` (RFC 7296 §2.15), and what is believed of the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use espalier_model::secret::Secret;

use super::Failure;
use crate::auth::{HashAlgorithms, SignedOctets};
use crate::certificate::Issued;
use crate::config::{Auth, PeerConfig};
use crate::content::Content;
use crate::context::Context;
use crate::keymat::AuthKeys;
use crate::wire::{Certificate, CertificateEncoding, Identification, Nonce, Payload};

/// One side's part: what its proof covers.
pub(crate) struct Covered<'a> {
    /// `SK_pi` or `SK_pr` of that side.
    pub(crate) sk_p: &'a Secret,
    /// The `IKE_SA_INIT` message that it sent last.
    pub(crate) message: &'a [u8],
    /// The nonce of the other side.
    pub(crate) nonce: &'a Nonce,
    /// What both have said between the two exchanges.
    pub(crate) int_auth: &'a [u8],
}

/// What is remembered of the certificate with which a peer has proven itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proof {
    /// When it ends.
    pub(crate) ends: Instant,
    /// It and the authorities above it, as revocation lists name them.
    pub(crate) path: Vec<Issued>,
    /// The certificate and those that came with it.
    pub(crate) chain: Arc<[Vec<u8>]>,
}

impl Covered<'_> {
    fn octets(&self, keys: &AuthKeys, id: &Identification) -> SignedOctets {
        SignedOctets::new(keys.prf, self.sk_p, self.message, self.nonce, id).with_intermediate(self.int_auth)
    }

    /// Builds our certificates and, last, our AUTH payload.
    pub(crate) fn prove(
        &self,
        cx: &Context<'_>,
        keys: &AuthKeys,
        peer: &PeerConfig,
        hashes: &HashAlgorithms,
    ) -> Result<Vec<Payload>, Failure> {
        let octets = self.octets(keys, &Identification::from(&cx.config.identity.id));
        match &peer.auth {
            Auth::Psk(secret) => Ok(vec![Payload::Authentication(octets.authenticate(keys.prf, secret))]),
            Auth::Certificate => {
                let own = cx.config.identity.certificate.as_ref().ok_or(Failure::NoCertificate)?;
                let certificate = |der: &Vec<u8>| {
                    let encoding = CertificateEncoding::X509_SIGNATURE;
                    Payload::Certificate(Certificate { encoding, data: der.clone() })
                };
                //= RFC 7296 §3.7: a request is a hint: the certificate is sent whichever authorities it names
                //= RFC 7296 §1.2: the first certificate that is sent holds the key which AUTH is verified with
                let mut payloads: Vec<_> = own.chain.iter().map(certificate).collect();
                payloads.push(Payload::Authentication(octets.sign(&own.key, hashes)?));
                Ok(payloads)
            }
        }
    }

    /// Believes the peer, or not: the identity is the configured one, the certificate is valid for it, and the proof holds.
    /// Returns what is to be remembered of the certificate.
    pub(crate) fn check(
        &self,
        cx: &Context<'_>,
        keys: &AuthKeys,
        peer: &PeerConfig,
        id: &Identification,
        content: &Content,
    ) -> Result<Option<Proof>, Failure> {
        //= RFC 7296 §1.2: the name in the ID payload is the one that the shared secret belongs to
        if id.identity().as_ref() != Some(&peer.id) {
            return Err(Failure::wrong_identity(id, Some(&peer.id)));
        }
        //= RFC 7296 §1.2: the signature or code of the other end is verified before anything of it counts
        let authentication = content.authentication.as_ref().ok_or(Failure::Missing("AUTH"))?;
        let octets = self.octets(keys, id);
        match &peer.auth {
            Auth::Psk(secret) => {
                octets.check_shared_key(keys.prf, secret, authentication)?;
                Ok(None)
            }
            Auth::Certificate => {
                let chain = &content.certificates;
                let verified = cx.trust.verify(chain, &peer.id, &cx.config.revoked, cx.now.unix)?;
                octets.check_signature(&verified.spki, authentication)?;
                let left = Duration::from_secs(verified.not_after.saturating_sub(cx.now.unix));
                let ends = cx.now.instant.checked_add(left);
                Ok(ends.map(|ends| Proof { ends, path: verified.path, chain: chain.as_slice().into() }))
            }
        }
    }
}
