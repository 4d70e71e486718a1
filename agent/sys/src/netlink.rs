//! Interfaces, addresses, routes and routing rules of the calling thread's namespace, over rtnetlink(7).

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "the enums of netlink-packet-route are open and have dozens of kinds, of which a reader wants a few"
)]

mod address;
mod link;
mod monitor;
mod present;
mod route;
mod rule;
mod socket;

pub use link::{Link, VethEnd};
pub use monitor::Monitor;
pub use route::{Route, Target};
pub use rule::Rule;
pub use socket::Netlink;

#[cfg(test)]
mod tests;
