//! Echo requests through the mesh, counted by ping(8).

use std::net::IpAddr;

use anyhow::{Context, Result};

use crate::lab::Host;

/// What came of a run of echo requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pings {
    /// Requests sent.
    pub sent: u64,
    /// Replies received, each counted once.
    pub received: u64,
}

impl Pings {
    /// Returns how many came back not at all.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.received)
    }
}

/// Sends so many requests, 200 ms apart. ping(8) waits no longer than that for the last reply, whatever it is told: a shorter
/// interval takes a busy processor for a lost packet.
///
/// # Errors
/// ping cannot be started.
pub fn ping(from: &Host, to: IpAddr, count: u32, size: u16) -> Result<Pings> {
    ping_from(from, from.inner(to.is_ipv4()), to, count, size)
}

/// The same from any address of the host.
///
/// # Errors
/// ping cannot be started.
pub fn ping_from(from: &Host, source: IpAddr, to: IpAddr, count: u32, size: u16) -> Result<Pings> {
    let mut command = from.namespace.command("ping");
    let source = source.to_string();
    command.args(["-n", "-q", "-p", CANARY_HEX, "-i", "0.2", "-W", "1", "-M", "do"]);
    command.args(["-c", &count.to_string(), "-s", &size.to_string(), "-I", &source, &to.to_string()]);
    let output = command.output().context("cannot start ping")?;
    read(&String::from_utf8_lossy(&output.stdout)).with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Bytes that only protected packets carry.
pub const CANARY: &[u8] = b"espalier-canary!";
/// The same as ping(8) takes it.
pub const CANARY_HEX: &str = "657370616c6965722d63616e61727921";

fn read(text: &str) -> Result<Pings> {
    let line = text.lines().find(|line| line.contains("packets transmitted"));
    let line = line.with_context(|| format!("ping gave no summary: {text:?}"))?;
    let number = |before: &str| {
        let words: Vec<&str> = line.split([' ', ',']).filter(|w| !w.is_empty()).collect();
        let at = words.iter().position(|word| *word == before)?;
        words.get(at.checked_sub(1)?)?.parse().ok()
    };
    let sent = number("packets").context("ping's summary has no count")?;
    let received = number("received").context("ping's summary has no count")?;
    Ok(Pings { sent, received })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_of_ping_is_read() {
        let text =
            "--- 10.10.2.1 ping statistics ---\n40 packets transmitted, 38 received, +2 errors, 5% packet loss\n";
        assert_eq!(read(text).unwrap(), Pings { sent: 40, received: 38 });
        assert!(read("nothing").is_err());
        let hex: String = CANARY.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, CANARY_HEX);
    }
}
