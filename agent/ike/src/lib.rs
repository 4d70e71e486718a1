//! IKEv2, sans-IO: time, randomness and bytes in, outputs out.

pub mod wire;
