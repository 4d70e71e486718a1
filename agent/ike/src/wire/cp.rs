//! Configuration payloads (RFC 7296 §3.15).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::buffer::{Reader, Writer};
use super::registry::{AttributeType, ConfigurationType};
use super::{Malformed, Oversized};

/// What one end asks of the other, or gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// Whether it asks or answers.
    pub kind: ConfigurationType,
    /// Its attributes in order.
    pub attributes: Vec<Attribute>,
}

/// One attribute. One without a value asks for any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// An IPv4 address for the inner end.
    Ip4Address(Option<Ipv4Addr>),
    /// The netmask of its network.
    Ip4Netmask(Option<Ipv4Addr>),
    /// A name server.
    Ip4Dns(Option<Ipv4Addr>),
    /// A NetBIOS name server.
    Ip4Nbns(Option<Ipv4Addr>),
    /// A DHCP server.
    Ip4Dhcp(Option<Ipv4Addr>),
    /// The version of the sender's program.
    ApplicationVersion(Vec<u8>),
    /// An IPv6 address for the inner end, with the length of its prefix.
    Ip6Address(Option<(Ipv6Addr, u8)>),
    /// A name server.
    Ip6Dns(Option<Ipv6Addr>),
    /// A DHCP server.
    Ip6Dhcp(Option<Ipv6Addr>),
    /// A network behind the sender, with its netmask.
    Ip4Subnet(Option<(Ipv4Addr, Ipv4Addr)>),
    /// The attributes that the sender knows.
    Supported(Vec<AttributeType>),
    /// A network behind the sender, with the length of its prefix.
    Ip6Subnet(Option<(Ipv6Addr, u8)>),
    /// One that is unknown here, or of no use: kept as it is, and passed over.
    Unknown(AttributeType, Vec<u8>),
}

impl Configuration {
    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let kind = ConfigurationType(r.u8("CP")?);
        //= RFC 7296 §2.5: reserved fields are skipped
        r.take(3, "CP")?;
        let mut attributes = Vec::new();
        while !r.is_empty() {
            if attributes.len() == MAX_ATTRIBUTES {
                return Err(Malformed::TooMany("configuration attributes"));
            }
            attributes.push(Attribute::read(r)?);
        }
        Ok(Self { kind, attributes })
    }

    pub(super) fn emit(&self, w: &mut Writer) -> Result<(), Oversized> {
        w.u8(self.kind.0);
        w.bytes(&[0; 3]);
        self.attributes.iter().try_for_each(|attribute| attribute.emit(w))
    }
}

impl Attribute {
    /// Returns the type.
    #[must_use]
    pub const fn attribute_type(&self) -> AttributeType {
        match self {
            Self::Ip4Address(_) => AttributeType::INTERNAL_IP4_ADDRESS,
            Self::Ip4Netmask(_) => AttributeType::INTERNAL_IP4_NETMASK,
            Self::Ip4Dns(_) => AttributeType::INTERNAL_IP4_DNS,
            Self::Ip4Nbns(_) => AttributeType::INTERNAL_IP4_NBNS,
            Self::Ip4Dhcp(_) => AttributeType::INTERNAL_IP4_DHCP,
            Self::ApplicationVersion(_) => AttributeType::APPLICATION_VERSION,
            Self::Ip6Address(_) => AttributeType::INTERNAL_IP6_ADDRESS,
            Self::Ip6Dns(_) => AttributeType::INTERNAL_IP6_DNS,
            Self::Ip6Dhcp(_) => AttributeType::INTERNAL_IP6_DHCP,
            Self::Ip4Subnet(_) => AttributeType::INTERNAL_IP4_SUBNET,
            Self::Supported(_) => AttributeType::SUPPORTED_ATTRIBUTES,
            Self::Ip6Subnet(_) => AttributeType::INTERNAL_IP6_SUBNET,
            Self::Unknown(kind, _) => *kind,
        }
    }

