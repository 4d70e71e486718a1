//! The node's own addresses: one thread waits for word from the kernel, and hands over what is there then, or that anything else has
//! changed.

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use espalier_sys::netlink::{Monitor, Netlink};
use espalier_sys::poll;
use espalier_sys::waker::Waker;
use tokio::sync::watch;

use crate::driver::RunError;

/// What the node has of addresses, always the latest. The thread stops when this is dropped.
pub(crate) struct Underlay {
    latest: watch::Receiver<Vec<IpAddr>>,
    /// Marked as changed with every interface, address or route.
    touched: watch::Receiver<()>,
    stopped: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
}

/// An interface that comes or goes changes several things at once; they are looked at together.
const SETTLE: Duration = Duration::from_millis(20);

impl Underlay {
    /// Reads the addresses, all but those of the interface of this name, and watches them from then on.
    ///
    /// # Errors
    /// No thread or descriptor is left, or the kernel does not tell.
    pub(crate) fn start(except: &'static str) -> Result<Self, RunError> {
        let monitor = Monitor::open()?;
        let (sender, latest) = watch::channel(present(except)?);
        let (touch, touched) = watch::channel(());
        let stopped = Arc::new(Waker::new()?);
        let lent = Arc::clone(&stopped);
        let body = move || {
            if let Err(error) = follow(&monitor, &lent, except, (&sender, &touch)) {
                tracing::error!(%error, "changes of addresses are no longer seen: SAs stay where they are");
            }
        };
        let thread = thread::Builder::new().name("addresses".to_owned()).spawn(body)?;
        Ok(Self { latest, touched, stopped, thread: Some(thread) })
    }

    /// Returns the addresses as they are.
    pub(crate) fn present(&mut self) -> Vec<IpAddr> {
        self.latest.borrow_and_update().clone()
    }

    /// Tells whether anything about interfaces, addresses or routes has changed since the last call.
    pub(crate) fn take_touched(&mut self) -> bool {
        let touched = self.touched.has_changed().unwrap_or(false);
        self.touched.mark_unchanged();
        touched
    }

    /// Waits until they have changed. Dropping the future misses nothing.
    pub(crate) async fn changed(&mut self) {
        if self.latest.changed().await.is_err() {
            // The thread has ended, and has said why.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Underlay {
    fn drop(&mut self) {
        self.stopped.wake();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the watcher of addresses had panicked");
        }
    }
}

fn follow(
    monitor: &Monitor,
    stopped: &Waker,
    except: &str,
    (latest, touch): (&watch::Sender<Vec<IpAddr>>, &watch::Sender<()>),
) -> Result<(), Box<dyn std::error::Error>> {
    while let [_, false] = poll::wait([monitor.as_fd(), stopped.as_fd()], None)? {
        if !monitor.changed()? {
            continue;
        }
        let [stop] = poll::wait([stopped.as_fd()], Some(SETTLE))?;
        if stop {
            break;
        }
        monitor.changed()?;
        touch.send_replace(());
        let present = present(except)?;
        latest.send_if_modified(|before| {
            let changed = *before != present;
            *before = present;
            changed
        });
    }
    Ok(())
}

fn present(except: &str) -> Result<Vec<IpAddr>, espalier_sys::Error> {
    let mut netlink = Netlink::open()?;
    // It may be gone, or have come back under another number.
    let except = netlink.link_index(except).ok();
    netlink.present_addresses(except)
}
