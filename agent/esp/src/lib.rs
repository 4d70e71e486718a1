//! ESP in tunnel mode (RFC 4303), the SAD and the SPD (RFC 4301). Sans-IO: packets in, packets out.
//!
//! A worker holds one [`Tables`] snapshot for a batch. Outbound: [`flow_of`] the inner packet, [`Tables::outbound`] for its SA,
//! [`Outbound::reserve`] numbers for its segments and seal each at the tail of the send buffer. Inbound: [`Tables::inbound`] by
//! SPI, [`Inbound::open`] in place, [`Tables::admits`]. None of these allocates, locks or logs. Snapshots are changed by building
//! a new one; SAs are shared between them.

mod counters;
mod flow;
mod form;
mod inbound;
mod limits;
pub mod offload;
mod outbound;
mod replay;
mod sequence;
mod spd;
mod tables;
mod transform;

pub use counters::{Counters, DropReason};
pub use flow::{BadPacket, flow_of};
pub use form::SaError;
pub use inbound::{Inbound, OpenError, Opened};
pub use outbound::{Outbound, Reserved, SealError, Sealed};
pub use replay::ReplayWindow;
pub use sequence::{Exhausted, Sequence};
pub use spd::{Spd, Verdict};
pub use tables::Tables;
pub use transform::{inner_mtu, sealed_len};

#[cfg(test)]
mod tests;
