//! What enrolled nodes call.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use espalier_proto::v1::agent_message::Message;
use espalier_proto::v1::agent_server;
use espalier_proto::v1::{AgentMessage, ControllerMessage, RenewRequest, RenewResponse};
use time::OffsetDateTime;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::caller::identify;
use super::enrol::endpoints;
use super::session::Exchange;
use super::{Nodes, status};

/// Time for the first message of a stream.
const HELLO: Duration = Duration::from_secs(10);
/// Plans under way to one node: more would be out of date before they arrive.
const UNDER_WAY: usize = 4;

#[async_trait]
impl agent_server::Agent for Nodes {
    type SyncStream = Pin<Box<dyn Stream<Item = Result<ControllerMessage, Status>> + Send>>;

    async fn sync(&self, request: Request<Streaming<AgentMessage>>) -> Result<Response<Self::SyncStream>, Status> {
        let caller = identify(&self.app, &request).await?;
        let mut inbound = request.into_inner();
        let first = timeout(HELLO, inbound.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("the stream does not begin with Hello"))??;
        let Some(Message::Hello(hello)) = first.and_then(|message| message.message) else {
            return Err(Status::invalid_argument("the stream does not begin with Hello"));
        };
        let moved = endpoints(&hello.endpoints)?;
        if self.app.store.set_endpoints(caller.name.as_str(), &moved).await.map_err(status)? {
            self.app.refresh().await.map_err(status)?;
        }
        let (sender, receiver) = mpsc::channel(UNDER_WAY);
        let exchange = Exchange::new(Arc::clone(&self.app), caller, &hello, sender);
        tokio::spawn(exchange.run(inbound));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
        let caller = identify(&self.app, &request).await?;
        let now = OffsetDateTime::now_utc();
        let request = request.into_inner();
        let issued = self.app.signing().authority.issue_node(&caller.name, &request.csr_der, now).map_err(status)?;
        let store = &self.app.store;
        let not_after = issued.not_after.unix_timestamp();
        store.renew(caller.name.as_str(), &issued.serial, not_after, &issued.key_hash).await.map_err(status)?;
        tracing::info!(node = %caller.name, serial = issued.serial, "certificate renewed");
        Ok(Response::new(RenewResponse { certificate_chain: issued.chain }))
    }
}
