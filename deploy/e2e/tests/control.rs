//! The agent's side of the controller against a real controller, on loopback: enrolment, plans, verdicts, renewal, banishment.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

#[path = "../../../controller/tests/common/controller.rs"]
mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::{Controller, LOOPBACK};
use espalier_agent::control::enrol::{EnrolError, Enrolment};
use espalier_agent::control::state::State;
use espalier_agent::control::{Connection, Control, ControlEvent};
use espalier_controller::grpc::serve;
use espalier_controller::tls::{self, ServerIdentity};
use espalier_model::document::rotation::RotationScope;
use espalier_model::envelope::Version;
use espalier_model::join::JoinToken;
use espalier_model::plan::NodePlan;
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(20);

struct World {
    controller: Controller,
    address: String,
    folder: TempDir,
    stop: CancellationToken,
}

impl World {
    async fn new() -> Self {
        let controller = Controller::new().await;
        let listener = TcpListener::bind(LOOPBACK).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let signing = controller.app.signing();
        let identity = ServerIdentity::new(&signing.authority, &[], OffsetDateTime::now_utc()).unwrap();
        let config = tls::grpc(Arc::new(identity), signing.authority.root()).unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(serve(Arc::clone(&controller.app), listener, config, stop.clone()));
        Self { controller, address, folder: tempfile::tempdir().unwrap(), stop }
    }

    /// Makes a join token as operators get it.
    async fn token(&self, secret: &str, uses: Option<u32>, seconds: i64) -> JoinToken {
        let text = self.text(self.controller.app.signing().authority.root(), secret);
        let row = espalier_controller::store::TokenRow {
            name: secret.parse().unwrap(),
            uses_left: uses,
            expires: OffsetDateTime::now_utc().unix_timestamp() + seconds,
            labels: serde_json::from_str("{}").unwrap(),
        };
        let hash = espalier_controller::app::token_hash(&text);
        self.controller.app.store.add_token("test", &row, &hash, 0).await.unwrap();
        text.parse().unwrap()
    }

    fn text(&self, root: &[u8], secret: &str) -> String {
        let fingerprint: String = espalier_crypto::sha256(&[root]).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("espalier1:{fingerprint}:mesh.example:{secret:0<43}")
    }

    async fn enrol(&self, name: &str, token: &JoinToken) -> Result<State, EnrolError> {
        let enrolment = Enrolment {
            controllers: &["127.0.0.1:1".to_owned(), self.address.clone()],
            token,
            name: &name.parse().unwrap(),
            endpoints: &["192.0.2.1".parse().unwrap()],
            folder: &self.state(name),
        };
        enrolment.first().await
    }

