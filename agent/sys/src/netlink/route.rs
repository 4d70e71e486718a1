//! Routes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteMetric, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::socket::{Netlink, refused};
use crate::error::Error;

/// A route. Destination, table and metric tell routes apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where the packets want to go.
    pub destination: IpNet,
    /// The routing table; the main one is 254.
    pub table: u32,
    /// The lower wins. For IPv6 the kernel reads 0 as 1024.
    pub metric: u32,
    /// Where they are sent.
    pub target: Target,
    /// The address they leave from, unless the sender has chosen one.
    pub source: Option<IpAddr>,
    /// How long they may be; as long as the interface takes where nothing is said.
    pub mtu: Option<u32>,
}

/// What a route does with packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// They leave by the interface of this index.
    Interface(u32),
    /// They go to this neighbour.
    Gateway(IpAddr),
    /// They are refused, and the sender is told.
    Unreachable,
}

impl Netlink {
    /// Adds a route that must not exist.
    ///
    /// # Errors
    /// It exists, its target does not, or no privilege.
    pub fn add_route(&mut self, route: &Route) -> Result<(), Error> {
        self.change(RouteNetlinkMessage::NewRoute(message(route)), NLM_F_CREATE | NLM_F_EXCL)
            .map_err(|source| refused(format!("add {}", describe(route)), source))
    }

    /// Adds a route, in place of the one with the same destination, table and metric.
    ///
    /// # Errors
    /// Its target does not exist, or no privilege.
    pub fn replace_route(&mut self, route: &Route) -> Result<(), Error> {
        self.change(RouteNetlinkMessage::NewRoute(message(route)), NLM_F_CREATE | NLM_F_REPLACE)
            .map_err(|source| refused(format!("replace {}", describe(route)), source))
    }

    /// Deletes a route, and tells whether it was there.
    ///
    /// # Errors
    /// No privilege.
    pub fn delete_route(&mut self, route: &Route) -> Result<bool, Error> {
        match self.change(RouteNetlinkMessage::DelRoute(message(route)), 0) {
            Ok(()) => Ok(true),
            Err(source) if matches!(source.raw_os_error(), Some(libc::ESRCH | libc::ENOENT)) => Ok(false),
            Err(source) => Err(refused(format!("delete {}", describe(route)), source)),
        }
    }

    /// Returns the routes of a table, both IP versions; routes of kinds that [`Target`] does not have are left out.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn routes(&mut self, table: u32) -> Result<Vec<Route>, Error> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut request = RouteMessage::default();
            request.header.address_family = family;
            let answers = self
                .dump(RouteNetlinkMessage::GetRoute(request))
                .map_err(|source| refused(format!("list the routes of table {table}"), source))?;
            let all =
                answers.iter().filter_map(|a| if let RouteNetlinkMessage::NewRoute(m) = a { read(m) } else { None });
            routes.extend(all.filter(|route| route.table == table));
        }
        Ok(routes)
    }
}

fn describe(route: &Route) -> String {
    format!("the route to {} in table {}", route.destination, route.table)
}

fn message(route: &Route) -> RouteMessage {
    let mut message = RouteMessage::default();
    let header = &mut message.header;
    header.address_family = if route.destination.addr().is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    header.destination_prefix_length = route.destination.prefix_len();
    // Tables beyond 255 are told by the attribute alone.
    header.table = RouteHeader::RT_TABLE_UNSPEC;
    header.protocol = RouteProtocol::Static;
    header.kind = RouteType::Unicast;
    let attributes = &mut message.attributes;
    attributes.push(RouteAttribute::Table(route.table));
    attributes.push(RouteAttribute::Destination(route.destination.network().into()));
    if route.metric != 0 {
        attributes.push(RouteAttribute::Priority(route.metric));
    }
    if let Some(source) = route.source {
        attributes.push(RouteAttribute::PrefSource(source.into()));
    }
    if let Some(mtu) = route.mtu {
        attributes.push(RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)]));
    }
    match &route.target {
        Target::Interface(index) => {
            header.scope = RouteScope::Link;
            attributes.push(RouteAttribute::Oif(*index));
        }
        Target::Gateway(gateway) => attributes.push(RouteAttribute::Gateway((*gateway).into())),
        Target::Unreachable => header.kind = RouteType::Unreachable,
    }
    message
}

fn read(message: &RouteMessage) -> Option<Route> {
    let unspecified: IpAddr = match message.header.address_family {
        AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
        _ => Ipv6Addr::UNSPECIFIED.into(),
    };
    let (mut destination, mut table, mut metric) = (unspecified, u32::from(message.header.table), 0);
    let (mut interface, mut gateway, mut source, mut mtu) = (None, None, None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => destination = ip(address)?,
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Priority(number) => metric = *number,
            RouteAttribute::Oif(index) => interface = Some(*index),
            RouteAttribute::Gateway(address) => gateway = ip(address),
            RouteAttribute::PrefSource(address) => source = ip(address),
            RouteAttribute::Metrics(metrics) => {
                mtu = metrics
                    .iter()
                    .find_map(|metric| if let RouteMetric::Mtu(mtu) = metric { Some(*mtu) } else { None });
            }
            _ => {}
        }
    }
    let target = match (message.header.kind, gateway, interface) {
        (RouteType::Unreachable, _, _) => Target::Unreachable,
        (RouteType::Unicast, Some(gateway), _) => Target::Gateway(gateway),
        (RouteType::Unicast, None, Some(index)) => Target::Interface(index),
        _ => return None,
    };
    let destination = IpNet::new(destination, message.header.destination_prefix_length).ok()?;
    Some(Route { destination, table, metric, target, source, mtu })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some((*v4).into()),
        RouteAddress::Inet6(v6) => Some((*v6).into()),
        _ => None,
    }
}
