//! Health and metrics over plain HTTP.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http::{Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::Asker;

/// Scrapers and probes; whoever comes on top waits.
const CONNECTIONS: usize = 32;
const PATIENCE: Duration = Duration::from_secs(10);
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers `/healthz`, `/readyz` and `/metrics` until the agent ends.
///
/// # Errors
/// The address cannot be listened on.
pub async fn serve(address: SocketAddr, asker: Asker) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    tokio::spawn(async move {
        while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let asker = asker.clone();
            tokio::spawn(async move {
                let service = service_fn(|request| answer(request, &asker));
                let mut server = http1::Builder::new();
                let server = server.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(16 << 10);
                // A scraper that hangs up has what it wants.
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
                drop(slot);
            });
        }
    });
    Ok(())
}

async fn answer(request: Request<Incoming>, asker: &Asker) -> Result<Response<String>, Infallible> {
    let plain = "text/plain; charset=utf-8";
    let status = asker.status().await;
    let (code, kind, text) = match (request.uri().path(), status) {
        (_, None) => (StatusCode::SERVICE_UNAVAILABLE, plain, "the agent stops\n".to_owned()),
        ("/healthz", _) => (StatusCode::OK, plain, "ok\n".to_owned()),
        ("/readyz", Some(status)) if status.is_ready() => (StatusCode::OK, plain, "ready\n".to_owned()),
        ("/readyz", Some(status)) => {
            let down = status.down();
            let text =
                if down.is_empty() { "no plan yet\n".to_owned() } else { format!("down: {}\n", down.join(", ")) };
            (StatusCode::SERVICE_UNAVAILABLE, plain, text)
        }
        ("/metrics", Some(status)) => match status.metrics() {
            Ok(text) => (StatusCode::OK, OPENMETRICS, text),
            Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, plain, "the metrics cannot be written\n".to_owned()),
        },
        _ => (StatusCode::NOT_FOUND, plain, "there is /healthz, /readyz and /metrics\n".to_owned()),
    };
    let mut response = Response::new(text);
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
    Ok(response)
}
