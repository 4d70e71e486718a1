//! What a thread asks of the scheduler.

use std::io;

/// Lets other threads go before this one where processors are short: 0 is the usual, 19 the most.
///
/// # Errors
/// What setpriority(2) says.
pub fn give_way(nice: i32) -> io::Result<()> {
    // SAFETY: setpriority(2) takes no pointers. Zero is the calling thread.
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