    /// Builds the attribute that gives an address, or asks for just that one.
    #[must_use]
    pub const fn of_address(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::Ip4Address(Some(v4)),
            IpAddr::V6(v6) => Self::Ip6Address(Some((v6, 128))),
        }
    }

    /// Builds the attribute that tells of a name server.
    #[must_use]
    pub const fn of_dns(server: IpAddr) -> Self {
        match server {
            IpAddr::V4(v4) => Self::Ip4Dns(Some(v4)),
            IpAddr::V6(v6) => Self::Ip6Dns(Some(v6)),
        }
    }

    /// Returns the address that is given.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        if let Self::Ip6Address(net) = self {
            return net.map(|(address, _)| address.into());
        }
        if let Self::Ip4Address(address) = self { address.map(IpAddr::from) } else { None }
    }

    /// Returns the name server that is told of.
    #[must_use]
    pub fn dns(&self) -> Option<IpAddr> {
        if let Self::Ip6Dns(server) = self {
            return server.map(IpAddr::from);
        }
        if let Self::Ip4Dns(server) = self { server.map(IpAddr::from) } else { None }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        //= RFC 7296 §3.15.1: the highest bit of the type is reserved, and ignored
        let kind = AttributeType(r.u16("configuration attribute")? & !RESERVED);
        let length = r.u16("configuration attribute")?;
        let mut body = r.sub(length, 0, "configuration attribute")?;
        let b = &mut body;
        let attribute = match kind {
            AttributeType::INTERNAL_IP4_ADDRESS => Self::Ip4Address(ip4(b)?),
            AttributeType::INTERNAL_IP4_NETMASK => Self::Ip4Netmask(ip4(b)?),
            AttributeType::INTERNAL_IP4_DNS => Self::Ip4Dns(ip4(b)?),
            AttributeType::INTERNAL_IP4_NBNS => Self::Ip4Nbns(ip4(b)?),
            AttributeType::INTERNAL_IP4_DHCP => Self::Ip4Dhcp(ip4(b)?),
            AttributeType::APPLICATION_VERSION => Self::ApplicationVersion(b.rest().to_vec()),
            AttributeType::INTERNAL_IP6_ADDRESS => Self::Ip6Address(ip6_prefix(b)?),
            AttributeType::INTERNAL_IP6_DNS => Self::Ip6Dns(ip6(b)?),
            AttributeType::INTERNAL_IP6_DHCP => Self::Ip6Dhcp(ip6(b)?),
            AttributeType::INTERNAL_IP4_SUBNET => {
                Self::Ip4Subnet(ip4(b)?.map(|net| Ok((net, b.array::<4>("netmask")?.into()))).transpose()?)
            }
            AttributeType::SUPPORTED_ATTRIBUTES => Self::Supported(types(b)?),
            AttributeType::INTERNAL_IP6_SUBNET => Self::Ip6Subnet(ip6_prefix(b)?),
            //= RFC 7296 §3.15.1: an attribute that is not known is passed over
            unknown => Self::Unknown(unknown, b.rest().to_vec()),
        };
        body.finish("configuration attribute")?;
        Ok(attribute)
    }

    fn emit(&self, w: &mut Writer) -> Result<(), Oversized> {
        let octets4 = |address: &Option<Ipv4Addr>| address.map_or_else(Vec::new, |a| a.octets().to_vec());
        let octets6 = |address: &Option<Ipv6Addr>| address.map_or_else(Vec::new, |a| a.octets().to_vec());
        let prefix6 =
            |net: &Option<(Ipv6Addr, u8)>| net.map_or_else(Vec::new, |(a, n)| [&a.octets()[..], &[n]].concat());
        let value = match self {
            Self::Ip4Address(a) | Self::Ip4Netmask(a) | Self::Ip4Dns(a) | Self::Ip4Nbns(a) | Self::Ip4Dhcp(a) => {
                octets4(a)
            }
            Self::Ip6Dns(a) | Self::Ip6Dhcp(a) => octets6(a),
            Self::Ip6Address(net) | Self::Ip6Subnet(net) => prefix6(net),
            Self::Ip4Subnet(net) => net.map_or_else(Vec::new, |(a, mask)| [a.octets(), mask.octets()].concat()),
            Self::Supported(types) => types.iter().flat_map(|kind| kind.0.to_be_bytes()).collect(),
            Self::ApplicationVersion(bytes) | Self::Unknown(_, bytes) => bytes.clone(),
        };
        w.u16(self.attribute_type().0);
        w.u16(u16::try_from(value.len()).map_err(|_| Oversized("configuration attribute"))?);
        w.bytes(&value);
        Ok(())
    }
}

fn ip4(r: &mut Reader<'_>) -> Result<Option<Ipv4Addr>, Malformed> {
    if r.is_empty() { Ok(None) } else { Ok(Some(r.array::<4>("IPv4 attribute")?.into())) }
}

fn ip6(r: &mut Reader<'_>) -> Result<Option<Ipv6Addr>, Malformed> {
    if r.is_empty() { Ok(None) } else { Ok(Some(r.array::<16>("IPv6 attribute")?.into())) }
}

fn ip6_prefix(r: &mut Reader<'_>) -> Result<Option<(Ipv6Addr, u8)>, Malformed> {
    let Some(address) = ip6(r)? else { return Ok(None) };
    match r.u8("IPv6 prefix")? {
        length @ 0..=128 => Ok(Some((address, length))),
        _ => Err(Malformed::Value("IPv6 prefix")),
    }
}

fn types(r: &mut Reader<'_>) -> Result<Vec<AttributeType>, Malformed> {
    let (pairs, odd) = r.rest().as_chunks::<2>();
    if !odd.is_empty() {
        return Err(Malformed::Length("SUPPORTED_ATTRIBUTES"));
    }
    Ok(pairs.iter().map(|pair| AttributeType(u16::from_be_bytes(*pair) & !RESERVED)).collect())
}

const RESERVED: u16 = 0x8000;
/// Gateways that list every network behind them stay below.
const MAX_ATTRIBUTES: usize = 256;

#[cfg(test)]
mod tests;
