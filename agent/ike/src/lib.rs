//! IKEv2, sans-IO: time, randomness and bytes in, outputs out.

pub mod auth;
pub mod certificate;
pub mod keylog;
pub mod keymat;
pub mod wire;
