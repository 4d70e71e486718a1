//! A flood of first messages of IKE from addresses that nobody answers at.

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

/// The senders' network: for benchmarks of network devices (RFC 2544), so nobody's.
const SENDERS: [u8; 2] = [198, 18];

impl Flood {
    /// Sends so many first messages a second from a host to a port of another, each from an address of its own.
    ///
    /// # Errors
    /// The host cannot send in others' names.
    pub fn start(from: &Host, to: &Host, port: u16, per_second: u32) -> Result<Self> {
        let mut command = from.namespace.command("ip");
        command.args(["route", "replace", "local", "198.18.0.0/16", "dev", "lo"]);
        output(command)?;
        let mut back = to.namespace.command("ip");
        back.args(["route", "replace", "198.18.0.0/16", "via", &from.outer(true).to_string()]);
        output(back)?;
        let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
        let socket = from.namespace.enter(|| UdpSocket::bind(any, None))?.context("no socket for the flood")?;
        let (stop, remote) = (Arc::new(AtomicBool::new(false)), SocketAddr::new(to.outer(true), port));
        let stopping = Arc::clone(&stop);
        let sender = thread::spawn(move || send(&socket, remote, per_second, &stopping));
        Ok(Self { stop, sender })
    }

    /// Ends it, and returns how many messages a second were sent.
    ///
    /// # Errors
    /// Messages could not be sent.
    pub fn stop(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.sender.join().map_err(|_| anyhow!("the flood panicked"))?
    }
}

fn send(socket: &UdpSocket, remote: SocketAddr, per_second: u32, stop: &AtomicBool) -> Result<u64> {
    let mut message = first_message()?;
    let (start, mut sent) = (Instant::now(), 0_u32);
    while !stop.load(Ordering::Relaxed) {
        let due = (start.elapsed().as_secs_f64() * f64::from(per_second)).min(f64::from(u32::MAX));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was clamped")]
        let due = due as u32;
        for number in sent..due {
            let [_, _, high, low] = number.to_be_bytes();
            let local = SocketAddr::new(IpAddr::from([SENDERS[0], SENDERS[1], high, low]), socket.local_addr().port());
            if let Some(spi) = message.get_mut(..8) {
                random(spi);
            }
            // A full buffer is the limit of this machine; what is counted is what was sent.
            if socket.send(&UdpPath { local, remote }, &message).is_err() {
                sleep(Duration::from_micros(50));
            }
        }
        sent = due;
        sleep(Duration::from_micros(500));
    }
    ensure!(sent > 0, "nothing was sent");
    Ok(u64::from(sent) * 1_000 / u64::try_from(start.elapsed().as_millis())?.max(1))
}

/// Builds a first message that any peer would answer.
fn first_message() -> Result<Vec<u8>> {
    let share = KeyShare::generate(KeyExchange::X25519)?;
    let profile = Profile::standard("default".parse()?);
    let mut nonce = vec![0; 32];
    random(&mut nonce);
    let never = |kind| Payload::Notify(Notify::new(kind, vec![0; 20]));
    let data = share.public().to_vec();
    let payloads = vec![
        Payload::SecurityAssociation(offer_ike(&profile, SpiField::None)),
        Payload::KeyExchange(KeyExchangeData { method: key_exchange_id(KeyExchange::X25519), data }),
        Payload::Nonce(Nonce::new(nonce)?),
        never(NotifyType::NAT_DETECTION_SOURCE_IP),
        never(NotifyType::NAT_DETECTION_DESTINATION_IP),
        Payload::Notify(Notify::new(NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED, vec![])),
    ];
    let header = Header {
        initiator_spi: IkeSpi(1),
        responder_spi: IkeSpi::ZERO,
        exchange: ExchangeType::IKE_SA_INIT,
        flags: Flags { initiator: true, response: false },
        message_id: 0,
    };
    Ok(Message { header, payloads }.emit()?)
}
