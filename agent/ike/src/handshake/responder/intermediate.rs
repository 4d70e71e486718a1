//! The responder's part in `IKE_INTERMEDIATE`. Who asks has proven nothing yet: there are as many exchanges as our own profile has
//! rounds, and the half-open SA does not live longer for them.

use std::collections::VecDeque;

use espalier_crypto::{KeyShare, Method};
use espalier_model::sa::UdpPath;
use espalier_model::secret::Secret;

use super::HalfOpen;
use crate::content::Content;
use crate::context::Context;
use crate::handshake::Failure;
use crate::handshake::initiator::{header, key_exchange};
use crate::handshake::intermediate::public_value;
use crate::int_auth::IntAuth;
use crate::keylog::KeylogLine;
use crate::output::Output;
use crate::sa::opener::{Opener, Received};
use crate::sa::sealer::Sealer;
use crate::sa::window::Incoming;
use crate::wire::sk::{OpenError, OpeningKey, SealingKey, Whole};
use crate::wire::{ExchangeType, Flags, Malformed, Notify, NotifyType, Payload};

/// How far the additional key exchanges have come.
pub(super) struct Rounds {
    /// The methods that have not had their turn.
    pub(super) left: VecDeque<Method>,
    pub(super) int_auth: IntAuth,
    /// Opens the request before the last, should it come again in other fragments.
    pub(super) before: Option<Opener>,
}

impl HalfOpen {
    /// Returns the exchange that the initiator has to start next.
    pub(crate) fn awaits(&self) -> ExchangeType {
        //= RFC 9242 §3.2: IKE_INTERMEDIATE comes between IKE_SA_INIT and IKE_AUTH, here in just the agreed number
        if self.rounds.left.is_empty() { ExchangeType::IKE_AUTH } else { ExchangeType::IKE_INTERMEDIATE }
    }

    /// Judges a request by its ID and its bytes. It is opened only where it may repeat the last one in other fragments.
    pub(crate) fn judge(&self, id: u32, datagram: &[u8]) -> Incoming<'_> {
        let judged = self.responses.judge(id, datagram);
        if judged != Incoming::Unexpected {
            return judged;
        }
        let again = |before: &Opener| before.is_first_fragment(datagram);
        let answer = self.responses.answer(id).filter(|_| self.rounds.before.as_ref().is_some_and(again));
        answer.map_or(judged, Incoming::Repeated)
    }

    /// Answers an additional key exchange.
    pub(crate) fn exchange_keys(
        mut self: Box<Self>,
        cx: &mut Context<'_>,
        path: UdpPath,
        request: Received,
    ) -> Result<Box<Self>, Failure> {
        let kind = ExchangeType::IKE_INTERMEDIATE;
        let mark = request.mark;
        let (payloads, shared) = match self.respond_to(request) {
            Ok(answer) => answer,
            //= RFC 9242 §3.4: what is wrong is told as in the other initial exchanges, and nothing stays
            Err(failure) => {
                self.respond(
                    cx,
                    path,
                    kind,
                    mark,
                    &[Payload::Notify(Notify::new(NotifyType::INVALID_SYNTAX, vec![]))],
                )?;
                return Err(failure);
            }
        };
        let flags = Flags { initiator: false, response: true };
        let header = header(self.spis, kind, flags, self.responses.awaited());
        self.rounds.int_auth.add_response(&self.auth, &Whole::new(&header, &payloads)?.octets()?);
        let response = self.respond(cx, path, kind, mark, &payloads)?;
        self.renew_keys(cx, &shared)?;
        cx.transmit_all(path, &response);
        Ok(self)
    }

    fn respond_to(&mut self, request: Received) -> Result<([Payload; 1], Secret), Failure> {
        let octets = request.whole.as_ref().ok_or(OpenError::Inner(Malformed::Truncated("SK")))?.octets()?;
        let content = Content::read(request.payloads?)?;
        let method = self.rounds.left.pop_front().ok_or(Failure::Missing("agreement on a key exchange"))?;
        let (public, shared) = KeyShare::respond(method, public_value(&content, method)?)?;
        self.rounds.int_auth.add_request(&self.auth, &octets);
        Ok(([Payload::KeyExchange(key_exchange(method, &public))], shared))
    }

    fn renew_keys(&mut self, cx: &mut Context<'_>, shared: &Secret) -> Result<(), Failure> {
        let encryption = self.suite.encryption;
        (self.keys, self.auth) = self.keys.sk_d.intermediate(encryption, shared, &self.nonces, self.spis)?;
        let (keys, fragments) = (&self.keys, self.sealing.fragments());
        self.sealing = Sealer::new(SealingKey::new(encryption, &keys.sk_er, &keys.sk_ar)?, fragments);
        let opening = Opener::new(OpeningKey::new(encryption, &keys.sk_ei, &keys.sk_ai)?, fragments);
        self.rounds.before = Some(std::mem::replace(&mut self.opening, opening));
        if cx.config.keylog {
            cx.out.push_back(Output::Keylog(KeylogLine::ike(self.spis, keys)));
        }
        Ok(())
    }
}
