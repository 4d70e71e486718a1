//! Steady traffic from one host to another, every packet numbered: what is sent and does not arrive is lost, to the last packet.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use crate::lab::Host;
use crate::ping::CANARY;

/// What came of a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Packets sent.
    pub sent: u64,
    /// Packets that did not arrive.
    pub lost: u64,
    /// The longest time between two arrivals, in milliseconds.
    pub longest_gap_ms: u64,
}

/// A flow under way.
pub struct Flow {
    stop: Arc<AtomicBool>,
    sender: JoinHandle<Result<u64>>,
    receiver: JoinHandle<Result<Arrivals>>,
    sent: Arc<AtomicBool>,
}

struct Arrivals {
    numbers: BTreeSet<u64>,
    longest_gap: Duration,
}

/// Time for the last packets to arrive.
const TAIL: Duration = Duration::from_millis(500);

impl Flow {
    /// Sends packets of 100 bytes with the canary between the protected addresses of two hosts, one at each interval.
    ///
    /// # Errors
    /// A socket is refused: the addresses are not there yet.
    pub fn start(from: &Host, to: &Host, ipv4: bool, every: Duration) -> Result<Self> {
        Self::between((from, from.inner(ipv4)), (to, to.inner(ipv4)), every)
    }

    /// The same between any addresses of the two.
    ///
    /// # Errors
    /// A socket is refused: the addresses are not there yet.
    pub fn between(from: (&Host, IpAddr), to: (&Host, IpAddr), every: Duration) -> Result<Self> {
        let bind = |(host, address): (&Host, IpAddr)| {
            let address = SocketAddr::new(address, 0);
            host.namespace.enter(|| UdpSocket::bind(address))?.with_context(|| format!("cannot bind {address}"))
        };
        let (near, far) = (bind(from)?, bind(to)?);
        near.connect(far.local_addr()?)?;
        far.set_read_timeout(Some(Duration::from_millis(20)))?;
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (stopping, all_sent) = (Arc::clone(&stop), Arc::clone(&sent));
        let receiver = thread::spawn(move || receive(&far, &all_sent));
        let sender = thread::spawn(move || send(&near, every, &stopping));
        Ok(Self { stop, sender, receiver, sent })
    }

    /// Ends the flow, waits for what is under way, and counts.
    ///
    /// # Errors
    /// A thread panicked or a socket failed.
    pub fn stop(self) -> Result<Delivery> {
        Ok(Self::stop_all(vec![self])?.into_iter().next().unwrap_or_default())
    }

    /// Ends several flows at once.
    ///
    /// # Errors
    /// A thread panicked or a socket failed.
    pub fn stop_all(flows: Vec<Self>) -> Result<Vec<Delivery>> {
        flows.iter().for_each(|flow| flow.stop.store(true, Ordering::Relaxed));
        let mut halves = Vec::new();
        for flow in flows {
            let sent = flow.sender.join().map_err(|_| anyhow!("the sender panicked"))??;
            halves.push((sent, flow.sent, flow.receiver));
        }
        sleep(TAIL);
        halves.iter().for_each(|(_, all_sent, _)| all_sent.store(true, Ordering::Relaxed));
        let count = |(sent, _, receiver): (u64, _, JoinHandle<Result<Arrivals>>)| {
            let arrivals = receiver.join().map_err(|_| anyhow!("the receiver panicked"))??;
            let lost = sent.saturating_sub(u64::try_from(arrivals.numbers.len())?);
            Ok(Delivery { sent, lost, longest_gap_ms: u64::try_from(arrivals.longest_gap.as_millis())? })
        };
        halves.into_iter().map(count).collect()
    }
}

fn send(socket: &UdpSocket, every: Duration, stop: &AtomicBool) -> Result<u64> {
    let mut packet = [0; 100];
    let mut next = Instant::now();
    let mut number = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let (head, rest) = packet.split_at_mut(8);
        head.copy_from_slice(&number.to_be_bytes());
        rest.split_at_mut(CANARY.len()).0.copy_from_slice(CANARY);
        // A refused packet is one that did not arrive; the next may.
        let _ = socket.send(&packet);
        number += 1;
        next += every;
        sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(number)
}

fn receive(socket: &UdpSocket, all_sent: &AtomicBool) -> Result<Arrivals> {
    let mut arrivals = Arrivals { numbers: BTreeSet::new(), longest_gap: Duration::ZERO };
    let (mut packet, mut last) = ([0; 2048], None);
    while !all_sent.load(Ordering::Relaxed) {
        match socket.recv(&mut packet) {
            Ok(_) => {
                let now = Instant::now();
                let gap = last.replace(now).map_or(Duration::ZERO, |before| now - before);
                arrivals.longest_gap = arrivals.longest_gap.max(gap);
                let number = packet.first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
                arrivals.numbers.extend(number);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).context("the receiver's socket failed"),
        }
    }
    Ok(arrivals)
}
