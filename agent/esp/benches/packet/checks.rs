//! What is looked at in every packet: its flow, its number.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion};
use espalier_esp::{ReplayWindow, flow_of};

use crate::sa::packet;

pub(crate) fn measure(criterion: &mut Criterion) {
    let inner = packet(1, 1438);
    criterion.bench_function("flow", |bencher| bencher.iter(|| flow_of(black_box(&inner)).map(|flow| flow.protocol)));
    let mut group = criterion.benchmark_group("replay");
    for size in [64, 1024, 8192] {
        let (window, mut number) = (ReplayWindow::new(size), 0);
        group.bench_function(BenchmarkId::new("in order", size), |bencher| {
            bencher.iter(|| {
                number += 1;
                window.may_accept(black_box(number)) && window.commit(number)
            });
        });
        let window = ReplayWindow::new(size);
        let _ = window.commit(u64::from(size) * 2);
        group.bench_function(BenchmarkId::new("seen before", size), |bencher| {
            bencher.iter(|| window.may_accept(black_box(u64::from(size) * 2)));
        });
    }
    group.finish();
}
