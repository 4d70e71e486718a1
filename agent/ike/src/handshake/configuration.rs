//! The configuration payload (RFC 7296 §2.19, §3.15): an address is asked for, given or refused.

use std::net::IpAddr;

use espalier_model::plan::{AddressFamily, VirtualAddresses};
use thiserror::Error;

use crate::config::PeerConfig;
use crate::content::Content;
use crate::context::Context;
use crate::sa::assigned::Assigned;
use crate::wire::cp::{Attribute, Configuration};
use crate::wire::{AttributeType, ConfigurationType, Payload};

/// Why an SA is of no use: it depends on an address that is not there.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum AddressError {
    /// The responder gives none; carries what it says.
    #[error("the peer gives no address ({0}; virtual-addresses.request asks for one)")]
    NotGiven(String),
    /// The peer starts, but only who starts can ask.
    #[error("the peer calls, but it is the one that gives addresses and has to be called (virtual-addresses.request)")]
    WrongWay,
}

/// What a responder does about an initiator's wishes.
#[derive(Default)]
pub(crate) struct Configured {
    /// The addresses that the initiator is given.
    pub(crate) assigned: Assigned,
    /// The payload that gives them.
    pub(crate) payload: Option<Payload>,
    /// It asked, but there is none for it.
    pub(crate) refused: bool,
}

/// Builds the request for the addresses that a peer is to give; `before` are those that we have of it.
pub(crate) fn request(peer: &PeerConfig, before: &[IpAddr]) -> Option<Payload> {
    let Some(VirtualAddresses::Request(families)) = &peer.virtual_addresses else { return None };
    let ask = |family: &AddressFamily| {
        let (any, dns) = match family {
            AddressFamily::Ipv4 => (Attribute::Ip4Address(None), Attribute::Ip4Dns(None)),
            AddressFamily::Ipv6 => (Attribute::Ip6Address(None), Attribute::Ip6Dns(None)),
        };
        let own = before.iter().copied().find(|address| AddressFamily::of(*address) == *family);
        [own.map_or(any, Attribute::of_address), dns]
    };
    //= RFC 7296 §2.19: who wants an address asks for it by CFG_REQUEST in IKE_AUTH
    let attributes = families.iter().flat_map(ask).collect();
    Some(Payload::Configuration(Configuration { kind: ConfigurationType::REQUEST, attributes }))
}

/// Reads the answer to our request: an address of each family that was asked for, one at least.
pub(crate) fn accept(peer: &PeerConfig, response: &Content) -> Result<Assigned, AddressError> {
    let Some(VirtualAddresses::Request(families)) = &peer.virtual_addresses else { return Ok(Assigned::default()) };
    let reply = response.configuration.as_ref().filter(|c| c.kind == ConfigurationType::REPLY);
    let mut assigned = Assigned::default();
    //= RFC 7296 §3.15.1: attributes that were not asked for, or are of no use, are passed over
    for attribute in reply.iter().flat_map(|reply| &reply.attributes) {
        if let Some(address) = attribute.address() {
            add(&mut assigned.addresses, families, address);
        } else if let Some(server) = attribute.dns().filter(|_| assigned.dns.len() < MOST_DNS) {
            assigned.dns.push(server);
        }
    }
    if assigned.addresses.is_empty() {
        let said = response.error().map_or_else(|| "it says nothing".to_owned(), |error| format!("{error:?}"));
        return Err(AddressError::NotGiven(said));
    }
    Ok(assigned)
}

/// Takes the first address of a family that was asked for, if a host can have it.
fn add(addresses: &mut Vec<IpAddr>, families: &[AddressFamily], address: IpAddr) {
    let family = AddressFamily::of(address);
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    let good = !(address.is_unspecified() || address.is_multicast() || address.is_loopback() || broadcast);
    let first = addresses.iter().all(|other| AddressFamily::of(*other) != family);
    if good && first && families.contains(&family) {
        addresses.push(address);
    }
}

