//! ESP (RFC 4303), AH (RFC 4302), the SAD and the SPD (RFC 4301). Sans-IO: packets in, packets out.
//!
//! A worker holds one [`Tables`] snapshot for a batch. Outbound: [`flow_of`] the inner packet, [`Tables::outbound`] for its SA,
//! [`Outbound::reserve`] numbers for its segments and seal each at the tail of the send buffer. Inbound: [`Tables::inbound`] by
//! SPI, [`Inbound::open`] in place, [`Tables::admits`]. None of these allocates, locks or logs. Snapshots are changed by building
//! a new one; SAs are shared between them.
//!
//! A packet of a rule on demand ([`Tables::awaited`]) waits in a [`Hold`] while its SA is made.
//!
//! That is the way of ESP in tunnel mode. Every other form takes [`Outbound::seal_packet`] and [`Inbound::open_packet`];
//! [`Carriage`] says what a driver hands over and what it gets.

mod ah;
mod counters;
mod flow;
mod form;
mod fragment;
mod hold;
mod icmp;
mod inbound;
mod ip;
mod limits;
mod mss;
pub mod offload;
mod outbound;
mod outer;
mod outermost;
mod padding;
mod replay;
mod room;
mod sequence;
mod spd;
mod tables;
mod transform;
mod transport;

pub use counters::{Counters, DropReason};
pub use flow::{BadPacket, flow_of};
pub use form::{Carriage, SaError};
pub use fragment::Fragments;
pub use hold::Hold;
pub use icmp::{MOST_TOO_BIG, too_big};
pub use inbound::{Inbound, OpenError, Opened};
pub use mss::{clamp_mss, may_be_syn};
pub use outbound::{Outbound, Reserved, SealError, Sealed, Wrapped};
pub use outer::{
    CongestionLost, DontFragment, Dscp, Ecn, OuterFields, OuterRules, give_back, restore_header, restored_len,
    traffic_class,
};
pub use outermost::Outermost;
pub use padding::Padding;
pub use replay::ReplayWindow;
pub use room::longest_packet;
pub use sequence::{Exhausted, Sequence};
pub use spd::{Spd, Verdict};
pub use tables::Tables;
pub use transform::{NULL_CRYPTO, inner_mtu, sealed_len};

#[cfg(test)]
mod tests;
