//! The initiator's part in `IKE_INTERMEDIATE`: one exchange for each additional method, then `IKE_AUTH`.

use std::collections::VecDeque;

use espalier_crypto::{KeyShare, Method};
use espalier_model::secret::Secret;

use super::{AfterInit, AuthSent, key_exchange};
use crate::auth::HashAlgorithms;
use crate::content::Content;
use crate::context::Context;
use crate::handshake::Failure;
use crate::handshake::intermediate::public_value;
use crate::keylog::KeylogLine;
use crate::output::Output;
use crate::sa::opener::Opener;
use crate::sa::sealer::Sealer;
use crate::wire::sk::{OpeningKey, SealingKey, Whole};
use crate::wire::{ExchangeType, Payload};

/// Waits for the response to `IKE_INTERMEDIATE`.
pub(crate) struct IntermediateSent {
    pub(crate) pending: Pending,
    share: KeyShare,
}

/// What goes before `IKE_AUTH`.
pub(crate) struct Pending {
    /// All that the next exchange needs.
    pub(crate) auth: AuthSent,
    /// The methods that have not had their turn.
    pub(super) rounds: VecDeque<Method>,
    /// Our last `IKE_SA_INIT` message.
    pub(super) first: Vec<u8>,
    pub(super) hashes: HashAlgorithms,
    /// Whether both use a postquantum preshared key.
    pub(super) ppk: bool,
}

impl Pending {
    /// Sends the next message: an additional key exchange, or the proof of who we are.
    pub(super) fn proceed(mut self, cx: &mut Context<'_>) -> Result<AfterInit, Failure> {
        let Some(method) = self.rounds.pop_front() else {
            if self.ppk {
                self.auth.mix()?;
            }
            self.auth.send(cx, &self.first, &self.hashes)?;
            return Ok(AfterInit::Auth(Box::new(self.auth)));
        };
        let share = KeyShare::generate(method)?;
        let payloads = [Payload::KeyExchange(key_exchange(method, share.public()))];
        let kind = ExchangeType::IKE_INTERMEDIATE;
        let octets = Whole::new(&self.auth.request_header(kind), &payloads)?.octets()?;
        self.auth.int_auth.add_request(&self.auth.auth, &octets);
        self.auth.request(cx, kind, &payloads)?;
        Ok(AfterInit::Intermediate(Box::new(IntermediateSent { pending: self, share })))
    }
}

impl IntermediateSent {
    /// Reads the authentic response. Who has sent it is proven only by `IKE_AUTH`.
    pub(crate) fn handle(
        self,
        cx: &mut Context<'_>,
        payloads: Vec<Payload>,
        whole: &Whole,
    ) -> Result<AfterInit, Failure> {
        let Self { mut pending, share } = self;
        let content = Content::read(payloads)?;
        if let Some(error) = content.error() {
            return Err(Failure::Refused(error));
        }
        let method = share.method();
        let shared = share.agree(public_value(&content, method)?)?;
        let auth = &mut pending.auth;
        auth.int_auth.add_response(&auth.auth, &whole.octets()?);
        auth.requests.close();
        auth.renew_keys(cx, &shared)?;
        pending.proceed(cx)
    }
}

impl AuthSent {
    /// Puts the keys that follow an additional key exchange in the place of those before.
    fn renew_keys(&mut self, cx: &mut Context<'_>, shared: &Secret) -> Result<(), Failure> {
        let encryption = self.suite.encryption;
        (self.keys, self.auth) = self.keys.sk_d.intermediate(encryption, shared, &self.nonces, self.spis)?;
        //= RFC 9370 §2.2.2: the new keys protect all messages that follow
        let (keys, fragments) = (&self.keys, self.sealing.fragments());
        self.sealing = Sealer::new(SealingKey::new(encryption, &keys.sk_ei, &keys.sk_ai)?, fragments);
        self.opening = Opener::new(OpeningKey::new(encryption, &keys.sk_er, &keys.sk_ar)?, fragments);
        if cx.config.keylog {
            cx.out.push_back(Output::Keylog(KeylogLine::ike(self.spis, keys)));
        }
        Ok(())
    }
}
