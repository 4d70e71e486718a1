//! Addresses of interfaces.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::socket::{Netlink, refused};
use crate::error::Error;

impl Netlink {
    /// Gives an interface an address with the prefix of its network; nothing changes where it has it. An IPv6 address works
    /// at once, without duplicate address detection.
    ///
    /// # Errors
    /// No such interface, or no privilege.
    pub fn add_address(&mut self, index: u32, address: IpNet) -> Result<(), Error> {
        self.change(RouteNetlinkMessage::NewAddress(message(index, address)), NLM_F_CREATE | NLM_F_REPLACE)
            .map_err(|source| refused(format!("add address {address} to interface {index}"), source))
    }

    /// Takes an address from an interface, and tells whether it was there.
    ///
    /// # Errors
    /// No such interface, or no privilege.
    pub fn delete_address(&mut self, index: u32, address: IpNet) -> Result<bool, Error> {
        match self.change(RouteNetlinkMessage::DelAddress(message(index, address)), 0) {
            Ok(()) => Ok(true),
            Err(source) if source.raw_os_error() == Some(libc::EADDRNOTAVAIL) => Ok(false),
            Err(source) => Err(refused(format!("delete address {address} from interface {index}"), source)),
        }
    }

    /// Returns the addresses of an interface, with the prefixes of their networks.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn addresses(&mut self, index: u32) -> Result<Vec<IpNet>, Error> {
        let answers = self
            .dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()))
            .map_err(|source| refused(format!("list the addresses of interface {index}"), source))?;
        let of_index = answers.iter().filter_map(|answer| match answer {
            RouteNetlinkMessage::NewAddress(m) if m.header.index == index => read(m),
            _ => None,
        });
        Ok(of_index.collect())
    }
}

fn message(index: u32, address: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.prefix_len = address.prefix_len();
    message.attributes.push(AddressAttribute::Local(address.addr()));
    message.attributes.push(AddressAttribute::Address(address.addr()));
    match address {
        IpNet::V4(_) => message.header.family = AddressFamily::Inet,
        IpNet::V6(_) => {
            message.header.family = AddressFamily::Inet6;
            message.header.flags = AddressHeaderFlags::Nodad;
        }
    }
    message
}

pub(super) fn read(message: &AddressMessage) -> Option<IpNet> {
    let mut found: Option<IpAddr> = None;
    for attribute in &message.attributes {
        match attribute {
            // On a point-to-point link `Address` is the other end, so `Local` wins.
            AddressAttribute::Local(ip) => found = Some(*ip),
            AddressAttribute::Address(ip) => found = found.or(Some(*ip)),
            _ => {}
        }
    }
    IpNet::new(found?, message.header.prefix_len).ok()
}
