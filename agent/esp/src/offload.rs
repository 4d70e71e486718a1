//! Super-packets: many segments of one flow that pass between the kernel and us as one.
//!
//! The kernel hands over a frame: a header that says what is left to do, and a packet. [`Segments`] makes of it the packets that
//! the sender would have sent without offload. [`Coalescer`] does the reverse with packets that arrived, for as long as nobody
//! could tell the difference. Both compute checksums as they must be on a wire; none is taken on trust.

mod checksum;
mod coalesce;
mod frame;
mod headers;
mod segments;

pub use checksum::Checksum;
pub use coalesce::{Coalescer, Full};
pub use frame::{BadFrame, FRAME_HEADER_LEN, FrameHeader, PartialChecksum, Segmentation, SegmentationKind};
pub use segments::Segments;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
