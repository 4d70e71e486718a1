//! The node's network around the tunnel: interface, addresses, routes, rules, leak guard.
//!
//! The order fails closed: the guard stands before the first route, and the guard and the unreachable routes outlive the agent.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use espalier_model::identity::{Identity, Name};
use espalier_model::plan::NodePlan;
use espalier_sys::guard::{Exemption, Guard, GuardSpec, Side, Transport};
use espalier_sys::netlink::{Netlink, Route, Rule, Target};
use espalier_sys::tun::Tun;
use ipnet::IpNet;

use crate::addresses::Addresses;
use crate::mtu::{self, PathMtus};
use crate::reconcile;

pub(crate) use mend::Mended;

mod mend;

/// The agent's interface.
pub const INTERFACE: &str = "espalier0";
/// The mark of the agent's own sockets: their packets are the tunnel's outside.
pub const MARK: u32 = 0x4553_5000;
const TABLE: u32 = 4500;
const MAIN: u32 = 254;
const PRIORITY: u32 = 100;
/// Of what stays out of the tunnel whatever the plan protects.
const OUTSIDE_PRIORITY: u32 = 99;
/// Behind the tunnel's own routes: what has no tunnel is refused, not sent in the clear.
const LAST_METRIC: u32 = 4_000_000;
const TUNNEL_METRIC: u32 = 100;
const SSH: u16 = 22;
const IKE: [u16; 2] = [500, 4500];
const TCP: u8 = 6;
const UDP: u8 = 17;
const ESP: u8 = 50;
const AH: u8 = 51;
/// Small packets at 200,000 a second fill it in 10 ms, some turns of the scheduler; TCP limits itself before.
const WAITING_FRAMES: u32 = 2_000;

/// What the agent holds of the node's network.
pub struct Network {
    index: u32,
    addresses: BTreeSet<IpNet>,
    /// Those that go with the SAs of peers, our own and theirs.
    virtual_addresses: Addresses,
    /// What is routed to the tunnel.
    protected: BTreeMap<IpNet, Way>,
    controller: Option<SocketAddr>,
    paths: PathMtus,
    mtu: u16,
}

/// How packets to a prefix enter the tunnel.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Way {
    /// Our address for it.
    source: Option<IpAddr>,
    /// How long they may be.
    mtu: u16,
}

impl Way {
    fn to(self, destination: IpNet, interface: u32) -> Route {
        Route {
            destination,
            table: TABLE,
            metric: TUNNEL_METRIC,
            target: Target::Interface(interface),
            source: self.source,
            mtu: Some(self.mtu.into()),
        }
    }
}

impl Network {
    /// Puts up guard, interface, routes and rules for a plan. Doing it twice changes nothing.
    ///
    /// # Errors
    /// What the kernel refused, with its remedy.
    pub fn set_up(plan: &NodePlan) -> Result<(Self, Tun), espalier_sys::Error> {
        let mut netlink = Netlink::open()?;
        let virtual_addresses = Addresses::default();
        fence(&mut netlink, plan, &virtual_addresses, None)?;
        send_to_table(&mut netlink)?;
        let tun = create(&mut netlink)?;
        let (addresses, protected) = (BTreeSet::new(), BTreeMap::new());
        let (index, controller) = (tun.index(), None);
        let (paths, mtu) = (PathMtus::new(), 0);
        let mut network = Self { index, addresses, virtual_addresses, protected, controller, paths, mtu };
        network.furnish(&mut netlink, plan)?;
        Ok((network, tun))
    }

    /// Gives the interface all that it has.
    fn furnish(&mut self, netlink: &mut Netlink, plan: &NodePlan) -> Result<(), espalier_sys::Error> {
        self.give_addresses(netlink, plan)?;
        self.give_mtu(netlink, mtu::of_interface(plan, &mtu::by_prefix(plan, &self.paths)))?;
        netlink.set_up(self.index)?;
        self.route(netlink, plan)
    }

    /// Follows a changed plan. The guard is exchanged in one step; what is no longer routed to the tunnel stays fenced.
    ///
    /// # Errors
    /// What the kernel refused; what was done before stays.
    pub fn follow(&mut self, plan: &NodePlan) -> Result<(), espalier_sys::Error> {
        let mut netlink = Netlink::open()?;
        fence(&mut netlink, plan, &self.virtual_addresses, self.controller)?;
        self.give_addresses(&mut netlink, plan)?;
        self.route(&mut netlink, plan)?;
        self.take_addresses(&mut netlink, plan)
    }

    /// Follows the addresses that go with a peer's SA: ours are put on the interface, and packets to where they lead bear them.
    ///
    /// # Errors
    /// What the kernel refused; what was done before stays.
    pub(crate) fn assign(
        &mut self,
        plan: &NodePlan,
        peer: Identity,
        addresses: Vec<IpAddr>,
    ) -> Result<(), espalier_sys::Error> {
        self.virtual_addresses.set(peer, addresses);
        self.follow(plan)
    }

