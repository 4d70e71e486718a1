//! Mistakes that other implementations have made, each as a test by name: none of them may panic here, leave anything behind, or
//! let anybody in.

mod bits;
mod bounds;
mod fields;
mod key_exchange;
mod payloads;
mod transforms;
