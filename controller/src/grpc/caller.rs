//! Who calls: the node that the client certificate names.

use espalier_model::identity::{DomainName, Name};
use rustls_pki_types::CertificateDer;
use tonic::{Request, Status};
use x509_parser::extensions::GeneralName;

use super::status;
use crate::app::App;

/// The certificates of the client of a connection, its own first. TLS has verified them.
#[derive(Clone, Default)]
pub(super) struct PeerCertificates(pub(super) Vec<CertificateDer<'static>>);

/// A node that has shown its certificate.
pub(super) struct Caller {
    pub(super) name: Name,
    /// The serial number of its certificate, lower-case hexadecimal.
    pub(super) serial: String,
}

/// Finds out which node calls.
///
/// # Errors
/// `UNAUTHENTICATED` for a call without a node's certificate, or with one that is revoked or not of ours.
pub(super) async fn identify<T: Send + Sync>(app: &App, request: &Request<T>) -> Result<Caller, Status> {
    let chain = request.extensions().get::<PeerCertificates>().cloned().unwrap_or_default();
    let Some(leaf) = chain.0.first() else {
        return Err(Status::unauthenticated("this call needs a node's certificate: enrol first"));
    };
    let domain = app.world().mesh.trust_domain.clone();
    let caller = read(leaf, &domain).ok_or_else(|| {
        Status::unauthenticated(format!("the client's certificate is not that of a node of {domain}"))
    })?;
    if app.store.is_good(&caller.serial, caller.name.as_str()).await.map_err(status)? {
        return Ok(caller);
    }
    let Caller { name, serial } = caller;
    Err(Status::unauthenticated(format!("certificate {serial} of node {name} is revoked, or the node was deleted")))
}

fn read(leaf: &CertificateDer<'_>, domain: &DomainName) -> Option<Caller> {
    let (_, certificate) = x509_parser::parse_x509_certificate(leaf).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    let prefix = format!("spiffe://{domain}/node/");
    let name = names
        .value
        .general_names
        .iter()
        .find_map(|name| if let GeneralName::URI(uri) = name { uri.strip_prefix(&prefix) } else { None })?;
    let serial: String = certificate.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect();
    Some(Caller { name: name.parse().ok()?, serial })
}
