//! The task that keeps the connection: plans in, verdicts and reports out, a new certificate in time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use espalier_model::envelope::Version;
use espalier_proto::MAX_MESSAGE_BYTES;
use espalier_proto::v1::agent_client::AgentClient;
use espalier_proto::v1::agent_message::Message as ToController;
use espalier_proto::v1::controller_message::Message as FromController;
use espalier_proto::v1::{AgentMessage, Applied, Hello, IkeSa, Refused, RenewRequest, Status};
use rand::RngExt;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Streaming};

use super::enrol::request;
use super::plans::{Plans, Rejected};
use super::renewal::{Clocks, Renewal};
use super::state::{State, StateError, pem_of};
use super::{Connection, ControlEvent, Verdict, tls, verify};
use crate::error_chain as causes;

const FIRST_RETRY: Duration = Duration::from_millis(200);
const LONGEST_RETRY: Duration = Duration::from_secs(10);
/// Whoever is not let in has been told why: a person has to act first.
const BANISHED_RETRY: Duration = Duration::from_secs(60);
/// Reports are this far apart at least.
const REPORTS: Duration = Duration::from_millis(200);
const MESSAGES: usize = 16;
/// A controller that takes or gives nothing for so long is not there.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Client {
    state: State,
    plans: Plans,
    /// The plan that is carried out is not on disk.
    unkept: bool,
    renewal: Renewal,
    events: mpsc::Sender<ControlEvent>,
    verdicts: mpsc::Receiver<Verdict>,
    sas: watch::Receiver<Vec<IkeSa>>,
    connection: watch::Sender<Connection>,
}

/// Why a session has ended.
enum Ended {
    /// The node itself is gone.
    Stop,
    /// A new certificate: connect again at once.
    Renewed,
    /// The connection failed.
    Lost(String),
    /// The controller knows this node no more.
    Banished(String),
}

impl Client {
    pub(super) fn new(
        state: State,
        events: mpsc::Sender<ControlEvent>,
        verdicts: mpsc::Receiver<Verdict>,
        sas: watch::Receiver<Vec<IkeSa>>,
        connection: watch::Sender<Connection>,
    ) -> Self {
        let (held, plan) = state.plan();
        let mut renewal = renewal(&state);
        renewal.want(plan.map_or(0, |plan| plan.node.certificate_epoch), clocks());
        Self { state, plans: Plans::new(held), unkept: false, renewal, events, verdicts, sas, connection }
    }

    pub(super) async fn run(mut self) {
        let mut retry = FIRST_RETRY;
        for turn in 0_usize.. {
            let controllers = &self.state.node.controllers;
            let Some(controller) = controllers.get(turn.checked_rem(controllers.len()).unwrap_or(0)).cloned() else {
                return;
            };
            let since = Instant::now();
            let wait = match self.session(&controller).await {
                Ended::Stop => return,
                Ended::Renewed => continue,
                Ended::Lost(reason) => {
                    if since.elapsed() > LONGEST_RETRY {
                        retry = FIRST_RETRY;
                    }
                    tracing::warn!(controller, reason, "no connection to the controller; tunnels go on");
                    self.connection.send_replace(Connection { controller, up: false, reason });
                    let wait = retry;
                    retry = (retry * 2).min(LONGEST_RETRY);
                    wait
                }
                Ended::Banished(reason) => {
                    tracing::error!(
                        controller,
                        reason,
                        "the controller does not let this node in: to enrol it anew, stop the agent, delete its state and start it \
                         with a new join token"
                    );
                    self.connection.send_replace(Connection { controller, up: false, reason });
                    BANISHED_RETRY
                }
            };
            tokio::select! {
                () = sleep(wait.mul_f64(rand::rng().random_range(0.5..1.5))) => {}
                () = self.events.closed() => return,
            }
        }
    }

    async fn session(&mut self, controller: &str) -> Ended {
        match self.converse(controller).await {
            Ok(ended) | Err(ended) => ended,
        }
    }

    /// Speaks with the controller until one of both ends it.
    async fn converse(&mut self, controller: &str) -> Result<Ended, Ended> {
        let pem = self.state.pem()?;
        let config = tls::mutual(&self.state.trust, &pem).map_err(|error| Ended::Lost(error.to_string()))?;
        let address = tls::resolve(controller).await.map_err(|error| Ended::Lost(error.to_string()))?;
        // What has no way through the guard cannot be reached to ask for one.
        self.events.send(ControlEvent::Address(address)).await.map_err(|_| Ended::Stop)?;
        let channel = tls::connect(address, &self.state.node.trust_domain, config).await;
        let channel = channel.map_err(|error| Ended::Lost(causes(&error)))?;
        let mut client = AgentClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let (sender, messages) = mpsc::channel(MESSAGES);
        say(&sender, ToController::Hello(self.hello())).await?;
        let opened = timeout(PATIENCE, client.sync(ReceiverStream::new(messages))).await.map_err(|_| late())?;
        let mut plans: Streaming<_> = opened?.into_inner();
        tracing::info!(controller, "connected to the controller");
        let reason = String::new();
        self.connection.send_replace(Connection { controller: controller.to_owned(), up: true, reason });
        self.sas.mark_changed();
        let mut next_report = Instant::now();
        loop {
            let look_at = Instant::from_std(self.renewal.look_at(clocks()));
            tokio::select! {
                () = self.events.closed() => return Ok(Ended::Stop),
                // One plan at a time: the next waits in the stream.
                message = plans.message(), if !self.plans.is_busy() => match message? {
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
                    self.keep();
                    say(&sender, ToController::Status(self.status())).await?;
                }
                () = sleep_until(look_at) => {
                    if self.renewal.is_due(clocks()) {
                        match self.renew(&mut client).await {
                            Ok(()) => return Ok(Ended::Renewed),
                            Err(reason) => {
                                tracing::warn!(reason, "certificate not renewed; trying again in a minute");
                                self.renewal.failed(clocks());
                            }
                        }
                    }
                }
            }
        }
    }

