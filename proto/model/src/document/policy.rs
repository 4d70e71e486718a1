//! A policy: what happens to traffic from one set of nodes to another.

use serde::{Deserialize, Serialize};

use super::{Fault, Kind, Spec};
use crate::identity::Name;
use crate::plan::{Action, default_profile};
use crate::selector::{PortRange, Protocol};

pub use selection::{Expression, LabelSelector, Operator, Selection, SelectionError};
pub use traffic::{Traffic, TrafficItem};

mod selection;
mod traffic;

/// The body of a `Policy`. `from` opens the conversation: `ports` are those of `to`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PolicySpec {
    /// The nodes that open the conversation.
    pub from: Selection,
    /// The nodes that they talk to.
    pub to: Selection,
    /// The kinds of traffic.
    pub traffic: Traffic,
    /// What happens to it.
    pub action: Action,
    /// The profile that protects it; default `default`.
    #[serde(default = "default_profile")]
    pub profile: Name,
    /// The higher wins; default 0. At equal priority, drop stands before protect, protect before bypass.
    #[serde(default)]
    pub priority: i32,
    /// What must hold while this policy stands, at most 256.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<PolicyTest>,
}

/// A statement about one kind of traffic between two nodes that a change must not break.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PolicyTest {
    /// The node that opens the conversation.
    pub from: Name,
    /// The node that it talks to.
    pub to: Name,
    /// One protocol.
    pub protocol: Protocol,
    /// The port of `to`, for a protocol that has ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// What must happen.
    pub expect: Action,
}

impl Spec for PolicySpec {
    const KIND: Kind = Kind::Policy;

    fn check(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (at, item) in self.traffic.items().iter().enumerate() {
            if item.ports != PortRange::ANY && !item.protocol.has_ports() {
                faults.push(no_ports(format!("/traffic/{at}/ports"), item.protocol));
            }
            if !item.types.is_any() && !item.protocol.is_icmp() {
                let message =
                    format!("protocol {} has no types: leave them out, or name icmp or icmpv6", item.protocol);
                faults.push(Fault::new(format!("/traffic/{at}/types"), message));
            }
        }
        if self.tests.len() > MAX_TESTS {
            let message = format!("{} are too many: at most {MAX_TESTS} are allowed", self.tests.len());
            faults.push(Fault::new("/tests", message));
        }
        for (at, test) in self.tests.iter().enumerate() {
            match (test.protocol == Protocol::Any, test.protocol.has_ports(), test.port) {
                (true, _, _) => faults.push(Fault::new(format!("/tests/{at}/protocol"), "name one protocol, not any")),
                (_, true, None) => {
                    let message = format!("protocol {} has ports: name one", test.protocol);
                    faults.push(Fault::new(format!("/tests/{at}/port"), message));
                }
                (_, false, Some(_)) => faults.push(no_ports(format!("/tests/{at}/port"), test.protocol)),
                (_, true, Some(_)) | (_, false, None) => {}
            }
        }
        faults
    }
}

fn no_ports(pointer: String, protocol: Protocol) -> Fault {
    Fault::new(pointer, format!("protocol {protocol} has no ports: leave them out, or name tcp, udp or sctp"))
}

const MAX_TESTS: usize = 256;
