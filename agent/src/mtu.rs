//! How long packets may be that enter the tunnel: as long as the path to the peer of their rule carries whole, in whatever form.

use std::collections::BTreeMap;
use std::net::IpAddr;

use espalier_esp::longest_packet;
use espalier_model::identity::{Identity, Name};
use espalier_model::plan::{Action, NodePlan, Rule};
use espalier_model::profile::{Encap, Mode, Profile, Protection};
use espalier_model::sa::{Encapsulation, Form};
use espalier_model::suite::EspSuite;
use ipnet::IpNet;

/// MTUs of the paths to peers, as far as they are known.
pub(crate) type PathMtus = BTreeMap<Identity, u16>;

/// The MTU of an underlay of which nothing is known yet.
pub(crate) const USUAL: u16 = 1500;
/// An interface with less has no IPv6 (RFC 8200 §5). Where a path takes less, packets around it leave in fragments (RFC 2473 §7.2).
const LEAST_V6: u16 = 1280;
/// What each host takes (RFC 1122 §3.3.2).
const LEAST_V4: u16 = 576;

/// Returns the longest packets of each rule that protects, by its name: those that travel whole.
pub(crate) fn by_rule(plan: &NodePlan, paths: &PathMtus) -> BTreeMap<Name, u16> {
    protecting(plan, paths).map(|(rule, longest)| (rule.name.clone(), longest.max(LEAST_V4))).collect()
}

/// Returns each rule that protects with the longest packets that travel whole.
fn protecting<'p>(plan: &'p NodePlan, paths: &'p PathMtus) -> impl Iterator<Item = (&'p Rule, u16)> {
    let ipv4 = plan.node.endpoints.iter().all(IpAddr::is_ipv4);
    plan.rules.iter().filter(|rule| rule.action == Action::Protect).map(move |rule| {
        let path = rule.peer.as_ref().and_then(|peer| paths.get(peer)).copied().unwrap_or(USUAL);
        (rule, forms(plan, rule).map(|form| longest_packet(&form, path, ipv4)).min().unwrap_or(LEAST_V6))
    })
}

/// Returns the longest packets to what each rule protects, by prefix.
pub(crate) fn by_prefix(plan: &NodePlan, paths: &PathMtus) -> BTreeMap<IpNet, u16> {
    let mut longest: BTreeMap<IpNet, u16> = BTreeMap::new();
    for (rule, of_rule) in protecting(plan, paths) {
        for net in rule.remote.iter().map(IpNet::trunc) {
            let least = if net.addr().is_ipv4() { LEAST_V4 } else { LEAST_V6 };
            let entry = longest.entry(net).or_insert(u16::MAX);
            *entry = (*entry).min(of_rule).max(least);
        }
    }
    longest
}

/// Returns the MTU of the interface: routes tell where less fits.
pub(crate) fn of_interface(plan: &NodePlan, by_prefix: &BTreeMap<IpNet, u16>) -> u16 {
    let usual = Form {
        esp: Some(EspSuite::Aes256Gcm16),
        ah: None,
        esn: true,
        mode: Mode::Tunnel,
        encapsulation: Encapsulation::Udp,
    };
    let ipv4 = plan.node.endpoints.iter().all(IpAddr::is_ipv4);
    by_prefix.values().copied().max().unwrap_or_else(|| longest_packet(&usual, USUAL, ipv4)).max(LEAST_V6)
}

/// Returns the forms that a peer may choose for a rule.
fn forms(plan: &NodePlan, rule: &Rule) -> impl Iterator<Item = Form> {
    plan.profile(&rule.profile).into_iter().flat_map(|profile| forms_of(plan, rule, &profile))
}

fn forms_of(plan: &NodePlan, rule: &Rule, profile: &Profile) -> Vec<Form> {
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

    fn longest(esp: &str, fields: &str, path: u16) -> u16 {
        let plan = NodePlan::parse(&PLAN.replace("ESP", esp).replace("FIELDS", fields)).unwrap();
        let paths = PathMtus::from([("right.node.example".parse().unwrap(), path)]);
        let by_prefix = by_prefix(&plan, &paths);
        by_prefix[&"10.9.0.2/32".parse().unwrap()]
    }

    #[test]
    fn the_form_with_the_most_around_a_packet_counts() {
        let gcm = |fields| longest("aes256gcm16", fields, USUAL);
        assert_eq!(gcm(""), 1438, "IP, UDP, ESP");
        assert_eq!(gcm(", encap: never"), 1446, "IP, ESP");
        assert_eq!(gcm(", encap: auto"), 1438, "there may be a NAT");
        assert_eq!(gcm(", encap: never, mode: transport"), 1466, "no second header");
        let ah = ", encap: never, protection: ah, confidentiality: none";
        assert_eq!(longest("null-sha256", ah, USUAL), 1436, "AH with the longest ICV");
    }

    #[test]
    fn the_path_to_the_peer_counts_and_the_widest_is_the_interface() {
        assert_eq!(longest("aes256gcm16", "", 1_450), 1_386);
        assert_eq!(longest("aes256gcm16", "", 9_000), 8_938);
        assert_eq!(longest("aes256gcm16", "", 1_280), 1_218);
        assert_eq!(longest("aes256gcm16", "", 560), 576, "what is sent in fragments");
        let plan = NodePlan::parse(&PLAN.replace("ESP", "aes256gcm16").replace("FIELDS", "")).unwrap();
        let of_rules: Vec<_> = by_rule(&plan, &PathMtus::new()).into_iter().collect();
        assert_eq!(of_rules, [("net".parse().unwrap(), 1_438)]);
        let plan = NodePlan::parse(&PLAN.replace("ESP", "aes256gcm16").replace("FIELDS", "")).unwrap();
        let nets = ["10.0.0.0/8", "10.9.0.2/32"].map(|net| net.parse().unwrap());
        assert_eq!(of_interface(&plan, &nets.into_iter().zip([1_200, 8_938]).collect()), 8_938);
        assert_eq!(of_interface(&plan, &BTreeMap::from([(nets[0], 1_200)])), LEAST_V6);
        assert_eq!(of_interface(&plan, &BTreeMap::new()), 1_438);
    }
}
