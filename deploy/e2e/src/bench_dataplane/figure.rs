//! What is measured: the wire's modes, the measurements, and the figures that each gives.

use clap::ValueEnum;

/// How the wire behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Mode {
    /// It passes UDP and TCP super-packets whole, as between virtual machines of one host.
    Through,
    /// Every packet is one of at most the MTU, and the receiver puts them together again, as between network cards.
    Wire,
}

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Measurement {
    /// TCP, one stream, with the processor time that it takes.
    Tcp1,
    /// TCP, four streams.
    Tcp4,
    /// TCP, one stream each way at once.
    Bidir,
    /// The largest rate of UDP packets with 1,300 bytes.
    Udp1300,
    /// The largest rate of UDP packets with 64 bytes.
    Udp64,
    /// Round-trip time without load.
    RttIdle,
    /// Round-trip time under half of the largest rate of UDP packets with 1,300 bytes.
    RttHalf,
}

/// A figure as reports name it, without its mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Figure {
    Tcp1,
    Tcp4,
    Bidir,
    Udp1300,
    Udp64,
    RttIdleP50,
    RttIdleP99,
    RttHalfP50,
    RttHalfP99,
    CpuPerGb,
    Rss,
}

/// A figure in a mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) mode: Mode,
    pub(crate) figure: Figure,
}

impl Mode {
    /// Returns its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Through => "through",
            Self::Wire => "wire",
        }
    }
}

impl Measurement {
    /// Returns its name, as the command line takes it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tcp1 => "tcp1",
            Self::Tcp4 => "tcp4",
            Self::Bidir => "bidir",
            Self::Udp1300 => "udp1300",
            Self::Udp64 => "udp64",
            Self::RttIdle => "rtt-idle",
            Self::RttHalf => "rtt-half",
        }
    }

    /// Returns about how long it takes, in runs of TCP: for the time left.
    pub(crate) const fn weight(self) -> f64 {
        match self {
            Self::Tcp1 | Self::Tcp4 | Self::Bidir => 1.0,
            Self::Udp1300 | Self::Udp64 => 2.5,
            Self::RttIdle | Self::RttHalf => 0.5,
        }
    }
}

impl Figure {
    /// Returns its name in the report.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tcp1 => "tcp1",
            Self::Tcp4 => "tcp4",
            Self::Bidir => "bidir",
            Self::Udp1300 => "udp1300",
            Self::Udp64 => "udp64",
            Self::RttIdleP50 => "rtt_idle_p50",
            Self::RttIdleP99 => "rtt_idle_p99",
            Self::RttHalfP50 => "rtt_half_p50",
            Self::RttHalfP99 => "rtt_half_p99",
            Self::CpuPerGb => "cpu_per_gb",
            Self::Rss => "rss",
        }
    }

    /// Tells whether it is a time that a tunnel adds to the plain wire's.
    pub(crate) const fn is_added_time(self) -> bool {
        matches!(self, Self::RttIdleP50 | Self::RttIdleP99 | Self::RttHalfP50 | Self::RttHalfP99)
    }

    /// Returns what it is, with its unit.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Tcp1 => "TCP, one stream, Mbit/s",
            Self::Tcp4 => "TCP, four streams, Mbit/s",
            Self::Bidir => "TCP, one stream each way at once, Mbit/s together",
            Self::Udp1300 => "UDP, 1,300 bytes, packets a second with under 0.1 % lost",
            Self::Udp64 => "UDP, 64 bytes, packets a second with under 0.1 % lost",
            Self::RttIdleP50 => "round trip, idle, median, microseconds that a tunnel adds",
            Self::RttIdleP99 => "round trip, idle, 99th of 100, microseconds that a tunnel adds",
            Self::RttHalfP50 => "round trip at half load, median, microseconds that a tunnel adds to the idle wire",
            Self::RttHalfP99 => {
                "round trip at half load, 99th of 100, microseconds that a tunnel adds to the idle wire"
            }
            Self::CpuPerGb => "processor seconds a gigabyte of TCP, both ends' processes",
            Self::Rss => "resident memory, the larger end, MB",
        }
    }
}

impl Key {
    /// Returns its name in the report.
    pub(crate) fn name(self) -> String {
        let prefix = match self.mode {
            Mode::Through => "",
            Mode::Wire => "wire_",
        };
        format!("{prefix}{}", self.figure.name())
    }
}
