//! Policies.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use espalier_api::Page;
use espalier_model::document::policy::PolicySpec;
use espalier_model::document::{Document, Fault};

use super::auth::ADMIN;
use super::page::{PageQuery, page};
use super::tags::{etag, expected};
use super::{AppState, Problem};
use crate::planner;
use crate::store::Stored;

pub(super) async fn list(
    State(app): State<AppState>,
    query: Query<PageQuery>,
) -> Result<Json<Page<Document<PolicySpec>>>, Problem> {
    let (after, limit) = PageQuery::read(&query)?;
    let policies = app.store.policies(&after, limit).await?;
    Ok(Json(page(policies, limit, |p| p.metadata.name.to_string(), document)))
}

pub(super) async fn read(State(app): State<AppState>, Path(name): Path<String>) -> Result<impl IntoResponse, Problem> {
    let policy = app.store.policy(&name).await?;
    Ok((etag(policy.version), Json(document(policy))))
}

/// Writes a policy, whole. Plans follow at once.
pub(super) async fn write(
    State(app): State<AppState>,
    Path(name): Path<String>,
    headers: HeaderMap,
    text: String,
) -> Result<impl IntoResponse, Problem> {
    let document = Document::<PolicySpec>::parse(&text).map_err(Problem::faults)?;
    let mut faults = Vec::new();
    if document.metadata.name.as_str() != name {
        let message =
            format!("the document is of {}, the address of {name}: make them the same", document.metadata.name);
        faults.push(Fault::new("/metadata/name", message));
    }
    if !planner::profiles().contains(&document.spec.profile) {
        let known: Vec<_> = planner::profiles().iter().map(ToString::to_string).collect();
        let message = format!("there is no profile {}; there is {}", document.spec.profile, known.join(", "));
        faults.push(Fault::new("/spec/profile", message));
    }
    if !faults.is_empty() {
        return Err(Problem::faults(faults));
    }
    let expect = expected(&headers)?;
    let (version, existed) = app.store.put_policy(ADMIN, &document.metadata, &document.spec, expect).await?;
    app.refresh().await?;
    let status = if existed { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, etag(version), Json(document)))
}

pub(super) async fn remove(
    State(app): State<AppState>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    app.store.delete_policy(ADMIN, &name, expected(&headers)?).await?;
    app.refresh().await?;
    Ok(StatusCode::NO_CONTENT)
}

fn document(policy: Stored<PolicySpec>) -> Document<PolicySpec> {
    Document::new(policy.metadata, policy.spec)
}
