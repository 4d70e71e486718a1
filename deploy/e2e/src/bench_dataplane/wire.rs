//! What the two ends of a wire do with super-packets, set with ethtool(8).

use anyhow::{Context, Result, ensure};
use espalier_e2e::lab::{Host, Pair, UPLINK};
use espalier_e2e::program::output;

use crate::figure::Mode;

/// Names for setting and for reading, with whether each is on in mode *through*. A veth passes super-packets whole; with segmentation
/// off the kernel cuts them before the wire. GRO of a veth merges only what came without TSO at the sender.
const SWITCHES: [(&str, &str, bool); 3] = [
    ("tx-udp-segmentation", "tx-udp-segmentation", true),
    ("tso", "tcp-segmentation-offload", true),
    ("gro", "generic-receive-offload", false),
];

/// Makes both ends of a wire behave so, and sees that they do.
pub(crate) fn set(pair: &Pair, mode: Mode) -> Result<()> {
    pair.hosts.iter().try_for_each(|host| set_end(host, mode))
}

fn set_end(host: &Host, mode: Mode) -> Result<()> {
    let on = |through: bool| if through == (mode == Mode::Through) { "on" } else { "off" };
    let mut command = host.namespace.command("ethtool");
    command.args(["-K", UPLINK]);
    for (name, _, through) in SWITCHES {
        command.args([name, on(through)]);
    }
    output(command)?;
    let mut command = host.namespace.command("ethtool");
    command.args(["-k", UPLINK]);
    let state = output(command).context("cannot read the wire's switches")?;
    for (_, name, through) in SWITCHES {
        let wanted = format!("{name}: {}", on(through));
        ensure!(state.lines().any(|line| line.trim().starts_with(&wanted)), "the wire has not {wanted}:\n{state}");
    }
    Ok(())
}
