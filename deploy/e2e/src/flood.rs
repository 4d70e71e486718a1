//! Floods of datagrams that serve nobody, from addresses that nobody answers at.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use espalier_crypto::{KeyShare, random};
use espalier_ike::wire::proposal::{key_exchange_id, offer_ike};
use espalier_ike::wire::{
    ExchangeType, Flags, Header, IkeSpi, KeyExchangeData, Message, Nonce, Notify, NotifyType, Payload, SpiField,
};
use espalier_model::profile::Profile;
use espalier_model::sa::UdpPath;
use espalier_model::suite::KeyExchange;
use espalier_sys::udp::UdpSocket;

use crate::lab::Host;
use crate::program::output;

/// A flood under way.
pub struct Flood {
    stop: Arc<AtomicBool>,
    sender: JoinHandle<Result<u64>>,
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Requests for an IKE SA that any peer would answer, each from an address of its own.
    FirstMessages,
    /// The same, all from one address.
    FirstMessagesOfOne,
    /// In turn: ESP with an SPI that nobody has, ESP with this SPI and a wrong ICV, and messages of IKE SAs that nobody has. Each
    /// from an address of its own.
    Garbage(u32),
}

/// What a flood is aimed at.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// The host.
    pub host: &'a Host,
    /// Its port.
    pub port: u16,
    /// Datagrams a second.
    pub per_second: u32,
}

/// The senders' network: for benchmarks of network devices (RFC 2544), so nobody's.
const SENDERS: [u8; 2] = [198, 18];
const NAT_TRAVERSAL: u16 = 4500;
/// As many as one system call sends.
const BATCH: u32 = 32;

impl Flood {
    /// Begins to send from a host.
    ///
    /// # Errors
    /// The host cannot send in others' names.
    pub fn start(from: &Host, target: Target<'_>, kind: Kind) -> Result<Self> {
        let mut command = from.namespace.command("ip");
        command.args(["route", "replace", "local", "198.18.0.0/16", "dev", "lo"]);
        output(command)?;
        let mut back = target.host.namespace.command("ip");
        back.args(["route", "replace", "198.18.0.0/16", "via", &from.outer(true).to_string()]);
        output(back)?;
        let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
        let socket = from.namespace.enter(|| UdpSocket::bind(any, None))?.context("no socket for the flood")?;
        let (remote, per_second) = (SocketAddr::new(target.host.outer(true), target.port), target.per_second);
        let templates = templates(kind, target.port == NAT_TRAVERSAL)?;
        let source = Source { kind, port: socket.local_addr().port(), remote, templates };
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let sender = thread::spawn(move || source.send(&socket, per_second, &stopping));
        Ok(Self { stop, sender })
    }

    /// Ends it, and returns how many datagrams a second were sent.
    ///
    /// # Errors
    /// None could be sent.
    pub fn stop(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.sender.join().map_err(|_| anyhow!("the flood panicked"))?
    }
}

struct Source {
    kind: Kind,
    port: u16,
    remote: SocketAddr,
    templates: Vec<Template>,
}

/// A datagram, and where in it each copy has its number in place of an SPI.
struct Template {
    bytes: Vec<u8>,
    number_at: usize,
}

impl Source {
    fn send(&self, socket: &UdpSocket, per_second: u32, stop: &AtomicBool) -> Result<u64> {
        let (start, mut tried, mut sent) = (Instant::now(), 0_u32, 0_u64);
        while !stop.load(Ordering::Relaxed) {
            let due = (start.elapsed().as_secs_f64() * f64::from(per_second)).min(f64::from(u32::MAX));
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was clamped")]
            let due = due as u32;
            while tried < due && !stop.load(Ordering::Relaxed) {
                let until = due.min(tried + BATCH);
                let batch: Vec<_> = (tried..until).filter_map(|number| self.datagram(number)).collect();
                let taken = socket.send_batch(batch.iter().map(|(path, bytes)| (*path, &bytes[..])));
                // A full buffer is the limit of this machine; what is counted is what was sent.
                if taken < batch.len() {
                    sleep(Duration::from_micros(50));
                }
                (tried, sent) = (until, sent + u64::try_from(taken)?);
            }
            sleep(Duration::from_micros(500));
        }
        ensure!(sent > 0, "nothing was sent");
        Ok(sent * 1_000 / u64::try_from(start.elapsed().as_millis())?.max(1))
    }

    fn datagram(&self, number: u32) -> Option<(UdpPath, Vec<u8>)> {
        let [_, _, high, low] = if self.kind == Kind::FirstMessagesOfOne { [1; 4] } else { number.to_be_bytes() };
        let local = SocketAddr::new(IpAddr::from([SENDERS[0], SENDERS[1], high, low]), self.port);
        let template = self.templates.get(usize::try_from(number).ok()? % self.templates.len())?;
        let mut bytes = template.bytes.clone();
        // Spread over all bits, and never zero.
        let spread = (number | 1).wrapping_mul(0x9e37_79b1).to_be_bytes();
        bytes.get_mut(template.number_at..)?.get_mut(..4)?.copy_from_slice(&spread);
        Some((UdpPath { local, remote: self.remote }, bytes))
    }
}

fn templates(kind: Kind, marked: bool) -> Result<Vec<Template>> {
    let marker = vec![0; if marked { 4 } else { 0 }];
    let message = |header, payloads, number_at: usize| {
        let bytes = [marker.clone(), Message { header, payloads }.emit()?].concat();
        Ok::<_, anyhow::Error>(Template { bytes, number_at: marker.len() + number_at })
    };
    let Kind::Garbage(spi) = kind else { return Ok(vec![message(header(ExchangeType::IKE_SA_INIT), first()?, 4)?]) };
    let mut esp = vec![0; ESP_LEN];
    random(&mut esp);
    let nobodys = Template { bytes: esp.clone(), number_at: 0 };
    esp.get_mut(..4).context("a packet has an SPI")?.copy_from_slice(&spi.to_be_bytes());
    // Its number is the sequence number: what is too old is dropped before the ICV is looked at.
    let forged = Template { bytes: esp, number_at: 4 };
    Ok(vec![nobodys, forged, message(header(ExchangeType::INFORMATIONAL), vec![], 12)?])
}

/// A packet of about 100 bytes, as it arrives in ESP.
const ESP_LEN: usize = 132;

fn header(exchange: ExchangeType) -> Header {
    let first = exchange == ExchangeType::IKE_SA_INIT;
    Header {
        initiator_spi: IkeSpi(0x0123_4567_89ab_cdef),
        responder_spi: if first { IkeSpi::ZERO } else { IkeSpi(0x0123_4567_89ab_cdef) },
        exchange,
        flags: Flags { initiator: true, response: false },
        message_id: 0,
    }
}

/// Builds the payloads of a first message that any peer would answer.
fn first() -> Result<Vec<Payload>> {
    let share = KeyShare::generate(KeyExchange::X25519)?;
    let profile = Profile::standard("default".parse()?);
    let mut nonce = vec![0; 32];
    random(&mut nonce);
    let never = |kind| Payload::Notify(Notify::new(kind, vec![0; 20]));
    let data = share.public().to_vec();
    Ok(vec![
        Payload::SecurityAssociation(offer_ike(&profile, SpiField::None)),
        Payload::KeyExchange(KeyExchangeData { method: key_exchange_id(KeyExchange::X25519), data }),
        Payload::Nonce(Nonce::new(nonce)?),
        never(NotifyType::NAT_DETECTION_SOURCE_IP),
        never(NotifyType::NAT_DETECTION_DESTINATION_IP),
        Payload::Notify(Notify::new(NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED, vec![])),
    ])
}
