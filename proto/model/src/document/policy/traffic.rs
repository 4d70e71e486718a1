//! Which kinds of traffic a policy is about.

use std::fmt;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::selector::{IcmpTypes, PortRange, Protocol};

/// Every kind of traffic, or 1 to 64 kinds. Text form: `any`, or a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic(Vec<TrafficItem>);

/// One kind of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TrafficItem {
    /// The protocol.
    pub protocol: Protocol,
    /// Ports of the side that is talked to; default any.
    #[serde(default = "any_ports")]
    pub ports: PortRange,
    /// Types of ICMP, or a type with its code; default any. An echo and its reply are two types.
    #[serde(default = "any_types", skip_serializing_if = "IcmpTypes::is_any")]
    pub types: IcmpTypes,
}

impl TrafficItem {
    /// Every protocol, every port.
    pub const ANY: Self = Self { protocol: Protocol::Any, ports: PortRange::ANY, types: IcmpTypes::ANY };
}

impl Traffic {
    /// Returns every kind of traffic.
    #[must_use]
    pub fn any() -> Self {
        Self(vec![TrafficItem::ANY])
    }

    /// Returns these kinds of traffic, or `None` when there are none or more than 64.
    #[must_use]
    pub fn new(items: Vec<TrafficItem>) -> Option<Self> {
        (1..=MAX_ITEMS).contains(&items.len()).then_some(Self(items))
    }

    /// Returns the kinds, at least one.
    #[must_use]
    pub fn items(&self) -> &[TrafficItem] {
        &self.0
    }
}

impl Serialize for Traffic {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        if *self == Self::any() { serializer.serialize_str("any") } else { self.0.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for Traffic {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TrafficVisitor)
    }
}

/// Keeps the path to a wrong element, which an untagged enum loses.
struct TrafficVisitor;

impl<'de> Visitor<'de> for TrafficVisitor {
    type Value = Traffic;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"any\" or a list of {protocol, ports, types}")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Traffic, E> {
        if text == "any" { Ok(Traffic::any()) } else { Err(E::invalid_value(de::Unexpected::Str(text), &self)) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Traffic, A::Error> {
        let items = Vec::<TrafficItem>::deserialize(SeqAccessDeserializer::new(seq))?;
        let message = format!("a list of 1 to {MAX_ITEMS} kinds is needed; every kind is written \"any\"");
        Traffic::new(items).ok_or_else(|| de::Error::custom(message))
    }
}

const fn any_ports() -> PortRange {
    PortRange::ANY
}

const fn any_types() -> IcmpTypes {
    IcmpTypes::ANY
}

const MAX_ITEMS: usize = 64;
