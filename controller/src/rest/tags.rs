//! Entity tags: a change is made on what was read, or not at all (RFC 9110 §13).

use axum::http::header::{ETAG, IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderName};

use super::Problem;
use crate::store::Expect;

/// Returns the header that tells a version.
pub(super) fn etag(version: u64) -> [(HeaderName, String); 1] {
    [(ETAG, format!("\"{version}\""))]
}

/// Reads what has to be there for a change to take place.
pub(super) fn expected(headers: &HeaderMap) -> Result<Expect, Problem> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default().trim());
    match (text(IF_MATCH), text(IF_NONE_MATCH)) {
        (None, None) => Ok(Expect::Any),
        (None, Some("*")) => Ok(Expect::Nothing),
        (Some(tag), None) => {
            let version = tag.strip_prefix('"').and_then(|t| t.strip_suffix('"')).and_then(|t| t.parse().ok());
            version
                .map(Expect::Version)
                .ok_or_else(|| Problem::bad_request("If-Match takes one ETag as it was read, such as \"3\""))
        }
        _ => Err(Problem::bad_request("send If-Match with an ETag, or If-None-Match: *, not both")),
    }
}
