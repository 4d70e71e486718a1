//! What can go wrong with the system, in words that name the thing and, where one is known, the remedy.

use std::io;
use std::net::SocketAddr;

use thiserror::Error;

/// A request that Linux refused.
#[derive(Debug, Error)]
pub enum Error {
    /// The process lacks a privilege.
    #[error("cannot {action}: it needs root or the capability {capability}")]
    Permission {
        /// What was tried, as "create TUN interface espalier0".
        action: String,
        /// The capability that allows it.
        capability: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The kernel or the container has no TUN device.
    #[error(
        "cannot create TUN interface {name}: /dev/net/tun is missing; load the kernel module tun, or pass the device into the container"
    )]
    NoTun {
        /// The interface.
        name: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Another socket has the port.
    #[error("UDP port {} on {} is in use; stop the other IKE daemon or program that holds it", address.port(), address.ip())]
    PortInUse {
        /// The address and port.
        address: SocketAddr,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// It failed, and the remedy is known.
    #[error("cannot {action}: {remedy}")]
    Remedy {
        /// What was tried.
        action: String,
        /// What helps.
        remedy: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// It failed.
    #[error("cannot {action}")]
    System {
        /// What was tried.
        action: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// Makes an error from what the kernel said; a missing privilege is told apart.
    pub(crate) fn new(action: impl Into<String>, source: io::Error) -> Self {
        Self::with_capability(action, "CAP_NET_ADMIN", source)
    }

    pub(crate) fn with_capability(action: impl Into<String>, capability: &'static str, source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::Permission { action: action.into(), capability, source },
            _ => Self::System { action: action.into(), source },
        }
    }

    /// Returns the error number of the kernel, if it gave one.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        match self {
            Self::Permission { source, .. }
            | Self::NoTun { source, .. }
            | Self::PortInUse { source, .. }
            | Self::Remedy { source, .. }
            | Self::System { source, .. } => source.raw_os_error(),
        }
    }
}
