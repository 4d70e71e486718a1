//! The last answers of SAs that the peer has deleted: should one be lost, the peer asks again, and must not wait for nothing.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::sa::window::{Incoming, Responses};
use crate::wire::{Header, IkeSpi};

/// Answers that are kept for a while.
#[derive(Default)]
pub(super) struct Farewells(VecDeque<(Instant, IkeSpi, Responses)>);

/// As long as a peer repeats a request.
const KEPT: Duration = Duration::from_secs(60);
/// A peer whose answer is not kept gives up after its last repetition.
const MOST: usize = 4_096;

impl Farewells {
    /// Keeps what an SA has answered last.
    pub(super) fn keep(&mut self, now: Instant, spi: IkeSpi, responses: Responses) {
        self.forget(now);
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back((now + KEPT, spi, responses));
    }

    /// Returns the answer to a repeated request.
    pub(super) fn repeat(
        &mut self,
        now: Instant,
        spi: IkeSpi,
        header: &Header,
        datagram: &[u8],
    ) -> Option<Vec<Vec<u8>>> {
        self.forget(now);
        let (_, _, responses) = self.0.iter().find(|(_, ended, _)| *ended == spi)?;
        match responses.judge(header.message_id, datagram) {
            Incoming::Repeated(answer) if !header.flags.response => Some(answer.to_vec()),
            Incoming::Repeated(_) | Incoming::New | Incoming::Unexpected => None,
        }
    }

    fn forget(&mut self, now: Instant) {
        while self.0.front().is_some_and(|(until, _, _)| *until <= now) {
            self.0.pop_front();
        }
    }
}
