//! Hosts in network namespaces, joined by a switch.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use espalier_sys::netlink::{Netlink, VethEnd};
use espalier_sys::netns::NetNs;
use ipnet::IpNet;
use tempfile::TempDir;

mod pair;

pub use pair::Pair;

/// The interface by which a host reaches the switch.
pub const UPLINK: &str = "eth0";
const BRIDGE: &str = "switch";

/// A host.
pub struct Host {
    /// Its namespace.
    pub namespace: NetNs,
    /// Its place at the switch, from 1.
    pub number: u8,
    folder: PathBuf,
}

/// A network of hosts, with a folder for their files.
pub struct Lab {
    /// The hosts.
    pub hosts: Vec<Host>,
    /// The switch, itself a host at [`Lab::GATEWAY`]: what stands outside the mesh runs here.
    pub switch: NetNs,
    folder: TempDir,
}

impl Host {
    /// Returns its underlay address, IPv4 or IPv6.
    #[must_use]
    pub fn outer(&self, ipv4: bool) -> IpAddr {
        outer(self.number, ipv4)
    }

    /// Returns its protected address, IPv4 or IPv6.
    #[must_use]
    pub fn inner(&self, ipv4: bool) -> IpAddr {
        if ipv4 {
            Ipv4Addr::new(10, 10, self.number, 1).into()
        } else {
            Ipv6Addr::new(0xfd00, 0x10, 0, 0, 0, 0, 0, u16::from(self.number)).into()
        }
    }

    /// Returns the folder of its files; nobody but root reads it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Lab {
    /// The switch's own place.
    pub const GATEWAY: u8 = 254;

    /// Builds a network of so many hosts. It needs root.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn new(count: u8) -> Result<Self> {
        Self::named("espalier", count)
    }

    /// Builds a network of so many hosts, whose namespaces have names that begin so.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn named(prefix: &str, count: u8) -> Result<Self> {
        let folder = TempDir::with_prefix("espalier-").context("cannot make a folder")?;
        let switch = namespace(prefix, "switch")?;
        switch.enter(|| -> Result<()> {
            let mut netlink = Netlink::open()?;
            netlink.create_bridge(BRIDGE)?;
            let bridge = netlink.link_index(BRIDGE)?;
            netlink.set_up(bridge)?;
            [true, false].into_iter().try_for_each(|v4| netlink.add_address(bridge, net(Self::GATEWAY, v4)))?;
            Ok(())
        })??;
        let hosts = (1..=count).map(|number| connect(&switch, prefix, number, folder.path())).collect::<Result<_>>()?;
        let lab = Self { hosts, switch, folder };
        lab.hosts.iter().try_for_each(await_running)?;
        Ok(lab)
    }

    /// Returns the folder of the whole lab.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// Returns the underlay address of a place at the switch.
#[must_use]
pub fn outer(number: u8, ipv4: bool) -> IpAddr {
    if ipv4 {
        Ipv4Addr::new(10, 9, 0, number).into()
    } else {
        Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, u16::from(number)).into()
    }
}

fn net(number: u8, ipv4: bool) -> IpNet {
    IpNet::new(outer(number, ipv4), if ipv4 { 24 } else { 64 }).expect("both lengths are valid")
}

/// Creates a namespace whose name no other test has.
fn namespace(prefix: &str, role: &str) -> Result<NetNs> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Ok(NetNs::create(&format!("{prefix}-{}-{number}-{role}", std::process::id()))?)
}

fn connect(switch: &NetNs, prefix: &str, number: u8, folder: &Path) -> Result<Host> {
    let namespace = namespace(prefix, &format!("host{number}"))?;
    let port = format!("port{number}");
    switch.enter(|| -> Result<()> {
        let mut netlink = Netlink::open()?;
        let near = VethEnd { name: &port, namespace: None };
        let far = VethEnd { name: UPLINK, namespace: Some(namespace.as_fd()) };
        netlink.create_veth(near, far)?;
        let (index, bridge) = (netlink.link_index(&port)?, netlink.link_index(BRIDGE)?);
        netlink.set_bridge(index, bridge)?;
        netlink.set_up(index)?;
        Ok(())
    })??;
    namespace.enter(|| -> Result<()> {
        let mut netlink = Netlink::open()?;
        let index = netlink.link_index(UPLINK)?;
        netlink.set_up(index)?;
        [true, false].into_iter().try_for_each(|v4| netlink.add_address(index, net(number, v4)))?;
        Ok(())
    })??;
    let folder = folder.join(format!("host{number}"));
    std::fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(Host { namespace, number, folder })
}

/// Packets vanish silently until the kernel sees both ends of a wire up.
fn await_running(host: &Host) -> Result<()> {
    for _ in 0..300 {
        let running =
            host.namespace.enter(|| Ok::<_, espalier_sys::Error>(Netlink::open()?.link(UPLINK)?.running))??;
        if running {
            return Ok(());
        }
        sleep(Duration::from_millis(10));
    }
    ensure!(false, "the uplink of host {} does not come up", host.number);
    Ok(())
}
