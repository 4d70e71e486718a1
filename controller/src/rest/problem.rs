//! Problem documents (RFC 9457).

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use espalier_api::FieldError;
use espalier_model::document::Fault;

use crate::app::AppError;
use crate::store::StoreError;

/// What is answered when something is wrong.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    title: &'static str,
    detail: String,
    errors: Vec<FieldError>,
}

impl Problem {
    fn new(status: StatusCode, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, title, detail: detail.into(), errors: Vec::new() }
    }

    /// A document with faults.
    pub(super) fn faults(faults: Vec<Fault>) -> Self {
        let detail = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        let error = |fault: Fault| FieldError { pointer: fault.pointer, detail: fault.message };
        let errors = faults.into_iter().map(error).collect();
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "the document cannot be accepted", detail) }
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "the request cannot be understood", detail)
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not found", detail)
    }

    pub(super) fn method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed", "this address does not take this method")
    }

    pub(super) fn unauthorized(detail: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "not authorised", detail)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let text = error.to_string();
        match error {
            StoreError::Missing(..) => Self::not_found(text),
            StoreError::Exists(..)
            | StoreError::OtherKey(_)
            | StoreError::Revoked(_)
            | StoreError::Full
            | StoreError::Token(_) => Self::new(StatusCode::CONFLICT, "this exists already", text),
            StoreError::Changed(..) => Self::new(StatusCode::PRECONDITION_FAILED, "changed meanwhile", text),
            StoreError::Database(_) | StoreError::Migrate(_) | StoreError::Row(..) => {
                tracing::error!(error = &error as &dyn std::error::Error, "request failed");
                let detail = "the request was not carried out; the controller's log says why";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the controller has failed", detail)
            }
        }
    }
}

impl From<AppError> for Problem {
    fn from(error: AppError) -> Self {
        match error {
            AppError::Store(error) => error.into(),
            AppError::Pki(_) | AppError::Keyring(_) | AppError::Mesh(_) => {
                tracing::error!(error = &error as &dyn std::error::Error, "request failed");
                let detail = "the request was not carried out; the controller's log says why";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the controller has failed", detail)
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { status, title, detail, errors } = self;
        let body = espalier_api::Problem { title: title.to_owned(), status: status.as_u16(), detail, errors };
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