    fn state(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    async fn node(&self, name: &str) -> State {
        let token = self.token(&format!("for-{name}"), Some(1), 60).await;
        self.enrol(name, &token).await.unwrap()
    }

    /// Waits until the controller knows something of a node.
    async fn await_live(&self, node: &str, is_so: impl Fn(&espalier_controller::fleet::Live) -> bool) {
        let name = node.parse().unwrap();
        let wait = async {
            while !is_so(&self.controller.app.fleet.get(&name)) {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(SOON, wait).await.expect("the controller does not come to know it");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn next(control: &mut Control) -> ControlEvent {
    loop {
        match timeout(SOON, control.event()).await.expect("nothing comes") {
            ControlEvent::Address(_) => {}
            event @ (ControlEvent::Plan(..) | ControlEvent::Identity(_)) => return event,
        }
    }
}

async fn plan(control: &mut Control) -> (Box<NodePlan>, Version) {
    match next(control).await {
        ControlEvent::Plan(plan, version) => (plan, version),
        ControlEvent::Identity(_) | ControlEvent::Address(_) => panic!("a plan was awaited"),
    }
}

async fn await_connection(control: &Control, is_so: impl Fn(&Connection) -> bool) {
    let wait = async {
        while !is_so(&control.connection()) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, wait).await.unwrap_or_else(|_| panic!("{:?}", control.connection()));
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn enrolment_tries_each_controller_and_keeps_its_secrets_to_root() {
    let world = World::new().await;
    let state = world.node("a").await;
    assert_eq!(state.identity().to_string(), "a.node.mesh.example");
    assert_eq!(mode(&world.state("a")), 0o700);
    assert_eq!(mode(&state.identity_file()), 0o600);
    assert!(!world.state("a").join("enrolling.pem").exists());
    assert_eq!(State::load(&world.state("a")).unwrap().unwrap().identity(), state.identity());
}

#[tokio::test]
async fn a_node_that_lost_the_answer_enrols_again_with_a_used_up_token() {
    let world = World::new().await;
    let token = world.token("once", Some(1), 60).await;
    let state = world.enrol("a", &token).await.unwrap();
    // As if the power had gone before the answer was on disk.
    fs::rename(state.identity_file(), world.state("a").join("enrolling.pem")).unwrap();
    fs::remove_file(world.state("a").join("node.json")).unwrap();
    world.enrol("a", &token).await.unwrap();
    let error = world.enrol("b", &token).await.err().unwrap().to_string();
    assert!(error.contains("used up"), "{error}");
    let error = world.enrol("b", &token).await.err().unwrap().to_string();
    assert!(error.contains("used up") && State::load(&world.state("b")).unwrap().is_none(), "{error}");
}

#[tokio::test]
async fn a_controller_with_another_root_hears_no_token() {
    let world = World::new().await;
    let token: JoinToken = world.text(b"another root", "secret").parse().unwrap();
    let error = world.enrol("a", &token).await.err().unwrap();
    assert!(matches!(&error, EnrolError::Unreachable(address, _) if *address == world.address), "{error}");
}

#[tokio::test]
async fn what_the_node_carries_out_is_reported_and_kept_and_what_it_refuses_is_not() {
    let world = World::new().await;
    let mut control = Control::start(world.node("a").await);
    let (first, version) = plan(&mut control).await;
    assert_eq!(first.peers.len(), 0);
    control.applied(version);
    world.await_live("a", |live| live.applied == version).await;

    world.node("b").await;
    let (second, refused) = plan(&mut control).await;
    assert_eq!(second.peers.len(), 1);
    control.refused(refused, "a port is taken".to_owned());
    world.await_live("a", |live| live.refused.as_deref() == Some("a port is taken") && live.applied == version).await;
    let kept = |node: &str| State::load(&world.state(node)).unwrap().unwrap().plan().1;
    assert_eq!(kept("a").unwrap().peers.len(), 0, "a start now would begin with the plan before");

    world.node("c").await;
    let (third, version) = plan(&mut control).await;
    assert_eq!(third.peers.len(), 2, "the whole plan");
    control.applied(version);
    world.await_live("a", |live| live.applied == version && live.refused.is_none()).await;
    assert_eq!(kept("a").unwrap().peers.len(), 2);
}

#[tokio::test]
async fn a_plan_that_cannot_be_kept_is_carried_out_and_kept_later() {
    let world = World::new().await;
    let state = world.node("a").await;
    let file = world.state("a").join("plan.json");
    fs::create_dir(&file).unwrap();
    let mut control = Control::start(state);
    let (_, version) = plan(&mut control).await;
    control.applied(version);
    world.await_live("a", |live| live.applied == version).await;
    fs::remove_dir(&file).unwrap();
    control.report(Vec::new());
    let wait = async {
        while !file.is_file() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, wait).await.expect("it is kept once it can be");
}

#[tokio::test]
async fn a_rotation_of_certificates_reaches_the_node() {
    let world = World::new().await;
    let mut control = Control::start(world.node("a").await);
    let (_, version) = plan(&mut control).await;
    control.applied(version);
    let before = fs::read(world.state("a").join("identity.pem")).unwrap();
    let app = &world.controller.app;
    app.store.rotate("test", &"first".parse().unwrap(), RotationScope::Certificates, 0).await.unwrap();
    app.refresh().await.unwrap();
    let (plan, version) = plan(&mut control).await;
    assert_eq!(plan.node.certificate_epoch, 1);
    control.applied(version);
    assert!(matches!(next(&mut control).await, ControlEvent::Identity(_)));
    assert_ne!(fs::read(world.state("a").join("identity.pem")).unwrap(), before);
    world.await_live("a", |live| live.connected && live.report.certificate_epoch == 1).await;
    // A node that enrols now has nothing to catch up with.
    let mut late = Control::start(world.node("b").await);
    let ControlEvent::Plan(_, version) = next(&mut late).await else { panic!("a plan comes first") };
    late.applied(version);
    world.await_live("b", |live| live.report.certificate_epoch == 1).await;
}

#[tokio::test]
async fn a_node_that_was_deleted_is_told_so() {
    let world = World::new().await;
    let mut control = Control::start(world.node("a").await);
    let (_, version) = plan(&mut control).await;
    control.applied(version);
    await_connection(&control, |connection| connection.up).await;
    world.controller.app.store.delete_node("test", "a", 0).await.unwrap();
    world.controller.app.refresh().await.unwrap();
    await_connection(&control, |connection| !connection.up && connection.reason.contains("deleted")).await;
}
