//! Everything that talks to Linux: TUN, UDP sockets, netlink, nftables, namespaces. The only crate with unsafe.
//!
//! All of it blocks or answers at once; there is no runtime here. Sockets and the TUN interface are non-blocking and give
//! their descriptors, so that a worker thread waits with [`poll::wait`] and the agent's asynchronous shell with its own means.
//! What concerns a network namespace acts on that of the calling thread, see [`netns::NetNs::enter`].

mod address;
pub mod capture;
mod error;
pub mod guard;
pub mod netlink;
pub mod netns;
mod option;
pub mod poll;
pub mod thread;
pub mod tun;
pub mod udp;
pub mod waker;

pub use error::Error;
pub use option::set_mark;

#[cfg(test)]
mod testing;
