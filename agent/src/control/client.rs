//! The task that keeps the connection: plans in, verdicts and reports out, a new certificate in time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use espalier_model::envelope::{PlanState, Refusal, Version};
use espalier_model::plan::NodePlan;
use espalier_proto::MAX_MESSAGE_BYTES;
use espalier_proto::v1::agent_client::AgentClient;
use espalier_proto::v1::agent_message::Message as ToController;
use espalier_proto::v1::controller_message::Message as FromController;
use espalier_proto::v1::{self, AgentMessage, Applied, Hello, IkeSa, Refused, RenewRequest, Status};
use rand::RngExt;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

use super::enrol::request;
use super::state::{State, pem_of};
use super::{ControlEvent, Verdict, tls, verify};
use crate::error_chain as causes;

const FIRST_RETRY: Duration = Duration::from_millis(200);
const LONGEST_RETRY: Duration = Duration::from_secs(10);
/// Reports are this far apart at least.
const REPORTS: Duration = Duration::from_millis(200);
const MESSAGES: usize = 16;
/// A renewal that failed is tried again after this.
const RENEW_AGAIN: Duration = Duration::from_secs(60);

pub(super) struct Client {
    state: State,
    held: PlanState,
    /// What was held before the plan that the node is busy with.
    before: Option<PlanState>,
    wants_certificate: u64,
    /// Asks for the plan from its first entry: changes did not fit.
    from_scratch: bool,
    renew_at: Instant,
    not_after: u64,
    events: mpsc::Sender<ControlEvent>,
    verdicts: mpsc::Receiver<Verdict>,
    sas: watch::Receiver<Vec<IkeSa>>,
}

/// Why a session has ended.
enum Ended {
    /// The node itself is gone.
    Stop,
    /// A new certificate: connect again at once.
    Renewed,
    /// The connection failed.
    Lost(String),
}

impl Client {
    pub(super) fn new(
        state: State,
        events: mpsc::Sender<ControlEvent>,
        verdicts: mpsc::Receiver<Verdict>,
        sas: watch::Receiver<Vec<IkeSa>>,
    ) -> Self {
        let (held, plan) = state.plan();
        let wants_certificate = plan.as_ref().map_or(0, |plan| plan.node.certificate_epoch);
        let mut client = Self {
            state,
            held,
            before: None,
            wants_certificate,
            from_scratch: false,
            renew_at: Instant::now(),
            not_after: 0,
            events,
            verdicts,
            sas,
        };
        client.schedule_renewal();
        client
    }

    pub(super) async fn run(mut self) {
        let mut retry = FIRST_RETRY;
        for turn in 0_usize.. {
            let controllers = &self.state.node.controllers;
            let Some(controller) = controllers.get(turn.checked_rem(controllers.len()).unwrap_or(0)).cloned() else {
                return;
            };
            let since = Instant::now();
            match self.session(&controller).await {
                Ended::Stop => return,
                Ended::Renewed => continue,
                Ended::Lost(reason) => {
                    if since.elapsed() > LONGEST_RETRY {
                        retry = FIRST_RETRY;
                    }
                    tracing::warn!(controller, reason, "no connection to the controller; tunnels go on");
                }
            }
            let wait = retry.mul_f64(rand::rng().random_range(0.5..1.5));
            retry = (retry * 2).min(LONGEST_RETRY);
            tokio::select! {
                () = sleep(wait) => {}
                () = self.events.closed() => return,
            }
        }
    }

    async fn session(&mut self, controller: &str) -> Ended {
        match self.converse(controller).await {
            Ok(ended) => ended,
            Err(reason) => Ended::Lost(reason),
        }
    }

