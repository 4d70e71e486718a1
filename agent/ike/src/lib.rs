//! IKEv2, sans-IO: time, randomness and bytes in, orders out.
//!
//! Drive an [`Endpoint`] so: after each call of [`Endpoint::handle_datagram`], [`Endpoint::handle_timeout`] or
//! [`Endpoint::configure`], carry out [`Endpoint::poll_output`] until it is empty, in order; then wait for a datagram or for
//! [`Endpoint::next_timeout`]. It never reads a clock, opens a socket or asks the system for randomness.

pub mod auth;
pub mod certificate;
mod child_spis;
mod config;
mod content;
mod context;
mod counters;
mod door;
mod endpoint;
pub mod explain;
mod handshake;
mod hint;
pub mod int_auth;
pub mod keylog;
pub mod keymat;
mod limits;
mod nat;
mod outbounds;
mod output;
mod paths;
mod sa;
mod status;
mod wants;
pub mod wire;

pub use config::{Auth, CertificateIdentity, ChildConfig, EndpointConfig, LocalIdentity, Now, PeerConfig, Ppk};
pub use counters::Counters;
pub use door::{DoorCounters, DoorPolicy, Doorkeeper, Verdict};
pub use endpoint::{Endpoint, Timer};
pub use keymat::IkeSpis;
pub use limits::Limits;
pub use nat::Nat;
pub use output::{DownReason, MoveReason, Output};
pub use status::{ChildStatus, IkeStatus};

#[cfg(test)]
mod tests;
