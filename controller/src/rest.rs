//! REST: what operators and their tools speak. JSON documents in, JSON documents out, problems by RFC 9457.

mod auth;
mod health;
mod mesh;
mod nodes;
mod page;
mod policies;
mod problem;
mod rotations;
mod status;
mod tags;
mod tokens;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, post};

use crate::app::App;

pub use health::Health;
use problem::Problem;

type AppState = Arc<App>;

/// A document has 1 MiB at most.
const MOST_BYTES: usize = 1 << 20;

/// Builds the interface of operators.
pub fn router(app: Arc<App>) -> Router {
    let guarded = Router::new()
        .route("/mesh", get(mesh::read).put(mesh::write))
        .route("/nodes", get(nodes::list))
        .route("/nodes/{name}", get(nodes::read).delete(nodes::remove))
        .route("/policies", get(policies::list))
        .route("/policies/{name}", get(policies::read).put(policies::write).delete(policies::remove))
        .route("/join-tokens", get(tokens::list).post(tokens::make))
        .route("/join-tokens/{name}", delete(tokens::remove))
        .route("/rotations", get(rotations::list).post(rotations::start))
        .route("/rotations/{name}", get(rotations::read))
        .route("/certificates", get(nodes::certificates))
        .route("/certificates/{serial}/revoke", post(nodes::revoke))
        .route("/status", get(status::read))
        .layer(from_fn_with_state(Arc::clone(&app), auth::demand))
        .layer(DefaultBodyLimit::max(MOST_BYTES));
    Router::new()
        .nest("/api/v1", guarded.with_state(Arc::clone(&app)))
        .merge(health::router(Health { app }))
        .fallback(|| async { Problem::not_found("there is nothing at this address") })
        .method_not_allowed_fallback(|| async { Problem::method() })
}

/// Builds what is served without TLS and without a token: whether the controller is well, and its metrics.
pub fn plain(app: Arc<App>) -> Router {
    health::router(Health { app })
}