    /// Speaks with the controller until one of both ends it.
    async fn converse(&mut self, controller: &str) -> Result<Ended, String> {
        let pem = self.state.pem().map_err(|error| causes(&error))?;
        let config = tls::mutual(&self.state.trust, &pem).map_err(|error| error.to_string())?;
        let channel = tls::connect(controller, &self.state.node.trust_domain, config).await;
        let channel = channel.map_err(|error| causes(&error))?;
        let mut client = AgentClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let (sender, messages) = mpsc::channel(MESSAGES);
        say(&sender, ToController::Hello(self.hello())).await?;
        let plans = client.sync(ReceiverStream::new(messages)).await.map_err(|s| s.message().to_owned())?;
        let mut plans: Streaming<_> = plans.into_inner();
        tracing::info!(controller, "connected to the controller");
        self.sas.mark_changed();
        let mut next_report = Instant::now();
        loop {
            let renew_at = if self.wants_certificate > self.state.node.certificate_epoch {
                self.renew_at.min(Instant::now())
            } else {
                self.renew_at
            };
            tokio::select! {
                () = self.events.closed() => return Ok(Ended::Stop),
                message = plans.message() => match message.map_err(|s| s.message().to_owned())? {
                    Some(message) => self.take(message.message, &sender).await?,
                    None => return Ok(Ended::Lost("the controller has ended the stream".to_owned())),
                },
                verdict = self.verdicts.recv() => match verdict {
                    Some(verdict) => self.pass_on(verdict, &sender).await?,
                    None => return Ok(Ended::Stop),
                },
                changed = changed_after(&mut self.sas, next_report) => {
                    if !changed {
                        return Ok(Ended::Stop);
                    }
                    next_report = Instant::now() + REPORTS;
                    let status = self.status();
                    say(&sender, ToController::Status(status)).await?;
                }
                () = sleep_until(renew_at) => match self.renew(&mut client).await {
                    Ok(()) => return Ok(Ended::Renewed),
                    Err(reason) => {
                        tracing::warn!(reason, "certificate not renewed");
                        self.renew_at = Instant::now() + RENEW_AGAIN;
                        self.wants_certificate = self.state.node.certificate_epoch;
                    }
                },
            }
        }
    }

    fn hello(&self) -> Hello {
        let held = self.held.envelope().filter(|_| !self.from_scratch);
        let version = held.map_or_else(Version::default, |envelope| envelope.version);
        Hello {
            epoch: version.epoch,
            generation: version.generation,
            digest: held.map_or(Vec::new(), |envelope| envelope.digest.as_bytes().to_vec()),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            endpoints: self.state.node.endpoints.iter().map(ToString::to_string).collect(),
        }
    }

    fn status(&self) -> Status {
        let version = self.held.envelope().map_or_else(Version::default, |envelope| envelope.version);
        Status {
            generation: version.generation,
            ike_sas: self.sas.borrow().clone(),
            certificate_epoch: self.state.node.certificate_epoch,
            certificate_not_after: i64::try_from(self.not_after).unwrap_or(i64::MAX),
        }
    }

    /// Takes a plan whole or not at all, keeps it, and hands it on.
    async fn take(&mut self, message: Option<FromController>, to: &mpsc::Sender<AgentMessage>) -> Result<(), String> {
        let before = self.held.clone();
        let (version, accepted) = match message {
            Some(FromController::Whole(whole)) => {
                let version = version_of(whole.envelope.as_ref());
                (version, self.accept_whole(whole))
            }
            Some(FromController::Delta(delta)) => {
                let version = version_of(delta.envelope.as_ref());
                (version, self.accept_delta(delta))
            }
            None => return Ok(()),
        };
        match accepted {
            Ok(plan) => {
                self.state.keep(&self.held).map_err(|error| causes(&error))?;
                self.from_scratch = false;
                self.before = Some(before);
                self.wants_certificate = plan.node.certificate_epoch;
                let event = ControlEvent::Plan(Box::new(plan), version);
                self.events.send(event).await.map_err(|_| "the node has stopped".to_owned())
            }
            Err(reason) => {
                tracing::error!(reason, "plan refused");
                say(
                    to,
                    ToController::Refused(Refused { epoch: version.epoch, generation: version.generation, reason }),
                )
                .await?;
                if self.from_scratch { Err("the plan is asked for from its first entry".to_owned()) } else { Ok(()) }
            }
        }
    }

