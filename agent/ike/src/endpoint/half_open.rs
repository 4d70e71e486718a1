//! Half-open SAs by what their first message shows, and how many each source has.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::limits::Limits;
use crate::wire::IkeSpi;

/// The initiator's SPI and address.
type First = (IkeSpi, SocketAddr);

/// Finds a half-open SA when its first message is repeated.
#[derive(Default)]
pub(super) struct HalfOpens {
    by_first: BTreeMap<First, IkeSpi>,
    by_source: BTreeMap<IpAddr, usize>,
}

impl HalfOpens {
    pub(super) fn get(&self, first: &First) -> Option<&IkeSpi> {
        self.by_first.get(first)
    }

    pub(super) fn len(&self) -> usize {
        self.by_first.len()
    }

    pub(super) fn insert(&mut self, first: First, spi: IkeSpi) {
        if self.by_first.insert(first, spi).is_none() {
            *self.by_source.entry(source(first.1.ip())).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, first: &First) {
        if self.by_first.remove(first).is_none() {
            return;
        }
        let source = source(first.1.ip());
        match self.by_source.get_mut(&source) {
            Some(count) if *count > 1 => *count -= 1,
            _ => _ = self.by_source.remove(&source),
        }
    }

    /// Tells whether another one may be opened from an address. `known` says that a configured peer has it.
    pub(super) fn have_room(&self, limits: &Limits, address: IpAddr, known: bool) -> bool {
        let (in_all, each) = if known {
            (limits.half_open, limits.half_open_per_source.saturating_mul(4))
        } else {
            (limits.half_open - limits.half_open / 4, limits.half_open_per_source)
        };
        self.len() < in_all && self.by_source.get(&source(address)).is_none_or(|count| *count < each)
    }
}

/// Returns what one sender can have many of as one: the /64 of an IPv6 address.
fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(spi: u64, address: &str) -> First {
        (IkeSpi(spi), SocketAddr::new(address.parse().unwrap(), 500))
    }

    #[test]
    fn one_source_never_takes_the_room_of_another() {
        let limits = Limits { half_open: 100, half_open_per_source: 10, ..Limits::default() };
        let (mut all, mut spi) = (HalfOpens::default(), 0);
        let mut fill = |all: &mut HalfOpens, address: &str, known| {
            let mut count = 0;
            while all.have_room(&limits, address.parse().unwrap(), known) {
                spi += 1;
                all.insert(first(spi, address), IkeSpi(spi));
                count += 1;
            }
            count
        };
        assert_eq!(fill(&mut all, "192.0.2.1", false), 10);
        assert_eq!(fill(&mut all, "::ffff:192.0.2.1", false), 0, "the same address");
        assert_eq!(fill(&mut all, "2001:db8::1", false), 10);
        assert_eq!(fill(&mut all, "2001:db8::ffff:1", false), 0, "the same /64");
        assert_eq!(fill(&mut all, "2001:db8:0:1::1", false), 10);
        let strangers: usize = (1..=254).map(|n| fill(&mut all, &format!("198.51.100.{n}"), false)).sum();
        assert_eq!((strangers, all.len()), (45, 75), "a quarter is left for peers");
        assert_eq!(fill(&mut all, "203.0.113.1", true), 25);
        assert_eq!(fill(&mut all, "203.0.113.2", true), 0);
    }

    #[test]
    fn what_goes_makes_room_and_leaves_nothing() {
        let mut all = HalfOpens::default();
        for spi in 1..=3 {
            all.insert(first(spi, "192.0.2.1"), IkeSpi(spi));
        }
        all.insert(first(1, "192.0.2.1"), IkeSpi(9));
        assert_eq!((all.len(), all.get(&first(1, "192.0.2.1"))), (3, Some(&IkeSpi(9))));
        for spi in [1, 1, 2, 3, 4] {
            all.remove(&first(spi, "192.0.2.1"));
        }
        assert!(all.by_first.is_empty() && all.by_source.is_empty());
    }
}
