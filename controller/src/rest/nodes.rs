//! Nodes and their certificates.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use espalier_api::{CertificateStatus, Page};
use espalier_model::document::node::NodeSpec;
use espalier_model::document::{Document, Metadata};
use time::OffsetDateTime;

use super::auth::ADMIN;
use super::page::{PageQuery, page};
use super::tags::etag;
use super::{AppState, Problem};
use crate::store::NodeRow;

pub(super) async fn list(
    State(app): State<AppState>,
    query: Query<PageQuery>,
) -> Result<Json<Page<Document<NodeSpec>>>, Problem> {
    let (after, limit) = PageQuery::read(&query)?;
    let nodes = app.store.nodes(&after, limit).await?;
    Ok(Json(page(nodes, limit, |n| n.name.to_string(), document)))
}

pub(super) async fn read(State(app): State<AppState>, Path(name): Path<String>) -> Result<impl IntoResponse, Problem> {
    let node = app.store.node(&name).await?;
    Ok((etag(node.version), Json(document(node))))
}

/// Deletes a node: its certificates are revoked, its stream ends, the others forget it.
pub(super) async fn remove(State(app): State<AppState>, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    app.store.delete_node(ADMIN, &name, OffsetDateTime::now_utc().unix_timestamp()).await?;
    app.refresh().await?;
    app.fleet.end(&name);
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn certificates(State(app): State<AppState>) -> Result<Json<Page<CertificateStatus>>, Problem> {
    let rows = app.store.certificates().await?.into_iter();
    let items = rows.map(|row| CertificateStatus {
        serial: row.serial,
        node: row.node,
        not_after: row.not_after,
        revoked_at: row.revoked_at,
    });
    Ok(Json(Page { items: items.collect(), next: None }))
}

/// Revokes a certificate: every node hears of it, and its own stream ends.
pub(super) async fn revoke(State(app): State<AppState>, Path(serial): Path<String>) -> Result<StatusCode, Problem> {
    app.store.revoke(ADMIN, &serial).await?;
    app.refresh().await?;
    Ok(StatusCode::NO_CONTENT)
}

fn document(node: NodeRow) -> Document<NodeSpec> {
    Document::new(Metadata { name: node.name, labels: node.labels }, node.spec)
}
