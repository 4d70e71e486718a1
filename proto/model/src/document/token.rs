//! A join token: lets nodes enrol, a number of times, until a moment.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::{Fault, Kind, Spec};
use crate::labels::Labels;

/// The body of a `JoinToken`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct JoinTokenSpec {
    /// How many nodes may enrol; without it, any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<NonZeroU32>,
    /// When the token ends, as RFC 3339 text. Excludes `expires_in_seconds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// Seconds until the token ends; default 3,600, at most 30 days, so that a leaked token is worth little.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_seconds: Option<NonZeroU32>,
    /// Labels that every node gets which enrols with this token.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

impl JoinTokenSpec {
    /// Returns the moment at which a token ends that is made now.
    ///
    /// # Errors
    /// A moment that is past, or more than 30 days ahead; pointers stand below the body.
    pub fn expiry(&self, now: OffsetDateTime) -> Result<OffsetDateTime, Fault> {
        let Some(text) = &self.expires else {
            let seconds = self.expires_in_seconds.map_or(DEFAULT_SECONDS, NonZeroU32::get);
            let end = now.checked_add(Duration::seconds(i64::from(seconds.min(MAX_SECONDS))));
            return end.ok_or_else(|| Fault::new("/expiresInSeconds", "this moment cannot be written"));
        };
        let end = moment(text)?;
        let ahead = end - now;
        if ahead <= Duration::ZERO {
            return Err(Fault::new("/expires", format!("{text} is past")));
        }
        if ahead > Duration::seconds(i64::from(MAX_SECONDS)) {
            return Err(Fault::new("/expires", format!("{text} is more than 30 days ahead")));
        }
        Ok(end)
    }
}

impl Spec for JoinTokenSpec {
    const KIND: Kind = Kind::JoinToken;

    fn check(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        if let Some(text) = &self.expires {
            faults.extend(moment(text).err());
            if self.expires_in_seconds.is_some() {
                faults.push(Fault::new("/expiresInSeconds", "expires is given as well: leave one of both out"));
            }
        }
        if self.expires_in_seconds.is_some_and(|seconds| seconds.get() > MAX_SECONDS) {
            faults.push(Fault::new("/expiresInSeconds", format!("at most {MAX_SECONDS} (30 days) are allowed")));
        }
        faults
    }
}

fn moment(text: &str) -> Result<OffsetDateTime, Fault> {
    let wrong = |_| Fault::new("/expires", format!("\"{text}\" is not a moment such as 2030-01-31T12:00:00Z"));
    OffsetDateTime::parse(text, &Rfc3339).map_err(wrong)
}

const DEFAULT_SECONDS: u32 = 3_600;
const MAX_SECONDS: u32 = 30 * 24 * 3_600;
