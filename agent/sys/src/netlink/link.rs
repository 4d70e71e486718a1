//! Network interfaces.

use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};

use super::socket::{Netlink, refused};
use crate::error::Error;
use crate::tun::index_of;

/// A network interface as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub index: u32,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Whether it is set up.
    pub up: bool,
    /// Whether it carries packets. After both ends of a wire are up the kernel takes as long as a second to see that, and
    /// drops packets silently until then.
    pub running: bool,
}

/// One end of a pair of virtual Ethernet interfaces.
#[derive(Clone, Copy, Debug)]
pub struct VethEnd<'a> {
    /// The interface's name.
    pub name: &'a str,
    /// The namespace it appears in; without one, that of the request.
    pub namespace: Option<BorrowedFd<'a>>,
}

impl Netlink {
    /// Returns the index of an interface in the calling thread's namespace.
    ///
    /// # Errors
    /// There is no such interface.
    pub fn link_index(&self, name: &str) -> Result<u32, Error> {
        index_of(name).map_err(|source| refused(format!("find interface {name}"), source))
    }

    /// Returns an interface as it stands.
    ///
    /// # Errors
    /// There is no such interface.
    pub fn link(&mut self, name: &str) -> Result<Link, Error> {
        let mut request = LinkMessage::default();
        request.attributes.push(LinkAttribute::IfName(name.to_owned()));
        let answers = self
            .fetch(RouteNetlinkMessage::GetLink(request))
            .map_err(|source| refused(format!("find interface {name}"), source))?;
        let link = answers
            .iter()
            .find_map(|answer| if let RouteNetlinkMessage::NewLink(m) = answer { Some(read(m)) } else { None });
        link.ok_or_else(|| refused(format!("find interface {name}"), std::io::Error::from_raw_os_error(libc::ENODEV)))
    }

    /// Sets an interface up.
    ///
    /// # Errors
    /// No such interface, or no privilege.
    pub fn set_up(&mut self, index: u32) -> Result<(), Error> {
        self.set_state(index, true)
    }

    /// Sets an interface down.
    ///
    /// # Errors
    /// No such interface, or no privilege.
    pub fn set_down(&mut self, index: u32) -> Result<(), Error> {
        self.set_state(index, false)
    }

    fn set_state(&mut self, index: u32, up: bool) -> Result<(), Error> {
        let mut request = of_index(index);
        request.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
        request.header.change_mask = LinkFlags::Up;
        let state = if up { "up" } else { "down" };
        self.change(RouteNetlinkMessage::SetLink(request), 0)
            .map_err(|source| refused(format!("set interface {index} {state}"), source))
    }

    /// Sets an interface's MTU in bytes.
    ///
    /// # Errors
    /// No such interface, no privilege, or a value that the interface does not take.
    pub fn set_mtu(&mut self, index: u32, mtu: u32) -> Result<(), Error> {
        let mut request = of_index(index);
        request.attributes.push(LinkAttribute::Mtu(mtu));
        self.change(RouteNetlinkMessage::SetLink(request), 0)
            .map_err(|source| refused(format!("set the MTU of interface {index} to {mtu}"), source))
    }

    /// Sets how many frames may wait to leave by an interface: what comes beyond them is dropped.
    ///
    /// # Errors
    /// No such interface, or no privilege.
    pub fn set_queue_length(&mut self, index: u32, frames: u32) -> Result<(), Error> {
        let mut request = of_index(index);
        request.attributes.push(LinkAttribute::TxQueueLen(frames));
        self.change(RouteNetlinkMessage::SetLink(request), 0)
            .map_err(|source| refused(format!("set the queue of interface {index} to {frames} frames"), source))
    }

    /// Makes an interface a port of a bridge.
    ///
    /// # Errors
    /// No such interface or bridge, or no privilege.
    pub fn set_bridge(&mut self, index: u32, bridge: u32) -> Result<(), Error> {
        let mut request = of_index(index);
        request.attributes.push(LinkAttribute::Controller(bridge));
        self.change(RouteNetlinkMessage::SetLink(request), 0)
            .map_err(|source| refused(format!("make interface {index} a port of bridge {bridge}"), source))
    }

    /// Creates a bridge.
    ///
    /// # Errors
    /// The name is taken, or the privilege or the kernel's feature is missing.
    pub fn create_bridge(&mut self, name: &str) -> Result<(), Error> {
        let mut request = LinkMessage::default();
        request.attributes.push(LinkAttribute::IfName(name.to_owned()));
        request.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]));
        self.change(RouteNetlinkMessage::NewLink(request), NLM_F_CREATE | NLM_F_EXCL)
            .map_err(|source| refused(format!("create bridge {name}"), source))
    }

    /// Creates two interfaces joined by a wire, both down.
    ///
    /// # Errors
    /// A name is taken, or the privilege or the kernel's feature is missing.
    pub fn create_veth(&mut self, near: VethEnd<'_>, far: VethEnd<'_>) -> Result<(), Error> {
        let mut request = of_end(near);
        let peer = InfoData::Veth(InfoVeth::Peer(of_end(far)));
        request.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(peer)]));
        self.change(RouteNetlinkMessage::NewLink(request), NLM_F_CREATE | NLM_F_EXCL)
            .map_err(|source| refused(format!("create the pair of interfaces {} and {}", near.name, far.name), source))
    }

    /// Deletes an interface.
    ///
    /// # Errors
    /// No such interface, no privilege, or an interface that cannot be deleted.
    pub fn delete_link(&mut self, index: u32) -> Result<(), Error> {
        self.change(RouteNetlinkMessage::DelLink(of_index(index)), 0)
            .map_err(|source| refused(format!("delete interface {index}"), source))
    }
}

fn of_index(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}

fn of_end(end: VethEnd<'_>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(end.name.to_owned()));
    if let Some(namespace) = end.namespace {
        message.attributes.push(LinkAttribute::NetNsFd(namespace.as_raw_fd()));
    }
    message
}

fn read(message: &LinkMessage) -> Link {
    let mtu = message.attributes.iter().find_map(|a| if let LinkAttribute::Mtu(mtu) = a { Some(*mtu) } else { None });
    Link {
        index: message.header.index,
        mtu: mtu.unwrap_or_default(),
        up: message.header.flags.contains(LinkFlags::Up),
        running: message.header.flags.contains(LinkFlags::Running),
    }
}
