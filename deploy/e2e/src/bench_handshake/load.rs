//! The load: many initiators, each with an address of its own, some handshakes under way all the time.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use espalier_e2e::program::output;
use espalier_ike::wire::Header;
use espalier_model::sa::UdpPath;
use espalier_sys::poll;
use espalier_sys::udp::UdpSocket;

use crate::initiator::{AuthSent, Client, InitSent};
use espalier_e2e::rate::per_second;

/// What a load came to.
pub(crate) struct Outcome {
    /// Handshakes a second.
    pub(crate) rate: f64,
    /// The share of its core that the load itself took.
    pub(crate) busy: f64,
    /// How long it took.
    pub(crate) time: Duration,
}

/// Handshakes under way at once: the responder never waits for the next one.
const WINDOW: usize = 24;
/// A message is sent again after this long; the responder is on this machine, so it is lost only where a queue was full.
const AGAIN: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(60);
const IKE: u16 = 500;
const NAT_TRAVERSAL: u16 = 4500;
/// Before an IKE message on port 4500 (RFC 3948 §2.2).
const MARKER: [u8; 4] = [0; 4];

struct Load<'a> {
    first: UdpSocket,
    later: UdpSocket,
    to: IpAddr,
    open: BTreeMap<u64, Open<'a>>,
    done: usize,
}

struct Open<'a> {
    client: &'a Client,
    sent: Instant,
    state: State,
}

enum State {
    Init(InitSent),
    Auth(Box<AuthSent>),
}

/// Lets every client set up an SA, on one core. The calling thread must be in the network of the initiators.
pub(crate) fn run(clients: &[Client], to: IpAddr, core: usize) -> Result<Outcome> {
    pin(core)?;
    let socket = |port| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port).into(), None);
    let (first, later) = (socket(IKE)?, socket(NAT_TRAVERSAL)?);
    let mut load = Load { first, later, to, open: BTreeMap::new(), done: 0 };
    let (start, used) = (Instant::now(), processor_time()?);
    let mut waiting = clients.iter();
    while load.done < clients.len() {
        ensure!(start.elapsed() < PATIENCE, "only {} of {} handshakes completed", load.done, clients.len());
        while load.open.len() < WINDOW
            && let Some(client) = waiting.next()
        {
            load.begin(client)?;
        }
        poll::wait([load.first.as_fd(), load.later.as_fd()], Some(AGAIN))?;
        load.receive()?;
        load.send_again()?;
    }
    let (time, used) = (start.elapsed(), processor_time()? - used);
    Ok(Outcome { rate: per_second(load.done, time)?, busy: used.as_secs_f64() / time.as_secs_f64(), time })
}

impl<'a> Load<'a> {
    fn begin(&mut self, client: &'a Client) -> Result<()> {
        let state = InitSent::new()?;
        self.send_first(client, &state)?;
        self.open.insert(state.spi().0, Open { client, sent: Instant::now(), state: State::Init(state) });
        Ok(())
    }

    fn send_first(&self, client: &Client, state: &InitSent) -> Result<()> {
        Ok(self.first.send(&self.path(client, IKE), &state.message)?)
    }

    fn send_later(&self, client: &Client, state: &AuthSent) -> Result<()> {
        let path = self.path(client, NAT_TRAVERSAL);
        Ok(self.later.send(&path, &[&MARKER, &state.message[..]].concat())?)
    }

    fn path(&self, client: &Client, port: u16) -> UdpPath {
        UdpPath { local: SocketAddr::new(client.address, port), remote: SocketAddr::new(self.to, port) }
    }

    /// Takes all that has come.
    fn receive(&mut self) -> Result<()> {
        let mut buffer = vec![0; 65_535];
        loop {
            let came = match self.later.recv(&mut buffer) {
                Ok((length, _)) => buffer.get(MARKER.len()..length),
                Err(error) if error.kind() == ErrorKind::WouldBlock => match self.first.recv(&mut buffer) {
                    Ok((length, _)) => buffer.get(..length),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                    Err(error) => return Err(error.into()),
                },
                Err(error) => return Err(error.into()),
            };
            if let Some(datagram) = came {
                self.take(datagram)?;
            }
        }
    }

    fn take(&mut self, datagram: &[u8]) -> Result<()> {
        let Ok((header, _)) = Header::parse(datagram) else { return Ok(()) };
        let spi = header.initiator_spi.0;
        // What is not the answer that is awaited is an answer sent twice, or a call by the responder.
        let Some(open) = self.open.remove(&spi).filter(|_| header.flags.response) else { return Ok(()) };
        match open.state {
            State::Init(state) => {
                let state = state.answered(open.client, datagram)?;
                self.send_later(open.client, &state)?;
                self.open.insert(spi, Open { sent: Instant::now(), state: State::Auth(Box::new(state)), ..open });
            }
            State::Auth(state) if header.message_id == 1 => {
                state.answered(datagram)?;
                self.done += 1;
            }
            State::Auth(_) => _ = self.open.insert(spi, open),
        }
        Ok(())
    }

    fn send_again(&mut self) -> Result<()> {
        let now = Instant::now();
        for open in self.open.values().filter(|open| open.sent + AGAIN < now) {
            match &open.state {
                State::Init(state) => self.send_first(open.client, state)?,
                State::Auth(state) => self.send_later(open.client, state)?,
            }
        }
        self.open.values_mut().filter(|open| open.sent + AGAIN < now).for_each(|open| open.sent = now);
        Ok(())
    }
}

/// Keeps the calling thread on one core.
fn pin(core: usize) -> Result<()> {
    let thread = fs::read_link("/proc/thread-self")?;
    let id = thread.file_name().context("a thread has an id")?;
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", "--pid", &core.to_string()]).arg(id);
    output(command).map(drop)
}

/// Returns the time that the calling thread has run.
fn processor_time() -> Result<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").context("the kernel keeps no schedstat")?;
    let nanoseconds = text.split_whitespace().next().context("schedstat is empty")?;
    Ok(Duration::from_nanos(nanoseconds.parse()?))
}
