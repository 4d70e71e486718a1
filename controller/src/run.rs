//! The controller from start to stop.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum_server::tls_rustls::RustlsConfig;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use thiserror::Error;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::app::{App, AppError, LOOK_AGAIN};
use crate::config::Config;
use crate::keyring::{Kek, KeyringError, check_apart};
use crate::store::{Store, StoreError};
use crate::tls::{self, ServerIdentity, TlsError};
use crate::{grpc, rest};

/// Why the controller cannot start or go on.
#[derive(Debug, Error)]
pub enum RunError {
    /// The state cannot serve.
    #[error(transparent)]
    App(#[from] AppError),
    /// The database cannot serve.
    #[error("database {}", .0.display())]
    Store(PathBuf, #[source] StoreError),
    /// The key-encryption key cannot serve.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The certificate cannot serve.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address is taken, or not ours.
    #[error("cannot listen on {0}: is another program there, or another controller?")]
    Listen(SocketAddr, #[source] io::Error),
    /// A file cannot be written.
    #[error("cannot write {}", .0.display())]
    Write(PathBuf, #[source] io::Error),
    /// A server failed.
    #[error("a server failed")]
    Server(#[source] io::Error),
    /// The gRPC server failed.
    #[error("the gRPC server failed")]
    Grpc(#[from] tonic::transport::Error),
}

/// Time for requests under way when the controller stops.
const PATIENCE: Duration = Duration::from_secs(5);
const HOUR: Duration = Duration::from_secs(3_600);
/// The controller's own certificate has 30 days; this is a third.
const RENEW_HOURS: u32 = 240;

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// Why it cannot start, or which server has failed.
pub async fn run(config: Config) -> Result<(), RunError> {
    // First what fails at once: a taken port must not leave a half-made mesh behind.
    let grpc_listener = listen(config.grpc).await?;
    let rest_listener = listen(config.rest).await?;
    let metrics_listener = listen(config.metrics).await?;
    let app = open(&config).await?;
    let now = OffsetDateTime::now_utc();
    let signing = app.signing();
    let identity = Arc::new(ServerIdentity::new(&signing.authority, &config.names, now)?);
    let stop = CancellationToken::new();

    let grpc_config = tls::grpc(Arc::clone(&identity), signing.authority.root())?;
    let grpc = tokio::spawn(grpc::serve(Arc::clone(&app), grpc_listener, grpc_config, stop.clone()));
    let rest_config = RustlsConfig::from_config(Arc::new(tls::rest(Arc::clone(&identity))?));
    let rest_listener = rest_listener.into_std().map_err(RunError::Server)?;
    let handle = axum_server::Handle::new();
    let rest = axum_server::from_tcp_rustls(rest_listener, rest_config).map_err(RunError::Server)?;
    let rest = tokio::spawn(rest.handle(handle.clone()).serve(rest::router(Arc::clone(&app)).into_make_service()));
    let metrics = axum::serve(metrics_listener, rest::plain(Arc::clone(&app)));
    let metrics = tokio::spawn(metrics.with_graceful_shutdown(stop.clone().cancelled_owned()).into_future());
    let upkeep = tokio::spawn(upkeep(Arc::clone(&app), Arc::clone(&identity), config.names.clone(), stop.clone()));
    tracing::info!(grpc = %config.grpc, rest = %config.rest, metrics = %config.metrics, "running");

    let mut servers = (grpc, rest, metrics);
    let result = tokio::select! {
        () = signalled() => Ok(()),
        ended = &mut servers.0 => Err(ended.map_or_else(|e| RunError::Server(e.into()), |r| r.map_or_else(Into::into, |()| gone()))),
        ended = &mut servers.1 => Err(ended.map_or_else(|e| RunError::Server(e.into()), |r| r.map_or_else(RunError::Server, |()| gone()))),
        ended = &mut servers.2 => Err(ended.map_or_else(|e| RunError::Server(e.into()), |r| r.map_or_else(RunError::Server, |()| gone()))),
    };
    tracing::info!("stopping");
    stop.cancel();
    handle.graceful_shutdown(Some(PATIENCE));
    app.stop();
    for server in [timeout(PATIENCE, servers.0).await.is_ok(), timeout(PATIENCE, servers.1).await.is_ok()] {
        if !server {
            tracing::warn!("requests were still under way");
        }
    }
    // It ends by itself; nothing depends on it.
    let _ = timeout(PATIENCE, upkeep).await;
    app.store.close().await;
    tracing::info!("stopped");
    result
}

async fn open(config: &Config) -> Result<Arc<App>, RunError> {
    let kek = match std::env::var("ESPALIER_KEK").map(Zeroizing::new) {
        Ok(text) => Kek::from_base64(&text, "ESPALIER_KEK")?,
        Err(_) => {
            check_apart(&config.database, &config.kek_file)?;
            Kek::from_file(&config.kek_file)?
        }
    };
    if let Some(folder) = config.database.parent() {
        fs::create_dir_all(folder).map_err(|error| RunError::Write(folder.to_owned(), error))?;
    }
    let fail = |error| RunError::Store(config.database.clone(), error);
    let store = Store::open(&config.database).await.map_err(fail)?;
    let first = store.mesh().await.map_err(fail)?.is_none();
    let token = Zeroizing::new(new_token());
    if first {
        // Before the database knows of it: a token that nobody can read would lock everyone out.
        write_secret(&config.admin_token_file, &token)?;
    }
    let app = App::open(store, kek, &config.mesh, &token).await?;
    let root = app.signing().authority.root_pem();
    fs::write(&config.root_file, root).map_err(|error| RunError::Write(config.root_file.clone(), error))?;
    if first {
        tracing::info!(file = %config.admin_token_file.display(), "the administrator's token is written");
    }
    Ok(app)
}

/// Sees to what time brings: changes that nobody told of, and certificates.
async fn upkeep(app: Arc<App>, identity: Arc<ServerIdentity>, names: Vec<String>, stop: CancellationToken) {
    let (mut look, mut hours) = (interval(LOOK_AGAIN), interval(HOUR));
    let mut passed = 0_u32;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = look.tick() => {
                if let Err(error) = app.refresh().await {
                    tracing::warn!(error = &error as &dyn std::error::Error, "the database cannot be read");
                }
            }
            _ = hours.tick() => {
                let now = OffsetDateTime::now_utc();
                if let Err(error) = app.roll(now).await {
                    tracing::error!(error = &error as &dyn std::error::Error, "the issuing authority cannot be rolled");
                }
                if passed.is_multiple_of(RENEW_HOURS)
                    && let Err(error) = identity.renew(&app.signing().authority, &names, now)
                {
                    tracing::error!(error = &error as &dyn std::error::Error, "the controller's certificate cannot be renewed");
                }
                passed = passed.wrapping_add(1);
            }
        }
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, RunError> {
    TcpListener::bind(address).await.map_err(|error| RunError::Listen(address, error))
}

async fn signalled() {
    match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        _ => tracing::error!("signals cannot be received"),
    }
}

fn gone() -> RunError {
    RunError::Server(io::Error::other("it ended by itself"))
}

fn new_token() -> String {
    let mut secret = Zeroizing::new([0; 32]);
    aws_lc_rs::rand::fill(&mut *secret).expect("the system has randomness");
    BASE64_URL_SAFE_NO_PAD.encode(*secret)
}

fn write_secret(path: &Path, text: &str) -> Result<(), RunError> {
    let fail = |error| RunError::Write(path.to_owned(), error);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(fail)?;
    }
    // A file of another first start is of no use any more.
    let _ = fs::remove_file(path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(fail)?;
    file.write_all(text.as_bytes()).and_then(|()| file.write_all(b"\n")).and_then(|()| file.sync_all()).map_err(fail)
}
