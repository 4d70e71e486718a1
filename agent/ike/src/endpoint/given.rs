//! The addresses that go with the SA in use of each peer, as the driver was told last.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use espalier_model::identity::Identity;

use crate::output::Output;

/// What the driver knows. A peer without addresses is not in it.
#[derive(Default)]
pub(crate) struct Given(BTreeMap<Identity, Vec<IpAddr>>);

impl Given {
    /// Returns the addresses that go with a peer's SA.
    pub(crate) fn by(&self, id: &Identity) -> &[IpAddr] {
        self.0.get(id).map(Vec::as_slice).unwrap_or_default()
    }

    /// Notes the addresses that go with the SA in use; returns the order, where they have changed.
    pub(super) fn set(&mut self, id: &Identity, addresses: &[IpAddr]) -> Option<Output> {
        if self.by(id) == addresses {
            return None;
        }
        if addresses.is_empty() {
            self.0.remove(id);
        } else {
            self.0.insert(id.clone(), addresses.to_vec());
        }
        Some(Output::Addresses(id.clone(), addresses.to_vec()))
    }
}

/// Puts addresses before the orders that send or use what they belong to, and after earlier word of addresses: the other end
/// may use them as soon as it reads our answer.
pub(super) fn put_first(outputs: &mut VecDeque<Output>, order: Output) {
    let place = outputs.iter().rposition(|o| matches!(o, Output::Addresses(..))).map_or(0, |last| last + 1);
    outputs.insert(place, order);
}
