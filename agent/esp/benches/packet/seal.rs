//! Sealing and opening.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use espalier_model::suite::EspSuite;

use crate::sa::{packet, pair};

/// From the smallest of packets to a jumbo frame; 1,438 fits a wire of 1,500.
const LENGTHS: [usize; 5] = [64, 256, 576, 1438, 9000];
/// The default, and what processors without AES take.
const SUITES: [(&str, EspSuite); 2] =
    [("aes256gcm16", EspSuite::Aes256Gcm16), ("chacha20poly1305", EspSuite::ChaCha20Poly1305)];
/// More than any form adds.
const OVERHEAD: usize = 100;

pub(crate) fn measure(criterion: &mut Criterion) {
    for (name, suite) in SUITES {
        let mut group = criterion.benchmark_group(format!("seal/{name}"));
        for length in LENGTHS {
            let (sender, _) = pair(suite, 1);
            let (inner, mut out) = (packet(1, length), vec![0; length + OVERHEAD]);
            group.throughput(Throughput::Bytes(u64::try_from(length).unwrap()));
            group.bench_function(BenchmarkId::from_parameter(length), |bencher| {
                bencher.iter(|| sender.seal(black_box(&inner), &mut out).unwrap().length);
            });
        }
        group.finish();
        let mut group = criterion.benchmark_group(format!("open/{name}"));
        for length in LENGTHS {
            let (sender, receiver) = pair(suite, 1);
            let inner = packet(1, length);
            // A packet opens once, so each needs to be sealed before.
            let sealed = || {
                let mut out = vec![0; length + OVERHEAD];
                let length = sender.seal(&inner, &mut out).unwrap().length;
                out.truncate(length);
                out
            };
            group.throughput(Throughput::Bytes(u64::try_from(length).unwrap()));
            group.bench_function(BenchmarkId::from_parameter(length), |bencher| {
                let open = |esp: &mut Vec<u8>| receiver.open(esp).unwrap().packet.len();
                bencher.iter_batched_ref(sealed, open, BatchSize::SmallInput);
            });
        }
        group.finish();
    }
}
