//! The mesh.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use espalier_model::document::mesh::MeshSpec;
use espalier_model::document::{Document, Fault, Metadata};
use espalier_model::labels::Labels;

use super::auth::ADMIN;
use super::tags::{etag, expected};
use super::{AppState, Problem};

/// There is one mesh.
const NAME: &str = "mesh";

pub(super) async fn read(State(app): State<AppState>) -> Result<impl IntoResponse, Problem> {
    let (spec, version) = app.store.mesh_document().await?;
    let name = NAME.parse().map_err(|_| Problem::not_found("there is no mesh"))?;
    Ok((etag(version), Json(Document::new(Metadata { name, labels: Labels::default() }, spec))))
}

/// Changes what of the mesh can be changed: what may never pass in the clear.
pub(super) async fn write(
    State(app): State<AppState>,
    headers: HeaderMap,
    text: String,
) -> Result<impl IntoResponse, Problem> {
    let document = Document::<MeshSpec>::parse(&text).map_err(Problem::faults)?;
    let (before, _) = app.store.mesh_document().await?;
    let mut faults = Vec::new();
    if document.metadata.name.as_str() != NAME {
        faults.push(Fault::new("/metadata/name", format!("the mesh is called {NAME}")));
    }
    if document.spec.trust_domain != before.trust_domain {
        let message = format!("the trust domain is {} for ever: every certificate ends in it", before.trust_domain);
        faults.push(Fault::new("/spec/trustDomain", message));
    }
    if document.spec.pools != before.pools {
        faults.push(Fault::new("/spec/pools", "the pools cannot be changed while nodes have addresses from them"));
    }
    if !faults.is_empty() {
        return Err(Problem::faults(faults));
    }
    let version = app.store.put_mesh(ADMIN, &document.spec, expected(&headers)?).await?;
    app.refresh().await?;
    Ok((etag(version), Json(document)))
}
