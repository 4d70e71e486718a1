//! Looking up rules and SAs.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion};
use espalier_esp::{Spd, Tables};
use espalier_model::plan::Rule;
use espalier_model::suite::EspSuite;

use crate::sa::{flow, pair, rule, spi};

const SIZES: [u16; 3] = [10, 1_000, 10_000];

pub(crate) fn measure(criterion: &mut Criterion) {
    let tables = SIZES.map(|size| (size, tables(size)));
    let mut group = criterion.benchmark_group("spd");
    for (size, tables) in &tables {
        for (place, peer) in [("first", 0), ("middle", size / 2), ("last", size - 1)] {
            let flow = flow(peer);
            group.bench_function(BenchmarkId::new(place, size), |bencher| {
                bencher.iter(|| tables.outbound(black_box(&flow)).map(|sa| sa.spi()));
            });
        }
    }
    group.finish();
    let mut group = criterion.benchmark_group("sad");
    for (size, tables) in &tables {
        let spi = spi(size / 2);
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| tables.inbound(black_box(spi)).map(|sa| sa.id()));
        });
    }
    group.finish();
}

/// Returns tables with so many rules, each with an SA both ways.
fn tables(size: u16) -> Tables {
    let rules: Vec<Rule> = (0..size).map(rule).collect();
    let tables = Tables::default().with_policy(Spd::compile(&rules));
    (0..size).fold(tables, |tables, peer| {
        let (outbound, inbound) = pair(EspSuite::Aes256Gcm16, peer);
        tables.with_inbound(Arc::new(inbound)).with_outbound(Arc::new(outbound))
    })
}
