//! What processes take: processor time and memory, as proc(5) tells it.

use std::fs;

use anyhow::{Context, Result};

/// Linux tells the time of processes to user space in these, on every architecture.
const TICKS_PER_SECOND: f64 = 100.0;

/// Returns the seconds that some processes have run together, in user space and in the kernel.
pub(crate) fn processor_seconds(ids: &[u32]) -> Result<f64> {
    let of = |id: &u32| -> Result<f64> {
        let text = fs::read_to_string(format!("/proc/{id}/stat")).with_context(|| format!("process {id} is gone"))?;
        let (_, fields) = text.rsplit_once(") ").context("the name stands in parentheses")?;
        let ticks = fields.split(' ').skip(11).take(2).map(|field| Ok(field.parse::<f64>()?));
        Ok(ticks.sum::<Result<f64>>()? / TICKS_PER_SECOND)
    };
    ids.iter().map(of).sum()
}

/// Returns the resident memory of the largest of some processes in MB; nothing for no process.
pub(crate) fn memory(ids: &[u32]) -> Result<Option<f64>> {
    let of = |id: &u32| -> Result<f64> {
        let text = fs::read_to_string(format!("/proc/{id}/status")).with_context(|| format!("process {id} is gone"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("a process has memory")?;
        let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse().context("VmRSS is in kB")?;
        Ok(kilobytes / 1024.0)
    };
    let all = ids.iter().map(of).collect::<Result<Vec<f64>>>()?;
    Ok(all.into_iter().max_by(f64::total_cmp))
}
