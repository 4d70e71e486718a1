//! The plan of one node: what it needs and no more. The controller computes it; a file may hold it as well.

mod addresses;
mod ppk;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::identity::{Identity, Name};
use crate::profile::{Encap, Profile, ProfileError};
use crate::revocation::Revocation;
use crate::selector::{PortRange, Protocol, TrafficSelector};

pub use addresses::{AddressFamily, AddressPool, VirtualAddresses};
pub use ppk::{PlannedPpk, PpkId, PpkIdError};

mod forms;

/// What one node has to do, whole. Lists are sets: order carries no meaning, rules are ordered by [`Rule::rank`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct NodePlan {
    /// The node itself.
    pub node: PlannedNode,
    /// Certificates that end a peer's chain, each as PEM text or, in a plan file, as a path.
    #[serde(default)]
    pub trust: Vec<String>,
    /// Prefixes that are dropped unless a rule protects or bypasses them.
    #[serde(default)]
    pub strict: Vec<IpNet>,
    /// Profiles that peers and rules name; those of [`BUILT_IN`](crate::profile::BUILT_IN) need not be written.
    #[serde(default)]
    pub profiles: Vec<Profile>,
    /// Everyone this node speaks IKE with.
    #[serde(default)]
    pub peers: Vec<PlannedPeer>,
    /// The security policy database.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// Serial numbers of revoked certificates, lower-case hexadecimal.
    #[serde(default)]
    pub revoked: Vec<String>,
    /// Plan file only: revocation lists of authorities.
    #[serde(default, skip_serializing_if = "Revocation::is_usual")]
    pub revocation: Revocation,
}

/// The node that a plan is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PlannedNode {
    /// Its IKE identity.
    pub id: Identity,
    /// Its underlay addresses.
    pub endpoints: Vec<IpAddr>,
    /// Its addresses inside the mesh, put on the agent's own interface.
    #[serde(default)]
    pub addresses: Vec<IpNet>,
    /// Plan file only: its certificate, then the issuing ones, as a path to PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// Plan file only: the path of its private key, PKCS#8 PEM, mode 0600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// Raised by a rotation of certificates: a node whose certificate was asked for under a lower number renews it.
    #[serde(default)]
    pub certificate_epoch: u64,
}

/// A peer that the node speaks IKE with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PlannedPeer {
    /// The identity that it must prove.
    pub id: Identity,
    /// Its underlay addresses, in order of preference.
    pub endpoints: Vec<IpAddr>,
    /// Whether this node starts. The other takes over after a timeout.
    pub initiate: bool,
    /// How both prove who they are.
    #[serde(default)]
    pub auth: PeerAuth,
    /// The profile of the IKE SA.
    #[serde(default = "default_profile")]
    pub profile: Name,
    /// Raised by a rotation of keys: SAs set up under a lower number are replaced.
    #[serde(default)]
    pub key_epoch: u64,
    /// Plan file only: the postquantum preshared key that is mixed into the keys of the IKE SA (RFC 8784).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ppk: Option<PlannedPpk>,
    /// Whether ESP travels in UDP, against the peer's profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encap: Option<Encap>,
    /// Addresses that one of both gives the other (RFC 7296 §2.19).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_addresses: Option<VirtualAddresses>,
}

/// How a pair proves identities to each other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum PeerAuth {
    /// By certificates that chain to the plan's trust (RFC 7427).
    #[default]
    Certificate,
    /// By a shared secret: the path of a file with it, mode 0600. A final newline does not count.
    PskFile(PathBuf),
}

/// What happens to traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It is dropped. Stands before `protect` where priorities tie.
    Drop,
    /// It goes through the SA of this rule, or nowhere.
    Protect,
    /// It passes in the clear.
    Bypass,
}

