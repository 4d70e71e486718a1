//! The data plane in user space: one thread for each direction, from TUN to UDP 4500 and back, each run to completion. Where an SA
//! goes without UDP there are raw sockets besides, with a thread for what comes through them.
//!
//! Packets pass in bulk wherever the kernel has a way for it, see [`Offloads`]; each thread keeps their order. Workers read one
//! snapshot of SPD and SAD per packet batch. The control side builds the next snapshot and swaps it in.

mod demand;
mod inbound;
mod offloads;
mod outbound;
mod raw;
mod totals;
mod turns;

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use arc_swap::{ArcSwap, ArcSwapOption};
use espalier_esp::offload::FRAME_HEADER_LEN;
use espalier_esp::{Carriage, Counters, Inbound, Outbound, Spd, Tables};
use espalier_model::identity::Name;
use espalier_model::plan::Rule;
use espalier_model::sa::{ChildId, Direction, InboundSa, OutboundSa, SaEvent, SaUsage, UdpPath};
use espalier_sys::tun::Tun;
use espalier_sys::udp::UdpSocket;
use espalier_sys::waker::Waker;
use tokio::sync::mpsc;

pub use offloads::Offloads;
use offloads::States;
use raw::RawSockets;
pub use totals::{Level, Total, Totals};
use turns::Turns;

use super::{DataPlane, DataPlaneError};
use crate::door::Letterbox;

/// What both workers share.
struct Shared {
    /// Another one once it was gone.
    tun: ArcSwap<Tun>,
    sockets: [UdpSocket; 2],
    /// From the first SA on that needs them.
    raw: ArcSwapOption<RawSockets>,
    tables: ArcSwap<Tables>,
    /// Of the worker that sends.
    turns: Turns,
    counters: Counters,
    totals: Totals,
    offloads: States,
    events: mpsc::Sender<SaEvent>,
    /// Paths that were too narrow for a packet.
    too_long: mpsc::Sender<UdpPath>,
    start: Instant,
    /// The second since the start, from 1, in which a packet of an unknown SPI was told of last.
    stray_told: AtomicU64,
    letterbox: Letterbox,
    stop: AtomicBool,
    /// For each worker: wakes it when it is to stop, and the one that sends when an SA has come for what waits.
    wakers: [Waker; 3],
}

/// The data plane. Its workers stop when it is dropped.
pub struct Userspace {
    shared: Arc<Shared>,
    events: mpsc::Receiver<SaEvent>,
    /// Every outbound half that is not removed: one that is used again goes on counting where it was, so that no nonce repeats.
    outbounds: BTreeMap<ChildId, Arc<Outbound>>,
    /// How long packets of each rule may be.
    mtus: BTreeMap<Name, u16>,
    workers: Vec<JoinHandle<()>>,
}

/// Events are rare; a full channel is tried again with the next packet.
const EVENTS: usize = 1_024;
/// Paths that wait to be looked at.
const NARROW_PATHS: usize = 64;

impl Userspace {
    /// Starts the workers. `sockets` are those that get the ESP of port 4500, for IPv4 and IPv6; an IKE message that comes there all
    /// the same goes into the letterbox. Also returns the paths that turn out too narrow for a packet, as they do.
    ///
    /// # Errors
    /// No thread or descriptor is left.
    pub fn start(
        tun: Tun,
        sockets: [UdpSocket; 2],
        letterbox: Letterbox,
        offloads: Offloads,
    ) -> io::Result<(Self, mpsc::Receiver<UdpPath>)> {
        let ((event_sender, events), (too_long, narrow)) = (mpsc::channel(EVENTS), mpsc::channel(NARROW_PATHS));
        let shared = Arc::new(Shared::new(tun, sockets, letterbox, offloads, (event_sender, too_long))?);
        let mut plane = Self { shared, events, outbounds: BTreeMap::new(), mtus: BTreeMap::new(), workers: Vec::new() };
        for (name, run) in [("esp-out", outbound::run as fn(&Shared)), ("esp-in", inbound::run)] {
            let shared = Arc::clone(&plane.shared);
            plane.workers.push(thread::Builder::new().name(name.to_owned()).spawn(move || run(&shared))?);
        }
        Ok((plane, narrow))
    }

    /// Returns the packets that came and went so far.
    #[must_use]
    pub fn totals(&self) -> &Totals {
        &self.shared.totals
    }

    /// Returns how each offload fares, by its name.
    #[must_use]
    pub fn offloads(&self) -> BTreeMap<String, String> {
        self.shared.offloads.table()
    }

    /// Returns the packets dropped so far, by reason.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Goes on with another interface in place of one that is gone.
    pub(crate) fn replace_tun(&self, tun: Tun) {
        self.shared.offloads.renew(&tun);
        self.shared.tun.store(Arc::new(tun));
    }

    /// Opens raw sockets, and starts to receive from them, before the first SA that needs them stands.
    fn carry(&mut self, carriage: Carriage) -> Result<(), DataPlaneError> {
        if carriage == Carriage::Udp || self.shared.raw.load().is_some() {
            return Ok(());
        }
        self.shared.raw.store(Some(Arc::new(RawSockets::open()?)));
        let shared = Arc::clone(&self.shared);
        let worker = thread::Builder::new().name("esp-raw".to_owned()).spawn(move || raw::run(&shared));
        // Without a receiver they would be taken for served by the next SA.
        let worker = worker.inspect_err(|_| self.shared.raw.store(None)).map_err(DataPlaneError::Thread)?;
        self.workers.push(worker);
        Ok(())
    }

