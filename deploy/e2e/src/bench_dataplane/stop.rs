//! Ctrl-C and its like: they end the measurement between two steps, so that everything is taken down in order.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use tokio::signal::unix::{SignalKind, signal};

static ASKED: AtomicBool = AtomicBool::new(false);

/// Listens from here on, on a thread of its own.
pub(crate) fn listen() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let signals = runtime.block_on(async {
        let open = |kind| signal(kind).context("cannot listen for signals");
        anyhow::Ok((open(SignalKind::interrupt())?, open(SignalKind::terminate())?, open(SignalKind::hangup())?))
    });
    let (mut interrupt, mut terminate, mut hangup) = signals?;
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {}, _ = hangup.recv() => {} }
        });
        eprintln!("\nstopping");
        ASKED.store(true, Ordering::Relaxed);
    });
    Ok(())
}

/// Fails once the measurement is to end.
pub(crate) fn check() -> Result<()> {
    ensure!(!ASKED.load(Ordering::Relaxed), "stopped by a signal");
    Ok(())
}