/// One entry of the security policy database, seen from the node: our side, their side, one kind of traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rule {
    /// Unique in the plan.
    pub name: Name,
    /// What happens.
    pub action: Action,
    /// The higher wins.
    #[serde(default)]
    pub priority: i32,
    /// Our side.
    pub local: Vec<IpNet>,
    /// Their side.
    pub remote: Vec<IpNet>,
    /// The protocol.
    #[serde(default = "any_protocol")]
    pub protocol: Protocol,
    /// Ports on our side. ICMP has type × 256 + code, the same on both sides (RFC 4301 §4.4.1.1).
    #[serde(default = "any_ports")]
    pub local_ports: PortRange,
    /// Ports on their side.
    #[serde(default = "any_ports")]
    pub remote_ports: PortRange,
    /// `protect` only: the peer at the other end of the tunnel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<Identity>,
    /// `protect` only: the profile of the child SA.
    #[serde(default = "default_profile")]
    pub profile: Name,
}

/// A plan that cannot be carried out. Each names the place.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlanError {
    /// The text is not a plan; line and column are in the message.
    #[error("{0}")]
    Syntax(String),
    /// A list that must not be empty is.
    #[error("{place}: {list} is empty; \"everything\" is written 0.0.0.0/0 or ::/0")]
    Empty {
        /// The element.
        place: String,
        /// Its list.
        list: &'static str,
    },
    /// The same name twice.
    #[error("{kind} {name} stands twice")]
    Duplicate {
        /// Peer, rule or profile.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A name that nothing has.
    #[error("{place}: there is no {kind} {name} in this plan")]
    Unknown {
        /// The element.
        place: String,
        /// Peer or profile.
        kind: &'static str,
        /// The missing name.
        name: String,
    },
    /// A protect rule without a peer, or another rule with one.
    #[error("rule {0}: {1}")]
    Rule(Name, &'static str),
    /// Addresses that cannot be given.
    #[error("peer {0}: virtual-addresses: {1}")]
    Addresses(Identity, &'static str),
    /// A profile that cannot work.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// A rule that cannot have the form of packets that its profile asks for.
    #[error("rule {rule}: profile {profile}: {field}: {why}")]
    Form {
        /// The rule.
        rule: Name,
        /// Its profile.
        profile: Name,
        /// The field of the profile.
        field: &'static str,
        /// Why, and the way out.
        why: String,
    },
    /// A certificate peer, but the node has no certificate or no trust.
    #[error("peer {0} proves itself by certificate: the plan needs node.certificate, node.key and trust")]
    NoCertificate(Identity),
}

impl NodePlan {
    /// Reads a plan from YAML or JSON and checks it.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn parse(text: &str) -> Result<Self, PlanError> {
        let plan: Self = serde_saphyr::from_str(text).map_err(|e| PlanError::Syntax(e.to_string()))?;
        plan.check()?;
        Ok(plan)
    }

    /// Makes the paths that a plan file names start at a folder: that of the file.
    #[must_use]
    pub fn within(mut self, folder: &Path) -> Self {
        let node = &mut self.node;
        let peers = self.peers.iter_mut().flat_map(|peer| {
            let psk = match &mut peer.auth {
                PeerAuth::PskFile(path) => Some(path),
                PeerAuth::Certificate => None,
            };
            psk.into_iter().chain(peer.ppk.as_mut().map(|ppk| &mut ppk.file))
        });
        for path in node.certificate.iter_mut().chain(&mut node.key).chain(peers) {
            *path = folder.join(&*path);
        }
        let texts = self.trust.iter_mut().chain(&mut self.revocation.crls);
        for path in texts.filter(|text| !text.trim_start().starts_with("-----BEGIN")) {
            *path = folder.join(&*path).display().to_string();
        }
        self
    }

    /// Checks what the field types cannot: names are unique and known, nothing needed is empty.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn check(&self) -> Result<(), PlanError> {
        unique("profile", self.profiles.iter().map(|p| p.name.to_string()))?;
        unique("peer", self.peers.iter().map(|p| p.id.to_string()))?;
        unique("rule", self.rules.iter().map(|r| r.name.to_string()))?;
        self.profiles.iter().try_for_each(Profile::check)?;
        if self.node.endpoints.is_empty() {
            return Err(PlanError::Empty { place: "node".to_owned(), list: "endpoints" });
        }
        self.peers.iter().try_for_each(|peer| self.known_profile(format!("peer {}", peer.id), &peer.profile))?;
        self.peers.iter().try_for_each(PlannedPeer::check)?;
        self.rules.iter().try_for_each(|rule| self.check_rule(rule))?;
        self.check_forms()
    }

    /// Returns the profile of this name: a written one, or one that is built in.
    #[must_use]
    pub fn profile(&self, name: &Name) -> Option<Profile> {
        let written = self.profiles.iter().find(|p| p.name == *name).cloned();
        written.or_else(|| Profile::built_in(name))
    }

    fn known_profile(&self, place: String, name: &Name) -> Result<(), PlanError> {
        match self.profile(name) {
            Some(_) => Ok(()),
            None => Err(PlanError::Unknown { place, kind: "profile", name: name.to_string() }),
        }
    }

    fn check_rule(&self, rule: &Rule) -> Result<(), PlanError> {
        let place = format!("rule {}", rule.name);
        for (list, empty) in [("local", rule.local.is_empty()), ("remote", rule.remote.is_empty())] {
            if empty {
                return Err(PlanError::Empty { place, list });
            }
        }
        let ports = rule.local_ports != PortRange::ANY || rule.remote_ports != PortRange::ANY;
        if ports && rule.protocol.is_icmp() {
            if rule.local_ports != rule.remote_ports {
                let why = "of icmp, local-ports and remote-ports are both type × 256 + code, so they must be the same";
                return Err(PlanError::Rule(rule.name.clone(), why));
            }
        } else if ports && !rule.protocol.has_ports() {
            return Err(PlanError::Rule(rule.name.clone(), "ports need a protocol that has them, such as tcp or udp"));
        }
        match (rule.action, &rule.peer) {
            (Action::Protect, None) => Err(PlanError::Rule(rule.name.clone(), "action protect needs a peer")),
            (Action::Protect, Some(id)) if self.peers.iter().all(|p| p.id != *id) => {
                Err(PlanError::Unknown { place, kind: "peer", name: id.to_string() })
            }
            (Action::Protect, Some(_)) => self.known_profile(place, &rule.profile),
            (Action::Drop | Action::Bypass, Some(_)) => {
                Err(PlanError::Rule(rule.name.clone(), "only action protect takes a peer"))
            }
            (Action::Drop | Action::Bypass, None) => Ok(()),
        }
    }
}

