//! Who shakes hands: one responder and many initiators, each with a key and a certificate of its own.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result};
use espalier_crypto::SigningKey;
use espalier_e2e::pki::Pki;
use espalier_ike::{Auth, CertificateIdentity, ChildConfig, Endpoint, EndpointConfig, LocalIdentity, PeerConfig};
use espalier_model::identity::Identity;
use espalier_model::plan::{Action, PeerAuth, PlannedPeer, Rule, default_profile};
use espalier_model::profile::{AdditionalKeyExchanges, Profile};
use espalier_model::selector::{PortRange, Protocol, TrafficSelector};
use ipnet::IpNet;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::initiator::Client;

/// One responder and its initiators.
pub(crate) struct Fleet {
    pki: Pki,
    root: Vec<u8>,
    responder: Member,
    initiators: Vec<Member>,
}

struct Member {
    id: Identity,
    number: u16,
    certificate: String,
    chain: Vec<Vec<u8>>,
    key: String,
}

impl Fleet {
    /// Makes a fleet of so many initiators.
    pub(crate) fn new(initiators: u16) -> Result<Self> {
        let pki = Pki::new()?;
        let member = |number: u16| {
            let name = format!("n{number}.node.mesh.example");
            let (certificate, key) = pki.leaf(&name)?;
            let chain = vec![der(&certificate)?, der(pki.issuing())?];
            Ok(Member { id: name.parse()?, number, certificate, chain, key })
        };
        let initiators = (1..=initiators).map(member).collect::<Result<_>>()?;
        Ok(Self { root: der(pki.root())?, responder: member(0)?, initiators, pki })
    }

    /// Returns the root's certificate, PEM.
    pub(crate) fn root(&self) -> &str {
        self.pki.root()
    }

    /// Returns the issuing authority's certificate, PEM.
    pub(crate) fn issuing(&self) -> &str {
        self.pki.issuing()
    }

    /// Returns the responder's identity.
    pub(crate) const fn responder_id(&self) -> &Identity {
        &self.responder.id
    }

    /// Returns the responder's certificate, PEM.
    pub(crate) fn responder_certificate(&self) -> &str {
        &self.responder.certificate
    }

    /// Returns the responder's private key, PEM.
    pub(crate) fn responder_key(&self) -> &str {
        &self.responder.key
    }

    /// Returns the address that the responder protects.
    pub(crate) fn responder_net(&self) -> Result<IpNet> {
        self.responder.net()
    }

    /// Returns the prefix of all addresses in the underlay.
    pub(crate) fn underlay() -> Result<IpNet> {
        Ok(IpNet::new(Ipv4Addr::new(10, 11, 0, 0).into(), 16)?)
    }

    /// Returns the addresses of the initiators.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.initiators.iter().map(Member::address)
    }

    /// Returns the peers and rules of the responder's plan.
    pub(crate) fn planned(&self) -> Result<(Vec<PlannedPeer>, Vec<Rule>)> {
        let both = |member: &Member| {
            let peer = PlannedPeer {
                id: member.id.clone(),
                endpoints: vec![member.address()],
                initiate: false,
                auth: PeerAuth::Certificate,
                profile: default_profile(),
                key_epoch: 0,
                ppk: None,
                encap: None,
                virtual_addresses: None,
            };
            Ok((peer, self.responder.rule(member)?))
        };
        self.initiators.iter().map(both).collect()
    }

    /// Makes the clients of a load.
    pub(crate) fn clients(&self) -> Result<Vec<Client>> {
        let client = |member: &Member| {
            Ok(Client {
                id: member.id.clone(),
                address: member.address(),
                chain: member.chain.clone(),
                key: SigningKey::from_pkcs8_pem(&member.key)?,
                local: selectors(member.net()?),
                remote: selectors(self.responder.net()?),
            })
        };
        self.initiators.iter().map(client).collect()
    }

    /// Makes the responder's endpoint and the peers that it knows.
    pub(crate) fn responder(&self) -> Result<(Endpoint, Vec<PeerConfig>)> {
        let peers = self.initiators.iter().map(|peer| self.responder.peer(peer, false));
        Ok((self.responder.endpoint(&self.root)?, peers.collect::<Result<_>>()?))
    }

    /// Makes the initiators' endpoints, each with the responder as its peer.
    pub(crate) fn initiators(&self) -> Result<Vec<(Endpoint, PeerConfig)>> {
        let both = |member: &Member| Ok((member.endpoint(&self.root)?, member.peer(&self.responder, true)?));
        self.initiators.iter().map(both).collect()
    }
}

impl Member {
    fn endpoint(&self, root: &[u8]) -> Result<Endpoint> {
        let key = SigningKey::from_pkcs8_pem(&self.key)?;
        let certificate = Some(CertificateIdentity { chain: self.chain.clone(), key });
        let identity = LocalIdentity { id: self.id.clone(), certificate };
        let config = EndpointConfig { identity, trust: vec![root.to_vec()], revoked: BTreeSet::new(), keylog: false };
        let mut seed = [0; 32];
        espalier_crypto::random(&mut seed);
        Ok(Endpoint::new(config, seed)?)
    }

    /// Returns how this member sees another.
    fn peer(&self, other: &Self, initiate: bool) -> Result<PeerConfig> {
        let profile = classic()?;
        let rule = self.rule(other)?;
        let (local, remote) = (rule.local_selectors(), rule.remote_selectors());
        let child = ChildConfig { rule: rule.name, local, remote, profile: profile.clone() };
        Ok(PeerConfig {
            id: other.id.clone(),
            endpoints: vec![(other.address(), 500).into()],
            local: vec![self.address()],
            initiate,
            auth: Auth::Certificate,
            profile,
            key_epoch: 0,
            ppk: None,
            virtual_addresses: None,
            children: vec![child],
        })
    }

    /// Returns the rule for the traffic between this member and another.
    fn rule(&self, other: &Self) -> Result<Rule> {
        Ok(Rule {
            name: format!("r{}", self.number.max(other.number)).parse()?,
            action: Action::Protect,
            priority: 0,
            local: vec![self.net()?],
            remote: vec![other.net()?],
            protocol: Protocol::Any,
            local_ports: PortRange::ANY,
            remote_ports: PortRange::ANY,
            peer: Some(other.id.clone()),
            profile: default_profile(),
        })
    }

    fn net(&self) -> Result<IpNet> {
        let [high, low] = self.number.to_be_bytes();
        Ok(IpNet::new(Ipv4Addr::new(10, 10, high, low).into(), 32)?)
    }

    fn address(&self) -> IpAddr {
        let [high, low] = self.number.to_be_bytes();
        Ipv4Addr::new(10, 11, high, low).into()
    }
}

/// Returns the profile of both ends: the key exchanges that charon has too, and no other.
pub(crate) fn classic() -> Result<Profile> {
    let additional_key_exchange = AdditionalKeyExchanges::NONE;
    Ok(Profile { additional_key_exchange, ..Profile::standard("default".parse()?) })
}

fn selectors(net: IpNet) -> Vec<TrafficSelector> {
    vec![TrafficSelector::from_net(Protocol::Any, PortRange::ANY, net)]
}

fn der(pem: &str) -> Result<Vec<u8>> {
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).ok().context("rcgen writes PEM")?;
    Ok(certificate.to_vec())
}
