//! Shared vocabulary of Espalier: identities, selectors, suites, secrets, documents, the plan of a node and its envelope.
//!
//! Everything here is a value: it parses, compares, orders and prints. There is no I/O, no clock and no runtime.
//! Parsing fails closed: a type that exists is a type that is right, and one bad element refuses the whole document.

pub mod document;
pub mod entry;
pub mod envelope;
pub mod identity;
pub mod join;
pub mod labels;
pub mod plan;
pub mod profile;
pub mod revocation;
pub mod sa;
pub mod secret;
pub mod selector;
pub mod suite;
