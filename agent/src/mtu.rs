//! How long packets may be that enter the tunnel.

use std::net::IpAddr;

use espalier_esp::longest_packet;
use espalier_model::plan::{Action, NodePlan, Rule};
use espalier_model::profile::{Encap, Mode, Protection};
use espalier_model::sa::{Encapsulation, Form};
use espalier_model::suite::EspSuite;

/// The smallest underlay in common use; every path carries it or fragments IKE.
const UNDERLAY: u16 = 1500;

/// Returns the longest packet that fits into the underlay in each form that a peer may choose for a rule.
#[must_use]
pub(crate) fn longest_inner(plan: &NodePlan) -> u16 {
    let ipv4 = plan.node.endpoints.iter().all(IpAddr::is_ipv4);
    let protect = plan.rules.iter().filter(|rule| rule.action == Action::Protect);
    let longest = protect.flat_map(|rule| forms(plan, rule)).map(|form| longest_packet(&form, UNDERLAY, ipv4)).min();
    let usual = Form {
        esp: Some(EspSuite::Aes256Gcm16),
        ah: None,
        esn: true,
        mode: Mode::Tunnel,
        encapsulation: Encapsulation::Udp,
    };
    longest.unwrap_or_else(|| longest_packet(&usual, UNDERLAY, ipv4))
}

fn forms(plan: &NodePlan, rule: &Rule) -> Vec<Form> {
    let Some(profile) = plan.profile(&rule.profile) else { return Vec::new() };
    let peer = plan.peers.iter().find(|peer| rule.peer.as_ref() == Some(&peer.id));
    let encapsulation = match peer.map_or(Encap::Always, |peer| plan.encap(peer)) {
        // AH never travels in UDP.
        _ if profile.protection != Protection::Esp => Encapsulation::Ip,
        Encap::Always | Encap::Auto => Encapsulation::Udp,
        Encap::Never => Encapsulation::Ip,
    };
    let esp = || profile.esp.iter().copied().map(Some);
    let ah = || profile.ah.iter().copied().map(Some);
    let suites: Vec<_> = match profile.protection {
        Protection::Esp => esp().map(|esp| (esp, None)).collect(),
        Protection::Ah => ah().map(|ah| (None, ah)).collect(),
        Protection::AhEsp => esp().flat_map(|esp| ah().map(move |ah| (esp, ah))).collect(),
    };
    let form = |(esp, ah)| Form { esp, ah, esn: true, mode: profile.mode, encapsulation };
    suites.into_iter().map(form).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: &str = "
node: { id: left.node.example, endpoints: [10.9.0.1] }
profiles:
  - { name: net, esp: [ESP] FIELDS }
peers:
  - { id: right.node.example, endpoints: [10.9.0.2], initiate: true, profile: net }
rules:
  - { name: net, action: protect, peer: right.node.example, local: [10.9.0.1/32], remote: [10.9.0.2/32], profile: net }
";

    fn longest(esp: &str, fields: &str) -> u16 {
        longest_inner(&NodePlan::parse(&PLAN.replace("ESP", esp).replace("FIELDS", fields)).unwrap())
    }

    #[test]
    fn the_form_with_the_most_around_a_packet_counts() {
        assert_eq!(longest("aes256gcm16", ""), 1438, "IP, UDP, ESP");
        assert_eq!(longest("aes256gcm16", ", encap: never"), 1446, "IP, ESP");
        assert_eq!(longest("aes256gcm16", ", encap: auto"), 1438, "there may be a NAT");
        assert_eq!(longest("aes256gcm16", ", encap: never, mode: transport"), 1466, "no second header");
        let ah = ", encap: never, protection: ah, confidentiality: none";
        assert_eq!(longest("null-sha256", ah), 1436, "AH with the longest ICV");
    }
}
