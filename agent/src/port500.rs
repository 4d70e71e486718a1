//! UDP 500: where IKE begins, before both ends float to 4500 (RFC 7296 §2.23). One thread waits, and hands over what comes.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use espalier_model::sa::UdpPath;
use espalier_sys::poll;
use espalier_sys::udp::UdpSocket;
use espalier_sys::waker::Waker;
use tokio::sync::mpsc;

/// An IKE message that came in, without the non-ESP marker.
pub struct IkeDatagram {
    /// Where from, where to.
    pub path: UdpPath,
    /// The message.
    pub bytes: Vec<u8>,
}

/// The sockets of port 500, for IPv4 and IPv6. The thread stops when this is dropped.
pub struct Port500 {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    sockets: [UdpSocket; 2],
    stopped: Waker,
}

impl Port500 {
    /// Starts to receive.
    ///
    /// # Errors
    /// No thread or descriptor is left.
    pub fn start(sockets: [UdpSocket; 2], ike: mpsc::Sender<IkeDatagram>) -> io::Result<Self> {
        let shared = Arc::new(Shared { sockets, stopped: Waker::new()? });
        let lent = Arc::clone(&shared);
        let thread = thread::Builder::new().name("ike-500".to_owned()).spawn(move || receive(&lent, &ike))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Sends a message.
    ///
    /// # Errors
    /// What the socket says.
    pub fn send(&self, path: &UdpPath, message: &[u8]) -> io::Result<()> {
        let [v4, v6] = &self.shared.sockets;
        let socket = if path.remote.is_ipv4() { v4 } else { v6 };
        socket.send_fragmentable(path, message)
    }
}

impl Drop for Port500 {
    fn drop(&mut self) {
        self.shared.stopped.wake();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the receiver of port 500 had panicked");
        }
    }
}

fn receive(shared: &Shared, ike: &mpsc::Sender<IkeDatagram>) {
    let [v4, v6] = &shared.sockets;
    let mut buffer = vec![0; LONGEST];
    while let Ok([.., false]) = poll::wait([v4.as_fd(), v6.as_fd(), shared.stopped.as_fd()], None) {
        for socket in [v4, v6] {
            for _ in 0..BATCH {
                let Ok((length, path)) = socket.recv(&mut buffer) else { break };
                let bytes = buffer.get(..length).unwrap_or_default().to_vec();
                // A full channel drops the message, and the peer sends it again.
                let _ = ike.try_send(IkeDatagram { path, bytes });
            }
        }
    }
}

//= RFC 7296 §2: messages of any length that UDP has are taken
const LONGEST: usize = 65_535;
/// Messages taken from one socket before the other is asked.
const BATCH: usize = 64;
