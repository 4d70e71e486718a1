//! The sockets of IKE: UDP 500, where it begins, and what is not ESP on UDP 4500, to which both ends float (RFC 7296 §2.23).
//!
//! The kernel sorts what comes in: first messages have sockets of their own, and so does ESP, so that a flood of one kind fills no
//! buffer of another. A train of datagrams goes where its first one belongs. Two threads keep the door, one for first messages and one for the rest; the former lets all others go first
//! where processors are short.

mod flood;
mod watch;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use arc_swap::ArcSwap;
use espalier_ike::{DoorCounters, DoorPolicy, Doorkeeper};
use espalier_model::sa::UdpPath;
use espalier_sys::Error;
use espalier_sys::udp::{UdpSocket, Word};
use espalier_sys::waker::Waker;
use tokio::sync::mpsc;

use crate::network;

/// An IKE message that came in, without the non-ESP marker.
pub struct IkeDatagram {
    /// Where from, where to.
    pub path: UdpPath,
    /// The message.
    pub bytes: Vec<u8>,
}

/// What came in and was let in.
pub struct Inbox {
    for_sas: mpsc::Receiver<IkeDatagram>,
    first: mpsc::Receiver<IkeDatagram>,
}

/// The way into an [`Inbox`]. What finds it full is dropped, and the peer sends it again.
#[derive(Clone)]
pub struct Letterbox {
    for_sas: mpsc::Sender<IkeDatagram>,
    first: mpsc::Sender<IkeDatagram>,
}

/// The sockets of IKE: for messages of SAs, and for first messages.
pub struct Sockets([Lane; 2]);

/// Sockets that get one kind of IKE messages: of port 500 for IPv4 and IPv6, then of port 4500.
type Lane = [UdpSocket; 4];

/// The door. Its threads stop when it is dropped.
pub struct Door {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    /// For messages of SAs, and for first messages.
    lanes: [Lane; 2],
    policy: ArcSwap<DoorPolicy>,
    /// Of each lane's keeper.
    counters: [Mutex<DoorCounters>; 2],
    letterbox: Letterbox,
    stopped: Waker,
}

/// A burst of a whole mesh; beyond it the peers send again.
const WAITING: usize = 4_096;
const IKE: u16 = 500;
const NAT_TRAVERSAL: u16 = 4500;
/// Four zero bytes where ESP has its SPI (RFC 3948 §2.2).
pub(crate) const NON_ESP_MARKER: [u8; 4] = [0; 4];
const MARKER: Word = Word { offset: 0, mask: u32::MAX, value: 0 };

/// Makes an inbox and the way into it.
#[must_use]
pub fn inbox() -> (Letterbox, Inbox) {
    let ((for_sas, for_sas_out), (first, first_out)) = (mpsc::channel(WAITING), mpsc::channel(WAITING));
    (Letterbox { for_sas, first }, Inbox { for_sas: for_sas_out, first: first_out })
}

impl Inbox {
    /// Waits for a message: those of SAs go before first messages. Dropping the future loses none.
    pub async fn recv(&mut self) -> Option<IkeDatagram> {
        tokio::select! {
            biased;
            Some(datagram) = self.for_sas.recv() => Some(datagram),
            datagram = self.first.recv() => datagram,
        }
    }
}

impl Letterbox {
    /// Takes a message that came to a socket of ESP: the kernel sorts whole trains of datagrams by their first one.
    pub fn take_stray(&self, path: UdpPath, message: &[u8]) {
        let _ = self.first.try_send(IkeDatagram { path, bytes: message.to_vec() });
    }
}

impl Sockets {
    /// Binds both ports for both IP versions. Also returns the sockets that get the ESP of port 4500.
    ///
    /// # Errors
    /// A port is taken, or a privilege is missing.
    pub fn bind() -> Result<(Self, [UdpSocket; 2]), Error> {
        let (v4, v6) = (Version::bind(Ipv4Addr::UNSPECIFIED.into())?, Version::bind(Ipv6Addr::UNSPECIFIED.into())?);
        let for_sas = [v4.ike, v6.ike, v4.float, v6.float];
        let first = [v4.ike_first, v6.ike_first, v4.float_first, v6.float_first];
        Ok((Self([for_sas, first]), [v4.esp, v6.esp]))
    }
}

