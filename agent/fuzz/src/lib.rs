//! Fuzz targets: functions that take any bytes and panic when something is wrong.
//!
//! Each is used in three ways. libFuzzer drives it (`cargo fuzz-all`); the tests of this crate replay the corpus below `corpus/`
//! with plain stable Rust; and they try a little noise. Nothing is mocked: where a check stands before the code that is meant to
//! be reached, a target holds the right keys and passes it.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a panic is how a target reports, and it cares for few of the orders and payloads"
)]

pub mod certificates;
mod chain;
mod domain;
pub mod door;
pub mod exchange;
mod forge;
pub mod forms;
pub mod fragments;
pub mod frames;
pub mod inner;
mod input;
pub mod liar;
pub mod outer;
pub mod packets;
mod pair;
pub mod plan;
pub mod seeds;

/// A target: its name, which is that of its folder below `corpus/`, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 11] = [
    ("outer", outer::target),
    ("door", door::target),
    ("inner", inner::target),
    ("fragments", fragments::target),
    ("certificates", certificates::target),
    ("exchange", exchange::target),
    ("liar", liar::target),
    ("packets", packets::target),
    ("forms", forms::target),
    ("frames", frames::target),
    ("plan", plan::target),
];

/// Returns the function of a target.
#[must_use]
pub fn find(name: &str) -> Option<fn(&[u8])> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
}

#[cfg(test)]
mod tests;
