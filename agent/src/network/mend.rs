//! What somebody else has taken away of the network around the tunnel, put back: until then its packets are refused, or dropped by the
//! guard.

use std::collections::BTreeSet;

use espalier_model::plan::NodePlan;
use espalier_sys::guard::Guard;
use espalier_sys::netlink::{Netlink, Route, Target};
use espalier_sys::tun::Tun;

use super::{INTERFACE, Network, TABLE, TUNNEL_METRIC, create, fence, send_to_table};

/// What was put back.
pub(crate) enum Mended {
    /// Nothing was missing.
    Whole,
    /// The guard.
    Guard,
    /// The interface was down, or without some of its addresses or routes.
    Pieces,
    /// The interface itself, as a new one.
    Interface(Tun),
}

impl Network {
    /// Puts back what is missing.
    ///
    /// # Errors
    /// What the kernel refused; what was done before stays.
    pub(crate) fn mend(&mut self, plan: &NodePlan) -> Result<Mended, espalier_sys::Error> {
        let mut netlink = Netlink::open()?;
        if !Guard::stands()? {
            fence(&mut netlink, plan, &self.virtual_addresses, self.controller)?;
            return Ok(Mended::Guard);
        }
        send_to_table(&mut netlink)?;
        if netlink.link_index(INTERFACE).ok() != Some(self.index) {
            let tun = create(&mut netlink)?;
            self.index = tun.index();
            self.forget();
            self.furnish(&mut netlink, plan)?;
            return Ok(Mended::Interface(tun));
        }
        if netlink.link(INTERFACE)?.up && self.has_addresses(&mut netlink)? && self.has_routes(&mut netlink)? {
            return Ok(Mended::Whole);
        }
        self.forget();
        self.furnish(&mut netlink, plan)?;
        Ok(Mended::Pieces)
    }

    /// Takes nothing for granted that the interface has.
    fn forget(&mut self) {
        self.addresses.clear();
        self.protected.clear();
        self.mtu = 0;
    }

    fn has_addresses(&self, netlink: &mut Netlink) -> Result<bool, espalier_sys::Error> {
        let standing = netlink.addresses(self.index)?;
        Ok(self.addresses.iter().all(|address| standing.contains(address)))
    }

    fn has_routes(&self, netlink: &mut Netlink) -> Result<bool, espalier_sys::Error> {
        let leads_here = |route: &Route| route.metric == TUNNEL_METRIC && route.target == Target::Interface(self.index);
        let routes = netlink.routes(TABLE)?.into_iter().filter(leads_here);
        let standing: BTreeSet<_> = routes.map(|route| route.destination).collect();
        Ok(self.protected.keys().all(|destination| standing.contains(destination)))
    }
}
