//! Enrolment: a token and a request make a node.

use std::net::IpAddr;

use espalier_model::document::Spec;
use espalier_model::document::node::NodeSpec;
use espalier_model::identity::Name;
use espalier_proto::v1::enrolment_server;
use espalier_proto::v1::{EnrolRequest, EnrolResponse};
use time::OffsetDateTime;
use tonic::{Request, Response, Status, async_trait};

use super::{Enrolment, status};
use crate::app::token_hash;
use crate::store::Admission;

#[async_trait]
impl enrolment_server::Enrolment for Enrolment {
    async fn enrol(&self, request: Request<EnrolRequest>) -> Result<Response<EnrolResponse>, Status> {
        let Ok(_slot) = self.slots.try_acquire() else {
            return Err(Status::unavailable("many nodes enrol at once: try again in a moment"));
        };
        let request = request.into_inner();
        let name: Name = request.name.parse().map_err(|e| Status::invalid_argument(format!("name: {e}")))?;
        let endpoints = endpoints(&request.endpoints)?;
        let signing = self.app.signing();
        let now = OffsetDateTime::now_utc();
        // Read first: a rotation that begins meanwhile is then still to be followed.
        let certificate_epoch = self.app.world().certificate_epoch;
        let issued = signing.authority.issue_node(&name, &request.csr_der, now).map_err(status)?;
        let admission = Admission {
            name: &name,
            token_hash: &token_hash(&request.token),
            key_hash: &issued.key_hash,
            endpoints: &endpoints,
            serial: &issued.serial,
            not_after: issued.not_after.unix_timestamp(),
            now: now.unix_timestamp(),
        };
        if let Err(error) = self.app.store.admit(&admission).await {
            tracing::warn!(node = %name, %error, "enrolment refused");
            return Err(status(error));
        }
        self.app.refresh().await.map_err(status)?;
        tracing::info!(node = %name, serial = issued.serial, version = request.agent_version, "node enrolled");
        let domain = signing.authority.trust_domain();
        Ok(Response::new(EnrolResponse {
            node: name.node_identity(domain).to_string(),
            certificate_chain: issued.chain,
            trust: vec![signing.authority.root().to_vec()],
            plan_signer: format!("spiffe://{domain}/controller/plan-signer"),
            certificate_epoch,
        }))
    }
}

/// Reads a node's underlay addresses.
pub(super) fn endpoints(texts: &[String]) -> Result<Vec<IpAddr>, Status> {
    let wrong = |text: &String| Status::invalid_argument(format!("endpoints: \"{text}\" is not an IP address"));
    let endpoints = texts.iter().map(|text| text.parse().map_err(|_| wrong(text))).collect::<Result<Vec<_>, _>>()?;
    let spec = NodeSpec { endpoints, addresses: Vec::new() };
    match spec.check().first() {
        Some(fault) => Err(Status::invalid_argument(fault.to_string())),
        None => Ok(spec.endpoints),
    }
}
