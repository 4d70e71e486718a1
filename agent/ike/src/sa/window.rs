//! Message IDs, retransmission, and the answer kept for a repeated request (RFC 7296 §2.1 to §2.3). The window is 1.

use std::time::{Duration, Instant};

use espalier_crypto::sha256;
use espalier_model::sa::UdpPath;

/// Our requests: one is open at a time, and sent again until it is answered or given up.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    next: u32,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    id: u32,
    path: UdpPath,
    /// All paths along which it has been sent.
    tried: Vec<UdpPath>,
    datagrams: Vec<Vec<u8>>,
    first_sent: Instant,
    sent: u32,
    due: Instant,
    extended: u32,
}

/// What a timeout asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Timeout {
    /// Send the same bytes again.
    Resend(UdpPath, Vec<Vec<u8>>),
    /// The peer does not answer.
    GiveUp,
}

/// The peer's requests: the next ID that is new, and the answer to the last one.
#[derive(Debug, Default)]
pub(crate) struct Responses {
    /// One more than the highest ID once that has been answered.
    next: u64,
    last: Option<Answered>,
}

#[derive(Debug)]
struct Answered {
    id: u32,
    request: Mark,
    response: Vec<Vec<u8>>,
}

/// By what a repeated request is known: the hash of its datagram, or of its first fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark([u8; 32]);

/// What an incoming request is, before it is decrypted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming<'a> {
    /// The next one.
    New,
    /// The last one again, to be answered with the same bytes.
    Repeated(&'a [Vec<u8>]),
    /// Neither.
    Unexpected,
}

impl Mark {
    /// Hashes a datagram.
    pub(crate) fn of(datagram: &[u8]) -> Self {
        Self(sha256(&[datagram]))
    }
}

impl Requests {
    /// Starts counting at this ID.
    pub(crate) fn starting_at(next: u32) -> Self {
        Self { next, open: None }
    }

    /// Returns the ID of the next request, or `None` while one is open or the numbers are used up.
    //= RFC 7296 §2.3: the next request waits for the response to the one before
    pub(crate) fn free(&self) -> Option<u32> {
        (self.open.is_none() && self.next < u32::MAX).then_some(self.next)
    }

    /// Returns the ID of the next request, whether or not one is open.
    pub(crate) const fn following(&self) -> u32 {
        self.next
    }

    /// Tells whether the SA should be replaced before the numbers end.
    pub(crate) const fn is_worn(&self) -> bool {
        self.next >= WORN
    }

    /// Tells whether no more is left than to delete the SA.
    pub(crate) const fn is_spent(&self) -> bool {
        self.next >= SPENT
    }

    /// Opens the request whose ID was [`Requests::free`].
    pub(crate) fn open(&mut self, now: Instant, path: UdpPath, datagrams: Vec<Vec<u8>>) {
        let (id, due) = (self.next, now + FIRST_WAIT);
        self.open = Some(Open { id, path, tried: vec![path], datagrams, first_sent: now, sent: 1, due, extended: 0 });
        self.next = self.next.saturating_add(1);
    }

    /// Tells whether a response with this ID answers the open request.
    pub(crate) fn expects(&self, id: u32) -> bool {
        self.open.as_ref().is_some_and(|open| open.id == id)
    }

    /// Closes the open request: its response was authentic.
    pub(crate) fn close(&mut self) {
        self.open = None;
    }

    /// Sends the open request along another path from now on, and gives it time to be answered there. Returns what is to be sent
    /// at once: the same bytes.
    pub(crate) fn reroute(&mut self, now: Instant, path: UdpPath) -> Vec<Vec<u8>> {
        let Some(open) = self.open.as_mut().filter(|open| open.path != path) else { return Vec::new() };
        open.path = path;
        open.sent = open.sent.min(MOST_SENT / 2);
        open.due = now + FIRST_WAIT;
        let datagrams = open.datagrams.clone();
        self.try_along(path);
        datagrams
    }

    /// Notes that the open request has been sent along a path as well.
    pub(crate) fn try_along(&mut self, path: UdpPath) {
        if let Some(open) = self.open.as_mut().filter(|o| o.tried.len() < MOST_TRIED && !o.tried.contains(&path)) {
            open.tried.push(path);
        }
    }

    /// Returns the paths along which the open request has been sent.
    pub(crate) fn tried(&self) -> &[UdpPath] {
        self.open.as_ref().map_or(&[], |open| &open.tried)
    }

    /// Returns how often the open request has been sent.
    pub(crate) fn sent(&self) -> u32 {
        self.open.as_ref().map_or(0, |open| open.sent)
    }

    /// Returns when the open request is due again.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.open.as_ref().map(|open| open.due)
    }

    /// Has the open request sent some times more, because the peer has been heard at a moment since: it is there, and either the
    /// request or its answer is lost. Returns whether that is so, and has not been so too often.
    pub(crate) fn extend(&mut self, heard: Instant) -> bool {
        let Some(open) = self.open.as_mut().filter(|o| heard > o.first_sent && o.extended < MOST_EXTENDED) else {
            return false;
        };
        open.extended += 1;
        open.sent = MOST_SENT / 2;
        true
    }

    /// Sends again or gives up, when it is time.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Option<Timeout> {
        let open = self.open.as_mut().filter(|open| open.due <= now)?;
        if open.sent == MOST_SENT {
            return Some(Timeout::GiveUp);
        }
        //= RFC 7296 §2.4: the waits between retransmissions grow exponentially
        let wait = (FIRST_WAIT * 2_u32.saturating_pow(open.sent)).min(LONGEST_WAIT);
        open.sent += 1;
        open.due = now + wait;
        //= RFC 7296 §2.1: a retransmission is bitwise identical
        //= RFC 7383 §2.6.1: all fragments are sent again
        Some(Timeout::Resend(open.path, open.datagrams.clone()))
    }
}

