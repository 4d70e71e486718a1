//! Cookies: a sender shows that it receives at the address from which it sends, and nothing is kept for it until then (RFC 7296 §2.6).

use std::net::IpAddr;
use std::time::{Duration, Instant};

use espalier_crypto::{equal, prf};
use espalier_model::secret::Secret;
use espalier_model::suite::Prf;
use rand::Rng;
use rand::rngs::StdRng;

use crate::wire::IkeSpi;

/// Makes and checks cookies. The secrets in use follow from the time and a secret of this endpoint's life, so all that have been
/// cloned from one make the same cookies, without a word between them.
#[derive(Clone)]
pub(crate) struct Cookies {
    life: Secret,
    start: Instant,
    term: u64,
    /// Of this term, and of the one before.
    secrets: [Secret; 2],
}

/// What a cookie is about.
#[derive(Clone, Copy)]
pub(crate) struct Sender<'a> {
    pub(crate) spi: IkeSpi,
    pub(crate) address: IpAddr,
    pub(crate) nonce: &'a [u8],
}

/// A cookie: the low byte of its term, and a code.
pub(crate) type Cookie = [u8; COOKIE_LEN];

const COOKIE_LEN: usize = 1 + CODE_LEN;
const CODE_LEN: usize = 32;
/// A secret serves this long, and its cookies are taken for as long again.
const TERM: Duration = Duration::from_secs(60);

impl Cookies {
    pub(crate) fn new(rng: &mut StdRng, start: Instant) -> Self {
        let mut life = vec![0; 32];
        rng.fill_bytes(&mut life);
        let life = Secret::new(life);
        Self { secrets: [secret(&life, 0), secret(&life, 0)], life, start, term: 0 }
    }

    /// Makes the cookie for a sender.
    pub(crate) fn make(&mut self, now: Instant, sender: Sender<'_>) -> Cookie {
        self.turn(now);
        let [newest, _] = &self.secrets;
        let mut cookie = [low(self.term); COOKIE_LEN];
        bake(newest, sender, &mut cookie);
        cookie
    }

    /// Tells whether a cookie was made for this sender, not long ago.
    pub(crate) fn check(&mut self, now: Instant, sender: Sender<'_>, cookie: &[u8]) -> bool {
        self.turn(now);
        let [newest, before] = &self.secrets;
        // A cookie names its secret, so that another can replace that while cookies are under way.
        let secret = match cookie.first() {
            Some(term) if *term == low(self.term) => newest,
            Some(term) if *term == low(self.term.wrapping_sub(1)) => before,
            Some(_) | None => return false,
        };
        let mut expected = [0; COOKIE_LEN];
        bake(secret, sender, &mut expected);
        equal(expected.get(1..).unwrap_or_default(), cookie.get(1..).unwrap_or_default())
    }

    fn turn(&mut self, now: Instant) {
        let term = now.saturating_duration_since(self.start).as_secs() / TERM.as_secs();
        if term != self.term {
            self.secrets = [secret(&self.life, term), secret(&self.life, term.wrapping_sub(1))];
            self.term = term;
        }
    }
}

fn secret(life: &Secret, term: u64) -> Secret {
    prf(Prf::HmacSha256, life.expose(), &[&term.to_be_bytes()])
}

fn bake(secret: &Secret, sender: Sender<'_>, cookie: &mut Cookie) {
    let address = match sender.address {
        IpAddr::V4(a) => a.to_ipv6_mapped().octets(),
        IpAddr::V6(a) => a.octets(),
    };
    //= RFC 7296 §2.6.1: a cookie is of the sender, whatever its message proposes
    let code = prf(Prf::HmacSha256, secret.expose(), &[&sender.spi.0.to_be_bytes(), &address, sender.nonce]);
    for (to, from) in cookie.iter_mut().skip(1).zip(code.expose()) {
        *to = *from;
    }
}

/// Returns the lowest byte of a number.
const fn low(number: u64) -> u8 {
    let [.., low] = number.to_be_bytes();
    low
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_cookie_is_good_for_its_sender_alone_and_for_one_to_two_minutes() {
        let start = Instant::now();
        let mut cookies = Cookies::new(&mut StdRng::from_seed([1; 32]), start);
        let sender = Sender { spi: IkeSpi(7), address: [192, 0, 2, 1].into(), nonce: &[3; 32] };
        let cookie = cookies.make(start, sender);
        let mut elsewhere = cookies.clone();
        let after = |seconds| start + Duration::from_secs(seconds);
        assert!(elsewhere.check(after(1), sender, &cookie));
        assert!(elsewhere.check(after(119), sender, &cookie));
        assert!(!elsewhere.check(after(120), sender, &cookie));
        // The byte that names a term comes round.
        assert!(!elsewhere.check(after(256 * 60), sender, &cookie));
        assert!(cookies.check(after(59), sender, &cookie));
        for (spi, last, nonce) in [(8, 1, [3; 32]), (7, 2, [3; 32]), (7, 1, [4; 32])] {
            let other = Sender { spi: IkeSpi(spi), address: [192, 0, 2, last].into(), nonce: &nonce };
            assert!(!cookies.check(start, other, &cookie));
        }
        assert!((0..cookie.len()).all(|length| !cookies.check(start, sender, &cookie[..length])));
        for at in 0..cookie.len() {
            let mut wrong = cookie;
            wrong[at] ^= 1;
            assert!(!cookies.check(start, sender, &wrong), "byte {at}");
        }
        let mut others = Cookies::new(&mut StdRng::from_seed([2; 32]), start);
        assert!(!others.check(start, sender, &cookie), "another endpoint's cookie");
    }
}