    /// Returns the addresses that go with the SAs of peers.
    pub(crate) const fn virtual_addresses(&self) -> &Addresses {
        &self.virtual_addresses
    }

    /// Leaves a way to the controller open, whatever the plan protects: it alone could mend a plan that locks it out.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn keep_in_reach(&mut self, plan: &NodePlan, controller: SocketAddr) -> Result<(), espalier_sys::Error> {
        if self.controller == Some(controller) {
            return Ok(());
        }
        self.controller = Some(controller);
        fence(&mut Netlink::open()?, plan, &self.virtual_addresses, self.controller)
    }

    /// Returns the MTU of the path to a peer, as far as it is known.
    pub(crate) fn path_mtu(&self, peer: &Identity) -> u16 {
        self.paths.get(peer).copied().unwrap_or(mtu::USUAL)
    }

    /// Follows the MTUs of paths: packets that are too long for one are refused before they enter the tunnel, and their sender is told.
    ///
    /// # Errors
    /// What the kernel refused; what was done before stays.
    pub(crate) fn follow_paths(&mut self, plan: &NodePlan, found: PathMtus) -> Result<(), espalier_sys::Error> {
        self.paths.extend(found);
        self.route(&mut Netlink::open()?, plan)
    }

    /// Returns how long packets of each rule may be, as far as paths are known.
    pub(crate) fn longest(&self, plan: &NodePlan) -> BTreeMap<Name, u16> {
        mtu::by_rule(plan, &self.paths)
    }

    fn give_mtu(&mut self, netlink: &mut Netlink, mtu: u16) -> Result<(), espalier_sys::Error> {
        if mtu != self.mtu {
            netlink.set_mtu(self.index, u32::from(mtu))?;
            self.mtu = mtu;
        }
        Ok(())
    }

    fn give_addresses(&mut self, netlink: &mut Netlink, plan: &NodePlan) -> Result<(), espalier_sys::Error> {
        for address in self.wanted_addresses(plan).difference(&self.addresses.clone()) {
            netlink.add_address(self.index, *address)?;
            self.addresses.insert(*address);
        }
        Ok(())
    }

    /// Takes addresses away once no route names them any more: the kernel would take the routes along.
    fn take_addresses(&mut self, netlink: &mut Netlink, plan: &NodePlan) -> Result<(), espalier_sys::Error> {
        let wanted = self.wanted_addresses(plan);
        for address in self.addresses.clone().difference(&wanted) {
            netlink.delete_address(self.index, *address)?;
            self.addresses.remove(address);
        }
        Ok(())
    }

    fn wanted_addresses(&self, plan: &NodePlan) -> BTreeSet<IpNet> {
        let given = self.virtual_addresses.own(plan).map(IpNet::from);
        plan.node.addresses.iter().copied().chain(given).collect()
    }

    /// Routes what has a tunnel to the interface.
    fn route(&mut self, netlink: &mut Netlink, plan: &NodePlan) -> Result<(), espalier_sys::Error> {
        let longest = mtu::by_prefix(plan, &self.paths);
        let interface = mtu::of_interface(plan, &longest);
        // The interface is never narrower than a route that leads to it.
        self.give_mtu(netlink, self.mtu.max(interface))?;
        // In transport mode both ends are those of the path.
        let pairs = reconcile::in_transport_mode(plan).flat_map(|rule| rule.remote.iter().zip(&rule.local));
        let ends: BTreeMap<IpNet, IpAddr> = pairs.map(|(remote, local)| (remote.trunc(), local.addr())).collect();
        let source = |net: &IpNet| ends.get(net).copied().or_else(|| self.source(plan, net));
        let way = |(net, mtu): (&IpNet, &u16)| (*net, Way { source: source(net), mtu: *mtu });
        let wanted: BTreeMap<_, _> = longest.iter().map(way).collect();
        let route = |destination: &IpNet, way: &Way| way.to(*destination, self.index);
        for (destination, way) in wanted.iter().filter(|(net, way)| self.protected.get(net) != Some(way)) {
            netlink.replace_route(&route(destination, way))?;
        }
        for (destination, way) in self.protected.iter().filter(|(net, _)| !wanted.contains_key(net)) {
            netlink.delete_route(&route(destination, way))?;
        }
        self.protected = wanted;
        self.give_mtu(netlink, interface)
    }

    /// Returns our address for packets to a prefix.
    fn source(&self, plan: &NodePlan, destination: &IpNet) -> Option<IpAddr> {
        let given = self.virtual_addresses.source(plan, destination);
        let mut own = plan.node.addresses.iter().map(IpNet::addr);
        given.or_else(|| own.find(|address| address.is_ipv4() == destination.addr().is_ipv4()))
    }
}

