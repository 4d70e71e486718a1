//! The leak guard: drops what should be protected and is not, whether or not an agent runs.
//!
//! It is one nftables table, `inet espalier`, which stays when the process dies. Each [`Guard::apply`] replaces all of its
//! rules in one transaction of the kernel: a packet sees the old rules of a chain or the new ones, never none.
//!
//! What leaves is judged last, after routing and address translation (`leaving`, at postrouting); what arrives is judged before
//! it is delivered (`arriving`, at input) or forwarded (`passing`).

mod attribute;
mod batch;
mod rules;

use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;

use self::batch::Batch;
use crate::error::Error;

/// What the guard has to know, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardSpec {
    /// Prefixes that may be reached, and may reach us, through the tunnel alone. None means that nothing is guarded.
    pub protected: Vec<IpNet>,
    /// Prefixes within the protected ones that live on this side, as the networks of local containers: not guarded.
    pub local: Vec<IpNet>,
    /// The tunnel's interface. It is known by name, so it may be absent.
    pub tunnel_interface: String,
    /// The mark of sockets whose packets may leave: the agent's own.
    pub mark: u32,
    /// Ports that stay open in the clear, beside IKE and ESP, which always do.
    pub exempt: Vec<Exemption>,
}

/// A service that stays reachable in the clear, in both directions of its flows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exemption {
    /// The protocol.
    pub transport: Transport,
    /// The service's ports.
    pub ports: RangeInclusive<u16>,
    /// Where the service runs.
    pub side: Side,
    /// The only address of this node that it is for; without one, any.
    pub own: Option<IpAddr>,
    /// The only address on the other side that it is for; without one, any.
    pub other: Option<IpAddr>,
}

/// A protocol with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// An end of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This node.
    Local,
    /// The other one.
    Remote,
}

/// The guard of the calling thread's network namespace.
#[derive(Debug)]
pub struct Guard;

impl Guard {
    /// Puts the guard up, or replaces it, in one step. It stands until [`Guard::remove`], whatever becomes of the process.
    ///
    /// # Errors
    /// No privilege, or a kernel without nftables. What stood before stands then.
    pub fn apply(spec: &GuardSpec) -> Result<(), Error> {
        let old = batch::set_names()?;
        let edition = rules::free_edition(&old);
        // The kernel may publish a set's elements only after it has switched the rules. So the new sets stand, unused, before
        // the one transaction that changes what happens to packets.
        let mut sets = Batch::new();
        sets.table();
        rules::write_sets(&mut sets, spec, edition);
        sets.commit("prepare the leak guard")?;
        let mut batch = Batch::new();
        rules::write_rules(&mut batch, spec, edition);
        old.iter().for_each(|name| batch.delete_set(name));
        batch.commit("put up the leak guard")
    }

    /// Tells whether there is a guard: others may have taken it down.
    ///
    /// # Errors
    /// No privilege, or a kernel without nftables.
    pub fn stands() -> Result<bool, Error> {
        batch::set_names().map(|names| !names.is_empty())
    }

    /// Takes the guard down: from here on nothing keeps protected traffic from leaving in the clear. Nothing happens without one.
    ///
    /// # Errors
    /// No privilege, or a kernel without nftables.
    pub fn remove() -> Result<(), Error> {
        let mut batch = Batch::new();
        batch.delete_table();
        batch.commit("take down the leak guard")
    }
}

#[cfg(test)]
mod tests;
