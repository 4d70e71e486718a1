//! Join tokens.

use std::num::NonZeroU32;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use espalier_api::{Page, TokenStatus};
use espalier_model::document::Document;
use espalier_model::document::token::JoinTokenSpec;
use time::OffsetDateTime;

use super::auth::ADMIN;
use super::{AppState, Problem};
use crate::app::token_hash;
use crate::store::TokenRow;

pub(super) async fn list(State(app): State<AppState>) -> Result<Json<Page<TokenStatus>>, Problem> {
    let items = app.store.tokens().await?.into_iter().map(|row| show(row, None)).collect();
    Ok(Json(Page { items, next: None }))
}

/// Makes a token. It is answered once and stored hashed.
pub(super) async fn make(
    State(app): State<AppState>,
    text: String,
) -> Result<(StatusCode, Json<TokenStatus>), Problem> {
    let document = Document::<JoinTokenSpec>::parse(&text).map_err(Problem::faults)?;
    let now = OffsetDateTime::now_utc();
    let expires = document.spec.expiry(now).map_err(|fault| Problem::faults(vec![fault.below("/spec")]))?;
    let row = TokenRow {
        name: document.metadata.name,
        uses_left: document.spec.uses.map(NonZeroU32::get),
        expires: expires.unix_timestamp(),
        labels: document.spec.labels,
    };
    let token = new_token(&app);
    app.store.add_token(ADMIN, &row, &token_hash(&token), now.unix_timestamp()).await?;
    Ok((StatusCode::CREATED, Json(show(row, Some(token)))))
}

pub(super) async fn remove(State(app): State<AppState>, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    app.store.delete_token(ADMIN, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A token names the mesh's root by its fingerprint: whoever enrols knows whom it speaks with.
fn new_token(app: &AppState) -> String {
    let signing = app.signing();
    let root = token_fingerprint(signing.authority.root());
    let mut secret = [0; 32];
    aws_lc_rs::rand::fill(&mut secret).expect("the system has randomness");
    let secret = BASE64_URL_SAFE_NO_PAD.encode(secret);
    format!("espalier1:{root}:{}:{secret}", signing.authority.trust_domain())
}

fn token_fingerprint(root: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, root);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn show(row: TokenRow, token: Option<String>) -> TokenStatus {
    TokenStatus { name: row.name, uses_left: row.uses_left, expires: row.expires, labels: row.labels, token }
}
