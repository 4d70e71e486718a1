//! One open stream: plans one way, acknowledgements and status the other. It is woken by changes, never told what they are.

use std::sync::Arc;

use espalier_api::{ChildSaStatus, IkeSaStatus};
use espalier_model::entry::{Digest, Entries};
use espalier_model::envelope::{Delta, Envelope, Version, Whole};
use espalier_proto::v1::agent_message::Message;
use espalier_proto::v1::{self, AgentMessage, ControllerMessage, Hello, controller_message};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::caller::Caller;
use super::status;
use crate::app::App;
use crate::fleet::{Live, Report, Session};
use crate::planner::{self, World};

/// More than any node reports; what is beyond is left out.
const MOST_SAS: usize = 20_000;

/// What goes on in one stream.
pub(super) struct Exchange {
    app: Arc<App>,
    caller: Caller,
    session: Session,
    to_node: mpsc::Sender<Result<ControllerMessage, Status>>,
    held: Held,
}

/// What the node holds, as far as is known.
enum Held {
    /// Nothing, or nothing that changes could be made to.
    Unknown,
    /// A plan of which only the digest is known.
    Digest(Version, Vec<u8>),
    /// A plan that was sent in this stream.
    Entries(Version, Entries),
}

impl Exchange {
    pub(super) fn new(
        app: Arc<App>,
        caller: Caller,
        hello: &Hello,
        to_node: mpsc::Sender<Result<ControllerMessage, Status>>,
    ) -> Self {
        let session = app.fleet.open(&caller.name);
        let version = Version { epoch: hello.epoch, generation: hello.generation };
        let held = if hello.digest.is_empty() { Held::Unknown } else { Held::Digest(version, hello.digest.clone()) };
        tracing::info!(node = %caller.name, version = hello.agent_version, "node connected");
        Self { app, caller, session, to_node, held }
    }

    pub(super) async fn run(mut self, mut from_node: Streaming<AgentMessage>) {
        let mut worlds = self.app.subscribe();
        worlds.mark_changed();
        let reason = loop {
            let ends = self.session.ends.clone();
            tokio::select! {
                () = ends.cancelled() => break Some(Status::aborted("another stream of this node has been opened, or it was ended")),
                changed = worlds.changed() => {
                    if changed.is_err() {
                        break Some(Status::unavailable("the controller stops"));
                    }
                    let world = Arc::clone(&worlds.borrow_and_update());
                    if let Err(status) = self.publish(&world).await {
                        break Some(status);
                    }
                }
                message = from_node.message() => match message {
                    Ok(Some(AgentMessage { message: Some(message) })) => self.hear(message),
                    Ok(Some(AgentMessage { message: None })) => {}
                    Ok(None) | Err(_) => break None,
                },
            }
        };
        self.app.fleet.close(&self.session);
        tracing::info!(node = %self.caller.name, reason = reason.as_ref().map(Status::message), "node disconnected");
        if let Some(status) = reason {
            // A node that reads no more does not hear why.
            let _ = self.to_node.try_send(Err(status));
        }
    }

    /// Sends the node what has changed for it, if anything has.
    async fn publish(&mut self, world: &World) -> Result<(), Status> {
        let Some(plan) = planner::plan(world, &self.caller.name) else {
            return Err(Status::unauthenticated(format!("node {} was deleted", self.caller.name)));
        };
        if world.revoked.contains(&self.caller.serial) {
            return Err(Status::unauthenticated(format!("certificate {} is revoked", self.caller.serial)));
        }
        let entries = Entries::of_plan(&plan).map_err(|error| {
            tracing::error!(node = %self.caller.name, %error, "plan cannot be taken apart");
            Status::internal("the plan of this node cannot be made")
        })?;
        let (digest, version) = (entries.digest(), world.version);
        let message = match &self.held {
            Held::Digest(held, known) if *known == digest.as_bytes() && held.epoch == version.epoch => None,
            Held::Entries(held, known) if known.digest() == digest && held.epoch == version.epoch => None,
            Held::Entries(held, known) if held.epoch == version.epoch => {
                let (upsert, remove) = entries.changes_since(known);
                let envelope = self.envelope(&plan.node.id, version, digest)?;
                let delta = Delta { envelope, base_generation: held.generation, upsert, remove };
                Some(controller_message::Message::Delta(delta.try_into().map_err(too_large)?))
            }
            Held::Unknown | Held::Digest(..) | Held::Entries(..) => {
                let envelope = self.envelope(&plan.node.id, version, digest)?;
                let whole = Whole { envelope, entries: entries.iter().map(|(_, entry)| entry.clone()).collect() };
                Some(controller_message::Message::Whole(whole.try_into().map_err(too_large)?))
            }
        };
        let Some(message) = message else {
            self.note(|live| live.seen = version);
            return Ok(());
        };
        self.note(|live| (live.seen, live.sent, live.refused) = (version, version, None));
        let message = ControllerMessage { message: Some(message) };
        self.to_node.send(Ok(message)).await.map_err(|_| Status::cancelled("the node reads no more"))?;
        self.held = Held::Entries(version, entries);
        Ok(())
    }

    fn envelope(
        &self,
        node: &espalier_model::identity::Identity,
        version: Version,
        digest: Digest,
    ) -> Result<Envelope, Status> {
        let signing = self.app.signing();
        let chain = signing.plans.chain().to_vec();
        let mut envelope = Envelope { node: node.clone(), version, digest, signature: Vec::new(), chain };
        envelope.signature = signing.plans.sign(&envelope.signed_bytes()).map_err(status)?;
        Ok(envelope)
    }

    /// Takes what the node says.
    fn hear(&mut self, message: Message) {
        match message {
            // A second one says nothing new.
            Message::Hello(_) => {}
            Message::Applied(applied) => {
                let version = Version { epoch: applied.epoch, generation: applied.generation };
                self.note(|live| (live.applied, live.refused) = (version, None));
            }
            Message::Refused(refused) => {
                let reason: String = refused.reason.chars().take(500).collect();
                tracing::warn!(node = %self.caller.name, generation = refused.generation, reason, "plan refused");
                self.held = Held::Unknown;
                self.note(|live| live.refused = Some(reason));
            }
            Message::Status(status) => self.note(|live| live.report = report(status)),
        }
    }

    fn note(&self, change: impl FnOnce(&mut Live)) {
        self.app.fleet.update(&self.session, change);
    }
}

fn report(status: v1::Status) -> Report {
    let child = |sa: v1::ChildSa| ChildSaStatus {
        rule: sa.rule,
        spi_in: format!("{:08x}", sa.spi_in),
        spi_out: format!("{:08x}", sa.spi_out),
        packets_in: sa.packets_in,
        packets_out: sa.packets_out,
    };
    let ike = |sa: v1::IkeSa| IkeSaStatus {
        peer: sa.peer,
        spi_initiator: format!("{:016x}", sa.spi_i),
        spi_responder: format!("{:016x}", sa.spi_r),
        key_epoch: sa.key_epoch,
        child_sas: sa.child_sas.into_iter().take(MOST_SAS).map(child).collect(),
    };
    Report {
        ike_sas: status.ike_sas.into_iter().take(MOST_SAS).map(ike).collect(),
        certificate_epoch: status.certificate_epoch,
        certificate_not_after: status.certificate_not_after,
    }
}

fn too_large(error: espalier_proto::WireError) -> Status {
    tracing::error!(%error, "plan does not fit into a message");
    Status::internal("the plan of this node is too large")
}
