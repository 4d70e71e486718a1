//! The addresses at which other hosts may reach this one, as they are now.

use std::collections::BTreeMap;
use std::net::IpAddr;

use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{LinkFlags, LinkMessage};
use netlink_packet_route::route::{RouteAttribute, RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::address;
use super::socket::{Netlink, refused};
use crate::error::Error;

const MAIN: u32 = 254;

impl Netlink {
    /// Returns the addresses that may be used towards other hosts: of interfaces that carry packets, and beyond their own link.
    /// Those come first from which a default route leaves, the best route before the others, and those of the loopback interface
    /// last. One interface is left out.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn present_addresses(&mut self, except: Option<u32>) -> Result<Vec<IpAddr>, Error> {
        let fail = |what: &str| {
            let action = format!("list {what}");
            move |source| refused(action, source)
        };
        let links = self.dump(RouteNetlinkMessage::GetLink(LinkMessage::default())).map_err(fail("interfaces"))?;
        let flags: BTreeMap<u32, LinkFlags> = links.iter().filter_map(carrying).collect();
        let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let addresses = self.dump(request).map_err(fail("addresses"))?;
        let routes = self.default_routes().map_err(fail("routes"))?;
        let mut found: Vec<_> = addresses.iter().filter_map(usable).collect();
        found.retain(|(index, _)| flags.contains_key(index) && Some(*index) != except);
        found.sort_by_key(|(index, ip)| {
            let loopback = flags.get(index).is_some_and(|flags| flags.contains(LinkFlags::Loopback));
            (loopback, routes.get(&(ip.is_ipv4(), *index)).copied().unwrap_or(u32::MAX))
        });
        Ok(found.into_iter().map(|(_, ip)| ip).collect())
    }

    /// Returns the metric of the best default route of each interface, for each IP version.
    fn default_routes(&mut self) -> std::io::Result<BTreeMap<(bool, u32), u32>> {
        let mut best = BTreeMap::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut request = RouteMessage::default();
            request.header.address_family = family;
            for answer in self.dump(RouteNetlinkMessage::GetRoute(request))? {
                let RouteNetlinkMessage::NewRoute(route) = answer else { continue };
                if let Some((index, metric)) = default_route(&route) {
                    let key = (family == AddressFamily::Inet, index);
                    best.entry(key).and_modify(|m: &mut u32| *m = metric.min(*m)).or_insert(metric);
                }
            }
        }
        Ok(best)
    }
}

/// Returns an interface that is up and carries packets.
fn carrying(message: &RouteNetlinkMessage) -> Option<(u32, LinkFlags)> {
    let RouteNetlinkMessage::NewLink(link) = message else { return None };
    let flags = link.header.flags;
    flags.contains(LinkFlags::Up | LinkFlags::Running).then_some((link.header.index, flags))
}

/// Returns an address that works beyond its link, and is not about to go.
fn usable(message: &RouteNetlinkMessage) -> Option<(u32, IpAddr)> {
    let RouteNetlinkMessage::NewAddress(message) = message else { return None };
    let unsettled = AddressHeaderFlags::Tentative | AddressHeaderFlags::Dadfailed | AddressHeaderFlags::Deprecated;
    let ip = address::read(message)?.addr();
    let wide = matches!(message.header.scope, AddressScope::Universe | AddressScope::Site);
    let settled = !message.header.flags.intersects(unsettled);
    let host = !ip.is_loopback() && !message.attributes.iter().any(|a| matches!(a, AddressAttribute::Anycast(_)));
    (wide && settled && host).then_some((message.header.index, ip))
}

fn default_route(message: &RouteMessage) -> Option<(u32, u32)> {
    let header = &message.header;
    let (mut table, mut metric, mut index) = (u32::from(header.table), 0, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Priority(number) => metric = *number,
            RouteAttribute::Oif(number) => index = Some(*number),
            RouteAttribute::MultiPath(hops) => index = index.or_else(|| hops.first().map(|hop| hop.interface_index)),
            _ => {}
        }
    }
    let default = header.destination_prefix_length == 0 && header.kind == RouteType::Unicast && table == MAIN;
    index.filter(|_| default).map(|index| (index, metric))
}