    fn swap(&self, change: impl FnOnce(&Tables) -> Tables) {
        self.shared.tables.store(Arc::new(change(&self.shared.tables.load())));
    }
}

impl Shared {
    fn new(
        tun: Tun,
        sockets: [UdpSocket; 2],
        letterbox: Letterbox,
        offloads: Offloads,
        (events, too_long): (mpsc::Sender<SaEvent>, mpsc::Sender<UdpPath>),
    ) -> io::Result<Self> {
        let offloads = States::agree(offloads, &tun, &sockets);
        for socket in &sockets {
            socket.enlarge_receive_buffer(RECEIVE_BUFFER)?;
        }
        Ok(Self {
            tun: ArcSwap::from_pointee(tun),
            sockets,
            raw: ArcSwapOption::empty(),
            tables: ArcSwap::from_pointee(Tables::default()),
            turns: Turns::default(),
            counters: Counters::default(),
            totals: Totals::default(),
            offloads,
            events,
            too_long,
            start: Instant::now(),
            stray_told: AtomicU64::new(0),
            letterbox,
            stop: AtomicBool::new(false),
            wakers: [Waker::new()?, Waker::new()?, Waker::new()?],
        })
    }
}

impl DataPlane for Userspace {
    fn apply(&mut self, rules: &[Rule], on_demand: &BTreeSet<Name>) -> Result<(), DataPlaneError> {
        self.swap(|tables| tables.with_policy(Spd::compile(rules).with_on_demand(on_demand)));
        Ok(())
    }

    fn set_mtus(&mut self, mtus: BTreeMap<Name, u16>) {
        for sa in self.outbounds.values() {
            if let Some(mtu) = mtus.get(sa.rule()) {
                sa.set_mtu(*mtu);
            }
        }
        for sa in self.shared.tables.load().inbound_sas() {
            if let Some(mtu) = mtus.get(sa.rule()) {
                sa.set_mtu(*mtu);
            }
        }
        self.mtus = mtus;
    }

    fn install_inbound(&mut self, sa: &InboundSa) -> Result<(), DataPlaneError> {
        let sa = Arc::new(Inbound::new(sa)?);
        if let Some(mtu) = self.mtus.get(sa.rule()) {
            sa.set_mtu(*mtu);
        }
        self.carry(sa.carriage())?;
        self.swap(|tables| tables.with_inbound(sa));
        Ok(())
    }

    fn use_outbound(&mut self, sa: &OutboundSa) -> Result<(), DataPlaneError> {
        let id = sa.0.id;
        let half = match self.outbounds.get(&id) {
            Some(half) => Arc::clone(half),
            None => Arc::new(Outbound::new(sa)?),
        };
        if let Some(mtu) = self.mtus.get(half.rule()) {
            half.set_mtu(*mtu);
        }
        self.carry(half.carriage())?;
        self.outbounds.insert(id, Arc::clone(&half));
        self.swap(|tables| tables.with_outbound(half));
        // The peer may give up what was used before once it hears from us again (RFC 7296 §2.8).
        self.shared.turns.pass();
        let [sender, _, _] = &self.shared.wakers;
        sender.wake();
        Ok(())
    }

    fn move_path(&mut self, id: ChildId, path: UdpPath) {
        if let Some(half) = self.outbounds.get(&id) {
            half.set_path(path);
        }
        if let Some(half) = self.shared.tables.load().inbound_sas().find(|sa| sa.id() == id) {
            half.set_path(path);
        }
    }

    fn remove(&mut self, id: ChildId, direction: Direction) {
        if direction == Direction::Outbound {
            self.outbounds.remove(&id);
        }
        self.swap(|tables| tables.without(id, direction));
    }

    fn usage(&self, id: ChildId) -> (Option<SaUsage>, Option<SaUsage>) {
        let tables = self.shared.tables.load();
        let inbound = tables.inbound_sas().find(|sa| sa.id() == id).map(|sa| sa.usage());
        let outbound = self.outbounds.get(&id).map(|sa| sa.usage());
        (inbound, outbound)
    }

    async fn event(&mut self) -> SaEvent {
        match self.events.recv().await {
            Some(event) => event,
            None => pending().await,
        }
    }
}

impl Drop for Userspace {
    fn drop(&mut self) {
        self.shared.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        self.shared.wakers.iter().for_each(Waker::wake);
        for worker in self.workers.drain(..) {
            if worker.join().is_err() {
                tracing::error!("a packet worker had panicked");
            }
        }
    }
}

/// At 10 Gbit/s it holds 13 ms: some turns of the scheduler.
const RECEIVE_BUFFER: i32 = 16 << 20;
/// The longest frame of the TUN interface.
const FRAME: usize = FRAME_HEADER_LEN + 65_535;
const _: () = assert!(FRAME_HEADER_LEN == espalier_sys::tun::FRAME_HEADER_LEN, "both crates mean the same header");

#[cfg(test)]
mod tests;