    fn hello(&self) -> Hello {
        let (Version { epoch, generation }, digest) = self.plans.base();
        let endpoints = self.state.node.endpoints.iter().map(ToString::to_string).collect();
        Hello { epoch, generation, digest, agent_version: env!("CARGO_PKG_VERSION").to_owned(), endpoints }
    }

    fn status(&self) -> Status {
        Status {
            generation: self.plans.version().generation,
            ike_sas: self.sas.borrow().clone(),
            certificate_epoch: self.renewal.epoch(),
            certificate_not_after: i64::try_from(self.renewal.not_after()).unwrap_or(i64::MAX),
        }
    }

    /// Hands a plan on to the node, or says why not.
    async fn take(&mut self, message: Option<FromController>, to: &mpsc::Sender<AgentMessage>) -> Result<(), Ended> {
        let Some(message) = message else { return Ok(()) };
        let state = &self.state;
        match self.plans.offered(message, |envelope| verify::envelope(envelope, state)) {
            Ok((plan, version)) => {
                self.renewal.want(plan.node.certificate_epoch, clocks());
                let event = ControlEvent::Plan(Box::new(plan), version);
                self.events.send(event).await.map_err(|_| Ended::Stop)
            }
            Err(Rejected { version: Version { epoch, generation }, reason, ask_again }) => {
                tracing::error!(reason, "plan refused");
                say(to, ToController::Refused(Refused { epoch, generation, reason })).await?;
                if ask_again {
                    Err(Ended::Lost("the plan is asked for from its first entry".to_owned()))
                } else {
                    Ok(())
                }
            }
        }
    }

    /// Tells the controller what the node has made of a plan.
    async fn pass_on(&mut self, verdict: Verdict, to: &mpsc::Sender<AgentMessage>) -> Result<(), Ended> {
        let message = match verdict {
            Verdict::Applied(version) => {
                self.unkept |= self.plans.applied(version).is_some();
                self.keep();
                let Version { epoch, generation } = version;
                ToController::Applied(Applied { epoch, generation })
            }
            Verdict::Refused(Version { epoch, generation }, reason) => {
                self.plans.refused();
                ToController::Refused(Refused { epoch, generation, reason })
            }
        };
        say(to, message).await
    }

    /// Puts the plan that is carried out on disk. A full disk does not keep a plan from being carried out: it is tried again.
    fn keep(&mut self) {
        if !self.unkept {
            return;
        }
        match self.state.keep(self.plans.held(), clocks().unix) {
            Ok(()) => self.unkept = false,
            Err(error) => {
                tracing::error!(error = causes(&error), "the plan is carried out, but not kept for the next start")
            }
        }
    }

    /// Gets a certificate for a new key.
    async fn renew(&mut self, client: &mut AgentClient<Channel>) -> Result<(), String> {
        let identity = self.state.identity();
        let (key, csr_der) = request(&identity, None).map_err(|error| error.to_string())?;
        let certificate_epoch = self.renewal.wanted();
        let answer = timeout(PATIENCE, client.renew(RenewRequest { csr_der, certificate_epoch })).await;
        let answer = answer.map_err(|_| "the controller does not answer".to_owned())?;
        let chain = answer.map_err(|s| s.message().to_owned())?.into_inner().certificate_chain;
        verify::chain(&self.state.trust, &chain, &identity, clocks().unix).map_err(|error| error.to_string())?;
        let pem = chain.iter().fold(key, |pem, der| pem + &pem_of(der));
        self.state.renew(&pem, certificate_epoch).map_err(|error| causes(&error))?;
        self.renewal = renewal(&self.state);
        tracing::info!(certificate_epoch, "certificate renewed");
        let certificate = self.state.certificate().map_err(|error| causes(&error))?;
        let event = ControlEvent::Identity(Box::new(certificate));
        self.events.send(event).await.map_err(|_| "the node has stopped".to_owned())
    }
}

impl From<tonic::Status> for Ended {
    fn from(status: tonic::Status) -> Self {
        let reason = status.message().to_owned();
        if status.code() == Code::Unauthenticated { Self::Banished(reason) } else { Self::Lost(reason) }
    }
}

impl From<StateError> for Ended {
    fn from(error: StateError) -> Self {
        Self::Lost(causes(&error))
    }
}

fn late() -> Ended {
    Ended::Lost("the controller does not answer".to_owned())
}

async fn say(to: &mpsc::Sender<AgentMessage>, message: ToController) -> Result<(), Ended> {
    let sent = timeout(PATIENCE, to.send(AgentMessage { message: Some(message) })).await.map_err(|_| late())?;
    sent.map_err(|_| Ended::Lost("the controller has ended the stream".to_owned()))
}

/// Plans the renewal of the certificate in use; one that is not good has to be renewed at once.
fn renewal(state: &State) -> Renewal {
    let now = clocks();
    let life = state.certificate().ok().and_then(|certificate| verify::life(&certificate.chain));
    Renewal::new(life.unwrap_or_default(), state.node.certificate_epoch, now)
}

fn clocks() -> Clocks {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Clocks { unix, instant: std::time::Instant::now() }
}

/// Waits for a change, but not shorter than until a moment. Returns whether there can be another one.
async fn changed_after(sas: &mut watch::Receiver<Vec<IkeSa>>, moment: Instant) -> bool {
    sleep_until(moment).await;
    sas.changed().await.is_ok()
}
