//! gRPC as nodes meet it, and what it answers to those who are not who they should be.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

#[path = "common/controller.rs"]
mod common;

use std::sync::Arc;

use common::{Controller, LOOPBACK};
use espalier_controller::grpc::serve;
use espalier_controller::tls::{self, ServerIdentity};
use espalier_model::envelope::{PlanState, Whole};
use espalier_proto::v1::agent_client::AgentClient;
use espalier_proto::v1::agent_message::Message as ToController;
use espalier_proto::v1::controller_message::Message as FromController;
use espalier_proto::v1::enrolment_client::EnrolmentClient;
use espalier_proto::v1::{AgentMessage, Applied, EnrolRequest, EnrolResponse, Hello, RenewRequest};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use time::OffsetDateTime;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

struct Server {
    controller: Controller,
    address: std::net::SocketAddr,
    stop: CancellationToken,
}

/// A node with its key and certificate.
struct Node {
    key: KeyPair,
    chain: Vec<Vec<u8>>,
}

impl Server {
    async fn start() -> Self {
        let controller = Controller::new().await;
        let listener = TcpListener::bind(LOOPBACK).await.unwrap();
        let address = listener.local_addr().unwrap();
        let signing = controller.app.signing();
        let identity = ServerIdentity::new(&signing.authority, &[], OffsetDateTime::now_utc()).unwrap();
        let config = tls::grpc(Arc::new(identity), signing.authority.root()).unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(serve(Arc::clone(&controller.app), listener, config, stop.clone()));
        Self { controller, address, stop }
    }

    /// Connects, with a node's certificate or without.
    async fn channel(&self, node: Option<&Node>) -> Channel {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.controller.app.signing().authority.root().to_vec())).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_protocol_versions(&[&TLS13]).unwrap().with_root_certificates(roots);
        let mut config = match node {
            Some(node) => {
                let chain = node.chain.iter().cloned().map(CertificateDer::from).collect();
                let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(node.key.serialize_der()));
                builder.with_client_auth_cert(chain, key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let (connector, address) = (TlsConnector::from(Arc::new(config)), self.address);
        let dial = tower::service_fn(move |_| {
            let connector = connector.clone();
            async move {
                let name = ServerName::try_from("controller.mesh.example").unwrap();
                let stream = TcpStream::connect(address).await?;
                connector.connect(name, stream).await.map(TokioIo::new)
            }
        });
        Endpoint::from_static("http://controller").connect_with_connector(dial).await.unwrap()
    }

    async fn enrol(&self, token: &str, name: &str, csr_der: Vec<u8>) -> Result<EnrolResponse, Status> {
        let request = EnrolRequest {
            token: token.to_owned(),
            name: name.to_owned(),
            csr_der,
            endpoints: vec!["192.0.2.1".to_owned()],
            agent_version: "test".to_owned(),
        };
        let answer = EnrolmentClient::new(self.channel(None).await).enrol(request).await;
        answer.map(tonic::Response::into_inner)
    }

    async fn node(&self, name: &str) -> Node {
        let token = format!("token-{name}");
        self.controller.token(&token, Some(1), 60).await;
        let key = KeyPair::generate().unwrap();
        let csr = request(&key, &format!("{name}.node.mesh.example"));
        let chain = self.enrol(&token, name, csr).await.unwrap().certificate_chain;
        Node { key, chain }
    }

    /// Tries every call of a node, and returns what each answers.
    async fn try_all(&self, node: Option<&Node>, renew_as: &str) -> Vec<Status> {
        let mut client = AgentClient::new(self.channel(node).await);
        let (sender, receiver) = mpsc::channel(4);
        sender.send(hello()).await.unwrap();
        let sync = client.sync(ReceiverStream::new(receiver)).await.map(|_| ());
        let csr_der = request(&KeyPair::generate().unwrap(), renew_as);
        let renew = client.renew(RenewRequest { csr_der, certificate_epoch: 0 }).await.map(|_| ());
        [sync, renew].into_iter().filter_map(Result::err).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn hello() -> AgentMessage {
    let hello = Hello { endpoints: vec!["192.0.2.1".to_owned()], ..Hello::default() };
    AgentMessage { message: Some(ToController::Hello(hello)) }
}

fn request(key: &KeyPair, common_name: &str) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.serialize_request(key).unwrap().der().to_vec()
}

#[tokio::test]
async fn a_node_enrols_gets_its_plan_and_then_changes() {
    let server = Server::start().await;
    let node = server.node("a").await;
    let mut client = AgentClient::new(server.channel(Some(&node)).await);
    let (sender, receiver) = mpsc::channel(4);
    sender.send(hello()).await.unwrap();
    let mut plans = client.sync(ReceiverStream::new(receiver)).await.unwrap().into_inner();
    let first = plans.message().await.unwrap().unwrap().message.unwrap();
    let FromController::Whole(whole) = first else { panic!("a whole plan comes first") };
    let whole = Whole::try_from(whole).unwrap();
    let (version, identity) = (whole.envelope.version, "a.node.mesh.example".parse().unwrap());
    let mut held = PlanState::new(identity);
    assert_eq!(held.accept_whole(whole, |_| Ok(())).unwrap().peers.len(), 0);
    let applied = Applied { epoch: version.epoch, generation: version.generation };
    sender.send(AgentMessage { message: Some(ToController::Applied(applied)) }).await.unwrap();
    server.node("b").await;
    let next = plans.message().await.unwrap().unwrap().message.unwrap();
    let FromController::Delta(delta) = next else { panic!("changes come next") };
    let plan = held.accept_delta(delta.try_into().unwrap(), |_| Ok(())).unwrap();
    assert_eq!(plan.peers.len(), 1, "b is a peer now");
    let live = server.controller.app.fleet.get(&"a".parse().unwrap());
    assert!(live.connected && live.applied == version);
}

#[tokio::test]
async fn a_token_that_is_wrong_expired_or_used_up_admits_nobody() {
    let server = Server::start().await;
    server.controller.token("old", None, -1).await;
    server.controller.token("once", Some(1), 60).await;
    let csr = |name: &str| request(&KeyPair::generate().unwrap(), &format!("{name}.node.mesh.example"));
    server.enrol("once", "a", csr("a")).await.unwrap();
    for (token, reason) in [("none", "unknown"), ("old", "expired"), ("once", "used up")] {
        let status = server.enrol(token, "b", csr("b")).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated);
        assert!(status.message().contains(reason), "{status}");
    }
    assert_eq!(server.controller.app.world().nodes.len(), 1, "nothing has changed");
}