impl PlannedPeer {
    fn check(&self) -> Result<(), PlanError> {
        let fault = match &self.virtual_addresses {
            Some(VirtualAddresses::Request(_)) if !self.initiate => {
                Some("who asks for one starts: initiate must be true")
            }
            Some(VirtualAddresses::Pool(_)) if self.initiate => Some("who gives them waits: initiate must be false"),
            Some(addresses) => addresses.fault(),
            None => None,
        };
        fault.map_or(Ok(()), |fault| Err(PlanError::Addresses(self.id.clone(), fault)))
    }
}

impl Rule {
    /// Returns the place in the order of evaluation: the smallest is tried first.
    #[must_use]
    pub fn rank(&self) -> (std::cmp::Reverse<i32>, Action, &Name) {
        (std::cmp::Reverse(self.priority), self.action, &self.name)
    }

    /// Returns our side as IKE offers it.
    #[must_use]
    pub fn local_selectors(&self) -> Vec<TrafficSelector> {
        self.local.iter().map(|net| TrafficSelector::from_net(self.protocol, self.local_ports, *net)).collect()
    }

    /// Returns their side as IKE offers it.
    #[must_use]
    pub fn remote_selectors(&self) -> Vec<TrafficSelector> {
        self.remote.iter().map(|net| TrafficSelector::from_net(self.protocol, self.remote_ports, *net)).collect()
    }
}

/// Returns the name of the profile that is used where none is named: `default`.
///
/// # Panics
/// Never: the literal is a name.
#[must_use]
pub fn default_profile() -> Name {
    "default".parse().expect("a literal that is a name")
}

fn unique(kind: &'static str, names: impl Iterator<Item = String>) -> Result<(), PlanError> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name.clone()) {
            return Err(PlanError::Duplicate { kind, name });
        }
    }
    Ok(())
}

const fn any_protocol() -> Protocol {
    Protocol::Any
}

const fn any_ports() -> PortRange {
    PortRange::ANY
}

#[cfg(test)]
mod tests;
