//! TCP through a tunnel, by iperf3(1).

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use espalier_e2e::program::Program;
use serde_json::Value;

use crate::scene::Scene;

/// How many streams, and whether both ways.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Streams {
    pub(crate) count: u32,
    pub(crate) both_ways: bool,
}

/// What arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Carried {
    pub(crate) mbit_per_second: f64,
    pub(crate) gigabytes: f64,
}

/// Time for iperf3 to connect and to say what it has seen.
const MARGIN: Duration = Duration::from_secs(10);

/// Sends from a scene's near end to its far end for so many seconds. A run that fails is tried once more: iperf3 loses its control
/// connection now and then, and that says nothing about a tunnel's speed.
pub(crate) fn run(scene: &Scene, streams: Streams, seconds: u32) -> Result<Carried> {
    once(scene, streams, seconds).or_else(|_| once(scene, streams, seconds))
}

/// Starts a server for one run at a scene's far end.
fn serve(scene: &Scene) -> Result<Program> {
    let [_, far] = &scene.pair.hosts;
    let mut command = far.namespace.command("iperf3");
    command.args(["--server", "--one-off", "--forceflush", "--bind", &scene.addresses[1].to_string()]);
    let mut server = Program::start(command, &far.folder().join("iperf3-server.log"))?;
    server.await_log("Server listening", 1, MARGIN)?;
    Ok(server)
}

fn once(scene: &Scene, streams: Streams, seconds: u32) -> Result<Carried> {
    // It ends with this run, whatever comes of it.
    let _server = serve(scene)?;
    let [near, _] = &scene.pair.hosts;
    let [from, to] = scene.addresses.map(|address| address.to_string());
    let mut command = near.namespace.command("iperf3");
    command.args(["--json", "--client", &to, "--bind", &from, "--connect-timeout", "3000"]);
    command.args(["--time", &seconds.to_string(), "--parallel", &streams.count.to_string()]);
    if streams.both_ways {
        command.arg("--bidir");
    }
    let mut client = Program::start(command, &near.folder().join("iperf3.json"))?;
    client.wait_within(Duration::from_secs(seconds.into()) + MARGIN)?;
    read(&client.log())
}

fn read(text: &str) -> Result<Carried> {
    let report: Value = serde_json::from_str(text).with_context(|| format!("iperf3 wrote:\n{text}"))?;
    if let Some(error) = report.get("error") {
        bail!("iperf3: {error}");
    }
    let sum = |name: &str| {
        let number = |field: &str| report.pointer(&format!("/end/{name}/{field}"))?.as_f64();
        Some((number("bits_per_second")?, number("bytes")?))
    };
    let (bits, bytes) = sum("sum_received").context("iperf3 has no sum")?;
    let (back_bits, back_bytes) = sum("sum_received_bidir_reverse").unwrap_or_default();
    ensure!(bytes + back_bytes > 0.0, "nothing arrived");
    Ok(Carried { mbit_per_second: (bits + back_bits) / 1e6, gigabytes: (bytes + back_bytes) / 1e9 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_of_iperf3_is_read_both_ways() {
        let one = r#"{"end": {"sum_received": {"bytes": 5e8, "bits_per_second": 2e9}}}"#;
        let carried = read(one).unwrap();
        assert_eq!((carried.mbit_per_second, carried.gigabytes), (2000.0, 0.5));
        let both = r#"{"end": {"sum_received": {"bytes": 5e8, "bits_per_second": 2e9},
            "sum_received_bidir_reverse": {"bytes": 1e9, "bits_per_second": 4e9}}}"#;
        let carried = read(both).unwrap();
        assert_eq!((carried.mbit_per_second, carried.gigabytes), (6000.0, 1.5));
        assert!(read(r#"{"error": "unable to connect"}"#).unwrap_err().to_string().contains("unable to connect"));
        assert!(read("").is_err());
    }
}