#[tokio::test]
async fn a_request_for_another_name_is_refused_and_uses_no_token() {
    let server = Server::start().await;
    server.controller.token("once", Some(1), 60).await;
    let key = KeyPair::generate().unwrap();
    for asked in ["b.node.mesh.example", "controller.mesh.example"] {
        let status = server.enrol("once", "a", request(&key, asked)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(asked), "{status}");
    }
    let status = server.enrol("once", "Not A Name", request(&key, "x")).await.unwrap_err();
    assert!(status.message().contains("Not A Name"), "{status}");
    server.enrol("once", "a", request(&key, "a.node.mesh.example")).await.unwrap();
}

#[tokio::test]
async fn calls_without_a_good_certificate_of_ones_own_are_refused() {
    let server = Server::start().await;
    let refused = server.try_all(None, "a.node.mesh.example").await;
    assert_eq!(refused.len(), 2);
    assert!(
        refused.iter().all(|s| s.code() == Code::Unauthenticated && s.message().contains("enrol first")),
        "{refused:?}"
    );

    let (a, _b) = (server.node("a").await, server.node("b").await);
    let refused = server.try_all(Some(&a), "b.node.mesh.example").await;
    let [renew] = &refused[..] else { panic!("only the renewal of another's name is refused: {refused:?}") };
    assert!(renew.code() == Code::InvalidArgument && renew.message().contains("b.node.mesh.example"), "{renew}");

    let store = &server.controller.app.store;
    let rows = store.certificates().await.unwrap();
    let serial = &rows.iter().find(|row| row.node == "a").unwrap().serial;
    store.revoke("test", serial).await.unwrap();
    let refused = server.try_all(Some(&a), "a.node.mesh.example").await;
    assert_eq!(refused.len(), 2);
    assert!(
        refused.iter().all(|s| s.code() == Code::Unauthenticated && s.message().contains("revoked")),
        "{refused:?}"
    );
}
