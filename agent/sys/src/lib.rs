//! Everything that talks to Linux: TUN, UDP sockets, netlink, nftables, namespaces. The only crate with unsafe.
