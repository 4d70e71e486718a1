//! UDP packets as fast as wanted, many in a system call: iperf3(1) is slower than what is measured.
//!
//! The sockets are those of any program: what they send is one packet each, and nothing of the agent's own code is in the way.

use std::io::{ErrorKind, IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use espalier_e2e::lab::Host;
use nix::errno::Errno;
use nix::sys::socket::sockopt::{RcvBufForce, SndBufForce};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg, setsockopt};

use crate::bisect::Step;
use crate::scene::Scene;

/// A socket at each end of a tunnel, connected with each other.
pub(crate) struct Flow {
    near: UdpSocket,
    far: UdpSocket,
    step: AtomicU32,
}

/// What a sender did.
struct Sent {
    packets: u64,
    time: Duration,
}

/// Packets of one system call.
const BATCH: usize = 32;
/// A packet carries the number of its step, so that what comes late is not taken for the next one's.
const HEADER: usize = 4;
/// Room for the packets of 50 ms at any rate that is reached here: a receiver that waits for the processor loses none.
const BUFFER_BYTES: usize = 16 << 20;
/// A sender that was held up catches up with this much and no more: a burst would measure queues, not rates.
const CATCH_UP: Duration = Duration::from_millis(2);
/// A receiver that has heard nothing for so long after the last packet was sent has heard all.
const QUIET: Duration = Duration::from_millis(50);
/// A receiver looks up this often.
const GLANCE: Duration = Duration::from_millis(10);

impl Flow {
    /// Opens both sockets.
    pub(crate) fn open(scene: &Scene) -> Result<Self> {
        let [near, far] = &scene.pair.hosts;
        let (near, far) = (bind(near, scene.addresses[0])?, bind(far, scene.addresses[1])?);
        near.connect(far.local_addr()?)?;
        far.connect(near.local_addr()?)?;
        far.set_read_timeout(Some(GLANCE))?;
        Ok(Self { near, far, step: AtomicU32::new(0) })
    }

    /// Sends packets of so many bytes, at a rate a second or as fast as it goes, and counts what arrives.
    pub(crate) fn step(&self, size: usize, rate: Option<f64>, time: Duration) -> Result<Step> {
        self.step_until(size, rate, time, &AtomicBool::new(false))
    }

    /// The same, but ends early where it is told to.
    pub(crate) fn step_until(&self, size: usize, rate: Option<f64>, time: Duration, end: &AtomicBool) -> Result<Step> {
        let number = self.step.fetch_add(1, Ordering::Relaxed);
        let (total, arrived) = (AtomicU64::new(u64::MAX), AtomicU64::new(0));
        let sent = thread::scope(|scope| -> Result<Sent> {
            let receiver = scope.spawn(|| receive(&self.far, number, &total, &arrived));
            let sent = send(&self.near, number, size.max(HEADER), rate, time, end);
            // Also after a failure: the receiver waits for this.
            total.store(sent.as_ref().map_or(0, |sent| sent.packets), Ordering::Relaxed);
            receiver.join().map_err(|_| anyhow!("the receiver panicked"))??;
            sent
        })?;
        let arrived = count(arrived.into_inner()).min(count(sent.packets));
        let (packets, seconds) = (count(sent.packets).max(1.0), sent.time.as_secs_f64());
        Ok(Step { sent: packets / seconds, arrived: arrived / seconds, lost: 1.0 - arrived / packets })
    }
}

/// Binds a socket at a host, with much room.
pub(crate) fn bind(host: &Host, address: IpAddr) -> Result<UdpSocket> {
    let address = SocketAddr::new(address, 0);
    let socket =
        host.namespace.enter(|| UdpSocket::bind(address))?.with_context(|| format!("cannot bind {address}"))?;
    setsockopt(&socket, RcvBufForce, &BUFFER_BYTES).context("no room to receive")?;
    setsockopt(&socket, SndBufForce, &BUFFER_BYTES).context("no room to send")?;
    Ok(socket)
}

