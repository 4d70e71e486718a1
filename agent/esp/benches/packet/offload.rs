//! Super-packets: checksums, cutting, putting together.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use espalier_esp::offload::{
    Checksum, Coalescer, FRAME_HEADER_LEN, FrameHeader, PartialChecksum, Segmentation, SegmentationKind, Segments,
};

/// Payload of a segment that fits a wire of 1,500 bytes once it is sealed.
const SIZE: usize = 1398;
/// Segments of one super-packet: the most that 64 KiB hold.
const SEGMENTS: usize = 46;
const HEADERS: usize = 40;
const LENGTHS: [usize; 4] = [64, 576, 1438, 9000];

pub(crate) fn measure(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("checksum");
    for length in LENGTHS {
        let bytes = vec![0xa5; length];
        group.throughput(Throughput::Bytes(u64::try_from(length).unwrap()));
        group.bench_function(BenchmarkId::from_parameter(length), |bencher| {
            bencher.iter(|| Checksum::default().with(black_box(&bytes)).finish());
        });
    }
    group.finish();

    let frame = frame();
    let mut group = criterion.benchmark_group("super-packet");
    group.throughput(Throughput::Bytes(u64::try_from(SEGMENTS * SIZE).unwrap()));
    let mut arena = vec![0; SEGMENTS * (HEADERS + SIZE)];
    group.bench_function("cut", |bencher| {
        bencher.iter(|| {
            let mut segments = Segments::of(black_box(&frame)).unwrap();
            arena.chunks_exact_mut(HEADERS + SIZE).map_while(|room| segments.write_next(room)).count()
        });
    });
    let mut coalescer = Coalescer::new(true, true);
    group.bench_function("coalesce", |bencher| {
        bencher.iter(|| {
            for packet in arena.chunks_exact(HEADERS + SIZE) {
                coalescer.push(black_box(packet)).unwrap();
            }
            let mut frames = 0;
            coalescer.flush(|_, _| frames += 1);
            assert_eq!(frames, 1, "they are one flow without a gap");
        });
    });
    group.finish();
}

/// Returns a TCP super-packet over IPv4, as the kernel gives it.
fn frame() -> Vec<u8> {
    let length = HEADERS + SEGMENTS * SIZE;
    let header = FrameHeader {
        checksum: Some(PartialChecksum { start: 20, offset: 16 }),
        segmentation: Some(Segmentation {
            kind: SegmentationKind::Tcp4,
            header_len: u16::try_from(HEADERS).unwrap(),
            size: u16::try_from(SIZE).unwrap(),
        }),
    };
    let mut frame = header.to_bytes().to_vec();
    let [high, low] = u16::try_from(length).unwrap().to_be_bytes();
    frame.extend([0x45, 0, high, low, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 10, 0, 1, 10, 11, 0, 1]);
    // Ports, numbers, a header of 20 bytes with ACK alone, a window.
    frame.extend([0x13, 0x88, 0xc0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0x20, 0, 0, 0, 0, 0]);
    frame.resize(FRAME_HEADER_LEN + length, 0xa5);
    frame
}
