//! Random packets, the same for the same seed.

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use crate::case::Case;

/// Where packets of one combination come from.
pub(crate) struct Source {
    random: StdRng,
    /// In transport mode a packet is between the ends of the path, and of their family.
    fixed: Option<bool>,
    /// Options and extension headers survive only where our header travels.
    extended: bool,
}

impl Source {
    pub(crate) fn new(seed: u64, case: &Case) -> Self {
        let fixed = case.is_transport().then_some(case.v6);
        Self { random: StdRng::seed_from_u64(seed), fixed, extended: !case.is_in_udp() || fixed.is_none() }
    }

    /// Returns random bytes.
    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.random.fill_bytes(&mut bytes);
        bytes
    }

    /// Returns a random place in something of this length.
    pub(crate) fn place(&mut self, length: usize) -> usize {
        self.random.random_range(..length)
    }

    /// Returns a whole packet with a right header.
    pub(crate) fn packet(&mut self) -> Vec<u8> {
        let length =
            if self.random.random() { self.random.random_range(8..80) } else { self.random.random_range(8..1400) };
        let upper = [17, 132, 253, 254][self.place(4)];
        let body = self.bytes(length);
        let v6 = self.fixed.unwrap_or_else(|| self.random.random());
        if v6 { self.v6(upper, &body) } else { self.v4(upper, &body) }
    }

    fn v4(&mut self, upper: u8, body: &[u8]) -> Vec<u8> {
        // Router alert is immutable, record route is not.
        let options: &[u8] = match self.place(4) {
            0 if self.extended => &[148, 4, 0, 0],
            1 if self.extended => &[7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 1],
            _ => &[],
        };
        let words = u8::try_from(5 + options.len() / 4).unwrap();
        let length = u16::try_from(20 + options.len() + body.len()).unwrap().to_be_bytes();
        let [class, id_high, id_low, ttl] = self.random.random::<[u8; 4]>();
        let flags = if self.random.random() { 0x40 } else { 0 };
        let mut header =
            vec![0x40 | words, class, length[0], length[1], id_high, id_low | 1, flags, 0, ttl.max(1), upper];
        header.extend([0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        header.extend(options);
        let sum = header.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum::<u32>();
        let folded = (sum & 0xffff) + (sum >> 16);
        let sum = !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap();
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        [&header, body].concat()
    }

    fn v6(&mut self, upper: u8, body: &[u8]) -> Vec<u8> {
        let choice = if self.extended { self.place(4) } else { 3 };
        let extensions: (u8, Vec<u8>) = match choice {
            // An option whose data may change on the way, and one whose data may not.
            0 => (0, vec![upper, 0, 0x3e, 4, 1, 2, 3, 4]),
            1 => (0, vec![60, 0, 0x1e, 4, 5, 6, 7, 8, upper, 0, 1, 4, 0, 0, 0, 0]),
            _ => (upper, vec![]),
        };
        let (next, extensions) = extensions;
        let length = u16::try_from(extensions.len() + body.len()).unwrap().to_be_bytes();
        let [class, high, low, ttl] = self.random.random::<[u8; 4]>();
        let mut header = vec![0x60 | class >> 4, class << 4, high, low, length[0], length[1], next, ttl.max(1)];
        for last in [1, 2] {
            header.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
        }
        [&header, extensions.as_slice(), body].concat()
    }
}