    fn accept_whole(&mut self, whole: v1::Whole) -> Result<NodePlan, String> {
        let whole = whole.try_into().map_err(|error: espalier_proto::WireError| causes(&error))?;
        let state = &self.state;
        self.held.accept_whole(whole, |envelope| verify::envelope(envelope, state)).map_err(|error| causes(&error))
    }

    fn accept_delta(&mut self, delta: v1::Delta) -> Result<NodePlan, String> {
        let delta = delta.try_into().map_err(|error: espalier_proto::WireError| causes(&error))?;
        let state = &self.state;
        let accepted = self.held.accept_delta(delta, |envelope| verify::envelope(envelope, state));
        accepted.map_err(|error| {
            self.from_scratch = matches!(error, Refusal::Base { .. } | Refusal::Digest { .. });
            causes(&error)
        })
    }

    /// Tells the controller what the node has made of a plan.
    async fn pass_on(&mut self, verdict: Verdict, to: &mpsc::Sender<AgentMessage>) -> Result<(), String> {
        match verdict {
            Verdict::Applied(Version { epoch, generation }) => {
                self.before = None;
                say(to, ToController::Applied(Applied { epoch, generation })).await
            }
            Verdict::Refused(Version { epoch, generation }, reason) => {
                // What cannot be carried out is not what the node starts with next time.
                if let Some(before) = self.before.take() {
                    self.held = before;
                    self.state.keep(&self.held).map_err(|error| causes(&error))?;
                }
                say(to, ToController::Refused(Refused { epoch, generation, reason })).await
            }
        }
    }

    /// Gets a certificate for a new key.
    async fn renew(&mut self, client: &mut AgentClient<Channel>) -> Result<(), String> {
        let identity = self.state.identity();
        let (key, csr_der) = request(&identity).map_err(|error| error.to_string())?;
        let certificate_epoch = self.wants_certificate;
        let answer = client.renew(RenewRequest { csr_der, certificate_epoch }).await;
        let chain = answer.map_err(|s| s.message().to_owned())?.into_inner().certificate_chain;
        verify::chain(&self.state.trust, &chain, &identity).map_err(|error| error.to_string())?;
        let pem = key + &chain.iter().map(|der| pem_of(der)).collect::<String>();
        self.state.renew(&pem, certificate_epoch).map_err(|error| causes(&error))?;
        self.schedule_renewal();
        tracing::info!(certificate_epoch, "certificate renewed");
        let certificate = self.state.certificate().map_err(|error| causes(&error))?;
        let event = ControlEvent::Identity(Box::new(certificate));
        self.events.send(event).await.map_err(|_| "the node has stopped".to_owned())
    }

    /// A certificate is renewed when a third of its life has passed, and a fleet does not do so all at once.
    fn schedule_renewal(&mut self) {
        let Ok(certificate) = self.state.certificate() else { return };
        let identity = self.state.identity();
        self.not_after = verify::chain(&self.state.trust, &certificate.chain, &identity).unwrap_or_default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let left = Duration::from_secs(self.not_after.saturating_sub(now));
        let third = rand::rng().random_range(0.30..0.36);
        self.renew_at = Instant::now() + left.mul_f64(third).max(RENEW_AGAIN);
    }
}

async fn say(to: &mpsc::Sender<AgentMessage>, message: ToController) -> Result<(), String> {
    let sent = to.send(AgentMessage { message: Some(message) }).await;
    sent.map_err(|_| "the controller has ended the stream".to_owned())
}

fn version_of(envelope: Option<&v1::Envelope>) -> Version {
    envelope.map_or_else(Version::default, |e| Version { epoch: e.epoch, generation: e.generation })
}

/// Waits for a change, but not shorter than until a moment. Returns whether there can be another one.
async fn changed_after(sas: &mut watch::Receiver<Vec<IkeSa>>, moment: Instant) -> bool {
    sleep_until(moment).await;
    sas.changed().await.is_ok()
}
