//! Which forms of packets the data plane in user space carries, so that a plan that wants another one is refused whole.

use espalier_model::identity::Name;
use espalier_model::plan::{Action, NodePlan};
use espalier_model::profile::{Encap, Mode, Protection};
use thiserror::Error;

/// A rule whose packets cannot be carried.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("rule {rule}: profile {profile}: {field}: the data plane in user space carries {carries}")]
pub struct Uncarried {
    rule: Name,
    profile: Name,
    field: String,
    carries: &'static str,
}

/// Checks that every protect rule of a plan can be carried.
///
/// # Errors
/// The first rule that cannot, with the profile and the field that decide.
pub fn check(plan: &NodePlan) -> Result<(), Uncarried> {
    for rule in plan.rules.iter().filter(|rule| rule.action == Action::Protect) {
        let Some(profile) = plan.profile(&rule.profile) else { continue };
        let refused = |profile: &Name, field: String, carries| {
            Err(Uncarried { rule: rule.name.clone(), profile: profile.clone(), field, carries })
        };
        if profile.protection != Protection::Esp {
            return refused(&profile.name, format!("protection {}", profile.protection), "protection esp only");
        }
        if profile.mode != Mode::Tunnel {
            return refused(&profile.name, format!("mode {}", profile.mode), "mode tunnel only");
        }
        let peer = plan.peers.iter().find(|peer| rule.peer.as_ref() == Some(&peer.id));
        if let Some((peer, encap)) = peer.map(|peer| (peer, plan.encap(peer))).filter(|(_, e)| *e != Encap::Always) {
            return refused(
                &peer.profile,
                format!("encap {encap} towards {}", peer.id),
                "ESP in UDP only: encap always",
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: &str = "
node: { id: left.node.example, endpoints: [10.9.0.1] }
profiles:
  - { name: ah, protection: ah, confidentiality: none, esp: [null-sha256] }
  - { name: both, protection: ah+esp }
  - { name: transport, mode: transport }
  - { name: never, encap: never }
peers:
  - { id: right.node.example, endpoints: [10.9.0.2], initiate: true, encap: ENCAP, profile: PEER }
rules:
  - { name: ends, action: protect, peer: right.node.example, local: [10.9.0.1/32], remote: [10.9.0.2/32], profile: RULE }
";

    fn refusal(encap: &str, peer: &str, rule: &str) -> Option<String> {
        let text = PLAN.replace("ENCAP", encap).replace("PEER", peer).replace("RULE", rule);
        check(&NodePlan::parse(&text).unwrap()).err().map(|error| error.to_string())
    }

    #[test]
    fn a_form_that_is_not_carried_is_refused_with_rule_profile_and_field() {
        let carries = "the data plane in user space carries";
        let refused = |profile: &str, field: &str, only: &str| {
            Some(format!("rule ends: profile {profile}: {field}: {carries} {only}"))
        };
        assert_eq!(refusal("auto", "default", "ah"), refused("ah", "protection ah", "protection esp only"));
        assert_eq!(refusal("never", "default", "both"), refused("both", "protection ah+esp", "protection esp only"));
        assert_eq!(
            refusal("always", "default", "transport"),
            refused("transport", "mode transport", "mode tunnel only")
        );
        let udp = "ESP in UDP only: encap always";
        assert_eq!(
            refusal("auto", "default", "default"),
            refused("default", "encap auto towards right.node.example", udp)
        );
        assert_eq!(
            refusal("null", "never", "default"),
            refused("never", "encap never towards right.node.example", udp)
        );
        assert_eq!(refusal("always", "never", "integrity-only"), None);
        assert_eq!(refusal("null", "default", "compat"), None);
    }
}
