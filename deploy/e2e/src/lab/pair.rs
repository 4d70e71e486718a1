//! Two hosts joined by one wire, without a switch between them.

use std::os::fd::AsFd;

use anyhow::{Context, Result};
use espalier_sys::netlink::{Netlink, VethEnd};
use tempfile::TempDir;

use super::{Host, UPLINK, await_running, namespace, net};

/// Two hosts whose uplinks are the two ends of one wire, with IPv4 addresses.
pub struct Pair {
    /// The hosts, numbers 1 and 2.
    pub hosts: [Host; 2],
    _folder: TempDir,
}

impl Pair {
    /// Builds two hosts whose namespaces have names that begin so. It needs root.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn named(prefix: &str) -> Result<Self> {
        let folder = TempDir::with_prefix("espalier-").context("cannot make a folder")?;
        let host = |number: u8| -> Result<Host> {
            let namespace = namespace(prefix, &format!("host{number}"))?;
            let folder = folder.path().join(format!("host{number}"));
            std::fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
            Ok(Host { namespace, number, folder })
        };
        let hosts = [host(1)?, host(2)?];
        let [one, other] = &hosts;
        one.namespace.enter(|| {
            let near = VethEnd { name: UPLINK, namespace: None };
            let far = VethEnd { name: UPLINK, namespace: Some(other.namespace.as_fd()) };
            Netlink::open()?.create_veth(near, far)
        })??;
        for host in &hosts {
            host.namespace.enter(|| -> Result<()> {
                let mut netlink = Netlink::open()?;
                let index = netlink.link_index(UPLINK)?;
                netlink.set_up(index)?;
                Ok(netlink.add_address(index, net(host.number, true))?)
            })??;
        }
        hosts.iter().try_for_each(await_running)?;
        Ok(Self { hosts, _folder: folder })
    }
}
