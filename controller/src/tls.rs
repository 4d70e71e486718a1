//! TLS 1.3 with the controller's own certificate, which is exchanged while the servers run.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::aws_lc_rs::{default_provider, sign::any_supported_type};
use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{RootCertStore, server::VerifierBuilderError};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use thiserror::Error;
use time::OffsetDateTime;

use crate::pki::{Authority, PkiError};

/// A certificate that cannot serve.
#[derive(Debug, Error)]
pub enum TlsError {
    /// It cannot be made.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// rustls refuses it.
    #[error("the controller's certificate cannot serve")]
    Rustls(#[from] rustls::Error),
    /// The root cannot be trusted.
    #[error("the mesh's root cannot be trusted")]
    Trust(#[from] VerifierBuilderError),
}

/// The certificate that both servers show.
#[derive(Debug)]
pub struct ServerIdentity(RwLock<Arc<CertifiedKey>>);

impl ServerIdentity {
    /// Has a certificate made for the names and addresses at which the controller is reached.
    ///
    /// # Errors
    /// A name that a certificate cannot hold.
    pub fn new(authority: &Authority, names: &[String], now: OffsetDateTime) -> Result<Self, TlsError> {
        Ok(Self(RwLock::new(Arc::new(certified(authority, names, now)?))))
    }

    /// Exchanges the certificate for a new one.
    ///
    /// # Errors
    /// It cannot be made; the one before stays.
    pub fn renew(&self, authority: &Authority, names: &[String], now: OffsetDateTime) -> Result<(), TlsError> {
        let next = Arc::new(certified(authority, names, now)?);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }
}

impl ResolvesServerCert for ServerIdentity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// Builds the configuration of gRPC: a client may show a certificate, and one that it shows must be good.
///
/// # Errors
/// The root cannot be trusted.
pub fn grpc(identity: Arc<ServerIdentity>, root: &[u8]) -> Result<ServerConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(root))?;
    let provider = Arc::new(default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(identity);
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// Builds the configuration of REST.
///
/// # Errors
/// rustls refuses.
pub fn rest(identity: Arc<ServerIdentity>) -> Result<ServerConfig, TlsError> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(identity);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certified(authority: &Authority, names: &[String], now: OffsetDateTime) -> Result<CertifiedKey, TlsError> {
    let issued = authority.issue_controller(names, now)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(issued.key.to_vec()));
    let mut chain: Vec<_> = issued.chain.into_iter().map(CertificateDer::from).collect();
    // A node that enrols knows the root by its fingerprint alone.
    chain.push(CertificateDer::from(authority.root().to_vec()));
    Ok(CertifiedKey::new(chain, any_supported_type(&key)?))
}
