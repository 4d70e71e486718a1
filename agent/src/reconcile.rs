//! From the plan to what each part has to hold. Pure but for the secrets' files.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use espalier_ike::certificate::RevocationLists;
use espalier_ike::{Auth, CertificateIdentity, ChildConfig, EndpointConfig, LocalIdentity, PeerConfig, Ppk};
use espalier_model::plan::{Action, NodePlan, PeerAuth, PlanError, PlannedPeer, PlannedPpk, Rule, VirtualAddresses};
use espalier_model::profile::Mode;
use espalier_model::revocation::Revocation;
use ipnet::IpNet;
use thiserror::Error;

use crate::identity::{self, IdentityError};

/// A plan that cannot be carried out.
#[derive(Debug, Error)]
pub enum ReconcileError {
    /// It contradicts itself.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A file that it names cannot serve.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// Builds the endpoint's configuration.
///
/// # Errors
/// A file that cannot serve, or a certificate peer where the node has none.
pub fn endpoint(
    plan: &NodePlan,
    certificate: Option<CertificateIdentity>,
    keylog: bool,
) -> Result<EndpointConfig, ReconcileError> {
    let trust = trust(plan)?;
    let by_certificate = plan.peers.iter().find(|p| p.auth == PeerAuth::Certificate);
    if let Some(peer) = by_certificate.filter(|_| certificate.is_none() || trust.is_empty()) {
        return Err(PlanError::NoCertificate(peer.id.clone()).into());
    }
    let identity = LocalIdentity { id: plan.node.id.clone(), certificate };
    Ok(EndpointConfig { identity, trust, revoked: plan.revoked.iter().cloned().collect(), keylog })
}

/// Reads the certificates that end a peer's chain.
///
/// # Errors
/// A text or file that is none.
pub fn trust(plan: &NodePlan) -> Result<Vec<Vec<u8>>, ReconcileError> {
    Ok(plan.trust.iter().map(|t| identity::trust(t)).collect::<Result<Vec<_>, _>>()?.concat())
}

/// Reads the revocation lists that a plan file names.
///
/// # Errors
/// A text or file that is none.
pub fn revocation_lists(plan: &NodePlan) -> Result<RevocationLists, ReconcileError> {
    let Revocation { crls, expired, missing } = &plan.revocation;
    let ders = crls.iter().map(|text| identity::revocation_lists(text)).collect::<Result<Vec<_>, _>>()?.concat();
    Ok(RevocationLists { ders, expired: *expired, missing: *missing })
}

/// Reads the certificate that a plan file names, if it names one.
///
/// # Errors
/// A file that cannot serve.
pub fn certificate(plan: &NodePlan) -> Result<Option<CertificateIdentity>, ReconcileError> {
    match (&plan.node.certificate, &plan.node.key) {
        (Some(chain), Some(key)) => Ok(Some(identity::certificate(chain, key)?)),
        _ => Ok(None),
    }
}

/// Builds the peers with the child SAs that the rules demand.
///
/// # Errors
/// A shared secret that cannot be read, or a profile that is not there.
pub fn peers(plan: &NodePlan) -> Result<Vec<PeerConfig>, ReconcileError> {
    plan.peers.iter().map(|peer| peer_config(plan, peer)).collect()
}

/// Returns the prefixes that lie behind tunnels: they are routed to the agent.
#[must_use]
pub fn protected(plan: &NodePlan) -> BTreeSet<IpNet> {
    let protect = plan.rules.iter().filter(|rule| rule.action == Action::Protect);
    protect.flat_map(|rule| rule.remote.iter().map(IpNet::trunc)).collect()
}

/// Returns the protect rules between the two ends of a path themselves.
pub(crate) fn in_transport_mode(plan: &NodePlan) -> impl Iterator<Item = &Rule> {
    let transport = |rule: &&Rule| plan.profile(&rule.profile).is_some_and(|profile| profile.mode == Mode::Transport);
    plan.rules.iter().filter(|rule| rule.action == Action::Protect).filter(transport)
}

fn peer_config(plan: &NodePlan, peer: &PlannedPeer) -> Result<PeerConfig, ReconcileError> {
    let profile = |name, place: String| {
        let missing = || PlanError::Unknown { place, kind: "profile", name: format!("{name}") };
        plan.profile(name).ok_or_else(missing)
    };
    let rules = plan.rules.iter().filter(|rule| rule.peer.as_ref() == Some(&peer.id));
    let children = rules.map(|rule| {
        let profile = profile(&rule.profile, format!("rule {}", rule.name))?;
        let (local, remote) = (rule.local_selectors(), rule.remote_selectors());
        Ok(ChildConfig { rule: rule.name.clone(), local, remote, profile })
    });
    let mut ours = profile(&peer.profile, format!("peer {}", peer.id))?;
    ours.encap = plan.encap(peer);
    Ok(PeerConfig {
        id: peer.id.clone(),
        endpoints: peer.endpoints.iter().map(|address| SocketAddr::new(*address, IKE_PORT)).collect(),
        local: plan.node.endpoints.clone(),
        initiate: peer.initiate,
        auth: match &peer.auth {
            PeerAuth::Certificate => Auth::Certificate,
            PeerAuth::PskFile(path) => Auth::Psk(identity::shared_secret(path)?),
        },
        profile: ours,
        key_epoch: peer.key_epoch,
        ppk: peer.ppk.as_ref().map(ppk).transpose()?,
        virtual_addresses: virtual_addresses(plan, peer),
        children: children.collect::<Result<_, PlanError>>()?,
    })
}

fn ppk(planned: &PlannedPpk) -> Result<Ppk, IdentityError> {
    let PlannedPpk { id, file, required } = planned;
    Ok(Ppk { id: id.clone(), secret: identity::postquantum_key(file)?, required: *required })
}

/// Returns what a peer gives or is given; the node's own addresses are its own.
fn virtual_addresses(plan: &NodePlan, peer: &PlannedPeer) -> Option<VirtualAddresses> {
    let mut addresses = peer.virtual_addresses.clone()?;
    if let VirtualAddresses::Pool(pool) = &mut addresses {
        pool.except.extend(plan.node.addresses.iter().map(IpNet::addr));
    }
    Some(addresses)
}

const IKE_PORT: u16 = 500;
