//! A pair of SAs, how it comes about, and what both ends are told of it.

use std::fmt;
use std::net::IpAddr;

use espalier_e2e::lab::Host;
use espalier_e2e::strongswan::{hmac_names, names};
use espalier_esp::longest_packet;
use espalier_model::profile::Mode;
use espalier_model::sa::{Encapsulation, Form};
use espalier_model::suite::{AhSuite, EspSuite};

/// Who starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Agent,
    Gateway,
}

/// What the agent is told of the encapsulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encap {
    Always,
    Auto,
    Never,
}

/// A pair of SAs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) form: Form,
    /// Whether the underlay is IPv4.
    pub(crate) ipv4: bool,
    pub(crate) by: By,
    encap: Encap,
    /// Further fields of the agent's profile.
    profile: &'static str,
}

const UNDERLAY_MTU: u16 = 1500;
/// The key of every pair.
pub(crate) const KEY: &str = "only for tests";

impl Case {
    /// ESP in tunnel mode inside UDP, over IPv4, with short sequence numbers, started by the agent.
    pub(crate) const fn esp(suite: EspSuite) -> Self {
        let encapsulation = Encapsulation::Udp;
        let form = Form { esp: Some(suite), ah: None, esn: false, mode: Mode::Tunnel, encapsulation };
        Self { form, ipv4: true, by: By::Agent, encap: Encap::Always, profile: "" }
    }

    /// AH in tunnel mode, otherwise the same.
    pub(crate) const fn ah(suite: AhSuite) -> Self {
        let form = Form { esp: None, ah: Some(suite), ..Self::esp(EspSuite::Aes256Gcm16).form };
        Self { form, ..Self::esp(EspSuite::Aes256Gcm16) }.bare(Encap::Never)
    }

    /// As an IP protocol.
    pub(crate) const fn bare(self, encap: Encap) -> Self {
        let form = Form { encapsulation: Encapsulation::Ip, ..self.form };
        Self { form, encap, ..self }
    }

    pub(crate) const fn transport(self) -> Self {
        Self { form: Form { mode: Mode::Transport, ..self.form }, ..self }
    }

    /// One of the eight ways in which the same form comes about.
    pub(crate) const fn way(self, n: usize) -> Self {
        let form = Form { esn: n & 1 != 0, ..self.form };
        let by = if n & 4 != 0 { By::Gateway } else { By::Agent };
        Self { form, ipv4: n & 2 == 0, by, ..self }
    }

    /// Gives the agent's profile further fields.
    pub(crate) const fn profile(self, profile: &'static str) -> Self {
        Self { profile, ..self }
    }

    pub(crate) fn encrypts(&self) -> bool {
        self.form.esp.is_some_and(EspSuite::encrypts)
    }

    /// Returns the length of the longest packet that a plan lets through; with `auto` it leaves room for UDP.
    pub(crate) fn longest_packet(&self) -> u16 {
        let encapsulation = if self.encap == Encap::Auto { Encapsulation::Udp } else { self.form.encapsulation };
        longest_packet(&Form { encapsulation, ..self.form }, UNDERLAY_MTU, self.ipv4)
    }

    /// Returns what is protected at a host: its own addresses, or in transport mode its end of the path.
    pub(crate) fn ends(&self, host: &Host) -> Vec<IpAddr> {
        match self.form.mode {
            Mode::Tunnel => vec![host.inner(true), host.inner(false)],
            Mode::Transport => vec![host.outer(self.ipv4)],
        }
    }

    /// Returns the agent's plan.
    pub(crate) fn plan(&self, node: &Host, gateway: &Host) -> String {
        let Form { esp, ah, esn, mode, .. } = self.form;
        let (protection, suites) = match (esp, ah) {
            (Some(esp), None) => ("esp", format!("esp: [{esp}]")),
            (None, Some(ah)) => ("ah", format!("ah: [{ah}], esp: [null-sha256]")),
            _ => panic!("charon has ESP or AH"),
        };
        let confidentiality = if self.encrypts() { "required" } else { "none" };
        let (esn, encap) = (if esn { "required" } else { "off" }, format!("{:?}", self.encap).to_lowercase());
        let mut profile =
            format!("{suites}, protection: {protection}, confidentiality: {confidentiality}, mode: {mode}");
        profile += &format!(", esn: {esn}, encap: {encap}, additional-key-exchange: [none]{}", self.profile);
        let nets = |host| self.nets(host).map(|net| format!("\"{net}\"")).collect::<Vec<_>>().join(", ");
        let inner = format!("{}/32, \"{}/128\"", node.inner(true), node.inner(false));
        format!(
            "node: {{ id: {}, endpoints: [\"{}\"], addresses: [{inner}] }}\n\
             strict: [10.10.0.0/16, \"fd00:10::/32\"]\n\
             peers:\n  - {{ id: gateway.example, endpoints: [\"{}\"], initiate: {}, auth: {{ psk-file: gateway.psk }} }}\n\
             profiles:\n  - {{ name: default, {profile} }}\n\
             rules:\n  - {{ name: gateway, action: protect, peer: gateway.example, local: [{}], remote: [{}] }}\n",
            id(node),
            node.outer(self.ipv4),
            gateway.outer(self.ipv4),
            self.by == By::Agent,
            nets(node),
            nets(gateway)
        )
    }

    /// Returns charon's connection of this name, whose child has the same.
    pub(crate) fn connection(&self, name: &str, node: &Host, gateway: &Host) -> String {
        let Form { esp, ah, esn, mode, encapsulation } = self.form;
        let end = if esn { "x25519-esn" } else { "x25519" };
        let proposal = match (esp, ah) {
            (Some(esp), None) => format!("esp_proposals = {}-{end}", names(esp.cipher()).0),
            (None, Some(ah)) => format!("ah_proposals = {}-{end}", hmac_names(ah.hmac()).0),
            _ => panic!("charon has ESP or AH"),
        };
        let encap = if encapsulation == Encapsulation::Udp { "yes" } else { "no" };
        let nets = |host| self.nets(host).collect::<Vec<_>>().join(", ");
        format!(
            "  {name} {{\n    version = 2\n    local_addrs = {}\n    remote_addrs = {}\n    \
             proposals = aes256gcm16-prfsha384-x25519\n    encap = {encap}\n    \
             local {{\n      auth = psk\n      id = gateway.example\n    }}\n    \
             remote {{\n      auth = psk\n      id = {}\n    }}\n    \
             children {{\n      {name} {{\n        mode = {mode}\n        {proposal}\n        local_ts = {}\n        \
             remote_ts = {}\n      }}\n    }}\n  }}\n",
            gateway.outer(self.ipv4),
            node.outer(self.ipv4),
            id(node),
            nets(gateway),
            nets(node)
        )
    }

    fn nets(&self, host: &Host) -> impl Iterator<Item = String> {
        self.ends(host).into_iter().map(|end| format!("{end}/{}", if end.is_ipv4() { 32 } else { 128 }))
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (version, by) = (if self.ipv4 { 4 } else { 6 }, if self.by == By::Agent { "agent" } else { "gateway" });
        let auto = if self.encap == Encap::Auto { ", encap auto" } else { "" };
        write!(f, "{} over IPv{version}, started by the {by}{auto}", self.form)
    }
}

/// A node of its own, since charon takes a second SA of the same one for a restart.
fn id(node: &Host) -> String {
    format!("node{}.example", node.number)
}