impl Responses {
    /// Starts counting at this ID.
    pub(crate) fn starting_at(next: u32) -> Self {
        Self { next: next.into(), last: None }
    }

    /// Tells whether the SA should be replaced before the numbers end.
    pub(crate) fn is_worn(&self) -> bool {
        self.next >= u64::from(WORN)
    }

    /// Tells whether the numbers are about to end.
    pub(crate) fn is_spent(&self) -> bool {
        self.next >= u64::from(SPENT)
    }

    /// Judges a request by its ID and its bytes, without any cryptography but a hash.
    pub(crate) fn judge(&self, id: u32, datagram: &[u8]) -> Incoming<'_> {
        if u64::from(id) == self.next {
            return Incoming::New;
        }
        match &self.last {
            //= RFC 7296 §2.1: a retransmitted request is answered with the identical response
            //= RFC 7383 §2.6.1: of a fragmented one its first fragment alone has the response sent again, all fragments of it
            Some(last) if last.id == id && last.request == Mark::of(datagram) => Incoming::Repeated(&last.response),
            //= RFC 7296 §2.1: a request whose response is forgotten is ignored
            _ => Incoming::Unexpected,
        }
    }

    /// Returns the ID of the next request.
    pub(crate) fn awaited(&self) -> u32 {
        u32::try_from(self.next).unwrap_or(u32::MAX)
    }

    /// Returns the answer to the last request if it had this ID, whatever its bytes were.
    pub(crate) fn answer(&self, id: u32) -> Option<&[Vec<u8>]> {
        self.last.as_ref().filter(|last| last.id == id).map(|last| last.response.as_slice())
    }

    /// Keeps the answer to the request that was new.
    pub(crate) fn answered(&mut self, request: Mark, response: &[Vec<u8>]) {
        //= RFC 7296 §2.1: a response is kept until the next request has come
        let id = u32::try_from(self.next).unwrap_or(u32::MAX);
        self.last = Some(Answered { id, request, response: response.to_vec() });
        self.next = self.next.saturating_add(1);
    }
}

const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(8);
/// Half a minute of silence in all.
const MOST_SENT: u32 = 8;
const MOST_EXTENDED: u32 = 3;
/// More paths than an SA has candidates while one request is open.
const MOST_TRIED: usize = 64;
/// From this message ID on the SA is replaced, and from the next one deleted.
const WORN: u32 = 0xf000_0000;
const SPENT: u32 = u32::MAX - 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn path() -> UdpPath {
        UdpPath { local: "192.0.2.1:500".parse().unwrap(), remote: "192.0.2.2:500".parse().unwrap() }
    }

    #[test]
    fn a_request_is_sent_again_with_growing_waits_and_then_given_up() {
        let start = Instant::now();
        let mut requests = Requests::starting_at(0);
        assert_eq!(requests.free(), Some(0));
        requests.open(start, path(), vec![vec![1], vec![2]]);
        assert_eq!((requests.free(), requests.expects(0), requests.expects(1)), (None, true, false));
        assert_eq!(requests.handle_timeout(start), None);
        let mut waits = Vec::new();
        let mut now = start;
        loop {
            let due = requests.due().unwrap();
            waits.push((due - now).as_millis());
            now = due;
            match requests.handle_timeout(now) {
                Some(Timeout::Resend(_, datagrams)) => assert_eq!(datagrams, [[1], [2]]),
                Some(Timeout::GiveUp) => break,
                None => panic!("the request is due"),
            }
        }
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 8000, 8000, 8000]);
        requests.close();
        assert_eq!((requests.free(), requests.due()), (Some(1), None));
    }

    #[test]
    fn a_request_that_changes_its_path_keeps_its_bytes_and_remembers_where_it_went() {
        let start = Instant::now();
        let mut requests = Requests::starting_at(0);
        let other = UdpPath { local: "198.51.100.1:4500".parse().unwrap(), ..path() };
        assert_eq!(requests.reroute(start, other), Vec::<Vec<u8>>::new(), "nothing is open");
        requests.open(start, path(), vec![vec![1]]);
        let mut now = start;
        for _ in 0..5 {
            now = requests.due().unwrap();
            requests.handle_timeout(now);
        }
        assert_eq!(requests.sent(), 6);
        assert_eq!(requests.reroute(now, other), [[1]]);
        assert_eq!(requests.reroute(now, other), Vec::<Vec<u8>>::new(), "it is on its way there");
        assert_eq!((requests.sent(), requests.due()), (MOST_SENT / 2, Some(now + FIRST_WAIT)));
        assert_eq!(requests.handle_timeout(now + FIRST_WAIT), Some(Timeout::Resend(other, vec![vec![1]])));
        assert_eq!(requests.tried(), [path(), other]);
    }

    #[test]
    fn only_the_last_request_in_its_own_bytes_is_answered_again() {
        let mut responses = Responses::starting_at(1);
        assert_eq!(responses.judge(1, b"one"), Incoming::New);
        let answer = [b"answer".to_vec(), b"its rest".to_vec()];
        responses.answered(Mark::of(b"one"), &answer);
        assert_eq!(responses.judge(1, b"one"), Incoming::Repeated(&answer));
        assert_eq!(responses.judge(1, b"forged"), Incoming::Unexpected);
        assert_eq!(responses.judge(2, b"two"), Incoming::New);
        assert_eq!(responses.judge(3, b"three"), Incoming::Unexpected);
        responses.answered(Mark::of(b"two"), &answer);
        assert_eq!(responses.judge(1, b"one"), Incoming::Unexpected);
    }
}
