//! Lists by opaque cursor.

use axum::extract::Query;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use espalier_api::Page;
use serde::Deserialize;

use super::Problem;

/// Where a page begins, and how much it holds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    cursor: Option<String>,
    limit: Option<u32>,
}

const USUAL: u32 = 100;
const MOST: u32 = 500;

impl PageQuery {
    /// Returns the name after which the page begins, and one item more than it holds.
    pub(super) fn read(query: &Query<Self>) -> Result<(String, u32), Problem> {
        let wrong = || Problem::bad_request("cursor: give back what the page before said as next");
        let after =
            query.cursor.as_ref().map_or(Ok(Vec::new()), |c| BASE64_URL_SAFE_NO_PAD.decode(c)).map_err(|_| wrong())?;
        let after = String::from_utf8(after).map_err(|_| wrong())?;
        let limit = query.limit.unwrap_or(USUAL);
        if !(1..=MOST).contains(&limit) {
            return Err(Problem::bad_request(format!("limit: {limit} is not from 1 to {MOST}")));
        }
        Ok((after, limit + 1))
    }
}

/// Makes a page of items of which there may be one too many.
pub(super) fn page<T, U>(mut items: Vec<T>, limit: u32, name: impl Fn(&T) -> String, show: impl Fn(T) -> U) -> Page<U> {
    let most = usize::try_from(limit.saturating_sub(1)).unwrap_or(usize::MAX);
    let more = items.len() > most;
    items.truncate(most);
    let next = items.last().filter(|_| more).map(|item| BASE64_URL_SAFE_NO_PAD.encode(name(item)));
    Page { items: items.into_iter().map(show).collect(), next }
}
