//! Traffic in words.

use espalier_model::selector::TrafficSelector;

use super::names::listed;

/// Shows traffic between our side and theirs.
pub(crate) fn between(local: &[TrafficSelector], remote: &[TrafficSelector]) -> String {
    let side = |selectors: &[TrafficSelector]| listed(selectors.iter().map(ToString::to_string));
    format!("{} <-> {}", side(local), side(remote))
}
