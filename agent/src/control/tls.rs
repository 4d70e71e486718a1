//! TLS 1.3 to the controller, under the name that no node can obtain, whatever address is dialled.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use espalier_crypto::{equal, sha256};
use espalier_model::identity::DomainName;
use espalier_sys::set_mark;
use hyper_util::rt::TokioIo;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs::default_provider};
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::net::{TcpSocket, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use crate::network::MARK;

const PATIENCE: Duration = Duration::from_secs(5);
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Returns where a controller is, by its name or address.
pub(super) async fn resolve(address: &str) -> io::Result<SocketAddr> {
    let found = timeout(PATIENCE, lookup_host(address)).await.map_err(|_| late(&address))??;
    found.into_iter().next().ok_or_else(|| io::Error::other(format!("{address} has no address")))
}

/// Connects to a controller. The packets carry the agent's mark: no policy sends them into a tunnel.
pub(super) async fn connect(
    address: SocketAddr,
    trust_domain: &DomainName,
    config: ClientConfig,
) -> Result<Channel, tonic::transport::Error> {
    let connector = TlsConnector::from(Arc::new(config));
    let name = format!("controller.{trust_domain}");
    let dial = service_fn(move |_| {
        let (connector, name) = (connector.clone(), name.clone());
        async move {
            let name = ServerName::try_from(name).map_err(io::Error::other)?;
            let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            set_mark(&socket, MARK).map_err(io::Error::other)?;
            let stream = timeout(PATIENCE, socket.connect(address)).await.map_err(|_| late(&address))??;
            stream.set_nodelay(true)?;
            let connected = timeout(PATIENCE, connector.connect(name, stream)).await.map_err(|_| late(&address))?;
            connected.map(TokioIo::new)
        }
    });
    // TLS is the connector's; the scheme only fills the request's address.
    let endpoint = Endpoint::from_static("http://controller").http2_keep_alive_interval(KEEPALIVE);
    endpoint.keep_alive_timeout(PATIENCE).keep_alive_while_idle(true).connect_with_connector(dial).await
}

fn late(address: &impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("{address} does not answer"))
}

/// Trusts what lies under the root with a fingerprint.
pub(super) fn pinned(fingerprint: [u8; 32]) -> Result<ClientConfig, Error> {
    let provider = Arc::new(default_provider());
    let verifier = Arc::new(Pinned { fingerprint, provider: Arc::clone(&provider) });
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13])?;
    let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// Trusts the mesh's roots, and shows the node's certificate; `pem` holds its key and chain.
pub(super) fn mutual(trust: &[Vec<u8>], pem: &[u8]) -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    trust.iter().try_for_each(|der| roots.add(CertificateDer::from(der.as_slice())))?;
    let unreadable = |_| Error::General("the node's key or certificate cannot be read".to_owned());
    let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(unreadable)?;
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_protocol_versions(&[&TLS13])?.with_root_certificates(roots);
    let mut config = builder.with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// Finds the root by its fingerprint among the certificates that the server shows, and lets it vouch for the rest.
#[derive(Debug)]
struct Pinned {
    fingerprint: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let root = intermediates.iter().find(|der| equal(&sha256(&[der.as_ref()]), &self.fingerprint));
        let root = root.ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let mut roots = RootCertStore::empty();
        roots.add(root.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
