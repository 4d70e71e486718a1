//! strongSwan with ESP in user space.

use std::fs;

use anyhow::Result;
use espalier_e2e::lab::{Host, Pair};
use espalier_e2e::program::output;
use espalier_e2e::strongswan::{StrongSwan, folders};

/// Starts charon on both hosts and brings the tunnel up.
pub(super) fn start(pair: &Pair) -> Result<[StrongSwan; 2]> {
    let [one, other] = &pair.hosts;
    let both = [charon(one, other)?, charon(other, one)?];
    let [first, _] = &both;
    first.control(&["--initiate", "--child", "net", "--timeout", "10"])?;
    Ok(both)
}

fn charon(host: &Host, peer: &Host) -> Result<StrongSwan> {
    // charon routes the traffic from this address into its tunnel, so it must be the host's.
    let mut command = host.namespace.command("ip");
    command.args(["address", "add", &host.inner(true).to_string(), "dev", "lo"]);
    output(command)?;
    let settings = SETTINGS
        .replace("LOCAL_OUTER", &host.outer(true).to_string())
        .replace("REMOTE_OUTER", &peer.outer(true).to_string())
        .replace("LOCAL_INNER", &host.inner(true).to_string())
        .replace("REMOTE_INNER", &peer.inner(true).to_string());
    fs::write(folders(host)?.join("swanctl.conf"), settings)?;
    StrongSwan::start(host)
}

const SETTINGS: &str = "connections {
  bench {
    version = 2
    local_addrs = LOCAL_OUTER
    remote_addrs = REMOTE_OUTER
    proposals = aes256gcm16-prfsha384-x25519
    encap = yes
    local {
      auth = psk
      id = LOCAL_OUTER
    }
    remote {
      auth = psk
      id = REMOTE_OUTER
    }
    children {
      net {
        local_ts = LOCAL_INNER/32
        remote_ts = REMOTE_INNER/32
        esp_proposals = aes256gcm16
      }
    }
  }
}
secrets {
  ike {
    id-1 = LOCAL_OUTER
    id-2 = REMOTE_OUTER
    secret = \"only for measurements\"
  }
}
";
