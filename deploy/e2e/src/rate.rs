//! Rates and what stands for many of them.

use std::time::Duration;

use anyhow::Result;

/// Returns how many a second so many in this time are.
pub fn per_second(count: usize, time: Duration) -> Result<f64> {
    Ok(f64::from(u32::try_from(count)?) / time.as_secs_f64())
}

/// Returns the middle one of some figures, the higher of two; 0 for none.
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}
