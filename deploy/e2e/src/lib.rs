//! What the end-to-end tests and the demo are made of: a network of namespaces, real programs in it, and eyes on its wires.
//!
//! Everything goes away with its value: processes are ended, namespaces and folders deleted, in a panic as well.

pub mod agent;
pub mod flood;
pub mod flow;
pub mod guest;
pub mod lab;
pub mod mesh;
pub mod ping;
pub mod pki;
pub mod program;
pub mod rate;
pub mod rest;
pub mod strongswan;
pub mod throughput;
pub mod transfer;
pub mod wire;
