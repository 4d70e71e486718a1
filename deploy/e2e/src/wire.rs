//! Eyes on a wire: every frame that crosses it is counted, and searched for what must not be there. What a virtual wire passes whole is
//! counted as what a real one would see.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use espalier_esp::offload::{FrameHeader, PartialChecksum, SegmentationKind, Segments};
use espalier_sys::capture::PacketSocket;
use espalier_sys::netns::NetNs;
use espalier_sys::poll;
use memchr::memmem::Finder;

use crate::ping::CANARY;

/// What a capture has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// All frames.
    pub frames: u64,
    /// Datagrams of UDP 4500 that are neither IKE nor a keepalive, and packets of IP protocols 50 and 51.
    pub esp: u64,
    /// IP packets that are fragments of longer ones.
    pub ip_fragments: u64,
    /// Frames with the canary in the clear.
    pub canaries: u64,
}

/// A capture under way.
pub struct Capture {
    stop: Arc<AtomicBool>,
    worker: JoinHandle<Result<Seen>>,
}

/// The length of an Ethernet header.
const ETHERNET: usize = 14;
const LOOK_AGAIN: Duration = Duration::from_millis(20);

impl Capture {
    /// Looks at every frame of an interface, and writes them to a file in the pcap format if one is given.
    ///
    /// # Errors
    /// There is no such interface, or no privilege.
    pub fn start(namespace: &NetNs, interface: &str, file: Option<&Path>) -> Result<Self> {
        let socket = namespace.enter(|| PacketSocket::open(interface))??;
        let file: Option<PathBuf> = file.map(Path::to_owned);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let worker = thread::spawn(move || watch(&socket, file.as_deref(), &stopped));
        Ok(Self { stop, worker })
    }

    /// Ends the capture and says what it has seen.
    ///
    /// # Errors
    /// Frames were lost, so that absence proves nothing.
    pub fn stop(self) -> Result<Seen> {
        thread::sleep(2 * LOOK_AGAIN);
        self.stop.store(true, Ordering::Relaxed);
        self.worker.join().map_err(|_| anyhow::anyhow!("the capture panicked"))?
    }
}

fn watch(socket: &PacketSocket, file: Option<&Path>, stop: &AtomicBool) -> Result<Seen> {
    let mut pcap = file.map(Pcap::create).transpose()?;
    let (mut seen, mut buffer) = (Seen::default(), vec![0; 70_000]);
    let canary = Finder::new(CANARY);
    loop {
        let last = stop.load(Ordering::Relaxed);
        while let Ok(length) = socket.recv(&mut buffer) {
            let (header, frame) = FrameHeader::read(buffer.get(..length).unwrap_or_default())?;
            let frames = count(&header, frame);
            seen.frames += frames;
            seen.esp += if is_esp(frame) { frames } else { 0 };
            seen.ip_fragments += u64::from(is_ip_fragment(frame));
            seen.canaries += u64::from(canary.find(frame).is_some());
            if let Some(pcap) = &mut pcap {
                pcap.write_all(&header, frame)?;
            }
        }
        if last {
            break;
        }
        poll::wait([socket.as_fd()], Some(LOOK_AGAIN))?;
    }
    ensure!(socket.lost()? == 0, "the capture lost frames: it proves nothing");
    pcap.map_or(Ok(()), |mut pcap| pcap.0.flush())?;
    Ok(seen)
}

/// Returns how many frames this one is on a wire that passes none whole.
fn count(header: &FrameHeader, frame: &[u8]) -> u64 {
    let (Some(how), Some(checksum)) = (header.segmentation, header.checksum) else { return 1 };
    let upper = usize::from(checksum.start);
    let upper_len = match how.kind {
        SegmentationKind::Udp => 8,
        SegmentationKind::Tcp4 | SegmentationKind::Tcp6 => {
            frame.get(upper + 12).map_or(20, |b| usize::from(b >> 4) * 4)
        }
    };
    let payload = frame.len().saturating_sub(upper + upper_len);
    u64::try_from(payload.div_ceil(usize::from(how.size).max(1)).max(1)).unwrap_or(1)
}

/// Tells whether an Ethernet frame carries ESP, bare or in UDP 4500 (RFC 3948), or AH.
#[must_use]
pub fn is_esp(frame: &[u8]) -> bool {
    let (protocol, payload) = match (frame.get(12..14), frame.get(14..)) {
        (Some([8, 0]), Some(ip)) => (ip.get(9), ip.first().and_then(|b| ip.get(usize::from(b & 15) * 4..))),
        (Some([0x86, 0xdd]), Some(ip)) => (ip.get(6), ip.get(40..)),
        _ => (None, None),
    };
    match (protocol, payload) {
        (Some(50 | 51), Some(_)) => true,
        (Some(17), Some([a, b, c, d, _, _, _, _, spi @ ..])) => {
            let port = |high, low| u16::from_be_bytes([high, low]) == 4500;
            (port(*a, *b) || port(*c, *d)) && spi.len() > 4 && !spi.starts_with(&[0; 4])
        }
        _ => false,
    }
}

/// Tells whether an Ethernet frame carries a part of an IP packet.
#[must_use]
pub fn is_ip_fragment(frame: &[u8]) -> bool {
    match (frame.get(12..14), frame.get(14..)) {
        // More fragments follow, or it does not begin at the beginning.
        (Some([8, 0]), Some([_, _, _, _, _, _, high, low, ..])) => (high & 0x3f, low) != (0, &0),
        (Some([0x86, 0xdd]), Some([_, _, _, _, _, _, next, ..])) => *next == 44,
        _ => false,
    }
}

/// A capture file in the classic format.
struct Pcap(BufWriter<File>);

impl Pcap {
    fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        let mut pcap = Self(BufWriter::new(file));
        for word in [0xa1b2_c3d4, 0x0004_0002, 0, 0, 0x0004_0000, 1_u32] {
            pcap.0.write_all(&word.to_le_bytes())?;
        }
        Ok(pcap)
    }

    /// Writes the frames that this one is on a wire.
    fn write_all(&mut self, header: &FrameHeader, frame: &[u8]) -> Result<()> {
        let (Some(checksum), Some((ethernet, packet))) = (header.checksum, frame.split_at_checked(ETHERNET)) else {
            return self.write(frame);
        };
        let start = checksum.start.saturating_sub(u16::try_from(ETHERNET)?);
        let header = FrameHeader { checksum: Some(PartialChecksum { start, ..checksum }), ..*header };
        let whole = [&header.to_bytes()[..], packet].concat();
        let mut segments = Segments::of(&whole)?;
        while let Some(length) = segments.next_len() {
            let mut frame = [ethernet, &vec![0; length]].concat();
            segments.write_next(frame.get_mut(ETHERNET..).unwrap_or_default()).context("a segment is not cut")?;
            self.write(&frame)?;
        }
        Ok(())
    }

    fn write(&mut self, frame: &[u8]) -> Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let length = u32::try_from(frame.len())?;
        for word in [u32::try_from(now.as_secs())?, now.subsec_micros(), length, length] {
            self.0.write_all(&word.to_le_bytes())?;
        }
        Ok(self.0.write_all(frame)?)
    }
}
