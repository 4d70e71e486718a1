//! Which forms of packets a plan may ask for, and which rules ask for their SAs on demand. What a data plane can carry besides is its
//! own affair.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::{Action, NodePlan, PlanError, PlannedPeer, Rule};
use crate::identity::Name;
use crate::profile::{Activation, Encap, Mode, Profile, Protection};

impl NodePlan {
    /// Returns whether ESP travels in UDP to a peer: what the peer's entry says, or its profile.
    #[must_use]
    pub fn encap(&self, peer: &PlannedPeer) -> Encap {
        let profile = || self.profile(&peer.profile).map(|profile| profile.encap);
        peer.encap.or_else(profile).unwrap_or_default()
    }

    /// Returns the names of the rules whose child SAs are made on demand.
    #[must_use]
    pub fn on_demand(&self) -> BTreeSet<Name> {
        let profiles = self.profiles.iter().filter(|profile| profile.activation == Activation::OnDemand);
        let profiles: BTreeSet<_> = profiles.map(|profile| &profile.name).collect();
        let protect = self.rules.iter().filter(|rule| rule.action == Action::Protect);
        protect.filter(|rule| profiles.contains(&rule.profile)).map(|rule| rule.name.clone()).collect()
    }

    /// Checks that each protect rule can have the form that its profile asks for. Peers and profiles are known to exist.
    pub(super) fn check_forms(&self) -> Result<(), PlanError> {
        for rule in self.rules.iter().filter(|rule| rule.action == Action::Protect) {
            let peer = self.peers.iter().find(|peer| rule.peer.as_ref() == Some(&peer.id));
            if let (Some(peer), Some(profile)) = (peer, self.profile(&rule.profile)) {
                self.check_form(rule, peer, &profile)?;
            }
        }
        Ok(())
    }

    fn check_form(&self, rule: &Rule, peer: &PlannedPeer, profile: &Profile) -> Result<(), PlanError> {
        let wrong = |field: &'static str, why: String| {
            Err(PlanError::Form { rule: rule.name.clone(), profile: profile.name.clone(), field, why })
        };
        //= RFC 3948 §1: UDP encapsulation is for ESP; an address that a NAT rewrites breaks AH
        if profile.protection != Protection::Esp && self.encap(peer) == Encap::Always {
            let why = format!("AH does not travel in UDP: set encap auto or never for peer {}", peer.id);
            return wrong("protection", why);
        }
        if profile.mode == Mode::Tunnel {
            return Ok(());
        }
        //= RFC 7296 §2.23.1: in transport mode each side of the traffic is exactly one address, that of its end
        let host = |nets: &[IpNet]| match nets {
            [net] if net.prefix_len() == net.max_prefix_len() => Some(net.addr()),
            _ => None,
        };
        match (host(&rule.local), host(&rule.remote)) {
            (Some(local), Some(remote)) if self.node.endpoints.contains(&local) && peer.endpoints.contains(&remote) => {
                Ok(())
            }
            _ => wrong("mode", "transport mode is between one endpoint of the node and one of the peer".to_owned()),
        }
    }
}
