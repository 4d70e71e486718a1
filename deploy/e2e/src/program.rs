//! Programs that run in the background, with their output in a file.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// A running program. It is killed with the value.
pub struct Program {
    child: Child,
    log: PathBuf,
}

/// Time for a program to end by itself after a signal.
const PATIENCE: Duration = Duration::from_secs(10);

impl Program {
    /// Starts a command with its output in a file.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(mut command: Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Returns its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns what it has written so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Tells whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until it has written a text so many times.
    ///
    /// # Errors
    /// It did not in time, or ended before; with all that it has written.
    pub fn await_log(&mut self, text: &str, times: usize, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        while self.log().matches(text).count() < times {
            let ended = self.child.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                bail!("{text:?} not seen {times} times within {within:?}; the program wrote:\n{}", self.log());
            }
            sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Asks it to end (SIGTERM) and waits for that.
    ///
    /// # Errors
    /// It does not end.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        let status = Command::new("kill").arg(self.child.id().to_string()).status().context("cannot run kill")?;
        ensure!(status.success(), "the program had ended before:\n{}", self.log());
        self.wait()
    }

    /// Kills it without a chance to clean up (SIGKILL).
    ///
    /// # Errors
    /// It had ended before.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// It does not.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.wait_within(PATIENCE)
    }

    /// Waits until it ends by itself, at most so long.
    ///
    /// # Errors
    /// It does not.
    pub fn wait_within(&mut self, time: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + time;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            sleep(Duration::from_millis(10));
        }
        bail!("the program does not end; it wrote:\n{}", self.log())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the path of a program of ours, built in the same profile as the caller.
///
/// # Errors
/// It is not built.
pub fn ours(name: &str) -> Result<PathBuf> {
    let this = std::env::current_exe().context("this program has no path")?;
    let folder = this.parent().context("a program lies in a folder")?;
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    let path = folder.join(name);
    ensure!(path.is_file(), "{} is not built: run cargo build --release --workspace", path.display());
    Ok(path)
}

/// Runs a command to its end and returns what it wrote.
///
/// # Errors
/// It failed; with what it wrote.
pub fn output(mut command: Command) -> Result<String> {
    let name = command.get_program().display().to_string();
    let output = command.output().with_context(|| format!("cannot start {name}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} failed:\n{text}");
    Ok(text)
}
