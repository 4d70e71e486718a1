//! Cookies: under a flood of first messages, nothing is kept for a sender who has not shown its address (RFC 7296 §2.6).

use std::net::IpAddr;
use std::time::{Duration, Instant};

use espalier_crypto::{equal, prf};
use espalier_model::secret::Secret;
use espalier_model::suite::Prf;
use rand::Rng;
use rand::rngs::StdRng;

use crate::wire::{IkeSpi, Nonce};

/// The secrets of which cookies are made, the newest first. A cookie of the one before is still good.
pub(super) struct Cookies {
    secrets: [Secret; 2],
    changed: Option<Instant>,
}

/// What a cookie is about.
pub(super) struct Sender<'a> {
    pub(super) spi: IkeSpi,
    pub(super) address: IpAddr,
    pub(super) nonce: &'a Nonce,
}

impl Cookies {
    pub(super) fn new(rng: &mut StdRng) -> Self {
        Self { secrets: [draw(rng), draw(rng)], changed: None }
    }

    /// Makes the cookie for a sender.
    pub(super) fn make(&mut self, rng: &mut StdRng, now: Instant, sender: &Sender<'_>) -> Vec<u8> {
        if self.changed.is_none_or(|at| at + LIFETIME <= now) {
            self.secrets.rotate_right(1);
            let [newest, _] = &mut self.secrets;
            *newest = draw(rng);
            self.changed = Some(now);
        }
        let [newest, _] = &self.secrets;
        bake(newest, sender)
    }

    /// Tells whether a cookie was made for this sender, not long ago.
    pub(super) fn check(&self, sender: &Sender<'_>, cookie: &[u8]) -> bool {
        self.secrets.iter().any(|secret| equal(&bake(secret, sender), cookie))
    }
}

fn bake(secret: &Secret, sender: &Sender<'_>) -> Vec<u8> {
    let address = match sender.address {
        IpAddr::V4(a) => a.to_ipv6_mapped().octets(),
        IpAddr::V6(a) => a.octets(),
    };
    //= RFC 7296 §2.6.1: a cookie is of the sender, whatever its message proposes
    let parts = [&sender.spi.0.to_be_bytes()[..], &address, sender.nonce.as_bytes()];
    prf(Prf::HmacSha256, secret.expose(), &parts).expose().to_vec()
}

fn draw(rng: &mut StdRng) -> Secret {
    let mut bytes = vec![0; 32];
    rng.fill_bytes(&mut bytes);
    Secret::new(bytes)
}

/// A secret serves this long; the attacker gains nothing by keeping a cookie.
const LIFETIME: Duration = Duration::from_secs(60);