/// Gives a peer that has proven itself the addresses that it asks for.
pub(crate) fn answer(cx: &mut Context<'_>, peer: &PeerConfig, request: &Content) -> Result<Configured, AddressError> {
    let pool = match &peer.virtual_addresses {
        Some(VirtualAddresses::Request(_)) => return Err(AddressError::WrongWay),
        Some(VirtualAddresses::Pool(pool)) => Some(pool),
        None => None,
    };
    let asked = request.configuration.as_ref().filter(|c| c.kind == ConfigurationType::REQUEST);
    let attributes = asked.map(|c| c.attributes.as_slice()).unwrap_or_default();
    let wish = |family| {
        attributes.iter().find_map(|attribute| match (attribute, family) {
            (Attribute::Ip4Address(address), AddressFamily::Ipv4) => Some(address.map(IpAddr::from)),
            (Attribute::Ip6Address(net), AddressFamily::Ipv6) => Some(net.map(|(address, _)| address.into())),
            _ => None,
        })
    };
    let wishes = [AddressFamily::Ipv4, AddressFamily::Ipv6].map(|family| (family, wish(family)));
    if wishes.iter().all(|(_, wish)| wish.is_none()) {
        //= RFC 7296 §2.19: who has not asked is given nothing
        return Ok(Configured::default());
    }
    let refused = || Configured { refused: true, ..Configured::default() };
    let Some(pool) = pool else { return Ok(refused()) };
    let given = wishes.into_iter().filter_map(|(family, wish)| {
        let wanted = wish?.filter(|address| !address.is_unspecified());
        cx.leases.take(&peer.id, pool, family, wanted)
    });
    let addresses: Vec<IpAddr> = given.collect();
    //= RFC 7296 §3.15.4: no address at all is an error, fewer than were asked for are not
    if addresses.is_empty() {
        return Ok(refused());
    }
    let asks = |kind| attributes.iter().any(|attribute| attribute.attribute_type() == kind);
    let dns = pool.dns.iter().filter(|server| match server {
        IpAddr::V4(_) => asks(AttributeType::INTERNAL_IP4_DNS),
        IpAddr::V6(_) => asks(AttributeType::INTERNAL_IP6_DNS),
    });
    let dns: Vec<IpAddr> = dns.copied().collect();
    let addressed = addresses.iter().copied().map(Attribute::of_address);
    let attributes = addressed.chain(dns.iter().copied().map(Attribute::of_dns)).collect();
    let payload = Payload::Configuration(Configuration { kind: ConfigurationType::REPLY, attributes });
    Ok(Configured { assigned: Assigned { addresses, dns }, payload: Some(payload), refused: false })
}

/// Answers what a peer asks or sets on an SA that stands: we tell nothing, and let nothing be set.
pub(crate) fn inform(request: &Content) -> Option<Payload> {
    let kind = match request.configuration.as_ref()?.kind {
        ConfigurationType::REQUEST => ConfigurationType::REPLY,
        //= RFC 7296 §3.15: of CFG_SET nothing is accepted, which CFG_ACK says by holding no attribute
        ConfigurationType::SET => ConfigurationType::ACK,
        _ => return None,
    };
    let told = |attribute: &Attribute| {
        if attribute.attribute_type() == AttributeType::APPLICATION_VERSION {
            //= RFC 7296 §2.20: who declines to tell its version returns an empty one
            Some(Attribute::ApplicationVersion(Vec::new()))
        } else if attribute.attribute_type() == AttributeType::SUPPORTED_ATTRIBUTES {
            //= RFC 7296 §3.15.1: SUPPORTED_ATTRIBUTES is answered with all attribute types that are understood
            Some(Attribute::Supported(UNDERSTOOD.to_vec()))
        } else {
            None
        }
    };
    let asked = request.configuration.iter().filter(|_| kind == ConfigurationType::REPLY);
    let attributes = asked.flat_map(|asked| &asked.attributes).filter_map(told).collect();
    Some(Payload::Configuration(Configuration { kind, attributes }))
}

const UNDERSTOOD: [AttributeType; 6] = [
    AttributeType::INTERNAL_IP4_ADDRESS,
    AttributeType::INTERNAL_IP4_DNS,
    AttributeType::APPLICATION_VERSION,
    AttributeType::INTERNAL_IP6_ADDRESS,
    AttributeType::INTERNAL_IP6_DNS,
    AttributeType::SUPPORTED_ATTRIBUTES,
];
/// More than a resolver asks.
const MOST_DNS: usize = 8;
