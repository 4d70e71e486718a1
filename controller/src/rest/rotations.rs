//! Rotations of keys and certificates.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use espalier_api::{Page, RotationStatus};
use espalier_model::document::Document;
use espalier_model::document::rotation::{RotationScope, RotationSpec};
use time::OffsetDateTime;

use super::auth::ADMIN;
use super::{AppState, Problem};
use crate::store::RotationRow;

pub(super) async fn list(State(app): State<AppState>) -> Result<Json<Page<RotationStatus>>, Problem> {
    let items = app.store.rotations().await?.into_iter().map(|row| show(&app, row)).collect();
    Ok(Json(Page { items, next: None }))
}

pub(super) async fn read(
    State(app): State<AppState>,
    Path(name): Path<String>,
) -> Result<Json<RotationStatus>, Problem> {
    let found = app.store.rotations().await?.into_iter().find(|row| row.name.as_str() == name);
    found.map(|row| Json(show(&app, row))).ok_or_else(|| Problem::not_found(format!("there is no rotation {name}")))
}

/// Starts a rotation: it ends by itself, and `done` reaches `total`.
pub(super) async fn start(
    State(app): State<AppState>,
    text: String,
) -> Result<(StatusCode, Json<RotationStatus>), Problem> {
    let document = Document::<RotationSpec>::parse(&text).map_err(Problem::faults)?;
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let row = app.store.rotate(ADMIN, &document.metadata.name, document.spec.scope, now).await?;
    app.refresh().await?;
    Ok((StatusCode::CREATED, Json(show(&app, row))))
}

/// Counts by what nodes report, not by what they were told.
fn show(app: &AppState, row: RotationRow) -> RotationStatus {
    let RotationRow { name, scope, epoch, started } = row;
    let world = app.world();
    let reports: Vec<_> = world.nodes.iter().map(|node| app.fleet.get(&node.name).report).collect();
    let epochs: Vec<u64> = match scope {
        RotationScope::Keys => reports.iter().flat_map(|report| &report.ike_sas).map(|sa| sa.key_epoch).collect(),
        RotationScope::Certificates => reports.iter().map(|report| report.certificate_epoch).collect(),
    };
    let done = epochs.iter().filter(|reached| **reached >= epoch).count();
    RotationStatus { name, scope, epoch, started, done, total: epochs.len() }
}
