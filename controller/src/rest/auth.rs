//! Who may: whoever shows an administrator's token.

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::Response;

use super::{AppState, Problem};
use crate::app::token_hash;

/// The name under which changes are noted.
pub(super) const ADMIN: &str = "admin";

/// Lets a request pass that brings an administrator's token. Certificates of nodes authorise nothing here.
pub(super) async fn demand(State(app): State<AppState>, request: Request, next: Next) -> Result<Response, Problem> {
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = header.and_then(|value| value.strip_prefix("Bearer "));
    let Some(token) = token else {
        return Err(Problem::unauthorized("send the header Authorization: Bearer, and an administrator's token"));
    };
    // The comparison is of hashes, inside the database: its time says nothing about the token.
    if !app.store.is_admin(&token_hash(token.trim())).await? {
        return Err(Problem::unauthorized("this token is not an administrator's"));
    }
    Ok(next.run(request).await)
}
