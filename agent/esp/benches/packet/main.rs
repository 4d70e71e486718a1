//! What one packet costs without I/O: `cargo bench --workspace --bench packet`.
#![expect(clippy::unwrap_used, reason = "a measurement that cannot be set up has nothing to report")]

mod checks;
mod lookup;
mod offload;
mod sa;
mod seal;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    seal::measure(&mut criterion);
    lookup::measure(&mut criterion);
    checks::measure(&mut criterion);
    offload::measure(&mut criterion);
    criterion.final_summary();
}
