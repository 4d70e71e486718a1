//! Socket addresses in the kernel's form.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use crate::option::size;

/// A socket address in the kernel's form.
#[derive(Clone, Copy)]
pub(crate) struct RawAddress {
    pub(crate) storage: libc::sockaddr_storage,
    pub(crate) len: libc::socklen_t,
}

impl RawAddress {
    /// Returns room for any address.
    pub(crate) fn empty() -> Self {
        // SAFETY: `sockaddr_storage` is a plain C structure for which all zeroes is a value (family unspecified).
        Self { storage: unsafe { std::mem::zeroed() }, len: size::<libc::sockaddr_storage>() }
    }

    pub(crate) fn as_ptr(&self) -> *const libc::sockaddr {
        (&raw const self.storage).cast()
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut libc::sockaddr {
        (&raw mut self.storage).cast()
    }

    /// Reads the address back, if it is one of IP.
    pub(crate) fn get(&self) -> Option<SocketAddr> {
        match i32::from(self.storage.ss_family) {
            libc::AF_INET => {
                // SAFETY: `sockaddr_storage` is at least as large and as aligned as `sockaddr_in`, any bits are a value of it.
                let v4: libc::sockaddr_in = unsafe { (&raw const self.storage).cast::<libc::sockaddr_in>().read() };
                Some((from_in_addr(v4.sin_addr), u16::from_be(v4.sin_port)).into())
            }
            libc::AF_INET6 => {
                // SAFETY: as above, for `sockaddr_in6`.
                let v6: libc::sockaddr_in6 = unsafe { (&raw const self.storage).cast::<libc::sockaddr_in6>().read() };
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                Some(SocketAddrV6::new(ip, u16::from_be(v6.sin6_port), 0, v6.sin6_scope_id).into())
            }
            _ => None,
        }
    }
}

impl From<SocketAddr> for RawAddress {
    fn from(address: SocketAddr) -> Self {
        let mut raw = Self::empty();
        match address {
            SocketAddr::V4(v4) => {
                let value = libc::sockaddr_in {
                    sin_family: family(libc::AF_INET),
                    sin_port: v4.port().to_be(),
                    sin_addr: to_in_addr(*v4.ip()),
                    sin_zero: [0; 8],
                };
                raw.len = size::<libc::sockaddr_in>();
                // SAFETY: `sockaddr_storage` has room and alignment for `sockaddr_in`.
                unsafe { (&raw mut raw.storage).cast::<libc::sockaddr_in>().write(value) };
            }
            SocketAddr::V6(v6) => {
                let value = libc::sockaddr_in6 {
                    sin6_family: family(libc::AF_INET6),
                    sin6_port: v6.port().to_be(),
                    sin6_flowinfo: 0,
                    sin6_addr: to_in6_addr(*v6.ip()),
                    sin6_scope_id: v6.scope_id(),
                };
                raw.len = size::<libc::sockaddr_in6>();
                // SAFETY: `sockaddr_storage` has room and alignment for `sockaddr_in6`.
                unsafe { (&raw mut raw.storage).cast::<libc::sockaddr_in6>().write(value) };
            }
        }
        raw
    }
}

pub(crate) fn family(value: i32) -> libc::sa_family_t {
    libc::sa_family_t::try_from(value).expect("address families are small numbers")
}

pub(crate) fn to_in_addr(ip: Ipv4Addr) -> libc::in_addr {
    libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) }
}

pub(crate) fn from_in_addr(raw: libc::in_addr) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(raw.s_addr.to_ne_bytes()))
}

pub(crate) fn to_in6_addr(ip: Ipv6Addr) -> libc::in6_addr {
    libc::in6_addr { s6_addr: ip.octets() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_kernels_form() {
        for text in ["192.0.2.1:500", "[2001:db8::1]:4500", "[fe80::1%3]:4500"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(RawAddress::from(address).get(), Some(address));
        }
        assert_eq!(RawAddress::empty().get(), None);
    }
}