fn send(
    socket: &UdpSocket,
    number: u32,
    size: usize,
    rate: Option<f64>,
    time: Duration,
    end: &AtomicBool,
) -> Result<Sent> {
    let mut packet = vec![0; size];
    packet.split_at_mut(HEADER).0.copy_from_slice(&number.to_be_bytes());
    let mut headers: MultiHeaders<SockaddrIn> = MultiHeaders::preallocate(BATCH, None);
    let slices = [[IoSlice::new(&packet)]; BATCH];
    let connected = [None; BATCH];
    let each = rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(1.0 / rate.max(1.0)));
    let (start, mut packets) = (Instant::now(), 0);
    let mut next = start;
    loop {
        let now = Instant::now();
        if now - start >= time || end.load(Ordering::Relaxed) {
            return Ok(Sent { packets, time: now - start });
        }
        if next > now {
            sleep(next - now);
            continue;
        }
        next = next.max(now.checked_sub(CATCH_UP).unwrap_or(start));
        let mut due = 0;
        while due < BATCH && next <= now {
            due += 1;
            next += each;
        }
        let batch = slices.get(..due).unwrap_or(&slices);
        match sendmmsg(socket.as_raw_fd(), &mut headers, batch, connected, [], MsgFlags::empty()) {
            Ok(passed) => packets += u64::try_from(passed.count())?,
            // The tunnel has refused a packet: it is one that did not arrive.
            Err(Errno::ENOBUFS | Errno::ECONNREFUSED | Errno::EPERM | Errno::ENETUNREACH) => packets += 1,
            Err(error) => return Err(error).context("cannot send"),
        }
    }
}

/// Counts the packets of a step until all have come, or nothing comes any more.
fn receive(socket: &UdpSocket, number: u32, total: &AtomicU64, arrived: &AtomicU64) -> Result<()> {
    let mut headers: MultiHeaders<SockaddrIn> = MultiHeaders::preallocate(BATCH, None);
    let mut room = vec![0; BATCH * ROOM];
    let (mut seen, mut last) = (0, Instant::now());
    loop {
        let mut slices: Vec<_> = room.chunks_mut(ROOM).map(|slot| [IoSliceMut::new(slot)]).collect();
        let came = recvmmsg(socket.as_raw_fd(), &mut headers, &mut slices, MsgFlags::MSG_WAITFORONE, None);
        match came {
            Ok(messages) => {
                let of_step = |bytes: &[u8]| bytes.first_chunk() == Some(&number.to_be_bytes());
                let ours = messages.filter(|message| message.iovs().next().is_some_and(of_step)).count();
                seen += u64::try_from(ours)?;
                last = Instant::now();
            }
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNREFUSED) => {}
            Err(error) => return Err(error).context("cannot receive"),
        }
        let total = total.load(Ordering::Relaxed);
        if seen >= total || (total < u64::MAX && last.elapsed() > QUIET) {
            arrived.store(seen, Ordering::Relaxed);
            return Ok(());
        }
    }
}

/// Sends back what comes, until it is told to end.
pub(crate) fn echo(socket: &UdpSocket, end: &AtomicBool) -> Result<()> {
    socket.set_read_timeout(Some(GLANCE))?;
    let mut packet = [0; ROOM];
    while !end.load(Ordering::Relaxed) {
        match socket.recv_from(&mut packet) {
            // One that cannot be sent back is lost, and counted by who sent it.
            Ok((length, from)) => _ = socket.send_to(packet.get(..length).unwrap_or(&packet), from),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error).context("cannot echo"),
        }
    }
    Ok(())
}

/// Room for a packet.
const ROOM: usize = 2048;

#[expect(clippy::cast_precision_loss, reason = "a count of packets is far below 52 bits")]
const fn count(packets: u64) -> f64 {
    packets as f64
}
