//! gRPC: enrolment without a certificate, everything else with the node's own.

mod caller;
mod enrol;
mod node;
mod serve;
mod session;

use std::sync::Arc;

use espalier_proto::MAX_MESSAGE_BYTES;
use espalier_proto::v1::agent_server::AgentServer;
use espalier_proto::v1::enrolment_server::EnrolmentServer;
use tokio::sync::Semaphore;
use tonic::Status;

use crate::app::{App, AppError};
use crate::store::StoreError;

pub use serve::serve;

/// Enrolments that are worked on at once: each costs two signatures, and nobody has shown a token before.
const ENROLMENTS: usize = 4;

/// Enrols nodes.
struct Enrolment {
    app: Arc<App>,
    slots: Semaphore,
}

/// Serves enrolled nodes.
struct Nodes {
    app: Arc<App>,
}

fn services(app: &Arc<App>) -> (EnrolmentServer<Enrolment>, AgentServer<Nodes>) {
    let enrolment = Enrolment { app: Arc::clone(app), slots: Semaphore::new(ENROLMENTS) };
    let nodes = Nodes { app: Arc::clone(app) };
    let agent = AgentServer::new(nodes)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    // A request to enrol is small.
    (EnrolmentServer::new(enrolment).max_decoding_message_size(64 << 10), agent)
}

/// Says what went wrong: to the caller if it is the caller's doing, otherwise to the log.
fn status(error: impl Into<AppError>) -> Status {
    let error = error.into();
    let text = error.to_string();
    match error {
        AppError::Store(StoreError::Token(_)) => Status::unauthenticated(text),
        AppError::Store(StoreError::Revoked(_)) => Status::permission_denied(text),
        AppError::Store(StoreError::OtherKey(_)) => Status::already_exists(text),
        AppError::Store(StoreError::Full) => Status::resource_exhausted(text),
        AppError::Pki(crate::pki::PkiError::Csr(_)) => Status::invalid_argument(text),
        AppError::Store(_) | AppError::Pki(_) | AppError::Keyring(_) | AppError::Mesh(_) => {
            tracing::error!(error = &error as &dyn std::error::Error, "request failed");
            Status::internal("the controller has failed: its log says why")
        }
    }
}
