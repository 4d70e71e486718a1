//! Routing rules: which packets look into which table.

use std::ops::RangeInclusive;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage, RulePortRange};
use netlink_packet_route::{AddressFamily, IpProtocol, RouteNetlinkMessage};

use super::socket::{Netlink, refused};
use crate::error::Error;

/// A routing rule of one IP version. A condition that is `None` holds for all packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Whether it is for IPv6.
    pub ipv6: bool,
    /// The lower is asked first; the main table's rule has 32766.
    pub priority: u32,
    /// The table that is looked into.
    pub table: u32,
    /// The packet's mark, all 32 bits.
    pub mark: Option<u32>,
    /// Whether the rule is for packets for which its conditions, taken together, do not hold.
    pub inverted: bool,
    /// Where the packet comes from.
    pub from: Option<IpNet>,
    /// Where it goes.
    pub to: Option<IpNet>,
    /// Its IP protocol.
    pub protocol: Option<u8>,
    /// Its source port; the kernel takes 1 to 65534.
    pub source_ports: Option<RangeInclusive<u16>>,
    /// Its destination port; the kernel takes 1 to 65534.
    pub destination_ports: Option<RangeInclusive<u16>>,
}

impl Rule {
    /// Returns a rule that sends every packet to a table.
    #[must_use]
    pub fn new(ipv6: bool, priority: u32, table: u32) -> Self {
        Self {
            ipv6,
            priority,
            table,
            mark: None,
            inverted: false,
            from: None,
            to: None,
            protocol: None,
            source_ports: None,
            destination_ports: None,
        }
    }

    /// Returns the rule for all packets but those with a mark: the ones that are not the agent's own.
    #[must_use]
    pub fn unless_marked(ipv6: bool, priority: u32, table: u32, mark: u32) -> Self {
        Self { mark: Some(mark), inverted: true, ..Self::new(ipv6, priority, table) }
    }
}

impl Netlink {
    /// Adds a rule; nothing changes where it stands.
    ///
    /// # Errors
    /// No privilege, or a condition that the kernel does not know.
    pub fn add_rule(&mut self, rule: &Rule) -> Result<(), Error> {
        match self.change(RouteNetlinkMessage::NewRule(message(rule)), NLM_F_CREATE | NLM_F_EXCL) {
            Err(source) if source.raw_os_error() == Some(libc::EEXIST) => Ok(()),
            result => result.map_err(|source| refused(format!("add {}", describe(rule)), source)),
        }
    }

    /// Deletes a rule, and tells whether it was there.
    ///
    /// # Errors
    /// No privilege.
    pub fn delete_rule(&mut self, rule: &Rule) -> Result<bool, Error> {
        match self.change(RouteNetlinkMessage::DelRule(message(rule)), 0) {
            Ok(()) => Ok(true),
            Err(source) if source.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(source) => Err(refused(format!("delete {}", describe(rule)), source)),
        }
    }

    /// Returns the rules of both IP versions that look into a table.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn rules(&mut self, table: u32) -> Result<Vec<Rule>, Error> {
        let mut rules = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut request = RuleMessage::default();
            request.header.family = family;
            let answers = self
                .dump(RouteNetlinkMessage::GetRule(request))
                .map_err(|source| refused(format!("list the routing rules for table {table}"), source))?;
            let all = answers
                .iter()
                .filter_map(|a| if let RouteNetlinkMessage::NewRule(m) = a { Some(read(m)) } else { None });
            rules.extend(all.filter(|rule| rule.table == table));
        }
        Ok(rules)
    }
}

fn describe(rule: &Rule) -> String {
    let version = if rule.ipv6 { "IPv6" } else { "IPv4" };
    format!("the {version} routing rule {} for table {}", rule.priority, rule.table)
}

fn message(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    let header = &mut message.header;
    header.family = if rule.ipv6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    header.action = RuleAction::ToTable;
    if rule.inverted {
        header.flags = RuleFlags::Invert;
    }
    let attributes = &mut message.attributes;
    attributes.push(RuleAttribute::Priority(rule.priority));
    attributes.push(RuleAttribute::Table(rule.table));
    if let Some(mark) = rule.mark {
        attributes.push(RuleAttribute::FwMark(mark));
        attributes.push(RuleAttribute::FwMask(u32::MAX));
    }
    if let Some(net) = rule.from {
        header.src_len = net.prefix_len();
        attributes.push(RuleAttribute::Source(net.network()));
    }
    if let Some(net) = rule.to {
        header.dst_len = net.prefix_len();
        attributes.push(RuleAttribute::Destination(net.network()));
    }
    if let Some(protocol) = rule.protocol {
        attributes.push(RuleAttribute::IpProtocol(IpProtocol::from(i32::from(protocol))));
    }
    attributes.extend(rule.source_ports.as_ref().map(|ports| RuleAttribute::SourcePortRange(range(ports))));
    attributes.extend(rule.destination_ports.as_ref().map(|ports| RuleAttribute::DestinationPortRange(range(ports))));
    message
}

fn range(ports: &RangeInclusive<u16>) -> RulePortRange {
    RulePortRange { start: *ports.start(), end: *ports.end() }
}

fn read(message: &RuleMessage) -> Rule {
    let header = &message.header;
    let mut rule = Rule::new(header.family == AddressFamily::Inet6, 0, u32::from(header.table));
    rule.inverted = header.flags.contains(RuleFlags::Invert);
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Priority(number) => rule.priority = *number,
            RuleAttribute::Table(number) => rule.table = *number,
            RuleAttribute::FwMark(mark) => rule.mark = Some(*mark),
            RuleAttribute::Source(ip) => rule.from = IpNet::new(*ip, header.src_len).ok(),
            RuleAttribute::Destination(ip) => rule.to = IpNet::new(*ip, header.dst_len).ok(),
            RuleAttribute::IpProtocol(protocol) => rule.protocol = u8::try_from(i32::from(*protocol)).ok(),
            RuleAttribute::SourcePortRange(ports) => rule.source_ports = Some(ports.start..=ports.end),
            RuleAttribute::DestinationPortRange(ports) => rule.destination_ports = Some(ports.start..=ports.end),
            _ => {}
        }
    }
    rule
}
