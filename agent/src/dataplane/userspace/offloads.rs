//! Which offloads are wanted, which the kernel has agreed to, and what came of them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use espalier_sys::tun::{Segmentation, Tun};
use espalier_sys::udp::UdpSocket;

/// Which offloads are wanted. None changes what is sent; each saves system calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offloads {
    /// The kernel hands over super-packets, which we cut.
    pub tun_segmentation: bool,
    /// We hand over super-packets, made of packets that arrived.
    pub tun_coalescing: bool,
    /// The kernel, or the network card, cuts what we send into datagrams.
    pub udp_segmentation: bool,
    /// The kernel hands over datagrams of one sender together.
    pub udp_coalescing: bool,
}

impl Default for Offloads {
    fn default() -> Self {
        Self { tun_segmentation: true, tun_coalescing: true, udp_segmentation: true, udp_coalescing: true }
    }
}

/// How an offload fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum State {
    /// Not wanted.
    Off,
    /// In use.
    On,
    /// In use for TCP; for UDP this kernel is too old.
    TcpOnly,
    /// This kernel has no such thing.
    Unknown,
    /// It was in use until the kernel refused what it had agreed to.
    Refused,
}

impl State {
    const ALL: [Self; 5] = [Self::Off, Self::On, Self::TcpOnly, Self::Unknown, Self::Refused];

    const fn text(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
            Self::TcpOnly => "tcp only",
            Self::Unknown => "unknown to this kernel",
            Self::Refused => "refused in use",
        }
    }
}

/// The states of all offloads, written by workers and read by anyone.
#[derive(Debug, Default)]
pub(super) struct States([AtomicU8; Offload::NAMES.len()]);

/// An offload.
#[derive(Clone, Copy, Debug)]
pub(super) enum Offload {
    TunSegmentation,
    TunCoalescing,
    UdpSegmentation,
    UdpCoalescing,
}

impl Offload {
    /// In the order of the variants.
    const NAMES: [&str; 4] = ["tun-segmentation", "tun-coalescing", "udp-segmentation", "udp-coalescing"];
}

impl States {
    /// Agrees with the kernel on what is wanted.
    pub(super) fn agree(wanted: Offloads, tun: &Tun, sockets: &[UdpSocket; 2]) -> Self {
        let states = Self::default();
        let able = |segmentation| tun.take_over(segmentation).is_ok();
        let tun_state = if able(Segmentation::TcpAndUdp) {
            State::On
        } else if able(Segmentation::Tcp) {
            State::TcpOnly
        } else {
            State::Unknown
        };
        if !wanted.tun_segmentation && !able(Segmentation::Nothing) {
            tracing::warn!("the kernel goes on handing over super-packets, which are cut");
        }
        let trains = sockets.iter().all(|socket| socket.take_trains(wanted.udp_coalescing).is_ok());
        for (offload, wanted, state) in [
            (Offload::TunSegmentation, wanted.tun_segmentation, tun_state),
            (Offload::TunCoalescing, wanted.tun_coalescing, tun_state),
            // Linux has cut datagrams for longer than it puts them together.
            (Offload::UdpSegmentation, wanted.udp_segmentation, State::On),
            (Offload::UdpCoalescing, wanted.udp_coalescing, if trains { State::On } else { State::Unknown }),
        ] {
            states.set(offload, if wanted { state } else { State::Off });
        }
        let text: Vec<_> = states.texts().map(|(name, state)| format!("{name} {state}")).collect();
        tracing::info!(offloads = text.join(", "), "packets are moved");
        states
    }

    /// Agrees for another interface on what held for the one before.
    pub(super) fn renew(&self, tun: &Tun) {
        let segmentation = match self.is(Offload::TunSegmentation) {
            State::On => Segmentation::TcpAndUdp,
            State::TcpOnly => Segmentation::Tcp,
            State::Off | State::Unknown | State::Refused => Segmentation::Nothing,
        };
        if tun.take_over(segmentation).is_err() {
            tracing::warn!("the kernel goes on handing over packets as it did at first");
        }
    }

    /// Notes, and logs, that the kernel refused what it had agreed to.
    pub(super) fn refuse(&self, offload: Offload) {
        self.set(offload, State::Refused);
        tracing::warn!(
            ?offload,
            "the kernel refuses this offload in use; it is off from here on, no packet is lost for it"
        );
    }

    pub(super) fn is(&self, offload: Offload) -> State {
        let number = self.0.get(offload as usize).map_or(0, |state| state.load(Relaxed));
        State::ALL.get(usize::from(number)).copied().unwrap_or(State::Off)
    }

    /// Returns each offload's name with its state.
    pub(super) fn texts(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let all = [Offload::TunSegmentation, Offload::TunCoalescing, Offload::UdpSegmentation, Offload::UdpCoalescing];
        Offload::NAMES.into_iter().zip(all).map(|(name, offload)| (name, self.is(offload).text()))
    }

    /// Returns the same, as a table.
    pub(super) fn table(&self) -> BTreeMap<String, String> {
        self.texts().map(|(name, state)| (name.to_owned(), state.to_owned())).collect()
    }

    fn set(&self, offload: Offload, state: State) {
        if let Some(slot) = self.0.get(offload as usize) {
            slot.store(state as u8, Relaxed);
        }
    }
}