/// Sends all that is not the agent's own to the agent's table first.
fn send_to_table(netlink: &mut Netlink) -> Result<(), espalier_sys::Error> {
    let rule = |ipv6| Rule::unless_marked(ipv6, PRIORITY, TABLE, MARK);
    [false, true].into_iter().try_for_each(|ipv6| netlink.add_rule(&rule(ipv6)))
}

fn create(netlink: &mut Netlink) -> Result<Tun, espalier_sys::Error> {
    let tun = Tun::create(INTERFACE)?;
    netlink.set_queue_length(tun.index(), WAITING_FRAMES)?;
    Ok(tun)
}

/// Puts up what outlives the agent: the guard, and routes that refuse what has no tunnel.
fn fence(
    netlink: &mut Netlink,
    plan: &NodePlan,
    addresses: &Addresses,
    controller: Option<SocketAddr>,
) -> Result<(), espalier_sys::Error> {
    let strict = plan.strict.iter().map(IpNet::trunc);
    let guarded: BTreeSet<IpNet> = strict.chain(reconcile::protected(plan)).collect();
    Guard::apply(&guard(plan, &guarded, addresses, controller))?;
    for destination in &guarded {
        let (destination, target) = (*destination, Target::Unreachable);
        netlink.replace_route(&Route {
            destination,
            table: TABLE,
            metric: LAST_METRIC,
            target,
            source: None,
            mtu: None,
        })?;
    }
    keep_outside(netlink, plan)?;
    let standing = netlink.routes(TABLE)?;
    for route in standing.iter().filter(|r| r.metric == LAST_METRIC && !guarded.contains(&r.destination)) {
        netlink.delete_route(route)?;
    }
    Ok(())
}

/// Keeps answers of SSH at the underlay addresses out of the tunnel: no policy locks an administrator out.
///
/// In transport mode the tunnel's own packets have addresses that are protected. What comes of them is asked for its way back where
/// a node checks sources (RFC 3704), and that is not the tunnel.
fn keep_outside(netlink: &mut Netlink, plan: &NodePlan) -> Result<(), espalier_sys::Error> {
    let rule = |address: &IpAddr, protocol| Rule {
        from: Some(IpNet::from(*address)),
        protocol: Some(protocol),
        ..Rule::new(address.is_ipv6(), OUTSIDE_PRIORITY, MAIN)
    };
    let mut wanted = Vec::new();
    for address in &plan.node.endpoints {
        wanted.push(Rule { source_ports: Some(SSH..=SSH), ..rule(address, TCP) });
        if reconcile::in_transport_mode(plan).any(|rule| rule.local.contains(&IpNet::from(*address))) {
            wanted.extend([ESP, AH].map(|protocol| rule(address, protocol)));
            wanted.extend(IKE.map(|port| Rule { destination_ports: Some(port..=port), ..rule(address, UDP) }));
        }
    }
    for rule in &wanted {
        netlink.add_rule(rule)?;
    }
    for rule in netlink.rules(MAIN)?.iter().filter(|rule| rule.priority == OUTSIDE_PRIORITY && !wanted.contains(rule)) {
        netlink.delete_rule(rule)?;
    }
    Ok(())
}

/// Takes everything down that [`Network::set_up`] has put up, the guard last.
///
/// # Errors
/// What the kernel refused.
pub fn leave() -> Result<(), espalier_sys::Error> {
    let mut netlink = Netlink::open()?;
    let outside = netlink.rules(MAIN)?.into_iter().filter(|rule| rule.priority == OUTSIDE_PRIORITY);
    for rule in netlink.rules(TABLE)?.into_iter().chain(outside) {
        netlink.delete_rule(&rule)?;
    }
    for route in netlink.routes(TABLE)? {
        netlink.delete_route(&route)?;
    }
    Guard::remove()
}

fn guard(
    plan: &NodePlan,
    guarded: &BTreeSet<IpNet>,
    addresses: &Addresses,
    controller: Option<SocketAddr>,
) -> GuardSpec {
    let ours = plan.node.addresses.iter().map(|a| IpNet::from(a.addr()));
    let served = addresses.served(plan).map(|net| net.trunc());
    // At the underlay address only: sessions to the mesh address belong into the tunnel.
    let ssh = plan.node.endpoints.iter().map(|address| Exemption {
        transport: Transport::Tcp,
        ports: SSH..=SSH,
        side: Side::Local,
        own: Some(*address),
        other: None,
    });
    let controller = controller.map(|address| Exemption {
        transport: Transport::Tcp,
        ports: address.port()..=address.port(),
        side: Side::Remote,
        own: None,
        other: Some(address.ip()),
    });
    GuardSpec {
        protected: guarded.iter().copied().collect(),
        local: ours.chain(served).collect::<BTreeSet<_>>().into_iter().collect(),
        tunnel_interface: INTERFACE.to_owned(),
        mark: MARK,
        exempt: controller.into_iter().chain(ssh).collect(),
    }
}
