//! Whether the controller is well, for probes and for Prometheus.

use std::fmt::Error;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::app::App;

/// What the probes look at.
#[derive(Clone)]
pub struct Health {
    /// The controller.
    pub app: Arc<App>,
}

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) fn router(health: Health) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(health)
}

/// Ready is who reaches its database.
async fn ready(State(health): State<Health>) -> impl IntoResponse {
    if health.app.store.is_ready().await {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n")
    }
}

async fn metrics(State(health): State<Health>) -> impl IntoResponse {
    match render(&health.app) {
        Ok(text) => Ok(([(header::CONTENT_TYPE, OPENMETRICS)], text)),
        Err(_) => Err(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

fn render(app: &App) -> Result<String, Error> {
    let world = app.world();
    let reports: Vec<_> = world.nodes.iter().map(|node| app.fleet.get(&node.name)).collect();
    let ike_sas: usize = reports.iter().map(|live| live.report.ike_sas.len()).sum();
    let refused = reports.iter().filter(|live| live.refused.is_some()).count();
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let values = [
        ("nodes_enrolled", "Nodes that are enrolled", count(world.nodes.len())),
        ("nodes_connected", "Nodes that are connected", count(app.fleet.connected())),
        ("nodes_refusing", "Nodes that have refused their latest plan", count(refused)),
        ("policies", "Policies", count(world.policies.len())),
        ("generation", "Latest change of plans", i64::try_from(world.version.generation).unwrap_or(i64::MAX)),
        ("ike_sas", "IKE security associations, each counted at both ends", count(ike_sas)),
    ];
    let mut registry = Registry::with_prefix("espalier_controller");
    for (name, help, value) in values {
        let gauge = Gauge::<i64>::default();
        gauge.set(value);
        registry.register(name, help, gauge);
    }
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}
