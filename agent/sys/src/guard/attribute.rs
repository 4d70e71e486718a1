//! Netlink attributes, and the expressions of a rule made of them (linux/netfilter/nf_tables.h).

use std::ops::RangeInclusive;

/// A sequence of attributes.
#[derive(Clone, Debug, Default)]
pub(super) struct Attributes(Vec<u8>);

impl Attributes {
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Adds an attribute; the next one starts at a multiple of four bytes.
    pub(super) fn put(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let length = u16::try_from(value.len() + HEADER_BYTES).expect("callers split what exceeds 64 KiB");
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// Adds a number in network order, as all of nftables has them.
    pub(super) fn put_u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.put(kind, &value.to_be_bytes())
    }

    /// Adds a text with the zero at its end.
    pub(super) fn put_text(&mut self, kind: u16, value: &str) -> &mut Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.put(kind, &bytes)
    }

    /// Adds an attribute made of attributes.
    pub(super) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let mut inner = Self::default();
        fill(&mut inner);
        self.put(kind | NESTED, inner.as_bytes())
    }
}

const HEADER_BYTES: usize = 4;
const NESTED: u16 = 1 << 15;
pub(super) const LIST_ELEM: u16 = 1;

/// The conditions of one rule and its verdict, in the order they are evaluated; the first that fails ends the rule.
#[derive(Clone, Debug, Default)]
pub(super) struct Expressions(Attributes);

/// What happens to a packet for which all conditions hold.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    Drop = 0,
    Accept = 1,
}

/// A property of a packet that is not in its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Meta {
    Mark = 3,
    ArrivingInterface = 6,
    LeavingInterface = 7,
    NetworkProtocol = 15,
    TransportProtocol = 16,
}

/// Which header an offset counts from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Header {
    Network = 1,
    Transport = 2,
}

impl Expressions {
    pub(super) fn attributes(&self) -> &Attributes {
        &self.0
    }

    pub(super) fn meta(mut self, key: Meta, value: &[u8]) -> Self {
        self.add("meta", |data| {
            data.put_u32(1, REGISTER).put_u32(2, key as u32);
        });
        self.compare(Comparison::Equal, value)
    }

    /// The interface's name is this one; the kernel compares all 16 bytes of it.
    pub(super) fn interface(self, key: Meta, name: &str) -> Self {
        let mut bytes = name.as_bytes().to_vec();
        bytes.resize(libc::IFNAMSIZ, 0);
        self.meta(key, &bytes)
    }

    pub(super) fn bytes(self, header: Header, offset: u32, value: &[u8]) -> Self {
        let length = u32::try_from(value.len()).expect("a field of a header");
        self.load(header, offset, length).compare(Comparison::Equal, value)
    }

    pub(super) fn port(self, offset: u32, ports: &RangeInclusive<u16>) -> Self {
        if ports.start() == ports.end() {
            return self.bytes(Header::Transport, offset, &ports.start().to_be_bytes());
        }
        self.load(Header::Transport, offset, 2)
            .compare(Comparison::AtLeast, &ports.start().to_be_bytes())
            .compare(Comparison::AtMost, &ports.end().to_be_bytes())
    }

    /// The field is an element of the set.
    pub(super) fn in_set(mut self, header: Header, offset: u32, length: u32, set: &str) -> Self {
        self = self.load(header, offset, length);
        self.add("lookup", |data| {
            data.put_text(1, set).put_u32(2, REGISTER);
        });
        self
    }

    /// The packet is an IPv6 fragment other than the first.
    pub(super) fn later_fragment(mut self) -> Self {
        const FRAGMENT_HEADER: u8 = 44;
        self.add("exthdr", |data| {
            data.put_u32(1, REGISTER).put(2, &[FRAGMENT_HEADER]).put_u32(3, 2).put_u32(4, 2);
        });
        // The upper thirteen bits are the offset: from 8 on it is not zero.
        self.compare(Comparison::AtLeast, &8_u16.to_be_bytes())
    }

    pub(super) fn count(mut self) -> Self {
        self.add("counter", |_| {});
        self
    }

    pub(super) fn then(mut self, outcome: Outcome) -> Self {
        self.add("immediate", |data| {
            data.put_u32(1, VERDICT_REGISTER).nest(2, |value| {
                value.nest(2, |verdict| {
                    verdict.put_u32(1, outcome as u32);
                });
            });
        });
        self
    }

    fn load(mut self, header: Header, offset: u32, length: u32) -> Self {
        self.add("payload", |data| {
            data.put_u32(1, REGISTER).put_u32(2, header as u32).put_u32(3, offset).put_u32(4, length);
        });
        self
    }

    fn compare(mut self, how: Comparison, value: &[u8]) -> Self {
        self.add("cmp", |data| {
            data.put_u32(1, REGISTER).put_u32(2, how as u32).nest(3, |data| {
                data.put(1, value);
            });
        });
        self
    }

    fn add(&mut self, name: &str, fill: impl FnOnce(&mut Attributes)) {
        self.0.nest(LIST_ELEM, |expression| {
            expression.put_text(1, name).nest(2, fill);
        });
    }
}

#[derive(Clone, Copy)]
enum Comparison {
    Equal = 0,
    AtMost = 3,
    AtLeast = 5,
}

const VERDICT_REGISTER: u32 = 0;
const REGISTER: u32 = 1;
