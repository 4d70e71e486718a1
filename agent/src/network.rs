//! The node's network around the tunnel: interface, addresses, routes, rules, leak guard.
//!
//! The order fails closed: the guard stands before the first route, and the guard and the unreachable routes outlive the agent.

use std::collections::BTreeSet;
use std::net::IpAddr;

use espalier_esp::inner_mtu;
use espalier_model::plan::NodePlan;
use espalier_sys::guard::{Exemption, Guard, GuardSpec, Side, Transport};
use espalier_sys::netlink::{Netlink, Route, Rule, Target};
use espalier_sys::tun::Tun;
use ipnet::IpNet;

use crate::reconcile;

/// The agent's interface.
pub const INTERFACE: &str = "espalier0";
/// The mark of the agent's own sockets: their packets are the tunnel's outside.
pub const MARK: u32 = 0x4553_5000;
const TABLE: u32 = 4500;
const PRIORITY: u32 = 100;
/// Behind the tunnel's own routes: what has no tunnel is refused, not sent in the clear.
const LAST_METRIC: u32 = 4_000_000;
const TUNNEL_METRIC: u32 = 100;
const SSH: u16 = 22;
/// The smallest underlay in common use; every path carries it or fragments IKE.
const UNDERLAY_MTU: u16 = 1500;

/// Puts up guard, interface, routes and rules. Doing it twice changes nothing.
///
/// # Errors
/// What the kernel refused, with its remedy.
pub fn set_up(plan: &NodePlan) -> Result<Tun, espalier_sys::Error> {
    let protected = reconcile::protected(plan);
    let guarded: BTreeSet<IpNet> = plan.strict.iter().map(IpNet::trunc).chain(protected.iter().copied()).collect();
    Guard::apply(&guard(plan, &guarded))?;
    let mut netlink = Netlink::open()?;
    for destination in &guarded {
        let target = Target::Unreachable;
        netlink.replace_route(&Route {
            destination: *destination,
            table: TABLE,
            metric: LAST_METRIC,
            target,
            source: None,
        })?;
    }
    for ipv6 in [false, true] {
        netlink.add_rule(&Rule::unless_marked(ipv6, PRIORITY, TABLE, MARK))?;
    }
    let tun = Tun::create(INTERFACE)?;
    for address in &plan.node.addresses {
        netlink.add_address(tun.index(), *address)?;
    }
    let ipv4 = plan.node.endpoints.iter().all(IpAddr::is_ipv4);
    netlink.set_mtu(tun.index(), u32::from(inner_mtu(UNDERLAY_MTU, ipv4)))?;
    netlink.set_up(tun.index())?;
    for destination in &protected {
        let source = plan.node.addresses.iter().map(IpNet::addr).find(|a| a.is_ipv4() == destination.addr().is_ipv4());
        let target = Target::Interface(tun.index());
        netlink.replace_route(&Route {
            destination: *destination,
            table: TABLE,
            metric: TUNNEL_METRIC,
            target,
            source,
        })?;
    }
    Ok(tun)
}

/// Takes everything down that [`set_up`] has put up, the guard last.
///
/// # Errors
/// What the kernel refused.
pub fn leave() -> Result<(), espalier_sys::Error> {
    let mut netlink = Netlink::open()?;
    for rule in netlink.rules(TABLE)? {
        netlink.delete_rule(&rule)?;
    }
    for route in netlink.routes(TABLE)? {
        netlink.delete_route(&route)?;
    }
    Guard::remove()
}

fn guard(plan: &NodePlan, guarded: &BTreeSet<IpNet>) -> GuardSpec {
    let ours = plan.node.addresses.iter().map(|a| IpNet::from(a.addr()));
    let served = plan.rules.iter().flat_map(|rule| rule.local.iter().map(IpNet::trunc));
    let ssh = |side| Exemption { transport: Transport::Tcp, ports: SSH..=SSH, side };
    GuardSpec {
        protected: guarded.iter().copied().collect(),
        local: ours.chain(served).collect::<BTreeSet<_>>().into_iter().collect(),
        tunnel_interface: INTERFACE.to_owned(),
        mark: MARK,
        exempt: vec![ssh(Side::Local)],
    }
}
