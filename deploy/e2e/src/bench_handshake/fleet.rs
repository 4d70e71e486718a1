//! Who shakes hands: one responder and many initiators, each with a key and a certificate of its own.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result};
use espalier_crypto::SigningKey;
use espalier_e2e::pki::Pki;
use espalier_ike::{Auth, CertificateIdentity, ChildConfig, Endpoint, EndpointConfig, LocalIdentity, PeerConfig};
use espalier_model::identity::Identity;
use espalier_model::profile::Profile;
use espalier_model::selector::{PortRange, Protocol, TrafficSelector};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// One responder and its initiators.
pub(crate) struct Fleet {
    root: Vec<u8>,
    responder: Member,
    initiators: Vec<Member>,
}

struct Member {
    id: Identity,
    number: u16,
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
            Ok(Member { id: name.parse()?, number, chain: vec![der(&certificate)?, der(pki.issuing())?], key })
        };
        let initiators = (1..=initiators).map(member).collect::<Result<_>>()?;
        Ok(Self { root: der(pki.root())?, responder: member(0)?, initiators })
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
        let profile = Profile::standard("default".parse()?);
        let net = |member: &Self| {
            let [high, low] = member.number.to_be_bytes();
            let net = format!("10.10.{high}.{low}/32").parse()?;
            Ok::<_, anyhow::Error>(vec![TrafficSelector::from_net(Protocol::Any, PortRange::ANY, net)])
        };
        let rule = format!("r{}", self.number.max(other.number)).parse()?;
        let child = ChildConfig { rule, local: net(self)?, remote: net(other)?, profile: profile.clone() };
        Ok(PeerConfig {
            id: other.id.clone(),
            endpoints: vec![(other.address(), 500).into()],
            local: vec![self.address()],
            initiate,
            auth: Auth::Certificate,
            profile,
            key_epoch: 0,
            children: vec![child],
        })
    }

    fn address(&self) -> IpAddr {
        let [high, low] = self.number.to_be_bytes();
        Ipv4Addr::new(10, 9, high, low).into()
    }
}

fn der(pem: &str) -> Result<Vec<u8>> {
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).ok().context("rcgen writes PEM")?;
    Ok(certificate.to_vec())
}
