//! Round-trip times of small packets.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};

use crate::scene::Scene;
use crate::udp::{Flow, bind, echo};

/// Round-trip times in microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RoundTrips {
    /// The middle one.
    pub(crate) p50: f64,
    /// The one that one of a hundred exceeds.
    pub(crate) p99: f64,
}

/// Packets that load the tunnel meanwhile.
#[derive(Clone, Copy)]
pub(crate) struct Load<'a> {
    pub(crate) flow: &'a Flow,
    pub(crate) size: usize,
    pub(crate) rate: f64,
}

/// Between two packets: long enough for a thread that waits to fall asleep, as it does in earnest.
const PAUSE: Duration = Duration::from_millis(2);
/// A packet that takes longer is lost.
const PATIENCE: Duration = Duration::from_millis(200);
/// Fewer than this say nothing about one of a hundred; a shorter measurement goes on until it has them.
const LEAST: usize = 100;
/// Longer than any measurement: the load ends when it is told to.
const UNTIL_TOLD: Duration = Duration::from_secs(3600);

/// Measures for so long.
pub(crate) fn measure(scene: &Scene, time: Duration, load: Option<Load<'_>>) -> Result<RoundTrips> {
    let [near, far] = &scene.pair.hosts;
    let (near, far) = (bind(near, scene.addresses[0])?, bind(far, scene.addresses[1])?);
    near.connect(far.local_addr()?)?;
    near.set_read_timeout(Some(PATIENCE))?;
    let end = AtomicBool::new(false);
    let trips = thread::scope(|scope| {
        let echo = scope.spawn(|| echo(&far, &end));
        let load = load.map(|load| {
            let end = &end;
            scope.spawn(move || load.flow.step_until(load.size, Some(load.rate), UNTIL_TOLD, end))
        });
        let trips = ask(&near, time);
        end.store(true, Ordering::Relaxed);
        echo.join().map_err(|_| anyhow!("the echo panicked"))??;
        if let Some(load) = load {
            load.join().map_err(|_| anyhow!("the load panicked"))??;
        }
        trips
    })?;
    quantiles(trips)
}

fn ask(socket: &UdpSocket, time: Duration) -> Result<Vec<Duration>> {
    let (start, mut trips, mut lost) = (Instant::now(), Vec::new(), 0);
    let (mut packet, mut number) = ([0; 64], 0_u32);
    while start.elapsed() < time || trips.len() < LEAST {
        number += 1;
        packet.split_at_mut(4).0.copy_from_slice(&number.to_be_bytes());
        let sent = Instant::now();
        // A refused packet is one that did not come back.
        let _ = socket.send(&packet);
        match answer(socket, number)? {
            true => trips.push(sent.elapsed()),
            false => lost += 1,
        }
        ensure!(lost < LEAST, "{lost} round trips of {number} were lost");
        sleep(PAUSE);
    }
    Ok(trips)
}

/// Waits for one answer; those that come late to earlier packets do not count.
fn answer(socket: &UdpSocket, number: u32) -> Result<bool> {
    let mut packet = [0; 64];
    loop {
        match socket.recv(&mut packet) {
            Ok(_) if packet.first_chunk() == Some(&number.to_be_bytes()) => return Ok(true),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionRefused) => {
                return Ok(false);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn quantiles(mut trips: Vec<Duration>) -> Result<RoundTrips> {
    trips.sort_unstable();
    let at = |hundredths: usize| trips.get(trips.len() * hundredths / 100).map(|trip| trip.as_secs_f64() * 1e6);
    let (p50, p99) = at(50).zip(at(99)).ok_or_else(|| anyhow!("no packet came back"))?;
    Ok(RoundTrips { p50, p99 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_taken_in_order_of_time() {
        let trips = (1..=200).rev().map(Duration::from_micros).collect();
        assert_eq!(quantiles(trips).unwrap(), RoundTrips { p50: 101.0, p99: 199.0 });
        assert!(quantiles(Vec::new()).is_err());
    }
}