/// The sockets of one IP version, those of port 4500 after its other name, "floated".
struct Version {
    ike: UdpSocket,
    ike_first: UdpSocket,
    float: UdpSocket,
    float_first: UdpSocket,
    esp: UdpSocket,
}

impl Version {
    fn bind(any: IpAddr) -> Result<Self, Error> {
        let at = |port| SocketAddr::new(any, port);
        let mark = Some(network::MARK);
        let (ike, [ike_first]) = UdpSocket::bind_steered(at(IKE), mark, [&[opens_sa(0)]])?;
        let floated = [&[MARKER, opens_sa(4)][..], &[MARKER]];
        let (esp, [float_first, float]) = UdpSocket::bind_steered(at(NAT_TRAVERSAL), mark, floated)?;
        Ok(Self { ike, ike_first, float, float_first, esp })
    }
}

/// Of a message that begins at an offset: the exchange is `IKE_SA_INIT`, of the flags the initiator's is set and the response's is
/// not (RFC 7296 §3.1).
const fn opens_sa(start: u32) -> Word {
    Word { offset: start + 16, mask: 0x0000_ff28, value: 0x0000_2208 }
}

impl Door {
    /// Opens it, with a keeper for messages of SAs and one for first messages.
    ///
    /// # Errors
    /// No thread or descriptor is left.
    pub fn open(sockets: Sockets, keepers: [Doorkeeper; 2], letterbox: Letterbox) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            lanes: sockets.0,
            policy: ArcSwap::default(),
            counters: Default::default(),
            letterbox,
            stopped: Waker::new()?,
        });
        let mut door = Self { shared, threads: Vec::new() };
        for (lane, keeper) in keepers.into_iter().enumerate() {
            let shared = Arc::clone(&door.shared);
            let (name, nice) = if lane == FOR_SAS { ("ike", 0) } else { ("ike-first", YIELDING) };
            let thread = thread::Builder::new().name(name.to_owned());
            door.threads.push(thread.spawn(move || watch::run(&shared, lane, keeper, nice))?);
        }
        Ok(door)
    }

    /// Keeps the door so from now on.
    pub fn keep(&self, policy: DoorPolicy) {
        self.shared.policy.store(Arc::new(policy));
    }

    /// Sends an IKE message; from port 4500 behind the non-ESP marker (RFC 3948 §2.2).
    ///
    /// # Errors
    /// What the socket says.
    pub fn send(&self, path: &UdpPath, message: &[u8]) -> io::Result<()> {
        if path.local.port() == NAT_TRAVERSAL {
            //= RFC 7296 §2: on port 4500 an IKE message stands behind four bytes of zero
            return self.socket(path).send_fragmentable(path, &[&NON_ESP_MARKER, message].concat());
        }
        self.socket(path).send_fragmentable(path, message)
    }

    /// Sends the byte that keeps a NAT's mapping alive (RFC 3948 §2.3).
    ///
    /// # Errors
    /// What the socket says.
    pub fn send_keepalive(&self, path: &UdpPath) -> io::Result<()> {
        self.socket(path).send(path, &[0xff])
    }

    fn socket(&self, path: &UdpPath) -> &UdpSocket {
        let [[ike4, ike6, float4, float6], _] = &self.shared.lanes;
        match (path.local.port() == NAT_TRAVERSAL, path.remote.is_ipv4()) {
            (true, true) => float4,
            (true, false) => float6,
            (false, true) => ike4,
            (false, false) => ike6,
        }
    }

    /// Takes trains of datagrams whole on port 4500, or not, as do the sockets of ESP, with which these share it.
    pub fn take_trains(&self, take: bool) {
        let floats = self.shared.lanes.iter().flat_map(|[_, _, float4, float6]| [float4, float6]);
        for socket in floats {
            if let Err(error) = socket.take_trains(take) {
                tracing::debug!(%error, "trains of datagrams are unknown to this kernel");
            }
        }
    }

    /// Returns what happened to the datagrams that came no further.
    #[must_use]
    pub fn counters(&self) -> DoorCounters {
        let [a, b] = self.shared.counters.each_ref().map(|c| *c.lock().unwrap_or_else(PoisonError::into_inner));
        a + b
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.shared.stopped.wake();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a keeper of the door had panicked");
            }
        }
    }
}

/// The lane of messages of SAs.
const FOR_SAS: usize = 0;
/// A thread of this niceness gets a tenth of what others get, where processors are short.
const YIELDING: i32 = 10;
