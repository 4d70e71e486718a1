//! ESP in tunnel mode (RFC 4303), the SAD and the SPD (RFC 4301). Sans-IO: packets in, packets out.
//!
//! A worker holds one [`Tables`] snapshot for a batch. Outbound: [`flow_of`] the inner packet, [`Tables::outbound`] for its SA,
//! [`Outbound::reserve`] numbers for its segments and seal each at the tail of the send buffer. Inbound: [`Tables::inbound`] by
//! SPI, [`Inbound::open`] in place, [`Tables::admits`]. None of these allocates, locks or logs. Snapshots are changed by building
//! a new one; SAs are shared between them.

mod counters;
mod flow;
mod form;
mod icmp;
mod inbound;
mod ip;
mod limits;
mod mss;
pub mod offload;
mod outbound;
mod outer;
mod replay;
mod sequence;
mod spd;
mod tables;
mod transform;

pub use counters::{Counters, DropReason};
pub use flow::{BadPacket, flow_of};
pub use form::SaError;
pub use icmp::{MOST_TOO_BIG, too_big};
pub use inbound::{Inbound, OpenError, Opened};
pub use mss::clamp_mss;
pub use outbound::{Outbound, Reserved, SealError, Sealed};
pub use outer::{CongestionLost, DontFragment, Dscp, Ecn, OuterFields, OuterRules, give_back, traffic_class};
pub use replay::ReplayWindow;
pub use sequence::{Exhausted, Sequence};
pub use spd::{Spd, Verdict};
pub use tables::Tables;
pub use transform::{inner_mtu, sealed_len};

#[cfg(test)]
mod tests;
